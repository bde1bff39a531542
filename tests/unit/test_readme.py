"""What the README says of settings and codes is what the code has."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

import pytest

from ray_asr.config import SECTIONS
from ray_asr.errors import ErrorCode
from ray_asr.schema import TRANSCRIPT_SCHEMA
from tests.code_map import PAGE, page

README = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")


def setting_rows() -> list[str]:
    rows = []
    for section, cls in SECTIONS.items():
        defaults = cls()
        for leaf in fields(cls):
            name = f"`{section}.{leaf.name}`"
            name = f"**{name}**" if leaf.metadata["decides"] else name
            unit = leaf.metadata["unit"]
            default = getattr(defaults, leaf.name)
            rows.append(
                f"| {name} | `{default}` |{f' {unit}' if unit else ''} | {leaf.metadata['text']} |"
            )
    return rows


@pytest.mark.parametrize("row", setting_rows())
def test_every_setting_stands_in_the_readme(row: str) -> None:
    assert row in README


def test_every_code_and_column_stands_in_the_readme() -> None:
    for name in [*(code.value for code in ErrorCode), *TRANSCRIPT_SCHEMA.names]:
        assert f"`{name}`" in README, name


def test_the_readme_is_short() -> None:
    assert len(README.splitlines()) <= 250


def test_the_page_of_modules_has_each_of_them_as_it_is() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "write it: python -m tests.code_map"

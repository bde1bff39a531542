"""YAML from outside: plain values, of a bounded size, or one clear sentence."""

from __future__ import annotations

import datetime
from pathlib import Path

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from ray_asr.config import load_config
from ray_asr.errors import ConfigError
from ray_asr.yaml_text import MOST_CHARACTERS, parse_yaml, read_yaml

# Nine lines that stand for 10^9 values.
LAUGHS = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n" + "".join(
    f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]\n" for n in range(1, 9)
)
PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
)


@given(PLAIN)
def test_what_is_safe_is_read_as_pyyaml_reads_it(value: object) -> None:
    text = yaml.safe_dump(value, allow_unicode=True)
    assert parse_yaml(text) == yaml.safe_load(text)


def test_aliases_and_merges_of_a_sane_size_are_taken() -> None:
    text = "base: &base {a: 1, b: 2}\nmore:\n  <<: *base\n  b: 3\nlist: [*base, *base]\n"
    assert parse_yaml(text)["more"] == {"a": 1, "b": 3}
    assert parse_yaml("2026-11-29") == datetime.date(2026, 11, 29)
    assert parse_yaml("") is None


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        (LAUGHS, "aliases written out"),
        ("a: &a [*a]", "an alias stands inside what it names"),
        ("x: !!python/object/apply:os.system [true]", "could not determine a constructor"),
        ("x: !!python/name:os.system", "could not determine a constructor"),
        ("[" * 5_000, "nested too deeply"),
        ("x: " + "y" * MOST_CHARACTERS, "longer than"),
        ('x: !!int ""', "does not fit its type"),
        ("x: !!timestamp soon", "does not fit its type"),
        ("x: 2026-99-99", "does not fit its type"),
        ("x: [", "expected"),
        ("x: *nowhere", "undefined alias"),
    ],
)
def test_the_rest_is_one_sentence(text: str, reason: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=reason) as caught:
        parse_yaml(text)
    assert "\n" not in str(caught.value)
    file = tmp_path / "settings.yaml"
    file.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match=r"settings\.yaml is not YAML: "):
        load_config(file)


def test_a_setting_of_a_million_letters_is_not_said_whole(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_text(f"job: {{unit_mb: {'y' * 100_000}}}", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        load_config(file)
    assert len(str(caught.value)) < 200


def test_bytes_that_are_no_text_are_one_sentence(tmp_path: Path) -> None:
    file = tmp_path / "settings.yaml"
    file.write_bytes(b"\xff\xfe\x00x")
    with pytest.raises(ValueError, match="utf-8"):
        read_yaml(file)


def test_no_more_of_a_file_is_read_than_is_taken() -> None:
    with pytest.raises(ValueError, match="longer than"):
        read_yaml(Path("/dev/zero"))

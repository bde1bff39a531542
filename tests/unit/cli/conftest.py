"""What all tests of the command line share: no Ray starts, and no colour is wished for."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from typing import Any

import pytest

from ray_asr import cli
from ray_asr.config import Config
from ray_asr.job import dry_run, pipeline, tune
from tests.fakes import planned


def exit_code(*arguments: str) -> int:
    with pytest.raises(SystemExit) as ended:
        cli.main([*arguments])
    assert isinstance(ended.value.code, int)
    return ended.value.code


@pytest.fixture(autouse=True)
def no_wish_for_colour(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("NO_COLOR", "FORCE_COLOR", "CLICOLOR", "CLICOLOR_FORCE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """The level that an entry point sets does not outlive its test."""
    logger = logging.getLogger("ray_asr")
    before = logger.level
    yield
    logger.setLevel(before)


@pytest.fixture(autouse=True)
def no_ray(monkeypatch: pytest.MonkeyPatch) -> list[str | None]:
    """Nothing here starts Ray; whoever would is noted."""
    connected: list[str | None] = []
    for module in (pipeline, tune, dry_run):
        monkeypatch.setattr(
            module, "connect", lambda address=None, *_, **__: connected.append(address)
        )
    monkeypatch.setattr(pipeline, "plan_run", planned)
    return connected


@pytest.fixture
def configs(monkeypatch: pytest.MonkeyPatch, no_ray: list[str | None]) -> list[Config]:
    """The configurations that reach the job, which does nothing."""
    seen: list[Config] = []

    class Nothing:
        def table(self) -> str:
            return "the table"

    def job(source: str, output: str, config: Config, address: str | None, restart: bool) -> Any:
        seen.append(config)
        no_ray.append(address)
        return Nothing()

    monkeypatch.setattr(pipeline, "transcribe_path", job)
    return seen

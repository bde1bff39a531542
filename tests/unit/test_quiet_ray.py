"""Ray's words about itself are left out for a while, and for that while only."""

from __future__ import annotations

import logging
import os

import pytest

from ray_asr.job.quiet_ray import at_least, quiet_execution, quiet_start


def test_what_is_written_past_python_is_dropped_while_ray_starts(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_BACKEND_LOG_LEVEL", raising=False)
    with quiet_start():
        assert os.environ["RAY_BACKEND_LOG_LEVEL"] == "fatal"
        os.write(2, b"a line of Ray's core\n")
    os.write(2, b"a line of ours\n")
    assert "RAY_BACKEND_LOG_LEVEL" not in os.environ
    assert capfd.readouterr().err == "a line of ours\n"


def test_what_goes_wrong_at_the_start_leaves_stderr_as_it_was(
    capfd: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(ConnectionError), quiet_start():
        raise ConnectionError
    os.write(2, b"a line of ours\n")
    assert capfd.readouterr().err == "a line of ours\n"


def test_who_sets_rays_level_hears_all_of_it(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_BACKEND_LOG_LEVEL", "debug")
    with quiet_start():
        os.write(2, b"a line of Ray's core\n")
    assert os.environ["RAY_BACKEND_LOG_LEVEL"] == "debug"
    assert capfd.readouterr().err == "a line of Ray's core\n"


@pytest.mark.parametrize("asked", [False, True])
def test_executions_of_ours_are_not_announced_by_ray(
    asked: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("RAY_DATA_LOG_LEVEL", raising=False)
    if asked:
        monkeypatch.setenv("RAY_DATA_LOG_LEVEL", "INFO")
    logger = logging.getLogger("ray.data")
    before = logger.level
    logger.setLevel(logging.DEBUG)
    try:
        with quiet_execution():
            assert logger.isEnabledFor(logging.INFO) is asked
            assert logger.isEnabledFor(logging.ERROR)
        assert logger.isEnabledFor(logging.INFO)
    finally:
        logger.setLevel(before)


def test_a_level_that_is_higher_stays() -> None:
    logger = logging.getLogger("tests.quiet")
    logger.setLevel(logging.CRITICAL)
    with at_least("tests.quiet", logging.ERROR):
        assert logger.level == logging.CRITICAL
    assert logger.level == logging.CRITICAL

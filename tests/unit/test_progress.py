from __future__ import annotations

import logging
import re

import pytest

from ray_asr.job.progress import Progress


def lines(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "rows" in record.getMessage()]


@pytest.fixture
def caplog_info(caplog: pytest.LogCaptureFixture) -> pytest.LogCaptureFixture:
    caplog.set_level(logging.INFO, logger="ray_asr.job.progress")
    return caplog


def test_a_line_has_rows_audio_hours_speed_and_finish_time() -> None:
    line = Progress(400).line(100, 2 * 3_600_000, 60.0)
    assert "100/400 rows (25 %)" in line
    assert "2.000 audio-hours" in line
    assert "120.0x real time" in line
    assert re.search(r"done at about \d\d:\d\d:\d\d \(in 180 s\)", line)


def test_the_last_line_says_done() -> None:
    line = Progress(4).line(4, 8_000, 2.0)
    assert line.startswith("4/4 rows (100 %)")
    assert line.endswith(", done")
    assert "about" not in line


def test_a_run_that_has_not_begun_does_not_say_done() -> None:
    assert "done" not in Progress(4).line(0, 0, 2.0)


@pytest.mark.parametrize(("total", "elapsed_s"), [(0, 0.0), (0, 1.0), (5, 0.0)])
def test_nothing_divides_by_zero(total: int, elapsed_s: float) -> None:
    assert f"0/{total} rows" in Progress(total).line(0, 0, elapsed_s)


def test_updates_between_two_lines_are_silent(caplog_info: pytest.LogCaptureFixture) -> None:
    progress = Progress(1000, every_s=3600.0)
    for rows in range(1, 1000):
        progress.update(rows, rows * 1000)
    assert lines(caplog_info) == []


def test_the_last_row_is_always_said(caplog_info: pytest.LogCaptureFixture) -> None:
    progress = Progress(3, every_s=3600.0)
    progress.update(2, 2000)
    progress.update(3, 3000)
    assert len(lines(caplog_info)) == 1
    assert "3/3 rows" in lines(caplog_info)[0]


def test_a_line_comes_when_it_is_due(caplog_info: pytest.LogCaptureFixture) -> None:
    progress = Progress(3, every_s=0.0)
    progress.update(1, 1000)
    progress.update(2, 2000)
    assert [line.split(" ")[0] for line in lines(caplog_info)] == ["1/3", "2/3"]

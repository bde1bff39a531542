"""The benchmark's bookkeeping: cases, runs of small programs, figures. No model, no Ray."""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
import soundfile

from ray_asr.cli import main
from ray_asr.engine.bench import padded_groups
from ray_asr.engine.bench_audio import cut_stream, decode_plain, encode
from ray_asr.errors import ConfigError
from ray_asr.job import bench
from ray_asr.job.bench import BenchOptions, run_bench
from ray_asr.job.bench_cases import FIRST_ROW, MARKS, Case, all_cases, chosen_cases
from ray_asr.job.bench_process import CaseFailedError, Measured, run_case
from ray_asr.job.bench_table import BenchResult, Row, report, text_difference
from ray_asr.schema import SAMPLE_RATE_HZ

PROGRAM_HEAD = """
import json, pathlib, subprocess, sys, time
spec = json.loads(pathlib.Path(sys.argv[1]).read_text())
names = [file.stem for file in sorted(pathlib.Path(spec["files"]).iterdir())]
def finish(texts):
    now = time.time()
    result = {"started": now - 1, "ended": now, "texts": texts}
    pathlib.Path(spec["result"]).write_text(json.dumps(result))
"""
PROGRAMS = {
    "article.py": "finish({name: 'a b' for name in names})",
    "good.py": "finish({name: 'ab' for name in names})",
    "loses.py": "finish({name: 'ab' for name in names[1:]})",
    "breaks.py": "raise ValueError('no such thing')",
    "chooses.py": "time.sleep(spec['options']['wait_s']); now = time.time(); "
    "finish({name: 'ab' for name in names})",
}


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "benchmarks"
    folder.mkdir()
    for name, body in PROGRAMS.items():
        (folder / name).write_text(PROGRAM_HEAD + body)
    monkeypatch.setattr(bench, "_benchmarks_folder", lambda: folder)
    return folder


def measured(speed: float, texts: dict[str, str] | None = None, **more: Any) -> Measured:
    """What a case gives that took as long as makes `speed` of 100 s of audio."""
    result = {"started": 0.0, "ended": 100 / speed, "texts": texts, **more}
    return Measured(result, cpu_percent=50.0, gpu_percent=None, peak_mb=1024.0)


def row_of(name: str, speeds: list[float], texts: dict[str, str] | None = None) -> Row:
    row = Row(chosen_cases([name], 2)[0])
    for speed in speeds:
        row.add(measured(speed, texts), audio_s=100)
    return row


def facts() -> dict[str, Any]:
    options = {"model": "demo", "device": "cpu", "container": "FLAC", "repeat": 1}
    return {
        "cpu": "a CPU", "cores": 2, "date": "today", "utterances": 3, "audio_s": 100.0,
        "options": options,
    }  # fmt: skip


@pytest.mark.parametrize("cores", [1, 2, 16])
def test_every_case_and_mark_is_named_once(cores: int) -> None:
    names = [case.name for case in all_cases(cores)]
    assert len(set(names)) == len(names)
    assert {mark.case for mark in MARKS} | {mark.against for mark in MARKS} <= set(names)
    assert names[0] == FIRST_ROW


def test_unknown_case_is_refused_with_the_nearest_name() -> None:
    with pytest.raises(ConfigError, match='did you mean "ours-auto"'):
        chosen_cases(["ours-autp"], 2)


def test_cases_keep_the_order_of_the_table() -> None:
    assert [case.name for case in chosen_cases(["daft", FIRST_ROW], 2)] == [FIRST_ROW, "daft"]


@pytest.mark.parametrize(
    "option",
    [
        {"minutes": 0.0},
        {"repeat": 0},
        {"container": "MP3"},
        {"device": "tpu"},
        {"sets": ["engine.presicion=int8"]},
    ],
)
def test_bad_options_are_refused_in_a_sentence(option: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=r"(use|did you mean)"):
        BenchOptions(**option)


def test_command_line_ends_with_exit_code_2_for_an_unknown_case(
    capsys: pytest.CaptureFixture[str],
) -> None:
    with pytest.raises(SystemExit) as stop:
        main(["bench", "--model", "demo", "--cases", "nothing"])
    assert stop.value.code == 2
    assert 'there is no case "nothing"' in capsys.readouterr().err


def test_missing_model_folder_is_said_before_anything_runs(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no model folder"):
        run_bench(BenchOptions(model=str(tmp_path / "none"), cache=str(tmp_path / "cache")))


def test_missing_peer_says_how_it_is_installed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    daft = chosen_cases(["daft"], 2)[0]
    assert "pip install 'ray_asr[bench]'" in bench._reason_to_skip(daft, BenchOptions())


def test_without_a_checkout_peers_say_where_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bench, "_benchmarks_folder", lambda: None)
    cases = {case.name: case for case in all_cases(2)}
    assert "checkout" in bench._reason_to_skip(cases[FIRST_ROW], BenchOptions())
    assert bench._reason_to_skip(cases["ours-fp32"], BenchOptions()) == ""


def test_recognizer_only_cases_stand_aside_for_voice_activity() -> None:
    limit = chosen_cases(["limit-fp32"], 2)[0]
    assert bench._reason_to_skip(limit, BenchOptions(vad_model="demo")).startswith("it recognizes")


def test_a_failing_case_has_its_error_and_the_others_go_on(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cases = [Case(FIRST_ROW, "first", "article.py")]
    cases += [Case(name, name, f"{name}.py") for name in ("breaks", "loses", "good")]
    monkeypatch.setattr(bench, "chosen_cases", lambda names, cores: cases)
    json_file = tmp_path / "bench.json"
    options = BenchOptions(model="demo", minutes=0.3, repeat=2, cache=str(tmp_path / "cache"))
    shown = run_bench(options, str(json_file))
    result = json.loads(json_file.read_text())
    got = result["cases"]
    assert "no such thing" in got["breaks"]["error"]
    assert "rows came out" in got["loses"]["error"]
    assert got["loses"]["x_real_time"] is None
    assert len(got["good"]["x_real_time"]["repetitions"]) == 2
    assert got["good"]["text_difference"] == 0
    assert got["good"]["gpu_percent"] is None
    assert "no such thing" in shown.table()


def test_the_fastest_variant_is_measured(
    programs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    variants = ({"wait_s": 0.0}, {"wait_s": 0.1})
    case = Case("chooses", "chooses", "chooses.py", variants=variants)
    walls = iter([2.0, 1.0])
    monkeypatch.setattr(bench, "chosen_cases", lambda names, cores: [case])
    monkeypatch.setattr(bench, "_wall_s", lambda measured: next(walls))
    json_file = tmp_path / "bench.json"
    options = BenchOptions(model="demo", minutes=0.1, repeat=1, cache=str(tmp_path / "cache"))
    run_bench(options, str(json_file))
    assert json.loads(json_file.read_text())["cases"]["chooses"]["options"] == {"wait_s": 0.1}


def test_a_late_case_is_ended_with_what_it_started(tmp_path: Path) -> None:
    program = tmp_path / "late.py"
    program.write_text(
        "import json, pathlib, subprocess, sys, time\n"
        "spec = json.loads(pathlib.Path(sys.argv[1]).read_text())\n"
        "child = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)'])\n"
        f"pathlib.Path({str(tmp_path / 'child')!r}).write_text(str(child.pid))\n"
        "time.sleep(60)\n"
    )
    with pytest.raises(CaseFailedError, match="not done"):
        run_case(
            [sys.executable, str(program)], {}, tmp_path / "run",
            environment={}, cores=2, timeout_s=5,
        )  # fmt: skip
    child = int((tmp_path / "child").read_text())
    for _ in range(100):
        if not psutil.pid_exists(child) or psutil.Process(child).status() == "zombie":
            return
        time.sleep(0.05)
    pytest.fail("the child of an ended case still runs")


def test_ratios_are_taken_within_a_repetition() -> None:
    rows = [row_of(FIRST_ROW, [10, 5, 1]), row_of("ours-fp32", [20, 10, 2])]
    ratio = report(rows, facts())["cases"]["ours-fp32"]["against_first_row"]
    assert ratio["repetitions"] == pytest.approx([2, 2, 2])
    speed = report(rows, facts())["cases"]["ours-fp32"]["x_real_time"]
    assert (speed["median"], speed["least"], speed["most"]) == pytest.approx((10, 2, 20))


def test_a_mark_of_a_case_that_failed_is_not_measured() -> None:
    failed = Row(chosen_cases(["ours-fp32"], 2)[0], error="it broke")
    result = report([row_of(FIRST_ROW, [10]), failed], facts())
    assert [mark["measured"] for mark in result["marks"]] == [None]
    assert "not measured" in BenchResult(result).table()
    assert "it broke" in BenchResult(result).table()


def test_overhead_is_a_mark_of_its_own_and_no_speed() -> None:
    row = Row(chosen_cases(["overhead"], 2)[0])
    row.add(measured(10, cpu_ms_per_row=0.25), audio_s=100)
    result = report([row], facts())
    assert result["cases"]["overhead"]["x_real_time"] is None
    assert result["marks"][0]["measured"]["median"] == 0.25
    assert "0.250 ms of CPU a row" in BenchResult(result).table()


def test_text_difference_forgives_blanks_and_case() -> None:
    assert text_difference({"a": "One two"}, {"a": "onetwo"}) == 0
    assert text_difference({"a": "abcx"}, {"a": "abcd"}) == pytest.approx(0.25)
    assert text_difference(None, {"a": "x"}) is None


def test_cut_stream_is_the_same_for_a_seed_and_keeps_to_its_bounds() -> None:
    stream = np.arange(30 * SAMPLE_RATE_HZ, dtype=np.float32)
    pieces = list(cut_stream(stream, 120, seed=1))
    again = list(cut_stream(stream, 120, seed=1))
    assert all(np.array_equal(a, b) for a, b in zip(pieces, again, strict=True))
    durations_s = [len(piece) / SAMPLE_RATE_HZ for piece in pieces]
    assert min(durations_s) >= 2
    assert max(durations_s) <= 10
    assert 120 <= sum(durations_s) < 130


@pytest.mark.parametrize("container", ["FLAC", "WAV"])
def test_encoded_audio_comes_back(container: str) -> None:
    waveform = np.sin(np.arange(8000) / 10).astype(np.float32) / 2
    data = encode(waveform, container)
    assert np.abs(decode_plain(data) - waveform).max() < 1e-4


def test_plain_decoding_mixes_down_and_resamples(tmp_path: Path) -> None:
    file = tmp_path / "stereo.wav"
    soundfile.write(file, np.full((8000, 2), [0.5, 0.1], np.float32), 8000)
    samples = decode_plain(file.read_bytes())
    assert len(samples) == SAMPLE_RATE_HZ
    assert samples[4000:12000] == pytest.approx(0.3, abs=1e-2)


def test_padded_groups_hold_every_index_once_within_the_bound() -> None:
    durations_s = [3.0, 9.5, 2.0, 9.0, 70.0, 2.5]
    groups = padded_groups(durations_s, 20.0)
    assert sorted(index for group in groups for index in group) == list(range(6))
    for group in groups:
        assert len(group) == 1 or len(group) * max(durations_s[i] for i in group) <= 20.0

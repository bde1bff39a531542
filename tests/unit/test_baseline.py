"""A baseline survives its file, says what is best, and knows another machine."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ray_asr.control.baseline import (
    SCHEMA_VERSION,
    Baseline,
    Entry,
    Hardware,
    Models,
    Sample,
    load_baseline,
)
from ray_asr.errors import ConfigError

HARDWARE = Hardware("A CPU", 1, 8, 31.2, ("A GPU",))
MODELS = Models("paraformer-zh", "master", "fsmn-vad", "ct-punc")


def entry(**changes: Any) -> Entry:
    plain = Entry(1, 2, 30.0, "fp32", "fused", False, 20.0, 19.0, 21.0, 3, 360.0, 91.0)
    return dataclasses.replace(plain, **changes)


def baseline(*entries: Entry, overhead_s: float = 0.0) -> Baseline:
    versions = {"torch": "2.13.0", "ray": "2.60.0"}
    sample = Sample(360.0, 50)
    return Baseline("2026-11-23 10:00 UTC", HARDWARE, MODELS, versions, sample, entries, overhead_s)


def test_the_fastest_of_those_on_the_longest_sample_is_the_best() -> None:
    fast = entry(actors=3, x_real_time=25.0)
    short = entry(actors=4, x_real_time=40.0, sample_s=180.0)
    failed = entry(actors=8, x_real_time=90.0, error="out of memory")
    assert baseline(entry(), short, fast, failed).best() == fast


def test_a_baseline_of_failures_has_no_best() -> None:
    with pytest.raises(ConfigError, match="run `ray-asr tune` again"):
        baseline(entry(error="out of memory", x_real_time=0.0)).best()


def test_curves_vary_one_thing_around_the_best() -> None:
    found = baseline(
        entry(actors=2, x_real_time=30.0),
        entry(actors=1, x_real_time=16.0),
        entry(actors=1, x_real_time=99.0, error="died"),
        entry(actors=10, x_real_time=21.0),
        entry(actors=2, batch_size_s=60.0, x_real_time=29.0),
        entry(actors=3, precision="int8", x_real_time=28.0),
    )
    assert found.curve_of_actors() == [(1, 16.0), (2, 30.0), (10, 21.0)]
    assert found.curve_of_batch() == [(30.0, 30.0), (60.0, 29.0)]


def test_a_long_job_is_faster_than_a_sample_by_what_a_run_takes_beside_its_audio() -> None:
    one = entry(x_real_time=20.0, sample_s=360.0)  # 18 s
    assert baseline(one, overhead_s=2.0).steady_best() == pytest.approx(360 / 16)
    assert baseline(one).steady_best() == 20.0
    assert baseline(one, overhead_s=60.0).steady_best() == pytest.approx(40.0)


def test_the_file_gives_back_what_was_saved(tmp_path: Path) -> None:
    saved = baseline(
        entry(is_default=True, start_s=7.5), entry(gpu_percent=55.5, load_s=None), overhead_s=1.25
    )
    path = tmp_path / "new" / "baseline.json"
    saved.save(path)
    assert load_baseline(path) == saved
    tree = json.loads(path.read_text(encoding="utf-8"))
    assert tree["curve"]["actors"] == [[2, 20.0]]
    assert [file.name for file in path.parent.iterdir()] == ["baseline.json"]


ENTRIES = st.builds(
    Entry,
    ncpu=st.integers(1, 64),
    actors=st.integers(1, 512),
    batch_size_s=st.floats(1.0, 1200.0),
    precision=st.sampled_from(["fp32", "int8", "bf16"]),
    stages=st.sampled_from(["fused", "split"]),
    is_default=st.booleans(),
    x_real_time=st.floats(0.0, 1e5),
    sample_s=st.floats(0.0, 1e5),
    cpu_percent=st.none() | st.floats(0.0, 100.0),
    gpu_percent=st.none() | st.floats(0.0, 100.0),
    error=st.text(max_size=20),
)


def test_a_file_from_before_a_figure_was_kept_is_read(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    baseline(entry(start_s=7.5), overhead_s=1.25).save(path)
    tree = json.loads(path.read_text(encoding="utf-8"))
    del tree["overhead_s"], tree["entries"][0]["start_s"]
    path.write_text(json.dumps(tree), encoding="utf-8")
    found = load_baseline(path)
    assert (found.overhead_s, found.entries[0].start_s) == (0.0, None)


@given(st.lists(ENTRIES, max_size=8))
def test_any_baseline_survives_its_file(
    tmp_path_factory: pytest.TempPathFactory, entries: list[Entry]
) -> None:
    path = tmp_path_factory.getbasetemp() / "any.json"
    saved = baseline(*entries)
    saved.save(path)
    assert load_baseline(path) == saved


def test_a_failed_write_leaves_the_old_file_and_nothing_else(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "baseline.json"
    baseline(entry()).save(path)
    before = path.read_bytes()

    def full(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(ConfigError, match="No space left"):
        baseline(entry(actors=7)).save(path)
    assert path.read_bytes() == before
    assert [file.name for file in tmp_path.iterdir()] == ["baseline.json"]


def test_a_missing_file_says_how_to_get_one(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot be read .*ray-asr tune"):
        load_baseline(tmp_path / "none.json")


def damaged(**changes: Any) -> str:
    return json.dumps({**baseline(entry()).to_dict(), **changes})


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        '"text"',
        "{}",
        damaged(entries=None),
        damaged(entries=[{"ncpu": 1}]),
        damaged(entries=[{**dataclasses.asdict(entry()), "actors": "two"}]),
        damaged(entries=[{**dataclasses.asdict(entry()), "actors": True}]),
        damaged(hardware="a machine"),
        damaged(schema_version=None),
        damaged(schema_version="1"),
        damaged(versions=3),
    ],
)
def test_a_damaged_file_is_one_sentence(tmp_path: Path, text: str) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(ConfigError, match="damaged"):
        load_baseline(path)


def test_bytes_that_are_no_text_are_damaged(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ConfigError, match="damaged"):
        load_baseline(path)


def test_a_newer_version_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "baseline.json"
    path.write_text(damaged(schema_version=SCHEMA_VERSION + 1), encoding="utf-8")
    with pytest.raises(ConfigError, match="use a newer ray_asr"):
        load_baseline(path)


def test_the_same_machine_and_model_match() -> None:
    nearly = dataclasses.replace(HARDWARE, memory_gb=30.9)
    assert baseline().matches(nearly, MODELS) == []


@pytest.mark.parametrize(
    ("what", "changes", "phrase"),
    [
        ("hardware", {"cpu": "Another"}, "the CPU is Another, measured with A CPU"),
        ("hardware", {"cores": 4}, "the number of cores is 4, measured with 8"),
        ("hardware", {"nodes": 3}, "the number of nodes is 3, measured with 1"),
        ("hardware", {"gpus": ()}, "the GPU is none, measured with A GPU"),
        ("hardware", {"memory_gb": 16.0}, "memory is 16.0 GB a node, measured with 31.2"),
        ("models", {"model": "iic/SenseVoiceSmall"}, "the model is iic/SenseVoiceSmall"),
        ("models", {"revision": "v2"}, "the model's revision is v2"),
        ("models", {"punc_model": ""}, "the punctuation model is none"),
        ("models", {"spk_model": "cam++"}, "the speaker model is cam++, measured with none"),
    ],
)
def test_what_differs_is_said(what: str, changes: dict[str, Any], phrase: str) -> None:
    now = {"hardware": HARDWARE, "models": MODELS}
    now[what] = dataclasses.replace(now[what], **changes)  # type: ignore[type-var]
    (found,) = baseline().matches(now["hardware"], now["models"])  # type: ignore[arg-type]
    assert phrase in found

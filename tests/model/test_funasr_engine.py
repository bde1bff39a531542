"""The FunASR engine on the embedded models: positions, texts, threads, and FunASR's own answers."""

from __future__ import annotations

import json
import logging
import os
import random
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

from ray_asr.config import EngineConfig
from ray_asr.corpus.audio import decode
from ray_asr.demo import model_folder, speech_folder
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.threads import thread_environment
from ray_asr.errors import ConfigError, EngineFatalError
from ray_asr.job.worker import TranscribeWorker
from ray_asr.schema import Provenance, Waveform
from tests.fakes import decoded_rows

DEMO = EngineConfig(model="demo", vad_model="demo", punc_model="demo", ncpu=1, precision="fp32")


@pytest.fixture(scope="module")
def engine() -> FunASREngine:
    loaded = FunASREngine(DEMO)
    loaded.load()
    return loaded


@pytest.fixture(scope="module")
def recordings(embedded_speech: list[dict[str, str]]) -> dict[str, Waveform]:
    return {
        item["audio_filepath"]: decode((speech_folder() / item["audio_filepath"]).read_bytes())
        for item in embedded_speech
    }


def segments(engine: FunASREngine, waveform: Waveform) -> list[Waveform]:
    (spans,) = engine.detect_speech([waveform])
    return [waveform[s.start_ms * 16 : s.end_ms * 16] for s in spans]


def test_batched_and_one_at_a_time_give_the_same_text_for_every_embedded_utterance(
    engine: FunASREngine, recordings: dict[str, Waveform]
) -> None:
    pieces = [piece for wave in recordings.values() for piece in segments(engine, wave)]
    pieces.sort(key=len)
    batched = [r for i in range(0, len(pieces), 16) for r in engine.recognize(pieces[i : i + 16])]
    alone = [engine.recognize([piece])[0] for piece in pieces]
    assert len(batched) == len(pieces)
    assert [r.text for r in batched] == [r.text for r in alone]


def test_the_job_says_what_auto_model_generate_says(
    engine: FunASREngine, recordings: dict[str, Waveform]
) -> None:
    """Every embedded recording through FunASR's own `generate` with the three models.

    Where `generate` drops a row or blanks it, the job must have a row all the same.
    """
    from funasr import AutoModel

    auto = AutoModel(
        model=str(model_folder("model")),
        vad_model=str(model_folder("vad_model")),
        vad_kwargs={"max_single_segment_time": DEMO.max_single_segment_time},
        punc_model=str(model_folder("punc_model")),
        device="cpu", ncpu=1, disable_update=True, disable_pbar=True,
    )  # fmt: skip
    worker = TranscribeWorker(lambda: engine, 60.0, "en", Provenance("demo", "1", "0"))
    different, dropped = [], []
    for name, waveform in recordings.items():
        theirs = auto.generate(input=[waveform], disable_pbar=True)
        ours = worker.transcribe(decoded_rows({name: waveform}))[0]
        if not theirs or not theirs[0].get("text", "").strip():
            dropped.append((name, ours.status))
        elif theirs[0]["text"].split() != ours.text.split():
            different.append((name, theirs[0]["text"], ours.text))
    assert different == []
    assert len(dropped) <= 5, dropped


def test_silent_batch_keeps_one_recognition_per_waveform(engine: FunASREngine) -> None:
    silent = [np.zeros(16_000, np.float32), np.zeros(0, np.float32), np.zeros(8_000, np.float32)]
    assert len(engine.recognize(silent)) == 3
    assert engine.detect_speech(silent) == [[], [], []]


def test_a_waveform_of_any_small_length_is_taken(engine: FunASREngine) -> None:
    lengths = [1, 100, 399, 400, 401, 560, 1000, 1600]
    noise = np.random.default_rng(0).normal(0, 0.1, 1600).astype(np.float32)
    assert len(engine.recognize([noise[:length] for length in lengths])) == len(lengths)
    for length in lengths:
        engine.detect_speech([noise[:length]])


def test_the_same_audio_gives_the_same_text_every_time(
    engine: FunASREngine, recordings: dict[str, Waveform]
) -> None:
    waveform = max(recordings.values(), key=len)[: 16_000 * 20]
    first = engine.recognize(segments(engine, waveform))
    assert engine.recognize(segments(engine, waveform)) == first


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        ("CUDA error: an illegal memory access was encountered\nmore", EngineFatalError),
        ("CUDA error: device-side assert triggered", EngineFatalError),
        ("mat1 and mat2 shapes cannot be multiplied", RuntimeError),
    ],
)
def test_a_dead_device_is_no_rows_fault(said: str, expected: type[Exception]) -> None:
    def inference(**_: object) -> None:
        raise RuntimeError(said)

    broken = FunASREngine(DEMO)
    broken._asr = SimpleNamespace(kwargs={}, model=SimpleNamespace(inference=inference))
    with pytest.raises(expected) as caught:
        broken.recognize([np.zeros(16_000, np.float32)])
    assert caught.type is expected


def test_punctuation_keeps_positions_and_fetches_nothing(
    engine: FunASREngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("socket.socket.connect", _refuse)
    texts = ["", "thank you for calling", "http://example.com/a", str(model_folder("model")), " "]
    punctuated = engine.punctuate(texts)
    assert len(punctuated) == len(texts)
    assert punctuated[0] == punctuated[4] == ""
    letters = "".join(c for c in punctuated[1].lower() if c.isalpha())
    assert letters == "thankyouforcalling"


def _refuse(*_: object) -> None:
    raise AssertionError("a model tried to open a connection")


def test_loading_leaves_logging_and_random_state_alone() -> None:
    random.seed(5)
    np.random.seed(5)
    expected = random.Random(5).random(), np.random.RandomState(5).random_sample()
    root = logging.getLogger()
    before = root.level, list(root.handlers), logging.root.manager.disable
    FunASREngine(DEMO).load()
    assert (root.level, list(root.handlers), logging.root.manager.disable) == before
    assert (random.random(), np.random.random_sample()) == expected


@pytest.mark.parametrize("missing", ["config.yaml", "model.pt"])
def test_a_model_folder_without_its_files_is_refused(tmp_path: Path, missing: str) -> None:
    for file in model_folder("model").iterdir():
        if file.name != missing:
            (tmp_path / file.name).write_bytes(file.read_bytes())
    config = EngineConfig(model=str(tmp_path), vad_model="", punc_model="", ncpu=1)
    with pytest.raises(ConfigError, match=missing):
        FunASREngine(config).load()


def test_incomplete_weights_are_an_error(tmp_path: Path) -> None:
    import torch

    for file in model_folder("model").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    weights = torch.load(tmp_path / "model.pt")
    weights.pop("decoder.output_layer.weight")
    torch.save(weights, tmp_path / "model.pt")
    config = EngineConfig(model=str(tmp_path), vad_model="", punc_model="", ncpu=1)
    with pytest.raises(EngineFatalError, match=r"decoder\.output_layer\.weight"):
        FunASREngine(config).load()


@pytest.mark.parametrize("damage", ["empty", "text", "zeros", "cut"])
def test_damaged_weights_are_an_error(tmp_path: Path, damage: str) -> None:
    for file in model_folder("model").iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    whole = (tmp_path / "model.pt").read_bytes()
    damaged = {"empty": b"", "text": b"these are no weights", "zeros": bytes(5000)}
    (tmp_path / "model.pt").write_bytes(damaged.get(damage, whole[: len(whole) // 2]))
    config = EngineConfig(model=str(tmp_path), vad_model="", punc_model="", ncpu=1)
    with pytest.raises(EngineFatalError, match=r"engine\.model: .* does not load \(.+\)"):
        FunASREngine(config).load()


def test_a_missing_cuda_device_is_an_error_not_a_slow_cpu() -> None:
    import torch

    if torch.cuda.is_available():
        pytest.skip("this machine has a CUDA device")
    config = EngineConfig(model="demo", vad_model="", punc_model="", device="cuda", ncpu=1)
    with pytest.raises(EngineFatalError, match="no CUDA device"):
        FunASREngine(config).load()


_COUNT_THREADS = """
import json, os, sys, time
import numpy as np
from ray_asr.config import EngineConfig
from ray_asr.engine.funasr_engine import FunASREngine

def spent():
    ticks = {}
    for task in os.listdir("/proc/self/task"):
        fields = open(f"/proc/self/task/{task}/stat").read().rpartition(")")[2].split()
        ticks[task] = int(fields[11]) + int(fields[12])
    return ticks

engine = FunASREngine(EngineConfig(model="demo", vad_model="demo", punc_model="demo",
                                   ncpu=int(sys.argv[1])))
engine.load()
noise = np.random.default_rng(0).normal(0, 0.1, 16000 * 8).astype(np.float32)
engine.recognize([noise] * 8)
before, cpu, wall = spent(), time.process_time(), time.monotonic()
while time.process_time() - cpu < 4.0:
    engine.recognize([noise] * 8)
    engine.detect_speech([noise])
    engine.punctuate(["please enter your password"])
ratio = (time.process_time() - cpu) / (time.monotonic() - wall)
busy = sum(ticks - before.get(task, 0) >= 10 for task, ticks in spent().items())
print(json.dumps({"busy": busy, "cores": ratio}))
"""


@pytest.mark.parametrize("ncpu", [1, 2])
def test_an_engine_keeps_to_its_cores(ncpu: int) -> None:
    """Compute threads by /proc, and CPU seconds over wall seconds, in a process of its own."""
    result = subprocess.run(
        [sys.executable, "-c", _COUNT_THREADS, str(ncpu)],
        env={**os.environ, **thread_environment(ncpu)},
        capture_output=True, text=True, timeout=280, check=True,
    )  # fmt: skip
    measured = json.loads(result.stdout.splitlines()[-1])
    assert measured["busy"] <= ncpu, measured
    assert measured["cores"] <= ncpu + 0.1, measured

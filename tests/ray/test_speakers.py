"""A job that tells speakers apart: the same rows from one pool and from three."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.dataset as ds
import pytest

from ray_asr.config import Config, with_settings
from ray_asr.corpus.audio import decode
from ray_asr.demo import speech_folder
from ray_asr.job.pipeline import transcribe_path
from ray_asr.job.verify import verify
from tests.fakes import wav_bytes, write_input
from tests.model.random_models import random_speaker_model

pytestmark = pytest.mark.usefixtures("ray_local")


@pytest.fixture(scope="module")
def spoken(embedded_speech: list[dict[str, str]]) -> bytes:
    """Prompts, the second half of them with an echo, as in another room."""
    waveforms = [
        decode((speech_folder() / item["audio_filepath"]).read_bytes())
        for item in embedded_speech[:12]
    ]
    far = [(waveform + np.roll(waveform, 8)) / 2 for waveform in waveforms[6:]]
    return wav_bytes(np.concatenate([*waveforms[:6], *far]))


@pytest.mark.long
def test_speakers_and_sentences_come_out_of_a_job(tmp_path: Path, spoken: bytes) -> None:
    (tmp_path / "spk").mkdir()
    models = {
        "model": "demo", "vad_model": "demo", "punc_model": "demo", "precision": "fp32", "ncpu": 1,
        "num_actors": 1, "spk_model": random_speaker_model(tmp_path / "spk"), "preset_spk_num": 2,
    }  # fmt: skip
    short = wav_bytes(np.zeros(8000, np.float32))
    emotions = pa.array(["calm", "none"])
    write_input(tmp_path / "in" / "a.parquet", [spoken, short], emotion=emotions)
    found = {}
    for stages in ("fused", "split"):
        output = tmp_path / stages
        config = with_settings(Config(), {**models, "stages": stages})
        transcribe_path(str(tmp_path / "in"), str(output), config)
        assert verify(str(output), str(tmp_path / "in")).proven
        rows = ds.dataset(output, format="parquet").to_table().sort_by("utterance_id")
        found[stages] = rows.drop_columns(["config_fingerprint"]).to_pylist()
    assert found["fused"] == found["split"]
    said, silent = found["fused"]
    assert {segment["speaker"] for segment in said["segments"]} == {"0", "1"}
    assert all(segment["text"][-1] in ",.?" for segment in said["segments"])
    assert " ".join(s["text"] for s in said["segments"]).split() == said["text"].split()
    assert (silent["status"], silent["segments"]) == ("no_speech", [])
    assert [(row["emotion"], row["input_emotion"]) for row in (said, silent)] == [
        ("", "calm"),
        ("", "none"),
    ]

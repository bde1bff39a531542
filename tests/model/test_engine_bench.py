"""The engine's benchmark on the embedded model, and the untrained model's folder."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ray_asr.engine.bench import main, recognize_encoded
from ray_asr.engine.bench_audio import decode_plain, utterances
from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.untrained import architecture, build_untrained, vocabulary
from ray_asr.schema import Recognition

TINY: dict[str, Any] = {
    "encoder_blocks": 2,
    "decoder_blocks": 1,
    "width": 32,
    "linear_units": 64,
    "vocabulary_size": 200,
}
# Ray cannot be imported in this process.
WITHOUT_RAY = (
    "import sys; sys.modules['ray'] = None; "
    "from ray_asr.engine.bench import main; sys.exit(main(sys.argv[1:]))"
)


def test_published_architecture_has_220_million_parameters() -> None:
    from funasr.models.paraformer.model import Paraformer

    config = architecture()
    parts = {
        name: config[name]
        for kind in ("encoder", "decoder", "predictor")
        for name in (kind, f"{kind}_conf")
    }
    with torch.device("meta"):
        model = Paraformer(input_size=560, vocab_size=8404, **config["model_conf"], **parts)
    assert sum(p.numel() for p in model.parameters()) == pytest.approx(220e6, rel=0.005)


def test_vocabulary_has_the_published_order() -> None:
    tokens = vocabulary()
    assert len(tokens) == len(set(tokens)) == 8404
    assert tokens[:3] == ["<blank>", "<s>", "</s>"]
    assert tokens[-1] == "<unk>"
    assert any(token.endswith("@@") for token in tokens)


def test_untrained_model_recognizes_about_as_many_tokens_as_asked(tmp_path: Path) -> None:
    folder = build_untrained(tmp_path / "tiny", tokens_per_s=4.0, **TINY)
    auto = load_auto_model(str(folder), "model", device="cpu", ncpu=1)
    seconds = 20
    noise = np.random.default_rng(0).normal(0, 0.1, seconds * 16000).astype(np.float32)
    result = auto.generate(input=noise, output_timestamp=True)[0]
    assert result["text"]
    letters = len("".join(result["text"].split()))
    assert 3.0 * seconds < letters < 6.0 * seconds  # a token has one character, or two letters


def test_untrained_model_is_the_same_for_a_seed(tmp_path: Path) -> None:
    states = [
        torch.load(build_untrained(tmp_path / name, seed=3, **TINY) / "model.pt")
        for name in ("one", "two")
    ]
    assert all(torch.equal(states[0][name], states[1][name]) for name in states[0])


def test_texts_come_back_in_the_order_of_the_audio() -> None:
    class LengthEngine:
        """Says how long each waveform is."""

        def recognize_all(self, batches: Any) -> Any:
            for batch in batches:
                yield lambda batch=batch: [Recognition(str(len(w))) for w in batch]

    encoded, _ = utterances(decode_plain, 60.0)
    texts = recognize_encoded(LengthEngine(), encoded, 20.0, decoders=2)  # type: ignore[arg-type]
    assert texts == [str(len(decode_plain(data))) for data in encoded]


@pytest.mark.long
def test_engine_alone_is_measured_without_ray(tmp_path: Path) -> None:
    json_file = tmp_path / "bench.json"
    arguments = ["--model", "demo", "--minutes", "0.1", "--repeat", "2", "--ncpu", "1"]
    run = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_RAY, *arguments, "--json", str(json_file)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stderr
    result = json.loads(json_file.read_text())
    assert set(result["cases"]) == {"engine", "bare", "generate"}
    for case in result["cases"].values():
        assert len(case["repetitions"]) == 2
        assert case["least"] <= case["x_real_time"] <= case["most"]


def test_bad_options_end_with_exit_code_2(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--model", "demo", "--cases", "nothing"]) == 2
    assert main(["--model", "demo", "--repeat", "0"]) == 2
    assert "there is no case nothing" in capsys.readouterr().err

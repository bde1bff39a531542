"""Classes that FunASR's own `inference` computes: what reaches them, and what comes of it."""

from __future__ import annotations

import importlib.util
import itertools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ray_asr.config import EngineConfig
from ray_asr.engine.forced_alignment import forced_align
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.generic import recognitions, words_of_pieces
from ray_asr.engine.loading import check_model
from ray_asr.engine.model_trust import concerns
from ray_asr.errors import ConfigError
from ray_asr.schema import Recognition, Waveform, Word
from tests.model.random_llm import nano, qwen3_asr


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(nano(tmp_path_factory.mktemp("nano")))


@pytest.fixture(scope="module")
def waveforms() -> list[Waveform]:
    random = np.random.default_rng(3)
    lengths = [48_000, 9_000, 200, 16_000]
    return [(0.1 * random.standard_normal(n)).astype(np.float32) for n in lengths]


def engine_of(folder: Path, **settings: Any) -> FunASREngine:
    config = EngineConfig(model=str(folder), vad_model="", punc_model="", ncpu=1)
    engine = FunASREngine(replace(config, **settings))
    engine.load()
    return engine


def theirs(folder: Path, waveform: Waveform, **options: Any) -> dict[str, Any]:
    """What `AutoModel.generate` says, with FunASR's own names of what is asked for."""
    from funasr import AutoModel

    if not hasattr(theirs, "model") or theirs.folder != folder:  # type: ignore[attr-defined]
        theirs.folder = folder  # type: ignore[attr-defined]
        theirs.model = AutoModel(  # type: ignore[attr-defined]
            model=str(folder), device="cpu", disable_update=True, disable_pbar=True
        )
        theirs.model.kwargs["frontend"].dither = 0.0  # type: ignore[attr-defined]
    torch.set_num_threads(1)
    model = theirs.model  # type: ignore[attr-defined]
    return model.generate(torch.from_numpy(waveform), batch_size=1, **options)[0]


def texts(found: list[Recognition]) -> list[str]:
    return [recognition.text for recognition in found]


def test_a_batch_of_fun_asr_says_what_funasr_says_of_each(
    folder: Path, waveforms: list[Waveform]
) -> None:
    found = texts(engine_of(folder).recognize(waveforms))
    assert len({*found}) > 2
    assert found[2] == ""  # too short to hold a word
    for waveform, text in zip(waveforms, found, strict=True):
        if len(waveform) > 400:
            assert text == theirs(folder, waveform)["text"].strip()


def test_hotwords_language_and_itn_reach_the_prompt_of_fun_asr(
    folder: Path, waveforms: list[Waveform]
) -> None:
    plain = texts(engine_of(folder).recognize(waveforms))
    for settings, options in (
        ({"hotword": "魔搭 阿里巴巴"}, {"hotwords": ["魔搭", "阿里巴巴"]}),
        ({"hotword": "machine learning\nray\n"}, {"hotwords": ["machine learning", "ray"]}),
        ({"language": "en"}, {"language": "英文"}),
        ({"language": "中文"}, {"language": "中文"}),
        ({"funasr_options": {"itn": False}}, {"itn": False}),
    ):
        found = texts(engine_of(folder, **settings).recognize(waveforms))
        assert found != plain, settings
        assert found[0] == theirs(folder, waveforms[0], **options)["text"].strip()


def test_no_language_is_no_part_of_the_prompt(folder: Path, waveforms: list[Waveform]) -> None:
    plain = texts(engine_of(folder).recognize(waveforms[:1]))
    assert texts(engine_of(folder, language="auto").recognize(waveforms[:1])) == plain


@pytest.fixture(scope="module")
def timed_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return Path(nano(tmp_path_factory.mktemp("timed"), with_times=True))


def test_fun_asr_with_times_gives_the_same_texts_one_by_one(
    timed_folder: Path, waveforms: list[Waveform]
) -> None:
    engine = engine_of(timed_folder)
    assert engine._asr.model.ctc_decoder is not None
    found = engine.recognize(waveforms)
    assert found == [engine.recognize([waveform])[0] for waveform in waveforms]
    assert found[0].words
    for waveform, recognition in zip(waveforms, found, strict=True):
        if recognition.words:  # as many tokens as frames, or fewer
            assert [word.text for word in recognition.words] == recognition.text.split()
            times = [time for word in recognition.words for time in (word.start_ms, word.end_ms)]
            assert times == sorted(times)
            assert 0 <= times[0] < times[-1] <= len(waveform) // 16 + 60  # a frame
    without = engine_of(timed_folder, funasr_options={"ctc_decoder": None})
    assert without._asr.model.ctc_decoder is None
    assert texts(without.recognize(waveforms)) == texts(found)


def test_bf16_is_for_gpus_and_int8_for_no_language_model(folder: Path) -> None:
    with pytest.raises(ConfigError, match="this model class runs in fp32 only"):
        engine_of(folder, precision="int8")
    engine = engine_of(folder)
    assert engine.precision == "fp32"
    assert engine._asr_options["llm_dtype"] == "fp32"


# --- what a folder of them may ask for


def test_a_folder_of_fun_asr_asks_for_nothing_that_is_refused(
    folder: Path, timed_folder: Path
) -> None:
    for each in (folder, timed_folder):
        assert concerns(each, {}) == []
        check_model(EngineConfig(model=str(each)), "model")


def changed(folder: Path, to: Path, file: str, **settings: Any) -> Path:
    copy = Path(shutil.copytree(folder, to / "changed"))
    path = copy / file
    found = json.loads(path.read_text())
    path.write_text(json.dumps({**found, **settings}))
    return copy


@pytest.mark.parametrize(
    ("file", "settings", "said"),
    [
        ("config.json", {"auto_map": {"AutoConfig": "own.Own"}}, "asks for code of its own"),
        ("tokenizer_config.json", {"auto_map": {"AutoTokenizer": ["own.Own", None]}}, "auto_map"),
        ("config.json", {"model_type": "rag"}, "of a kind that may load others' code (rag)"),
        ("config.json", {"attn_implementation": "some/kernel"}, "asks for code of a hub"),
    ],
)
def test_code_beside_a_language_model_is_refused(
    folder: Path, tmp_path: Path, file: str, settings: dict[str, Any], said: str
) -> None:
    copy = changed(folder, tmp_path, f"Qwen3-tiny/{file}", **settings)
    with pytest.raises(ConfigError) as refused:
        check_model(EngineConfig(model=str(copy)), "model")
    assert said in str(refused.value)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("llm_conf: {load_kwargs: {trust_remote_code: true}}", "trust_remote_code"),
        ("llm_conf: {load_kwargs: {attn_implementation: a/b}}", "gives transformers what may be"),
        ("llm_conf: {init_param_path: someone/model}", "names a model that is not in its folder"),
        ("audio_encoder_conf: {hub: ms}", "names a further model (audio_encoder"),
        ("ctc_tokenizer_conf: {vocab_path: /etc/hostname}", "points out of the folder"),
    ],
)
def test_a_configuration_that_gives_transformers_more_is_refused(
    folder: Path, tmp_path: Path, line: str, said: str
) -> None:
    import yaml

    copy = Path(shutil.copytree(folder, tmp_path / "changed"))
    (copy / "configuration.json").unlink()
    config = yaml.safe_load((copy / "config.yaml").read_text())
    for name, value in yaml.safe_load(line).items():
        config[name] = {**config.get(name, {}), **value}
    (copy / "config.yaml").write_text(yaml.safe_dump(config))
    assert any(said in concern.what for concern in concerns(copy, {})), concerns(copy, {})


def test_an_adapter_and_pickles_beside_qwen_are_refused(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_asr"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    assert concerns(tmp_path, {}) == []
    (tmp_path / "adapter_config.json").write_text('{"base_model_name_or_path": "a/b"}')
    torch.save({"a": Path("x")}, tmp_path / "pytorch_model.bin")
    found = [concern.what for concern in concerns(tmp_path, {})]
    assert any("names a further model" in what for what in found)
    assert any("holds more than weights" in what for what in found)


@pytest.mark.skipif(importlib.util.find_spec("qwen_asr") is None, reason="without qwen-asr")
def test_qwen3_asr_says_what_funasr_says_and_is_told_what_is_asked(
    tmp_path: Path, waveforms: list[Waveform]
) -> None:
    from funasr import AutoModel

    folder = Path(qwen3_asr(tmp_path))
    # Together, what is shorter is heard with padding behind it, and its text may be another.
    options = {"max_new_tokens": 24, "max_inference_batch_size": 1}
    assert concerns(folder, {}) == []
    auto = AutoModel(
        model="Qwen3ASR", model_path=str(folder), model_conf={}, device="cpu", dtype="fp32",
        disable_update=True, disable_pbar=True, **options,
    )  # fmt: skip
    plain: list[str] = []
    for settings, given in (
        ({}, {}),
        ({"hotword": "魔搭 ray"}, {"context": "魔搭 ray"}),
        ({"language": "zh"}, {"language": "Chinese"}),
    ):
        engine = engine_of(folder, funasr_options=options, **settings)
        assert engine.precision == "fp32"
        assert engine.parameters > 10_000
        found = engine.recognize(waveforms)
        assert found[2].text == ""
        for waveform, recognition in zip(waveforms, found, strict=True):
            if len(waveform) > 400:
                alone = auto.generate(torch.from_numpy(waveform), **given)[0]
                assert recognition.text == alone["text"].strip()
                assert recognition.language == alone.get("language", "")
        assert texts(found) != plain
        plain = plain or texts(found)
    together = engine_of(folder, funasr_options={"max_new_tokens": 24})
    sounds = [waveforms[i] for i in (0, 1, 3)]
    auto.model.qwen3_asr_model.max_inference_batch_size = 32
    expected = auto.generate([torch.from_numpy(sound) for sound in sounds], batch_size=3)
    assert texts(together.recognize(sounds)) == [one["text"].strip() for one in expected]


def test_qwen3_asr_without_its_package_names_it(tmp_path: Path) -> None:
    if importlib.util.find_spec("qwen_asr") is not None:
        pytest.skip("it is there")
    (tmp_path / "config.json").write_text('{"model_type": "qwen3_asr"}')
    (tmp_path / "model.safetensors").write_bytes(b"")
    with pytest.raises(ConfigError, match=r"needs a package that is not there \(qwen-asr package"):
        engine_of(tmp_path)


# --- times


def test_pieces_of_a_text_become_its_words() -> None:
    def piece(token: str, start_s: float, end_s: float) -> dict[str, Any]:
        return {"token": token, "start_time": start_s, "end_time": end_s}

    pieces = [
        piece("ma", 0.06, 0.12), piece("chine", 0.12, 0.30), piece(" learn", 0.36, 0.42),
        piece("ing", 0.42, 0.60), piece(",", 0.60, 0.66), piece("你", 0.72, 0.78),
        piece("好", 0.84, 0.90), piece("。", 0.90, 0.96), piece("o", 0.96, 1.02),
        piece("k", 1.02, 1.08),
    ]  # fmt: skip
    assert words_of_pieces(pieces) == (
        Word("machine", 60, 300), Word("learning", 360, 600), Word("你", 720, 780),
        Word("好", 840, 900), Word("ok", 960, 1080),
    )  # fmt: skip
    assert words_of_pieces([piece("\ufffd", 0.0, 0.1)]) == ()


def test_what_a_model_leaves_out_is_an_empty_text_at_its_place() -> None:
    results = [{"key": "2", "text": "b", "language": "English"}, {"key": "0", "text": " a"}]
    found = recognitions(results, ["0", "1", "2"])
    assert texts(found) == ["a", "", "b"]
    assert found[2].language == "English"


def best_by_hand(scores: np.ndarray, tokens: list[int], blank: int) -> float:
    """The score of the best of all paths that say the tokens."""
    best = -np.inf
    for path in itertools.product(range(scores.shape[1]), repeat=len(scores)):
        said = [token for token, _ in itertools.groupby(path) if token != blank]
        if said == tokens:
            best = max(best, sum(scores[t, token] for t, token in enumerate(path)))
    return best


@pytest.mark.parametrize("tokens", [[1], [1, 2], [1, 1], [2, 1, 2], [1, 2, 2]])
def test_the_alignment_is_the_best_of_all_paths(tokens: list[int]) -> None:
    random = np.random.default_rng(len(tokens))
    for frames in (4, 6):
        scores = np.log(random.dirichlet(np.ones(3), frames))
        found = forced_align(torch.from_numpy(scores), torch.tensor(tokens), blank=0)
        assert [item["token"] for item in found] == tokens
        path = np.zeros(frames, int)
        for item in found:
            path[item["start_time"] : item["end_time"]] = item["token"]
        score = sum(scores[t, token] for t, token in enumerate(path))
        assert score == pytest.approx(best_by_hand(scores, tokens, 0), rel=1e-5)


def test_tokens_that_do_not_fit_the_frames_have_no_times() -> None:
    scores = torch.log(torch.full((2, 3), 1 / 3))
    assert forced_align(scores, torch.tensor([1, 1])) == []
    assert forced_align(scores, torch.tensor([1, 2, 1])) == []
    assert forced_align(scores, torch.tensor([], dtype=torch.int64)) == []
    assert forced_align(scores, torch.tensor([7])) == []

"""A model's folder that could do more than be a model is refused, unless it is trusted."""

from __future__ import annotations

import json
import logging
import os
import pickle
import re
import shutil
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ray_asr import cli
from ray_asr.config import Config, EngineConfig, with_settings
from ray_asr.demo import model_folder
from ray_asr.engine import fetching
from ray_asr.engine.loading import check_model, load_auto_model
from ray_asr.engine.model_trust import concerns
from ray_asr.errors import ConfigError, EngineFatalError
from tests.unit.test_checkpoints import Runs
from tests.unit.test_yaml_text import LAUGHS


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return Path(shutil.copytree(model_folder("model"), tmp_path / "model"))


def with_config(folder: Path, text: str) -> None:
    file = folder / "config.yaml"
    file.write_text(f"{file.read_text(encoding='utf-8')}\n{text}\n", encoding="utf-8")


def without(folder: Path, key: str) -> None:
    file = folder / "config.yaml"
    settings = yaml.safe_load(file.read_text(encoding="utf-8"))
    settings.pop(key)
    file.write_text(yaml.safe_dump(settings), encoding="utf-8")


def code(file: Path, ran: Path) -> None:
    """A module that leaves a mark when it is imported, under a name that no other test has."""
    file.write_text(f"import os\nos.makedirs({str(ran)!r}, exist_ok=True)\n", encoding="utf-8")


def pickled_in_zip(folder: Path, ran: Path) -> None:
    weights = {"state_dict": torch.load(folder / "model.pt"), "more": Runs(os.mkdir, str(ran))}
    torch.save(weights, folder / "model.pt")


def pickled_in_the_older_form(folder: Path, ran: Path) -> None:
    weights = {"state_dict": torch.load(folder / "model.pt"), "more": Runs(os.mkdir, str(ran))}
    torch.save(weights, folder / "model.pt", _use_new_zipfile_serialization=False)


def pickled_by_hand(folder: Path, ran: Path) -> None:
    weights = {"state_dict": {}, "more": Runs(os.mkdir, str(ran))}
    (folder / "model.pt").write_bytes(pickle.dumps(weights))


def weights_of_another_name(folder: Path, ran: Path) -> None:
    pickled_in_zip(folder, ran)
    shutil.move(folder / "model.pt", folder / "weights.bin")
    metas = {"init_param": "weights.bin", "config": "config.yaml",
             "tokenizer_conf": {"token_list": "tokens.json", "seg_dict": "seg_dict"},
             "frontend_conf": {"cmvn_file": "am.mvn"}}  # fmt: skip
    (folder / "configuration.json").write_text(json.dumps({"file_path_metas": metas}))


def remote_code(folder: Path, ran: Path) -> None:
    code(folder / "own_code_a.py", ran)
    with_config(folder, "trust_remote_code: true\nremote_code: own_code_a.py")


def a_further_models_code(folder: Path, ran: Path) -> None:
    code(folder / "own_code_b.py", ran)
    shutil.copytree(model_folder("vad_model"), folder / "vad")
    further = {
        "vad_model": str(folder / "vad"),
        "vad_kwargs": {"trust_remote_code": True, "remote_code": "own_code_b.py"},
    }
    with_config(folder, yaml.safe_dump(further))


def a_further_models_pickle(folder: Path, ran: Path) -> None:
    shutil.copytree(model_folder("vad_model"), folder / "vad")
    pickled_in_zip(folder / "vad", ran)
    metas = {"init_param": "model.pt", "config": "config.yaml", "vad_model": "vad",
             "tokenizer_conf": {"token_list": "tokens.json", "seg_dict": "seg_dict"},
             "frontend_conf": {"cmvn_file": "am.mvn"}}  # fmt: skip
    (folder / "configuration.json").write_text(json.dumps({"file_path_metas": metas}))


RUN: list[tuple[Callable[[Path, Path], None], str]] = [
    (pickled_in_zip, r"model\.pt holds more than weights \(posix\.mkdir\)"),
    (pickled_in_the_older_form, r"model\.pt holds more than weights \(posix\.mkdir\)"),
    (pickled_by_hand, r"model\.pt holds more than weights \(posix\.mkdir\)"),
    (weights_of_another_name, r"weights\.bin holds more than weights \(posix\.mkdir\)"),
    (remote_code, r"config\.yaml asks for code of its own \(trust_remote_code: True\)"),
    (a_further_models_code, r"config\.yaml names a further model \(vad_model: "),
    (a_further_models_pickle, r"config\.yaml names a further model \(vad_model: "),
]


@pytest.mark.parametrize(("made", "said"), RUN)
def test_code_is_refused_before_anything_is_loaded(
    folder: Path, tmp_path: Path, made: Callable[[Path, Path], None], said: str
) -> None:
    made(folder, tmp_path / "ran")
    with pytest.raises(ConfigError, match=rf"^engine\.model: .*{said}.*--trust-model\.$"):
        load_auto_model(str(folder), "model", device="cpu", ncpu=1)
    with pytest.raises(ConfigError, match=said):  # and before a Ray is started
        check_model(EngineConfig(model=str(folder)), "model")
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("made", "said"), [one for one in RUN if one[0] is not a_further_models_pickle]
)
def test_a_trusted_model_may_and_what_it_may_is_said(
    folder: Path,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    made: Callable[[Path, Path], None],
    said: str,
) -> None:
    """Each of the folders does run its code where FunASR has its way: none is refused in vain."""
    made(folder, tmp_path / "ran")
    monkeypatch.setattr(sys, "path", list(sys.path))
    caplog.set_level(logging.WARNING)
    if made is pickled_by_hand:  # which holds no weights
        with pytest.raises(EngineFatalError, match="does not load"):
            load_auto_model(str(folder), "model", device="cpu", ncpu=1, trust=True)
    else:
        load_auto_model(str(folder), "model", device="cpu", ncpu=1, trust=True)
    said_of_it = [r.message for r in caplog.records if r.levelno == logging.WARNING]
    assert any("engine.trust_model" in line and re.search(said, line) for line in said_of_it)
    assert (tmp_path / "ran").exists()


def named_class(key: str, name: str) -> Callable[[Path], None]:
    def made(folder: Path) -> None:
        without(folder, key)
        with_config(folder, f"{key}: {name}")

    return made


def paths_out_of(key: str, path: str) -> Callable[[Path], None]:
    def made(folder: Path) -> None:
        with_config(folder, f"{key}: {path}")

    return made


def metas(**paths: str) -> Callable[[Path], None]:
    def made(folder: Path) -> None:
        (folder.parent / "outside.pt").write_bytes((folder / "model.pt").read_bytes())
        (folder.parent / "outside.yaml").write_bytes((folder / "config.yaml").read_bytes())
        files = {"token_list": "tokens.json", "seg_dict": "seg_dict", "cmvn_file": "am.mvn"}
        all_of_them = {"config": "config.yaml", "init_param": "model.pt", **files, **paths}
        text = json.dumps({"file_path_metas": all_of_them})
        (folder / "configuration.json").write_text(text)

    return made


def text_of(text: str) -> Callable[[Path], None]:
    return lambda folder: with_config(folder, text)


@pytest.mark.parametrize(
    ("made", "said"),
    [
        (named_class("model", "QwenAudioWarp"), r"others' code \(model: QwenAudioWarp\)"),
        (named_class("model", "GLMASR"), r"others' code \(model: GLMASR\)"),
        (named_class("encoder", "QwenAudioEncoder"), r"\(encoder: QwenAudioEncoder\)"),
        (named_class("tokenizer", "WhisperTokenizer"), r"\(tokenizer: WhisperTok"),
        (named_class("tokenizer", "CharTokenizer,WhisperTokenizer"), r"\(tokenizer: Whisper"),
        (named_class("frontend", "WhisperFrontend"), r"\(frontend: WhisperFrontend\)"),
        (text_of("model_conf2: {audio_encoder: iic/some-model}"), r"\(audio_encoder: iic/some-m"),
        (
            paths_out_of("init_param", "/etc/hostname"),
            r"points out of the folder \(init_param: /etc",
        ),
        (paths_out_of("jieba_usr_dict", "/etc/hostname"), r"\(jieba_usr_dict: /etc/hostname\)"),
        (text_of("normalize_conf: {stats_file: /etc/hostname}"), r"\(stats_file: /etc/hostname\)"),
        (
            metas(init_param="../outside.pt"),
            r"points out of the folder \(init_param: .*outside\.pt",
        ),
        (metas(config="../outside.yaml"), r"points out of the folder \(config: .*outside\.yaml"),
        (metas(cmvn_file="/etc/hostname"), r"points out of the folder \(cmvn_file: /etc/hostname"),
        (
            text_of("secret: ${oc.env:HOME}"),
            r"asks for what is not in it \(secret: \$\{oc\.env:HOME",
        ),
        (text_of(LAUGHS), r"config\.yaml cannot be read \(with its aliases written out"),
        (text_of("x: !!python/object/apply:os.system [true]"), r"config\.yaml cannot be read \("),
        (lambda folder: (folder / "config.yaml").unlink(), r"has no config\.yaml"),
    ],
)
def test_what_could_reach_other_code_or_files_is_refused(
    folder: Path, made: Callable[[Path], None], said: str
) -> None:
    made(folder)
    with pytest.raises(ConfigError, match=said):
        load_auto_model(str(folder), "model", device="cpu", ncpu=1)


def test_a_relative_path_starts_where_the_process_runs_and_is_refused_there(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with_config(folder, "init_param: others.pt")
    assert concerns(folder, {}) == []
    (tmp_path / "others.pt").write_bytes(b"")
    monkeypatch.chdir(tmp_path)
    assert [concern.kind for concern in concerns(folder, {})] == ["place"]


def test_the_embedded_models_and_their_likes_ask_for_nothing() -> None:
    for kind in ("model", "vad_model", "punc_model"):
        assert concerns(model_folder(kind), {}) == []


@pytest.mark.parametrize("hub", ["ms", "hf"])
def test_a_model_of_a_hub_is_looked_at_when_it_has_come(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, hub: str
) -> None:
    from funasr.download import download_model_from_hub

    pickled_in_zip(folder, tmp_path / "ran")
    name = {"ms": "get_or_download_model_dir", "hf": "get_or_download_model_dir_hf"}[hub]
    # In the place of the network.
    monkeypatch.setattr(fetching, "_unreachable", lambda hub: "")
    monkeypatch.setattr(download_model_from_hub, name, lambda *_, **__: str(folder))
    with pytest.raises(ConfigError, match=r"model\.pt holds more than weights"):
        load_auto_model("someone/model", "model", device="cpu", ncpu=1, hub=hub)
    assert not (tmp_path / "ran").exists()
    shutil.copy(model_folder("model") / "model.pt", folder)
    load_auto_model("someone/model", "model", device="cpu", ncpu=1, hub=hub)


def test_a_folder_of_a_hubs_own_name_is_looked_at_too(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from funasr.download.name_maps_from_hub import name_maps_ms

    pickled_in_zip(folder, tmp_path / "ran")
    place = tmp_path / name_maps_ms["paraformer-zh"]
    place.parent.mkdir()
    folder.rename(place)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ConfigError, match=r"model\.pt holds more than weights"):
        load_auto_model("paraformer-zh", "model", device="cpu", ncpu=1)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize(
    ("name", "options"),
    [("MOSS-Transcribe-Diarize", {}), ("QwenAudioWarp", {"model_conf": {"model_path": "x"}})],
)
def test_a_name_that_is_a_class_is_refused(name: str, options: dict[str, Any]) -> None:
    with pytest.raises(ConfigError, match=rf"{name} is a class that may load others' code"):
        load_auto_model(name, "model", device="cpu", ncpu=1, **options)


def test_remote_code_is_no_option_either() -> None:
    for name in ("trust_remote_code", "remote_code"):
        with pytest.raises(ConfigError, match=rf"funasr_options may not set {name}"):
            with_settings(Config(), {"funasr_options": {name: True}})


def test_what_a_configuration_has_of_the_output_is_not_written_nor_fetched(
    folder: Path, tmp_path: Path
) -> None:
    with_config(
        folder, f"output_dir: {tmp_path / 'written'}\nhotword: http://203.0.113.9/words.txt"
    )
    auto = load_auto_model(str(folder), "model", device="cpu", ncpu=1)
    assert (auto.kwargs["output_dir"], auto.kwargs["hotword"]) == (None, None)
    auto.generate(torch.zeros(16_000))
    assert not (tmp_path / "written").exists()


def test_what_a_model_keeps_for_its_dictionary_is_kept_where_only_its_user_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import jieba

    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("TMPDIR", str(tmp_path / "shared"))
    monkeypatch.setattr(jieba.dt, "tmp_dir", None)
    monkeypatch.setattr(jieba.dt, "initialized", False)
    folder = Path(shutil.copytree(model_folder("punc_model"), tmp_path / "punc"))
    (folder / "jieba_usr_dict").write_text("word 10\n", encoding="utf-8")
    load_auto_model(str(folder), "punc_model", device="cpu", ncpu=1)
    kept = tmp_path / ".cache" / "ray_asr" / "jieba"
    assert [file.name for file in kept.iterdir()] == ["jieba.cache"]
    assert kept.stat().st_mode & 0o077 == 0


def test_the_command_line_refuses_and_trusts(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pickled_in_zip(folder, tmp_path / "ran")
    (tmp_path / "in").mkdir()
    asked = ["transcribe", str(tmp_path / "in"), str(tmp_path / "out"), "--model", str(folder),
             "--vad-model", "", "--punc-model", ""]  # fmt: skip
    for flags, status, said in (
        ([], 2, "trust who made this one with --trust-model"),
        (["--trust-model"], 3, "holds no .parquet file"),  # on to the next question
        (["--set", "engine.trust_model=true"], 3, "holds no .parquet file"),
    ):
        with pytest.raises(SystemExit) as ended:
            cli.main([*asked, *flags])
        assert ended.value.code == status
        assert said in capsys.readouterr().err
    assert not (tmp_path / "ran").exists()

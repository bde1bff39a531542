"""What a model folder must hold by its own configuration, and what tells two folders apart."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from ray_asr.demo import model_folder
from ray_asr.engine.model_files import digest, missing_files

FRONT = {"frontend": "WavFrontend", "frontend_conf": {"n_mels": 80}}
CHARACTERS = {"tokenizer": "CharTokenizer", "tokenizer_conf": {"unk_symbol": "<unk>"}}
PIECES = {"tokenizer": "SentencepiecesTokenizer", "tokenizer_conf": {}}


def folder_of(folder: Path, config: dict[str, Any], *files: str) -> Path:
    folder.mkdir(exist_ok=True)
    (folder / "config.yaml").write_text(yaml.safe_dump(config), encoding="utf-8")
    for name in ("model.pt", *files):
        (folder / name).write_bytes(b"[]")
    return folder


def hub_folder(folder: Path, config: dict[str, Any], metas: dict[str, Any], *files: str) -> Path:
    folder_of(folder, config, *files)
    text = json.dumps({"framework": "pytorch", "file_path_metas": metas})
    (folder / "configuration.json").write_text(text, encoding="utf-8")
    return folder


@pytest.mark.parametrize("kind", ["model", "vad_model", "punc_model"])
def test_the_embedded_models_lack_nothing(kind: str) -> None:
    assert missing_files(model_folder(kind), {}) == []


@pytest.mark.parametrize(
    ("kind", "file", "said"),
    [
        ("model", "tokens.json", "tokens.json, which its CharTokenizer needs"),
        ("model", "am.mvn", "am.mvn, which its WavFrontend, before a Paraformer, needs"),
        (
            "vad_model",
            "am.mvn",
            "am.mvn, which its WavFrontendOnline, before a FsmnVADStreaming, needs",
        ),
        ("punc_model", "tokens.json", "tokens.json, which its CharTokenizer needs"),
        ("model", "model.pt", "model.pt"),
        ("punc_model", "config.yaml", "config.yaml"),
    ],
)
def test_a_model_without_a_file_that_it_needs_is_told_by_the_file_and_who_needs_it(
    tmp_path: Path, kind: str, file: str, said: str
) -> None:
    folder = Path(shutil.copytree(model_folder(kind), tmp_path / "model"))
    (folder / file).unlink()
    assert missing_files(folder, {}) == [said]


@pytest.mark.parametrize("name", ["tokens.json", "tokens.txt"])
def test_tokens_may_stand_in_either_form(tmp_path: Path, name: str) -> None:
    assert missing_files(folder_of(tmp_path, {"model": "X", **CHARACTERS}, name), {}) == []


def test_tokens_may_stand_in_the_configuration(tmp_path: Path) -> None:
    conf = {"token_list": ["<unk>", "a"]}
    config = {"model": "X", "tokenizer": "CharTokenizer", "tokenizer_conf": conf}
    assert missing_files(folder_of(tmp_path, config), {}) == []


def test_a_file_elsewhere_must_be_there(tmp_path: Path) -> None:
    tokens = tmp_path / "shared.json"
    folder = folder_of(tmp_path / "model", {"model": "X", **CHARACTERS})
    options = {"tokenizer_conf": {"token_list": str(tokens)}}
    assert missing_files(folder, options) == [f"{tokens}, which its CharTokenizer needs"]
    tokens.write_text("[]")
    assert missing_files(folder, options) == []


def test_sentence_pieces_need_their_model_and_no_tokens(tmp_path: Path) -> None:
    config = {"model": "X", **PIECES}
    assert missing_files(folder_of(tmp_path, config), {}) == [
        "bpe.model, which its SentencepiecesTokenizer needs"
    ]
    assert missing_files(folder_of(tmp_path, config, "bpe.model"), {}) == []


def test_words_cut_in_pieces_are_needed_where_the_configuration_names_them(tmp_path: Path) -> None:
    plain = {"model": "X", **CHARACTERS}
    assert missing_files(folder_of(tmp_path, plain, "tokens.json"), {}) == []
    naming = {"model": "X", **CHARACTERS, "tokenizer_conf": {"seg_dict": "no/such/seg_dict"}}
    assert missing_files(folder_of(tmp_path, naming, "tokens.json"), {}) == [
        "no/such/seg_dict, which its CharTokenizer needs"
    ]
    assert missing_files(folder_of(tmp_path, naming, "tokens.json", "seg_dict"), {}) == []


@pytest.mark.parametrize(
    ("config", "needs"),
    [
        ({"model": "Paraformer", **FRONT}, True),
        ({"model": "SeacoParaformer", **FRONT}, True),
        ({"model": "SenseVoiceSmall", **FRONT, "frontend_conf": {"cmvn_file": None}}, True),
        ({"model": "FsmnVADStreaming", **FRONT, "frontend": "WavFrontendOnline"}, True),
        ({"model": "Another", **FRONT, "frontend_conf": {"cmvn_file": "am.mvn"}}, True),
        ({"model": "Another", **FRONT}, False),
        ({"model": "Paraformer", "frontend": "WhisperFrontend"}, False),
        ({"model": "Paraformer"}, False),
        ({"model": "CTTransformer"}, False),
    ],
)
def test_statistics_of_features_are_needed_by_the_models_that_are_trained_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, config: dict[str, Any], needs: bool
) -> None:
    monkeypatch.chdir(tmp_path)
    missing = missing_files(folder_of(tmp_path / "model", config), {})
    assert [line.partition(",")[0] for line in missing] == (["am.mvn"] if needs else [])
    assert missing_files(folder_of(tmp_path / "model", config, "am.mvn"), {}) == []


def test_a_folder_of_the_hubs_form_has_the_names_that_it_gives_its_files(tmp_path: Path) -> None:
    config = {"model": "SenseVoiceSmall", **FRONT, **PIECES}
    metas = {
        "init_param": "model.pt",
        "config": "config.yaml",
        "tokenizer_conf": {"bpemodel": "spectok.bpe.model"},
        "frontend_conf": {"cmvn_file": "stats.mvn"},
    }
    folder = hub_folder(tmp_path, config, metas, "stats.mvn")
    assert missing_files(folder, {}) == ["spectok.bpe.model, which its configuration.json names"]
    (folder / "spectok.bpe.model").write_bytes(b"")
    assert missing_files(folder, {}) == []


def test_in_the_hubs_form_a_file_that_is_not_named_is_not_found(tmp_path: Path) -> None:
    metas = {"init_param": "model.pt", "config": "config.yaml"}
    config = {"model": "Paraformer", **FRONT, **CHARACTERS}
    folder = hub_folder(tmp_path, config, metas, "tokens.json", "am.mvn")
    assert [line.partition(",")[0] for line in missing_files(folder, {})] == [
        "tokens.json",
        "am.mvn",
    ]


@pytest.mark.parametrize("text", ["a: [", "- 1", "", "\tx"])
def test_a_configuration_that_cannot_be_read_is_said(tmp_path: Path, text: str) -> None:
    folder = folder_of(tmp_path, {})
    (folder / "config.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"config\.yaml (cannot be read|holds no settings)"):
        missing_files(folder, {})


# --- identity


def weights_in(folder: Path, value: float, name: str = "model.pt") -> Path:
    folder.mkdir(exist_ok=True)
    torch.save({"layer": torch.full((1000,), value)}, folder / name)
    return folder


def test_retrained_weights_of_the_same_size_have_another_digest(tmp_path: Path) -> None:
    before = digest(weights_in(tmp_path, 1.0))
    size = (tmp_path / "model.pt").stat().st_size
    assert digest(weights_in(tmp_path, 2.0)) != before
    assert (tmp_path / "model.pt").stat().st_size == size
    assert digest(weights_in(tmp_path, 1.0)) == before


def test_weights_without_checksums_are_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        digests = {digest(weights_in(tmp_path / str(n), n / 2)) for n in range(3)}
    finally:
        torch.serialization.set_crc32_options(True)
    assert len(digests) == 3


def test_weights_in_an_older_form_are_read(tmp_path: Path) -> None:
    digests: set[str] = set()
    for value in (1.0, 2.0):
        weights = {"layer": torch.full((1000,), value)}
        torch.save(weights, tmp_path / "model.pt", _use_new_zipfile_serialization=False)
        digests.add(digest(tmp_path))
    assert len(digests) == 2


def test_where_when_and_how_a_folder_was_fetched_is_no_part_of_it(tmp_path: Path) -> None:
    here, there = weights_in(tmp_path / "a", 1.0), weights_in(tmp_path / "b", 1.0)
    (there / ".msc").write_bytes(b"fetched today")
    (there / ".git").mkdir()
    (there / ".git" / "HEAD").write_bytes(b"abc")
    os.utime(there / "model.pt", (1, 1))
    assert digest(here) == digest(there)


def test_files_in_folders_below_count(tmp_path: Path) -> None:
    before = digest(weights_in(tmp_path, 1.0))
    weights_in(tmp_path / "language model", 1.0)
    assert digest(tmp_path) != before


def test_looking_at_a_folder_imports_no_model_library() -> None:
    script = (
        "import sys; from ray_asr.demo import model_folder as f; "
        "from ray_asr.engine.model_files import digest, missing_files; "
        "digest(f('model')); missing_files(f('model'), {}); "
        "sys.exit(bool({'funasr', 'torch', 'ray'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0

"""What has to be brought to a node before models are loaded there; nothing is fetched here."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from ray_asr.config import Config, fingerprint, with_settings
from ray_asr.demo import model_folder
from ray_asr.engine.hotwords import phrases
from ray_asr.engine.loading import model_identity, resolve_model
from ray_asr.engine.model_files import digest
from ray_asr.engine.places import Named, placed
from ray_asr.errors import ConfigError
from ray_asr.job.continuation import settings_to_match
from ray_asr.job.pipeline import check_models
from ray_asr.job.staging import on_this_node, staging_of, with_copies_here

DEMO = {"model": "demo", "vad_model": "demo", "punc_model": "demo"}


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "ray_asr" / "models"


def config_of(**settings: Any) -> Config:
    return with_settings(Config(), {**DEMO, **settings})


def wanted(config: Config) -> list[tuple[str, str]]:
    return [(one.kind, one.named.name) for one in staging_of(config.engine).wanted]


def test_what_is_on_every_node_need_not_be_brought(cache: Path) -> None:
    assert wanted(config_of()) == []
    assert wanted(config_of(model=str(model_folder("model")), punc_model="")) == []
    assert wanted(config_of(vad_model="silero-vad")) == []  # a package's own
    on_this_node(staging_of(config_of().engine))
    assert not cache.exists()


def test_names_of_a_hub_are_brought_for_the_steps_that_are_done() -> None:
    config = config_of(model="paraformer-zh", vad_model="fsmn-vad", spk_model="cam++", hub="hf")
    assert wanted(config) == [
        ("model", "paraformer-zh"), ("vad_model", "fsmn-vad"), ("spk_model", "cam++"),
    ]  # fmt: skip
    (first, *_) = staging_of(config.engine).wanted
    assert first.named == Named("paraformer-zh", "hf", "master")


def test_a_folder_of_a_store_is_its_copy_and_counts_by_what_it_holds(
    tmp_path: Path, cache: Path
) -> None:
    store = Path(shutil.copytree(model_folder("model"), tmp_path / "store" / "asr"))
    address = f"file://{store}"
    with pytest.raises(ConfigError, match=r"no copy of file://.* is on this machine"):
        resolve_model(address, "model")
    config = with_copies_here(config_of(model=address))
    folder = placed(Named(address))
    assert folder is not None
    assert folder.parent == cache
    assert model_identity(config.engine) == (address, digest(store))
    assert wanted(config) == [("model", address)]
    before = settings_to_match(config)
    tokens = (store / "tokens.json").read_text()
    (store / "tokens.json").write_text(tokens.replace("<unk>", "<UNK>"))
    assert settings_to_match(with_copies_here(config)) != before
    assert fingerprint(config) == fingerprint(with_copies_here(config))


@pytest.mark.parametrize("address", ["file:///no/such/folder", "s3://@/x", "gopher://me:s3cr3t@x/"])
def test_a_store_without_a_model_is_said_with_the_setting(address: str) -> None:
    with pytest.raises(ConfigError, match=r"^engine\.vad_model: ") as refused:
        with_copies_here(config_of(vad_model=address))
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize(("hub", "offline"), [("ms", False), ("hf", True)])
def test_the_nodes_are_told_what_the_environment_says_here(
    monkeypatch: pytest.MonkeyPatch, hub: str, offline: bool
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    monkeypatch.delenv("MODELSCOPE_OFFLINE", raising=False)
    config = with_copies_here(config_of(hub=hub))
    assert config.engine.offline is offline
    assert staging_of(config.engine).offline is offline
    assert fingerprint(config) == fingerprint(config_of(hub=hub))


def test_a_job_begins_with_the_words_of_its_list(tmp_path: Path) -> None:
    seaco = Path(shutil.copytree(model_folder("model"), tmp_path / "seaco"))
    config_file = seaco / "config.yaml"
    text = config_file.read_text(encoding="utf-8")
    config_file.write_text(text.replace("model: Paraformer", "model: SeacoParaformer"))
    words = tmp_path / "words.txt"
    words.write_text("machine learning\nray\n", encoding="utf-8")
    config = check_models(config_of(model=str(seaco), hotword=str(words)))
    assert phrases(config.engine.hotword) == ["machine learning", "ray"]
    assert check_models(config) == config
    with pytest.raises(ConfigError, match=r"Paraformer, which takes no hotwords"):
        check_models(config_of(hotword=str(words)))

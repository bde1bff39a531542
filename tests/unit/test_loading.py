from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ray_asr.config import Config, EngineConfig, with_settings
from ray_asr.config_sections import MODEL_KINDS
from ray_asr.engine import loading
from ray_asr.engine.loading import model_identity, model_revision, resolve_model
from ray_asr.errors import ConfigError


def model_in(folder: Path, *, without: str = "", weights: bytes = b"weights") -> Path:
    folder.mkdir(parents=True)
    files = {"config.yaml": b"model: Paraformer\n", "model.pt": weights, "tokens.json": b"[]"}
    for name, data in files.items():
        if name != without:
            (folder / name).write_bytes(data)
    return folder


def engine(model: str | Path, **settings: object) -> EngineConfig:
    return with_settings(Config(), {"model": str(model), **settings}).engine


@pytest.mark.parametrize("name", ["paraformer-zh", "iic/SenseVoiceSmall", "fsmn-vad", "silero-vad"])
def test_a_name_of_the_hub_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    monkeypatch.chdir(tmp_path)
    assert resolve_model(name, "model") == name


def test_a_folder_is_found_however_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = model_in(tmp_path / "models" / "mine")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in (str(folder), "models/mine", "./models/mine", "~/models/mine"):
        assert Path(resolve_model(name, "model")).samefile(folder)


@pytest.mark.parametrize(
    "name", ["/no/such/model", "./no-such-model", "~/no-such-model", "../nope"]
)
@pytest.mark.parametrize("kind", MODEL_KINDS)
def test_a_folder_that_is_not_there_is_refused_by_setting(name: str, kind: str) -> None:
    with pytest.raises(ConfigError, match=rf"engine\.{kind}: there is no model folder"):
        resolve_model(name, kind)


@pytest.mark.parametrize("missing", ["config.yaml", "model.pt"])
def test_a_folder_without_its_files_is_refused_naming_them(tmp_path: Path, missing: str) -> None:
    folder = model_in(tmp_path / "mine", without=missing)
    with pytest.raises(ConfigError, match=f"has no {missing}; a FunASR model folder"):
        resolve_model(str(folder), "model")


def test_an_empty_folder_is_refused_naming_all_that_is_missing(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"has no config\.yaml and no model\.pt"):
        resolve_model(str(tmp_path), "model")


def test_a_folder_without_what_its_configuration_asks_for_is_refused(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "mine", without="tokens.json")
    (folder / "config.yaml").write_text("model: Paraformer\ntokenizer: CharTokenizer\n")
    with pytest.raises(ConfigError, match=r"engine\.model: .* has no tokens\.json, which its Char"):
        resolve_model(str(folder), "model")
    tokens = {"tokenizer_conf": {"token_list": ["<unk>"]}}
    assert resolve_model(str(folder), "model", tokens) == str(folder)


def test_a_folder_whose_configuration_cannot_be_read_is_refused(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "mine")
    (folder / "config.yaml").write_text("model: [")
    with pytest.raises(ConfigError, match=r"engine\.vad_model: .*config\.yaml cannot be read"):
        resolve_model(str(folder), "vad_model")


def test_a_folder_of_the_hubs_own_form_is_taken(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "mine", without="model.pt")
    (folder / "configuration.json").write_text("{}")
    assert resolve_model(str(folder), "model") == str(folder)


@pytest.mark.parametrize(
    ("kind", "folder"), [("model", "asr"), ("vad_model", "vad"), ("punc_model", "punc")]
)
def test_demo_is_the_embedded_model_of_its_kind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str, folder: str
) -> None:
    model_in(tmp_path / folder)
    asked: list[str] = []

    def embedded(kind: str) -> Path:
        asked.append(kind)
        return tmp_path / folder

    monkeypatch.setattr(loading, "model_folder", embedded)
    assert resolve_model("demo", kind) == str(tmp_path / folder)
    assert asked == [kind]


def test_no_model_that_tells_speakers_apart_is_embedded() -> None:
    with pytest.raises(ConfigError, match=r"engine\.spk_model: none is embedded; name one"):
        resolve_model("demo", "spk_model")


def test_demo_is_the_embedded_one_even_beside_a_folder_of_that_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model_in(tmp_path / "demo")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(loading, "model_folder", lambda kind: model_in(tmp_path / "embedded"))
    assert resolve_model("demo", "model") == str(tmp_path / "embedded")


# --- identity


def test_a_named_model_is_its_name_and_revision() -> None:
    assert model_identity(engine("paraformer-zh", model_revision="v2.0.4")) == (
        "paraformer-zh",
        "v2.0.4",
    )


def test_a_folder_is_its_name_and_a_digest(tmp_path: Path) -> None:
    folder = model_in(tmp_path / "mine")
    name, revision = model_identity(engine(folder))
    assert name == str(folder)
    assert len(revision) == 12
    assert int(revision, 16) >= 0
    assert model_identity(engine(folder)) == (name, revision)


def test_the_same_files_elsewhere_have_the_same_digest(tmp_path: Path) -> None:
    folders = [model_in(tmp_path / name / "mine") for name in ("a", "b")]
    revisions = {model_identity(engine(folder))[1] for folder in folders}
    assert len(revisions) == 1


def test_other_weights_or_settings_have_another_digest(tmp_path: Path) -> None:
    model_in(tmp_path / "a")
    model_in(tmp_path / "b", weights=b"longer weights")
    model_in(tmp_path / "f", weights=b"WEIGHTS")
    (model_in(tmp_path / "c") / "config.yaml").write_text("model: Paraformez\n")
    (model_in(tmp_path / "d") / "tokens.json").write_text("{}")
    (model_in(tmp_path / "e") / "seg_dict").write_text("")
    revisions = {model_identity(engine(tmp_path / name))[1] for name in "abcdef"}
    assert len(revisions) == 6


def test_a_model_that_is_not_named_has_no_revision() -> None:
    assert model_revision(engine("demo", vad_model=""), "vad_model") == ""
    assert model_revision(engine("demo", punc_model="ct-punc"), "punc_model") == "master"


def test_the_identity_of_a_folder_that_is_not_there_is_refused() -> None:
    with pytest.raises(ConfigError, match=r"engine\.model: there is no model folder"):
        model_identity(engine("/no/such/model"))


def test_naming_models_imports_no_model_library() -> None:
    script = (
        "import sys; from ray_asr.engine.loading import resolve_model; "
        "resolve_model('fsmn-vad', 'vad_model'); "
        "sys.exit(bool({'funasr', 'torch', 'ray'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


# --- what is said


# As FunASR 1.4.16 prints it, with ModelScope's and Hugging Face's own words.
_MS = (
    "funasr version: 1.4.16.\nDownload: iic/x failed!: [E1020] Connection failed: "
    "_DownloadHTTPSConnectionPool(host='modelscope.cn', port=443): Max retries exceeded with url: "
    "/api/v1/models/iic/x/repo/files?Revision=master&Recursive=True (Caused by NameResolutionError"
    "(\"_DownloadHTTPSConnection(host='modelscope.cn', port=443): Failed to resolve "
    "'modelscope.cn' ([Errno -2] Name or service not known)\"))\n"
)
_HF = (
    "Download: funasr/x failed!: Got: ConnectError: [Errno 111] Connection refused\nAn error "
    "happened while trying to locate the files on the Hub.\n"
)
_LONG = "Download: a/b failed!: The model a/b does not exist on the hub.\nmore\n"


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        (_MS, "Name or service not known"),
        (_HF, "Connection refused"),
        (_LONG, "The model a/b does not exist on the hub"),
    ],
)
def test_why_a_model_was_not_fetched_is_said_in_its_hubs_last_words(said: str, reason: str) -> None:
    error = loading._why('engine.model: the model "x"', "ms", said, RuntimeError("not registered"))
    assert isinstance(error, ConfigError)
    assert str(error) == (
        f'engine.model: the model "x" could not be fetched from its hub, ms ({reason}): check the '
        "name and the network, or name a folder that holds the model's files."
    )

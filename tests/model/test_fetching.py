"""Models of a hub, which is a server of loopback here: fetched, kept, and done without."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ray_asr.demo import model_folder
from ray_asr.engine.fetching import is_offline, repository_of
from tests.hubs import environment, hub

# FunASR's short name for a detector, and what each hub calls it.
NAMES = {"ms": "iic/speech_fsmn_vad_zh-cn-16k-common-pytorch", "hf": "funasr/fsmn-vad"}

PROGRAM = """
import json, os, sys, urllib.request
from pathlib import Path
from ray_asr.engine.loading import fetched, load_auto_model
from ray_asr.errors import ConfigError

hub, address = sys.argv[1:]
def requests():
    return int(urllib.request.urlopen(f"{address}/count").read())
def error_of(**given):
    try:
        fetched(**{"name": "fsmn-vad", "kind": "vad_model", "hub": hub, **given})
    except ConfigError as error:
        return str(error)
def folder_of(**given):
    return str(fetched("fsmn-vad", "vad_model", hub=hub, model_revision="master", **given))
said = {"offline": error_of(offline=True), "asked": requests()}
said["funasr"] = "funasr" in sys.modules
said["folder"] = folder_of()
said["files"] = sorted(file.name for file in Path(said["folder"]).iterdir())
auto = load_auto_model("fsmn-vad", "vad_model", device="cpu", ncpu=1, hub=hub, offline=True)
said["class"] = type(auto.model).__name__
before = requests()
said["again"] = folder_of(offline=True)
said["asked_again"] = requests() - before
said["unknown"] = error_of(name="no/such-model")
if hub == "hf":
    fetched("fsmn-vad", "vad_model", hub=hub, model_revision="v2.0.4")
os.environ["MODELSCOPE_ENDPOINT"] = os.environ["HF_ENDPOINT"] = "http://127.0.0.1:9"
said["kept"] = folder_of()
said["unreachable"] = error_of(name="ct-punc")
print(json.dumps(said))
"""


@pytest.mark.parametrize("name", ["ms", "hf"])
def test_a_model_is_fetched_once_and_kept(name: str, tmp_path: Path) -> None:
    folder = model_folder("vad_model")
    with hub({NAMES[name]: folder}) as server:
        done = subprocess.run(
            [sys.executable, "-c", PROGRAM, name, server.address],
            capture_output=True, text=True, timeout=240, check=False,
            env={**os.environ, **environment(server.address, tmp_path)}, cwd=tmp_path,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr[-3000:]
        said: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
        sent, asked = dict(server.sent), set(server.asked)
    what = 'engine.vad_model: the model "fsmn-vad"'
    assert said["offline"].startswith(f"{what} is not on this machine, and its hub, {name}, is not")
    assert said["asked"] == 0
    assert not said["funasr"]  # that takes seconds
    assert {"am.mvn", "config.yaml", "model.pt"} <= set(said["files"])
    assert sent == {"am.mvn": 1, "config.yaml": 1, "model.pt": 1}
    assert said["class"] == "FsmnVADStreaming"
    assert said["again"] == said["kept"] == said["folder"]
    assert said["asked_again"] == 0
    assert said["unknown"].startswith(
        f'engine.vad_model: the model "no/such-model" could not be fetched from its hub, {name} ('
    )
    assert "Connection refused" in said["unreachable"]
    assert asked == ({"master"} if name == "ms" else {"main", "v2.0.4"})


NO_NETWORK = """
import json, socket
asked = []
def refuse(*given, **_):
    asked.append(str(given[:2]))
    raise OSError("no network here")
socket.socket.connect = socket.getaddrinfo = socket.create_connection = refuse
import numpy as np
from ray_asr.config import EngineConfig
from ray_asr.engine.funasr_engine import FunASREngine
engine = FunASREngine(EngineConfig(model="demo", vad_model="demo", punc_model="demo", ncpu=1))
engine.load()
engine.recognize([np.zeros(16000, np.float32)])
print(json.dumps(asked))
"""


def test_models_of_folders_ask_no_network(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", NO_NETWORK],
        capture_output=True, text=True, timeout=240, check=False, cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    assert json.loads(done.stdout.splitlines()[-1]) == []


def test_short_names_are_those_of_funasr() -> None:
    from funasr.download.name_maps_from_hub import name_maps_hf, name_maps_ms

    for name, repository in name_maps_ms.items():
        assert repository_of(name, "ms") == repository
    for name, repository in name_maps_hf.items():
        assert repository_of(name, "hf") == repository
    assert repository_of("someone/model", "ms") == "someone/model"


@pytest.mark.parametrize(
    ("hub_name", "variable", "value", "offline"),
    [
        ("ms", "MODELSCOPE_OFFLINE", "1", True),
        ("hf", "HF_HUB_OFFLINE", "TRUE", True),
        ("hf", "TRANSFORMERS_OFFLINE", "yes", True),
        ("hf", "HF_HUB_OFFLINE", "0", False),
        ("ms", "HF_HUB_OFFLINE", "1", False),
    ],
)
def test_the_environment_may_say_that_no_hub_is_asked(
    hub_name: str, variable: str, value: str, offline: bool
) -> None:
    assert is_offline(hub_name, {variable: value}) is offline
    assert not is_offline(hub_name, {})

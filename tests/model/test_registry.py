"""FunASR imported in parts, held against FunASR imported whole: each in a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest


def said_by(program: str) -> Any:
    """What a fresh process writes to its standard output last, as JSON."""
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=240, check=False
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout.splitlines()[-1])


_TABLES = """
import json
def module_of(table):
    return {name: made.__module__ for name, made in table.items()}
def tables():
    from funasr.register import tables
    names = {*vars(tables), *vars(type(tables))}
    return {name: getattr(tables, name) for name in names if name.endswith("_classes")}
"""


@pytest.fixture(scope="module")
def whole() -> dict[str, Any]:
    """Where each class of each table comes from, in a FunASR that was imported as it imports."""
    return said_by(
        f"{_TABLES}\nimport funasr\n"
        "print(json.dumps({name: module_of(table) for name, table in tables().items()}))"
    )


@pytest.fixture(scope="module")
def in_parts() -> dict[str, Any]:
    """What a process has imported for the embedded models; then it is asked for another's."""
    return said_by(
        f"""{_TABLES}
import sys
from ray_asr.config import EngineConfig
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.registry import registered
FunASREngine(EngineConfig(model="demo", vad_model="demo", punc_model="demo", ncpu=1)).load()
have = tables()
before = {{name: list(table) for name, table in have.items()}}
modules = sorted(sys.modules)
print(json.dumps({{
    "modules": modules,
    "classes": before,
    "another": have["model_classes"].get("SenseVoiceSmall").__module__,
    "subscript": have["encoder_classes"]["SenseVoiceEncoderSmall"].__module__,
    "more": len(have["model_classes"]) - len(before["model_classes"]),
    "scanned": [list(key) for key in registered()],
}}))"""
    )


def test_a_process_imports_what_its_models_name_and_no_more(
    whole: dict[str, Any], in_parts: dict[str, Any]
) -> None:
    assert not {"transformers", "sklearn", "pandas"} & set(in_parts["modules"])
    models = set(in_parts["classes"]["model_classes"])
    assert models >= {"Paraformer", "FsmnVADStreaming", "CTTransformer"}
    assert len(models) < len(whole["model_classes"]) / 3


def test_another_model_is_found_by_its_source_without_the_rest(in_parts: dict[str, Any]) -> None:
    assert in_parts["another"] == in_parts["subscript"] == "funasr.models.sense_voice.model"
    assert 1 <= in_parts["more"] < 5


def test_the_source_says_where_every_class_is(
    whole: dict[str, Any], in_parts: dict[str, Any]
) -> None:
    scanned = {tuple(key) for key in in_parts["scanned"]}
    missed = {(table, name) for table in whole for name in whole[table]} - scanned
    # Its name is a constant of its module: for this one all is imported.
    assert missed <= {("model_classes", "OpenMOSS-Team/MOSS-Transcribe-Diarize")}


def test_every_class_comes_when_asked_for_and_an_unknown_one_does_not(
    whole: dict[str, Any],
) -> None:
    asked = {table: sorted(names) for table, names in whole.items()}
    found = said_by(
        f"""{_TABLES}
from ray_asr.engine.registry import auto_model
auto_model()
asked = json.loads({json.dumps(json.dumps(asked))})
have = tables()
classes = {{
    name: {{each: (have[name].get(each) or int).__module__ for each in names}}
    for name, names in asked.items()
}}
try:
    have["model_classes"]["NoSuchModel"]
    raised = False
except KeyError:
    raised = True
unknown = [have["model_classes"].get("NoSuchModel"), raised]
from funasr.auto import auto_model as module
clusters = type(module.ClusterBackend()).__module__
print(json.dumps({{"classes": classes, "unknown": unknown, "clusters": clusters}}))"""
    )
    assert found["unknown"] == [None, True]
    assert found["clusters"] == "funasr.models.campplus.cluster_backend"
    # Two files of FunASR that are the same, byte for byte, each have the decoder of Paraformer.
    twins = {"funasr.models.e_paraformer.decoder", "funasr.models.paraformer.decoder"}
    for table, modules in whole.items():
        for name, module in modules.items():
            ours = found["classes"][table][name]
            assert ours == module or {ours, module} == twins, (table, name)

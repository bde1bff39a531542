"""The classes of FunASR that a model may name: none of their modules runs what it is given."""

from __future__ import annotations

import ast
import importlib
from pathlib import Path

import pytest

from ray_asr.engine.model_trust import KNOWN_CLASSES
from ray_asr.engine.registry import registered

RUN = {
    "eval", "exec", "compile", "__import__", "system", "popen", "Popen", "import_module",
    "check_output", "check_call", "from_pretrained", "AutoModel", "build_model", "unpickle",
    "load_module_from_path", "import_module_from_path", "install_requirements",
}  # fmt: skip
_NANO = "funasr.models.fun_asr_nano.model"
ALLOWED = {
    # What no loading calls.
    ("funasr.models.sense_voice.model", "build_model"),
    (_NANO, "build_model"),
    # What `model_trust` refuses a configuration for, or looks at first (`llm_folders`).
    (_NANO, "AutoModel"),
    (_NANO, "from_pretrained"),
    ("funasr.tokenizer.hf_tokenizer", "from_pretrained"),
    # Weights alone while a model is loaded (`guard`).
    (_NANO, "unpickle"),
}


def modules_of(name: str) -> list[str]:
    return [
        module
        for (table, registered_name), modules in registered().items()
        if registered_name == name and not table.startswith(("dataset", "dataloader", "batch"))
        for module in modules
    ]


@pytest.mark.parametrize("name", sorted(KNOWN_CLASSES))
def test_a_known_class_is_one_of_funasrs(name: str) -> None:
    assert modules_of(name)


def calls(file: Path) -> set[str]:
    """Names of all functions and methods that a file calls, methods of `model.eval()` left out."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Name):
            found.add(node.func.id)
        elif isinstance(node.func, ast.Attribute):
            of = node.func.value
            whose = f"{of.id}." if isinstance(of, ast.Name) else ""
            if node.func.attr not in ("eval", "compile"):  # of a module of torch, of a pattern
                found.add(node.func.attr)
            if whose + node.func.attr in ("torch.load", "pickle.load", "pickle.loads", "yaml.load"):
                found.add("unpickle")
    return found


def test_no_module_of_a_known_class_runs_what_it_is_given() -> None:
    root = Path(importlib.import_module("funasr").__path__[0]).parent
    for module in sorted({module for name in KNOWN_CLASSES for module in modules_of(name)}):
        file = root.joinpath(*module.split(".")).with_suffix(".py")
        for call in calls(file) & RUN:
            assert (module, call) in ALLOWED, (module, call)


def test_the_check_sees_what_the_refused_classes_do() -> None:
    root = Path(importlib.import_module("funasr").__path__[0])
    seen = {
        name: calls(root / "models" / name / "model.py") & RUN
        for name in ("qwen_audio", "glm_asr", "llm_asr", "eres2net")
    }
    assert all(seen.values()), seen

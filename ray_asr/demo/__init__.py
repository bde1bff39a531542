"""The embedded models and speech, and how they are found.

Owns the name "demo". Must not know Ray. How they were made: `recipes/demo_models/`.
"""

from __future__ import annotations

from pathlib import Path

_ROOT = Path(__file__).parent
DEMO = "demo"
_FOLDERS = {"model": "asr", "vad_model": "vad", "punc_model": "punc"}
EMBEDDED = frozenset(_FOLDERS)


def model_folder(kind: str) -> Path:
    """The folder of the embedded `model`, `vad_model` or `punc_model`, in FunASR's own format."""
    return _ROOT / "models" / _FOLDERS[kind]


def speech_folder() -> Path:
    """The embedded recordings, with `manifest.jsonl` that holds their reference texts."""
    return _ROOT / "speech"

"""`docs/code.md`: every module with the first line of its docstring; `python -m tests.code_map`.

A test holds the page to the modules, so that who looks for a place finds it there.
"""

from __future__ import annotations

import ast
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs" / "code.md"
HEAD = """# Every module, and what it owns

`job/pipeline.py` is where a job begins; read it first, then `job/worker.py`. A module's docstring
says what it must not know. Layers point down: `cli → job → {control, corpus, engine, results} →
{config, schema} → errors`. Written by `python -m tests.code_map`.
"""
FOLDERS = {
    "job": "The work: rows through actors",
    "engine": "FunASR and torch, and nothing of Ray or Parquet",
    "corpus": "Input, shards, outputs, stores",
    "control": "How many actors, what is seen, what is predicted",
    "results": "What a finished run came to",
    "demo": "The embedded models and speech",
    "": "The command line, settings, and what everybody speaks",
}


def page() -> str:
    """The page as the modules have it."""
    parts = [HEAD]
    for folder, title in FOLDERS.items():
        name = f"ray_asr/{folder}".rstrip("/")
        parts.append(f"\n## {title} (`{name}/`)\n\n| module | |\n|---|---|\n")
        for file in sorted((ROOT / name).glob("*.py")):
            said = ast.get_docstring(ast.parse(file.read_text(encoding="utf-8"))) or ""
            first = " ".join(said.split("\n\n")[0].split())
            parts.append(f"| `{file.name}` | {first.replace('|', chr(92) + '|')} |\n")
    return "".join(parts)


if __name__ == "__main__":
    PAGE.write_text(page(), encoding="utf-8")

"""The image: no Docker is at hand in a test, so its file is read as Docker would read it."""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
import sys
import zipfile
from functools import cache
from pathlib import Path

from tests.pins import LICENCES, PYTHON, RAY, README, TORCH
from tests.shell_lines import ROOT


@cache
def instructions() -> list[tuple[str, str]]:
    """What the Dockerfile does, in order: instruction and the rest of it in one line."""
    lines = (ROOT / "Dockerfile").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.lstrip().startswith("#"))
    joined = re.sub(r"\\\n\s*", " ", text)
    return [
        (line.split(maxsplit=1)[0], line.split(maxsplit=1)[1])
        for line in joined.splitlines()
        if line.strip()
    ]


def image(**given: str) -> str:
    """The image that the build begins with, under build arguments."""
    before = instructions()[: [name for name, _ in instructions()].index("FROM")]
    values = dict(argument.split("=") for name, argument in before if name == "ARG") | given
    (named,) = [rest for name, rest in instructions() if name == "FROM"]
    return re.sub(r"\$\{(\w+)\}", lambda match: values[match[1]], named)


def test_the_image_is_built_on_rays_own_of_the_same_version() -> None:
    assert image() == f"rayproject/ray:{RAY}-{PYTHON}-cpu"
    assert image(PLATFORM="gpu") == f"rayproject/ray:{RAY}-{PYTHON}-gpu"
    known = {"ARG", "FROM", "USER", "WORKDIR", "COPY", "RUN"}
    assert {name for name, _ in instructions()} <= known
    assert [rest for name, rest in instructions() if name == "USER"] == ["ray"]


def test_every_command_of_the_image_is_shell_and_installs_what_is_pinned() -> None:
    runs = [rest for name, rest in instructions() if name == "RUN"]
    for command in runs:
        subprocess.run(["bash", "-n", "-c", command], check=True)
    installs = [command for command in runs if "pip install" in command]
    assert len(installs) == 2
    assert "-c constraints.txt" in installs[1]
    shown = subprocess.run(
        ["bash", "-c", "grep '^torch==' constraints.txt"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert shown.stdout.split() == [f"torch=={TORCH}"]


def test_what_the_image_copies_is_there_and_is_let_through() -> None:
    rules = [
        line
        for line in (ROOT / ".dockerignore").read_text(encoding="utf-8").splitlines()
        if line and not line.startswith("#")
    ]

    def ignored(path: str) -> bool:
        last = [rule for rule in rules if fnmatch.fnmatch(path, rule.removeprefix("!"))]
        return bool(last) and not last[-1].startswith("!")

    copied = [
        word
        for name, rest in instructions()
        if name == "COPY"
        for word in rest.split()[:-1]
        if not word.startswith("--")
    ]
    for source in copied:
        assert (ROOT / source).exists(), source
        assert not ignored(source), source
    installed = {"pyproject.toml", "ray_asr", README, *LICENCES}
    assert installed | {"constraints.txt", "jobs"} == set(copied)
    for left_out in (".git", ".venv", "tests", "docs", "demo-output"):
        assert ignored(left_out)


def test_what_the_image_copies_becomes_the_whole_package(tmp_path: Path) -> None:
    here = tmp_path / "copied"
    unseen = shutil.ignore_patterns("__pycache__")
    shutil.copytree(ROOT / "ray_asr", here / "ray_asr", ignore=unseen)
    for name in ("pyproject.toml", README, *LICENCES):
        shutil.copy(ROOT / name, here / name)
    build = [
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--no-index",
        "-w",
        "made",
        ".",
    ]
    subprocess.run([sys.executable, "-m", "pip", *build], cwd=here, check=True)
    (wheel,) = (here / "made").glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        inside = {name for name in archive.namelist() if name.startswith("ray_asr/")}
    assert inside == {
        str(file.relative_to(here)) for file in (here / "ray_asr").rglob("*") if file.is_file()
    }

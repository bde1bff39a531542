"""What the package pins: its version and files, and the versions that its tests ran with."""

from __future__ import annotations

import re

from tests.shell_lines import ROOT

PYPROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
VERSION, README = re.findall(r'^(?:version|readme) = "(.+)"', PYPROJECT, re.MULTILINE)
LICENCES = re.findall(
    r'"([^"]+)"', re.findall(r"^license-files = (.+)", PYPROJECT, re.MULTILINE)[0]
)
CONSTRAINTS = dict(
    line.split(" ;")[0].split("==")
    for line in (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    if "==" in line and not line.startswith("#")
)
RAY, TORCH = CONSTRAINTS["ray"], CONSTRAINTS["torch"]
PYTHON = "py311"  # that constraints.txt is for

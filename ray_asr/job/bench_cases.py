"""What the benchmark runs: the rows of its table, and the ratios that the project is held to.

Owns the cases and the marks. Must not know how a case is run or measured.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from ray_asr.engine.threads import thread_environment
from ray_asr.errors import ConfigError

OWN_MODULE = "ray_asr.job.bench_own"
LIMIT_MODULE = "ray_asr.engine.bench"
FIRST_ROW = "article-default"


@dataclass(frozen=True, slots=True)
class Case:
    """One row of the table.

    Attributes:
        name: for `--cases`.
        title: for the table.
        program: a module of the package, or a file of `benchmarks/`.
        options: what the program is told beside model and audio.
        environment: of its processes.
        variants: options to choose among by a short run of each; the fastest is measured.
        needs: modules that the program imports and that may be missing.
        recognizer_only: it cannot take a VAD or punctuation model.
        is_recognition: False where the figure is not a speed in audio.
    """

    name: str
    title: str
    program: str
    options: dict[str, Any] = field(default_factory=dict[str, Any])
    environment: dict[str, str] = field(default_factory=dict[str, str])
    variants: tuple[dict[str, Any], ...] = ()
    needs: tuple[str, ...] = ()
    recognizer_only: bool = False
    is_recognition: bool = True

    @property
    def is_in_package(self) -> bool:
        """Whether its program is a module of the package."""
        return not self.program.endswith(".py")


def all_cases(cores: int) -> list[Case]:
    """Every case for a machine of `cores` cores, in the order of the table."""
    share = max(1, cores // 4)
    batches = ({"batch_size": 8}, {"batch_size": 16}, {"batch_size": 32})
    bare = (
        {"batch_size_s": 30.0, "processes": cores},
        {"batch_size_s": 60.0, "processes": cores},
        {"batch_size_s": 120.0, "processes": cores},
        {"batch_size_s": 60.0, "processes": 1},
        {"batch_size_s": 30.0, "processes": 1},
    )
    return [
        Case(
            FIRST_ROW,
            "article: 4 processes, FunASR's defaults",
            "article.py",
            {"processes": 4},
        ),
        Case(
            "article-ncpu4",
            "article: 4 processes, ncpu=4",
            "article.py",
            {"processes": 4, "ncpu": 4},
            thread_environment(4),
        ),
        Case(
            "article-ncpu2",
            "article: 8 processes, ncpu=2",
            "article.py",
            {"processes": 8, "ncpu": 2},
            thread_environment(2),
        ),
        Case(
            "article-batch",
            "article: 4 processes, tuned batches",
            "article.py",
            {"processes": 4, "ncpu": share},
            thread_environment(share),
            batches,
        ),
        Case("ours-fp32", "ray_asr, fp32", OWN_MODULE, {"precision": "fp32"}),
        Case("ours-auto", "ray_asr, precision auto", OWN_MODULE, {"precision": "auto"}),
        Case(
            "automodel",
            "AutoModel.generate, a file a call",
            "article.py",
            {"processes": 1, "ncpu": cores},
            thread_environment(cores),
        ),
        Case(
            "ray-data",
            "plain Ray Data actor pool",
            "peer_ray_data.py",
            {"processes": share, "ncpu": cores // share},
            variants=(*batches, {"batch_size": 1}),
        ),
        Case(
            "daft",
            "Daft class UDF",
            "peer_daft.py",
            {"processes": share, "ncpu": cores // share},
            variants=(*batches, {"batch_size": 1}),
            needs=("daft",),
        ),
        Case(
            "funasr-onnx",
            "funasr-onnx, int8",
            "peer_funasr_onnx.py",
            {"ncpu": cores},
            variants=({"batch_size": 4}, {"batch_size": 1}, *batches),
            needs=("funasr_onnx", "onnxruntime", "onnx"),
            recognizer_only=True,
        ),
        Case(
            "limit-fp32",
            "the bare model, fp32",
            LIMIT_MODULE,
            {"precision": "fp32", "ncpu": cores},
            thread_environment(cores),
            bare,
            recognizer_only=True,
        ),
        Case(
            "limit-auto",
            "the bare model, precision auto",
            LIMIT_MODULE,
            {"precision": "auto", "ncpu": cores},
            thread_environment(cores),
            bare,
            recognizer_only=True,
        ),
        Case(
            "overhead",
            "ray_asr with a model that does nothing",
            OWN_MODULE,
            {"overhead": True},
            is_recognition=False,
        ),
    ]


def chosen_cases(names: Sequence[str], cores: int) -> list[Case]:
    """The cases of these names, in the order of the table; all of them where none is named.

    Raises:
        ConfigError: there is no such case.
    """
    cases = all_cases(cores)
    known = [case.name for case in cases]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, 1)
            hint = f'did you mean "{near[0]}"?' if near else f"there are {', '.join(known)}."
            raise ConfigError(f'there is no case "{name}" in the benchmark: {hint}')
    return [case for case in cases if not names or case.name in names]


@dataclass(frozen=True, slots=True)
class Mark:
    """A ratio of two cases that the project is held to."""

    text: str
    case: str
    against: str
    at_least: float


MARKS = (
    Mark("fp32 against the article's first row", "ours-fp32", FIRST_ROW, 1.6),
    Mark("auto against the article's first row", "ours-auto", FIRST_ROW, 5.0),
    Mark("fp32 against the bare model", "ours-fp32", "limit-fp32", 0.92),
    Mark("auto against the bare model", "ours-auto", "limit-auto", 0.92),
    Mark("fp32 against the plain Ray Data pool", "ours-fp32", "ray-data", 1.4),
    Mark("auto against the plain Ray Data pool", "ours-auto", "ray-data", 4.0),
    Mark("fp32 against Daft", "ours-fp32", "daft", 1.4),
    Mark("auto against Daft", "ours-auto", "daft", 4.0),
    Mark("auto against funasr-onnx int8", "ours-auto", "funasr-onnx", 1.2),
)
OVERHEAD_CASE = "overhead"
MOST_OVERHEAD_MS = 0.3

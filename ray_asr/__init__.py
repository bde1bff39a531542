"""Distributed speech recognition on Ray and FunASR.

Owns the public functions of the package. Importing it starts nothing and imports neither Ray nor
a model library.
"""

from __future__ import annotations

from os import PathLike, fspath
from typing import TYPE_CHECKING, Any, overload

from ray_asr.config import Config, load_config, with_settings
from ray_asr.notebook_kernel import quiet_import
from ray_asr.verbs import (
    bench,
    compact,
    export,
    pack,
    plan,
    predict,
    report,
    retry,
    run_demo,
    score,
    simulate,
    tune,
    verify,
)

if TYPE_CHECKING:
    from ray.data import Dataset

    from ray_asr.job.summary import RunSummary

quiet_import()

__version__ = "0.1.0"
__all__ = [
    "Config", "bench", "compact", "export", "load_config", "pack", "plan", "predict", "report",
    "retry", "run_demo", "score", "simulate", "transcribe", "tune", "verify",
]  # fmt: skip


@overload
def transcribe(
    source: str | PathLike[str],
    output: str | PathLike[str],
    *,
    config: Config | None = None,
    restart: bool = False,
    **settings: Any,
) -> RunSummary: ...
@overload
def transcribe(
    source: Dataset, output: None = None, *, config: Config | None = None, **settings: Any
) -> Dataset: ...


def transcribe(
    source: Dataset | str | PathLike[str],
    output: str | PathLike[str] | None = None,
    *,
    config: Config | None = None,
    restart: bool = False,
    **settings: Any,
) -> Dataset | RunSummary:
    """Transcribe a dataset lazily, or Parquet files into an output folder.

    Args:
        source: a `ray.data.Dataset`, or the path or URI of a Parquet file or folder.
        output: with a path, the folder of the transcripts; the same call again does what is
            missing. With a dataset, None.
        config: where settings start from; the defaults where it is None.
        restart: with a path, begin anew where an earlier run left an output; its parts stay until
            the first new one is whole.
        settings: single settings by their name, such as `model="demo"` or `batch_size_s=120`.

    Returns:
        With a dataset, a lazy dataset of transcripts that composes with the rest of Ray Data;
        with a path, the summary of the finished run.

    Raises:
        ConfigError: a setting is unknown or cannot work.
        DataError: the input or the output cannot be used.
        PlanError: the cluster has no room for one actor.
    """
    from ray_asr.errors import ConfigError
    from ray_asr.job import pipeline

    config = with_settings(config or Config(), settings)
    if isinstance(source, (str, PathLike)):
        if output is None:
            raise ConfigError("transcribing files needs an output: transcribe(source, output).")
        return pipeline.transcribe_path(fspath(source), fspath(output), config, restart=restart)
    if restart:
        raise ConfigError("a dataset has no output to begin anew on: leave restart out.")
    if output is not None:
        raise ConfigError(
            "a dataset is transcribed lazily, without an output: write the result with "
            "transcribe(dataset).write_parquet(...)."
        )
    return pipeline.transcribe_dataset(source, config)

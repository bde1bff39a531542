"""The exception tree, the codes of failed rows, and the exit codes.

Knows nothing else of the package. Every exception here survives pickling, since it may cross from
a Ray worker to the driver.
"""

from __future__ import annotations

from enum import Enum, IntEnum


class ExitCode(IntEnum):
    """What a process of ours ends with."""

    DONE = 0
    UNEXPECTED = 1
    CONFIG = 2
    INPUT_DATA = 3
    PLAN_DOES_NOT_FIT = 4
    TOO_MANY_FAILURES = 5


class ErrorCode(str, Enum):  # enum.StrEnum is not in Python 3.10
    """Why a row is `failed`: the value of its `error_code`."""

    AUDIO_MISSING = "audio_missing"  # the audio cell is null
    AUDIO_EMPTY = "audio_empty"  # no bytes, or a valid container with no samples
    AUDIO_UNREADABLE = "audio_unreadable"  # the path or URI could not be read
    AUDIO_TRUNCATED = "audio_truncated"  # the data ends before its header says
    AUDIO_NOT_AUDIO = "audio_not_audio"  # no decoder knows these bytes
    AUDIO_NO_STREAM = "audio_no_stream"  # a media file without an audio stream
    AUDIO_CORRUPT = "audio_corrupt"  # a known format whose data cannot be decoded
    AUDIO_NON_FINITE = "audio_non_finite"  # NaN or infinite samples
    AUDIO_TOO_LONG = "audio_too_long"  # longer than `input.max_duration_s`
    ID_MISSING = "id_missing"  # the id cell is null
    MODEL_FAILED = "model_failed"  # the model raised on this row alone
    OUT_OF_MEMORY = "out_of_memory"  # the row does not fit the device, even alone
    ROW_TIMEOUT = "row_timeout"  # even alone it took longer than `job.row_timeout_s`
    WORKER_DIED = "worker_died"  # processes died in the work on it, even alone

    def __str__(self) -> str:
        return self.value


class RayAsrError(Exception):
    """Anything that ray_asr says in one sentence instead of a traceback."""

    exit_code: ExitCode = ExitCode.UNEXPECTED


class ConfigError(RayAsrError):
    """A setting that cannot work; says which and what to use instead."""

    exit_code = ExitCode.CONFIG


class DataError(RayAsrError):
    """Input or output data that the job cannot start on or finish with."""

    exit_code = ExitCode.INPUT_DATA


class StorageError(DataError, OSError):
    """A store or a file that cannot be read or written; says where, why, and what to check.

    It is an OSError too, so that what takes a file that cannot be read takes this as well.
    """


class MissingFileError(StorageError, FileNotFoundError):
    """A file or folder that is not there."""


class PlanError(RayAsrError):
    """The job does not fit the cluster; says what is missing."""

    exit_code = ExitCode.PLAN_DOES_NOT_FIT


class TooManyFailuresError(RayAsrError):
    """More rows failed than `job.max_failed_ratio` allows; what was done is written."""

    exit_code = ExitCode.TOO_MANY_FAILURES


class EngineFatalError(RayAsrError):
    """The engine cannot go on at all (load failure, dead device): never a row's fault."""


class BatchTooLargeError(RayAsrError):
    """A batch that the device's memory does not hold; parts of it may fit."""


class RowError(RayAsrError):
    """One row cannot be transcribed; the worker turns it into a `failed` row.

    Attributes:
        code: why, in one word of `ErrorCode`.
        message: why, in a sentence.
    """

    def __init__(self, code: ErrorCode, message: str) -> None:
        super().__init__(code, message)
        self.code = code
        # What others say may hold half a character, which no column of text does.
        self.message = message.encode(errors="replace").decode()

    def __str__(self) -> str:
        return f"{self.code}: {self.message}"

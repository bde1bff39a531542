"""What is tried again, how often, and what is said of what stays."""

from __future__ import annotations

import errno
import logging

import pyarrow as pa
import pytest

from ray_asr.corpus.retries import Patience, explained, may_pass, patiently
from ray_asr.errors import DataError, MissingFileError, StorageError

QUICK = Patience(attempts=4, first_wait_s=0.0)
SLOW_DOWN = OSError("AWS Error SLOW_DOWN (HTTP status 503) during GetObject: Please reduce")


def behind(outer: Exception, inner: Exception) -> Exception:
    outer.__cause__ = inner
    return outer


class Answered(Exception):
    """As HTTP libraries have it."""

    def __init__(self, status: int) -> None:
        super().__init__(f"{status} of https://host/x?sig=s3cr3t")
        self.status = status


@pytest.mark.parametrize(
    "error",
    [
        SLOW_DOWN,
        OSError("AWS Error NETWORK_CONNECTION during GetObject: curlCode: 28, Timeout was reached"),
        OSError("AWS Error UNKNOWN (HTTP status 500) during HeadObject operation: No response"),
        OSError("google::cloud::Status(UNAVAILABLE: try later)"),
        OSError(errno.ECONNREFUSED, "Cannot connect"),
        ConnectionResetError(), TimeoutError(), Answered(429), Answered(502), Answered(408),
        behind(FileNotFoundError("https://host/x"), Answered(503)),
    ],
)  # fmt: skip
def test_what_may_pass_is_tried_again(error: Exception) -> None:
    assert may_pass(error)


@pytest.mark.parametrize(
    "error",
    [
        FileNotFoundError(errno.ENOENT, "Path does not exist 'bucket/timeout/x'"),
        OSError("AWS Error ACCESS_DENIED (HTTP status 403) during GetObject operation"),
        OSError("AWS Error NETWORK_CONNECTION: curlCode: 60, SSL peer certificate was not OK"),
        OSError(errno.ENOSPC, "No space left on device"),
        PermissionError(errno.EACCES, "no"), Answered(404), Answered(400),
        behind(FileNotFoundError("https://host/x"), Answered(403)),
        pa.ArrowInvalid("Not a Parquet file"), StorageError("timeout, eight times"),
    ],
)  # fmt: skip
def test_what_stays_is_not_tried_again(error: Exception) -> None:
    assert not may_pass(error)


class Failing:
    """Fails with these errors, then gives 7."""

    def __init__(self, *errors: BaseException) -> None:
        self.errors = list(errors)
        self.calls = 0

    def __call__(self) -> int:
        self.calls += 1
        if self.errors:
            raise self.errors.pop(0)
        return 7


def test_it_is_tried_until_it_succeeds_and_said_once(caplog: pytest.LogCaptureFixture) -> None:
    attempt = Failing(SLOW_DOWN, ConnectionResetError("https://u:p@host"), SLOW_DOWN)
    with caplog.at_level(logging.WARNING):
        assert patiently("s3://bucket/x", attempt, QUICK) == 7
    assert attempt.calls == 4
    (record,) = caplog.records
    assert record.getMessage().startswith("s3://bucket/x is tried again: AWS Error SLOW_DOWN")


def test_it_ends_after_so_many_attempts_in_a_sentence() -> None:
    attempt = Failing(*[SLOW_DOWN] * 9)
    with pytest.raises(StorageError, match=r"s3://bucket/x did not answer .*, 4 times in a row"):
        patiently("s3://bucket/x", attempt, QUICK)
    assert attempt.calls == 4


def test_what_stays_is_said_at_once_and_without_what_is_behind_it() -> None:
    attempt = Failing(Answered(403))
    with pytest.raises(StorageError, match="check the credentials") as raised:
        patiently("https://host/x", attempt, QUICK)
    assert attempt.calls == 1
    assert "s3cr3t" not in str(raised.value)
    assert raised.value.__cause__ is None
    assert raised.value.__context__ is None


def test_a_sentence_of_ours_and_an_interruption_are_passed_on_as_they_are() -> None:
    for error in (DataError("ours."), KeyboardInterrupt(), MemoryError()):
        with pytest.raises(type(error)) as raised:
            patiently("x", Failing(error), QUICK)
        assert raised.value is error


def test_a_missing_file_is_one_for_who_asks_for_the_common_kind() -> None:
    error = explained(FileNotFoundError(errno.ENOENT, "no such key"), "s3://bucket/x")
    assert isinstance(error, MissingFileError)
    assert isinstance(error, FileNotFoundError)
    assert "s3://bucket/x does not exist" in str(error)
    assert isinstance(explained(Answered(404), "https://host/x"), MissingFileError)


def test_waits_grow_to_a_bound_and_differ() -> None:
    waits = [list(Patience().waits_s()) for _ in range(20)]
    for number in range(7):
        longest = min(0.5 * 2**number, 20.0)
        assert all(longest / 2 <= wait[number] <= longest for wait in waits)
        assert len({wait[number] for wait in waits}) > 1
    assert all(len(wait) == 7 for wait in waits)

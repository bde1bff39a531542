"""What may pass is tried again: errors of stores told apart, waited out, and said in a sentence.

Owns which errors pass, how long they are waited for, and what is said of those that stay. Must not
know which stores there are, or what their files hold.
"""

from __future__ import annotations

import errno
import logging
import random
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TypeVar

from ray_asr.errors import DataError, MissingFileError, StorageError
from ray_asr.kept_error import KeptError
from ray_asr.redaction import redacted

T = TypeVar("T")

logger = logging.getLogger(__name__)

_SAID_AT_MOST = 300  # characters of a store's own words
_NUMBERS_THAT_PASS = frozenset(
    [
        errno.ECONNABORTED, errno.ECONNREFUSED, errno.ECONNRESET, errno.EHOSTUNREACH,
        errno.ENETRESET, errno.ENETUNREACH, errno.EPIPE, errno.ETIMEDOUT,
    ]
)  # fmt: skip
_STATUS = re.compile(r"\bHTTP status (\d{3})\b", re.IGNORECASE)
# The words that stores and HTTP libraries have for it, where there is no number.
_WORDS_THAT_PASS = re.compile(
    r"slow.?down|throttl|too.?many.?requests|rate.?limit|timed?.?out|deadline.?exceeded"
    r"|network.?connection|connection (?:was |is )?(?:reset|closed|aborted|refused|broken|lost)"
    r"|broken pipe|internal.?(?:server.?)?(?:error|failure)|unavailable|bad gateway"
    r"|server (?:is busy|disconnected)|could ?n.t (?:connect|resolve)|temporary failure"
    r"|payload is not completed|partial file",
    re.IGNORECASE,
)
_CERTIFICATE = re.compile(r"certificate|curlCode: (?:58|60|77)\b", re.IGNORECASE)
_DENIED = re.compile(
    r"access.?denied|forbidden|unauthorized|invalid.?access.?key|signature.?does.?not.?match"
    r"|(?:invalid|expired).{0,8}token|no credentials|permission denied",
    re.IGNORECASE,
)
_JITTER = random.Random()  # of its own: what a program draws must not hang on a store's errors


@dataclass(frozen=True, slots=True)
class Patience:
    """How often and for how long something is tried again.

    Attributes:
        attempts: the first one among them.
        first_wait_s: doubled each time, up to `longest_wait_s`; up to half of it is left out at
            random, so that those who were turned away together do not come back together.
    """

    attempts: int = 8
    first_wait_s: float = 0.5
    longest_wait_s: float = 20.0

    def waits_s(self) -> Iterator[float]:
        """What to wait before each attempt but the first, in seconds: up to 51 of them together."""
        for number in range(self.attempts - 1):
            wait_s = min(self.first_wait_s * 2**number, self.longest_wait_s)
            yield wait_s * _JITTER.uniform(0.5, 1.0)


def may_pass(error: BaseException) -> bool:
    """Whether another attempt may succeed where this error came.

    Resets, timeouts, throttling and a server's own errors pass; what is not there, not allowed or
    not understood stays.
    """
    if isinstance(error, DataError):  # said already, after attempts enough
        return False
    error = _behind(error)
    status = _status(error)
    if status:
        return status >= 500 or status in (408, 425, 429)
    if isinstance(error, (FileNotFoundError, PermissionError, FileExistsError)):
        return False
    if isinstance(error, (ConnectionError, TimeoutError, EOFError)):
        return True
    if isinstance(error, OSError) and error.errno in _NUMBERS_THAT_PASS:
        return True
    text = str(error) or type(error).__name__
    return bool(_WORDS_THAT_PASS.search(text)) and not _CERTIFICATE.search(text)


def _behind(error: BaseException) -> BaseException:
    """The failed request behind a file that is said to be missing: fsspec takes any for that."""
    if isinstance(error, FileNotFoundError) and error.__cause__ is not None:
        return error.__cause__
    return error


def _status(error: BaseException) -> int:
    """The HTTP status that an error tells of; 0 where it tells of none."""
    for name in ("status", "status_code", "code"):
        value = getattr(error, name, None)
        if isinstance(value, int) and 100 <= value < 600:
            return value
    found = _STATUS.search(str(error))
    return int(found[1]) if found else 0


def explained(error: BaseException, where: str, attempts: int = 1) -> StorageError:
    """One sentence about an error that stays, or stayed for so many attempts, without secrets."""
    passing = may_pass(error)
    error = _behind(error)
    reason = " ".join(redacted(str(error)).split())[:_SAID_AT_MOST].rstrip(". ")
    if not isinstance(error, OSError):
        reason = f"{type(error).__name__}: {reason}".removesuffix(": ")
    if passing:
        how_often = f", {attempts} times in a row" if attempts > 1 else ""
        return StorageError(
            f"{where} did not answer as it should{how_often} ({reason}): check the address and the "
            "store, then give the same command again."
        )
    if isinstance(error, FileNotFoundError) or _status(error) == 404:
        return MissingFileError(f"{where} does not exist ({reason}): check the path.")
    denied = isinstance(error, PermissionError) or _status(error) in (401, 403)
    if denied or _DENIED.search(reason):
        return StorageError(
            f"{where} is not open to you ({reason}): check the credentials, and what they allow."
        )
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StorageError(
            f"{where} has no room left ({reason}): make some, then give the same command again."
        )
    return StorageError(f"{where} cannot be used ({reason}): check the address and its options.")


def patiently(where: str, attempt: Callable[[], T], patience: Patience | None = None) -> T:
    """What `attempt` gives, tried again while it fails with what may pass.

    Args:
        where: what is read or written, without secrets; for messages.
        attempt: may be called several times.
        patience: how often.

    Raises:
        StorageError: it stays. Without the error behind it, whose text may hold secrets.
    """
    waits_s = (patience or Patience()).waits_s()
    attempts = 0
    while True:
        attempts += 1
        tried = KeptError(DataError)
        with tried:
            return attempt()
        error = tried.error
        assert error is not None
        wait_s = next(waits_s, None) if may_pass(error) else None
        if wait_s is None:
            raise explained(error, where, attempts)
        if attempts == 1:
            logger.warning("%s is tried again: %s", where, redacted(str(error)) or type(error))
        time.sleep(wait_s)

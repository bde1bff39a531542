"""What went wrong, out of the errors that Ray puts around it.

Owns how an error of a worker is found and said again in the driver. Must not know what a job does.
"""

from __future__ import annotations

from collections.abc import Iterator

from ray.exceptions import RayError

from ray_asr.errors import RayAsrError

# Ray Data writes its advice on retries into the error that it hands on (`_add_retry_note`, 2.60).
_RAYS_ADVICE = "\nFailed to apply UDF transform"


def own_error(error: BaseException) -> BaseException:
    """The error of ours inside one of Ray's, in its own words; `error` itself where there is none.

    Ray's class for an error of a task is made a child of that error's class, so that neither its
    type nor its text is what a user should see.
    """
    for inner in _inside(error):
        if isinstance(inner, RayAsrError) and not isinstance(inner, RayError):
            inner.args = (_words(inner),)
            return inner
    return error


def reason(error: BaseException) -> str:
    """One line: what the innermost error says that is not Ray's own."""
    said = [inner for inner in _inside(error) if _words(inner).strip()]
    not_rays = [inner for inner in said if not isinstance(inner, RayError)]
    for inner in (not_rays or said)[-1:]:
        return _words(inner).strip().splitlines()[-1]
    return type(error).__name__


def _inside(error: BaseException) -> Iterator[BaseException]:
    seen: list[BaseException] = []  # one of Ray's may name the error that was raised from it
    now: BaseException | None = error
    while now is not None and now not in seen:
        yield now
        seen.append(now)
        now = getattr(now, "cause", None) or now.__cause__


def _words(error: BaseException) -> str:
    return str(error).partition(_RAYS_ADVICE)[0]

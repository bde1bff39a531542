"""The user's sentence, out of what Ray puts around it."""

from __future__ import annotations

import pytest
from ray.exceptions import RayTaskError

from ray_asr.errors import EngineFatalError, PlanError
from ray_asr.job.ray_errors import own_error, reason

ADVICE = "\nFailed to apply UDF transform after 1/1 attempts (total backoff 0.0s).\nTo change ..."


def of_a_task(cause: Exception) -> BaseException:
    """As Ray raises what went wrong in a task: of a class that is a child of the cause's too."""
    return RayTaskError(
        "submit", "Traceback (most recent call last): ...", cause
    ).as_instanceof_cause()


@pytest.mark.parametrize("error", [EngineFatalError("the model is gone."), PlanError("no room.")])
def test_an_error_of_ours_comes_out_in_its_own_class_and_words(error: Exception) -> None:
    said = str(error)
    error.args = (said + ADVICE,)
    found = own_error(of_a_task(error))
    assert type(found) is type(error)
    assert str(found) == said == reason(of_a_task(error))


def test_an_error_of_another_is_left_as_it_is_and_its_last_line_is_the_reason() -> None:
    wrapped = of_a_task(RuntimeError("something:\nno such thing" + ADVICE))
    assert own_error(wrapped) is wrapped
    assert reason(wrapped) == "no such thing"
    assert reason(ValueError()) == "ValueError"


def test_an_error_raised_from_the_one_that_holds_it_ends() -> None:
    inner = EngineFatalError("no room for two.")
    inner.__cause__ = of_a_task(inner)
    assert own_error(inner) is inner
    assert reason(inner) == reason(inner.__cause__) == "no room for two."

from __future__ import annotations

import copy
import pickle

import pytest

from ray_asr import errors
from ray_asr.errors import ErrorCode, ExitCode, RayAsrError, RowError

SENTENCE_ERRORS = [
    errors.RayAsrError,
    errors.ConfigError,
    errors.DataError,
    errors.StorageError,
    errors.MissingFileError,
    errors.PlanError,
    errors.TooManyFailuresError,
    errors.EngineFatalError,
    errors.BatchTooLargeError,
]


def test_every_error_of_the_module_is_covered_here() -> None:
    of_module = {
        value
        for value in vars(errors).values()
        if isinstance(value, type) and issubclass(value, Exception)
    }
    assert of_module == {*SENTENCE_ERRORS, RowError}


@pytest.mark.parametrize("cls", SENTENCE_ERRORS)
@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_errors_survive_pickling(cls: type[RayAsrError], protocol: int) -> None:
    back = pickle.loads(pickle.dumps(cls("one sentence."), protocol))
    assert type(back) is cls
    assert str(back) == "one sentence."
    assert back.exit_code == cls.exit_code


@pytest.mark.parametrize("code", ErrorCode)
def test_row_errors_survive_pickling_with_code_and_message(code: ErrorCode) -> None:
    for back in (
        pickle.loads(pickle.dumps(RowError(code, "why it failed."))),
        copy.deepcopy(RowError(code, "why it failed.")),
    ):
        assert type(back) is RowError
        assert back.code is code
        assert back.message == "why it failed."
        assert str(back) == f"{code.value}: why it failed."


@pytest.mark.parametrize("code", ErrorCode)
def test_an_error_code_prints_as_its_value(code: ErrorCode) -> None:
    assert str(code) == f"{code}" == code.value == code
    assert ErrorCode(code.value) is code


def test_error_codes_are_lower_case_words() -> None:
    assert all(code.value == code.name.lower() for code in ErrorCode)


@pytest.mark.parametrize(
    ("cls", "exit_code"),
    [
        (errors.RayAsrError, 1),
        (errors.EngineFatalError, 1),
        (errors.RowError, 1),
        (errors.ConfigError, 2),
        (errors.DataError, 3),
        (errors.PlanError, 4),
        (errors.TooManyFailuresError, 5),
    ],
)
def test_exit_codes_are_those_of_the_contract(cls: type[RayAsrError], exit_code: int) -> None:
    assert int(cls.exit_code) == exit_code


def test_done_is_zero() -> None:
    assert int(ExitCode.DONE) == 0


def test_an_error_crossing_a_process_keeps_its_class_as_a_cause() -> None:
    try:
        try:
            raise errors.DataError("no rows.")
        except errors.DataError as error:
            raise errors.EngineFatalError("stopped.") from error
    except errors.EngineFatalError as error:
        caught = error
    assert isinstance(caught.__cause__, errors.DataError)
    assert isinstance(caught, RayAsrError)

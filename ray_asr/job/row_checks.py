"""What must hold of every output row, a batch at a time.

Owns these rules. Pure: knows tables, not files or folders.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from ray_asr.errors import ErrorCode
from ray_asr.schema import STATUS_FAILED, STATUS_NO_SPEECH, STATUS_OK, TRANSCRIPT_SCHEMA

_CODES = pa.array(["", *(code.value for code in ErrorCode)])

Mask = npt.NDArray[np.bool_]
# A kind of finding, its sentence, and which rows it concerns.
Broken = tuple[str, str, Mask]


def schema_problems(found: pa.Schema, passed_through: dict[str, pa.DataType]) -> list[str]:
    """What is wrong with the columns of a file of transcripts, a sentence each.

    Args:
        found: the file's.
        passed_through: the columns that its input rows bring, and their types.
    """
    contract = TRANSCRIPT_SCHEMA.names
    problems: list[str] = []
    if found.names[: len(contract)] != contract:
        problems.append(
            f"its first columns are {', '.join(found.names[: len(contract)])} and not "
            f"{', '.join(contract)}"
        )
    if len(set(found.names)) < len(found.names):
        problems.append("two columns have one name")
    expected = {field.name: field.type for field in TRANSCRIPT_SCHEMA} | passed_through
    for name in sorted({*found.names, *expected}):
        if name not in found.names:
            problems.append(f'the column "{name}" is missing')
        elif name not in expected:
            problems.append(f'the column "{name}" is not one of the input\'s')
        elif found.names.count(name) == 1 and found.field(name).type != expected[name]:
            problems.append(
                f'the column "{name}" is {found.field(name).type} and not {expected[name]}'
            )
    return problems


def has_contract(found: pa.Schema) -> bool:
    """Whether the contract's columns are there in their types, so that rows can be looked at."""
    return all(
        found.names.count(field.name) == 1 and found.field(field.name).type == field.type
        for field in TRANSCRIPT_SCHEMA
    )


def broken_rows(rows: pa.RecordBatch, ids: pa.Array, fingerprint: str) -> Iterator[Broken]:
    """The rules that rows break.

    Args:
        rows: of the output, with the columns of the contract in their types.
        ids: what their ids must be, in their order; null where the input has none.
        fingerprint: what every row must say of the settings.
    """
    for kind, sentence, broken in _rules(rows, ids, fingerprint):
        if broken.any():
            yield kind, sentence, broken


def _rules(rows: pa.RecordBatch, ids: pa.Array, fingerprint: str) -> Iterator[Broken]:
    wrong = ~_equal(rows["utterance_id"], pc.fill_null(ids, "")) & _valid(rows["utterance_id"])
    first = int(np.argmax(wrong))
    said, meant = rows["utterance_id"][first].as_py(), ids[first].as_py()
    yield "wrong_id", f"the id is {said!r} where the input has {meant!r}", wrong
    for column in TRANSCRIPT_SCHEMA.names:
        yield "null", f"{column} is null", ~_valid(rows[column])
    status, code = rows["status"], rows["error_code"]
    ok, failed = _equal(status, STATUS_OK), _equal(status, STATUS_FAILED)
    known = ok | failed | _equal(status, STATUS_NO_SPEECH)
    no_code, no_text = _equal(code, ""), _equal(rows["text"], "")
    yield "status", "the status is none of ok, no_speech and failed", ~known & _valid(status)
    yield "status", "it is ok without a text", ok & no_text
    yield "status", "it has a text without being ok", ~ok & ~no_text & _valid(rows["text"])
    yield "error_code", "it has failed without an error_code", failed & no_code
    yield (
        "error_code",
        "it has an error_code without having failed",
        ~failed & ~no_code & _valid(code),
    )
    unknown = ~mask_of("is_in", code, options=pc.SetLookupOptions(_CODES)) & _valid(code)
    yield "error_code", "the error_code is none that this version knows", unknown
    no_id = ~_valid(ids) & ~(failed & _equal(code, ErrorCode.ID_MISSING.value))
    yield "error_code", "the input has no id there, and the row is not failed as id_missing", no_id
    negative = mask_of("less", rows["duration_ms"], pa.scalar(0, pa.int64()))
    yield "duration", "duration_ms is negative", negative
    other = ~_equal(rows["config_fingerprint"], fingerprint) & _valid(rows["config_fingerprint"])
    yield "fingerprint", "it was made with other settings than _job.json says", other


def _valid(column: pa.Array) -> Mask:
    return mask_of("is_valid", column)


def _equal(column: pa.Array, value: pa.Array | str) -> Mask:
    return mask_of("equal", column, value if isinstance(value, pa.Array) else pa.scalar(value))


def mask_of(function: str, *arguments: Any, options: Any = None) -> Mask:
    """What an Arrow function says of each row; what is null is no."""
    said = pc.fill_null(pc.call_function(function, list(arguments), options), False)
    return said.to_numpy(zero_copy_only=False)

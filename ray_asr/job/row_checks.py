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

_STATUSES = pa.array([STATUS_OK, STATUS_NO_SPEECH, STATUS_FAILED])
_CODES = pa.array(["", *(code.value for code in ErrorCode)])

# A kind of finding, its sentence, and which rows it concerns.
Broken = tuple[str, str, npt.NDArray[np.bool_]]


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
    for kind, sentence, mask in _rules(rows, ids, fingerprint):
        broken = _true(mask)
        if broken.any():
            yield kind, sentence, broken


def _rules(rows: pa.RecordBatch, ids: pa.Array, fingerprint: str) -> Iterator[tuple[str, str, Any]]:
    wrong = pc.not_equal(rows["utterance_id"], pc.fill_null(ids, ""))
    first = int(np.argmax(_true(wrong)))
    said, meant = rows["utterance_id"][first].as_py(), ids[first].as_py()
    yield "wrong_id", f"the id is {said!r} where the input has {meant!r}", wrong
    for field in TRANSCRIPT_SCHEMA:
        column = rows[field.name]
        if column.null_count:
            yield "null", f"{field.name} is null", column.is_null()
    status, code, text = rows["status"], rows["error_code"], rows["text"]
    known = pc.is_in(status, value_set=_STATUSES)
    ok, failed = pc.equal(status, STATUS_OK), pc.equal(status, STATUS_FAILED)
    no_code, no_text = pc.equal(code, ""), pc.equal(text, "")
    yield "status", "the status is none of ok, no_speech and failed", pc.and_(
        pc.invert(known), status.is_valid()
    )
    yield "status", "it is ok without a text", pc.and_(ok, no_text)
    yield "status", "it has a text without being ok", pc.and_(pc.invert(ok), pc.invert(no_text))
    yield "error_code", "it has failed without an error_code", pc.and_(failed, no_code)
    yield "error_code", "it has an error_code without having failed", pc.and_(
        pc.invert(failed), pc.invert(no_code)
    )
    yield "error_code", "the error_code is none that this version knows", pc.and_(
        pc.invert(pc.is_in(code, value_set=_CODES)), code.is_valid()
    )
    without_id = pc.and_(failed, pc.equal(code, ErrorCode.ID_MISSING.value))
    yield "error_code", "the input has no id there, and the row is not failed as id_missing", pc.and_(
        ids.is_null(), pc.invert(without_id)
    )
    yield "duration", "duration_ms is negative", pc.less(rows["duration_ms"], 0)
    other = pc.not_equal(rows["config_fingerprint"], fingerprint)
    yield "fingerprint", "it was made with other settings than _job.json says", other


def _true(mask: Any) -> npt.NDArray[np.bool_]:
    """A mask as numpy has it; what is null is said elsewhere."""
    filled = pc.fill_null(mask, False)
    return np.asarray(filled.to_numpy(zero_copy_only=False), dtype=bool)

"""Tables of the input made on the spot: rows of the contract, columns of many types."""

from __future__ import annotations

import datetime
import decimal
from collections.abc import Sequence
from typing import Any

import pyarrow as pa

from ray_asr.config import InputConfig
from ray_asr.corpus.rows import decode_rows

INPUT = InputConfig()
UTC = datetime.timezone.utc  # datetime.UTC is not in Python 3.10


def batch(audio: Any, ids: Any = None, **extra: Any) -> pa.RecordBatch:
    columns = {
        "utterance_id": ids if ids is not None else [str(n) for n in range(len(audio))],
        "audio": audio,
        **extra,
    }
    arrays = {n: c if isinstance(c, pa.Array) else pa.array(c) for n, c in columns.items()}
    return pa.RecordBatch.from_arrays(list(arrays.values()), names=list(arrays))


def decoded(rows: pa.RecordBatch, config: InputConfig = INPUT, chunk_s: float = 1e9) -> pa.Table:
    return pa.concat_tables([run for run, _ in decode_rows(rows, config, chunk_s)])


def many_types(count: int) -> dict[str, pa.Array]:
    """Columns of many types; every third value is null."""

    def column(values: Sequence[Any], kind: pa.DataType) -> pa.Array:
        return pa.array([None if n % 3 == 2 else values[n % 2] for n in range(count)], kind)

    day = datetime.datetime(2026, 11, 22, 10, 30, tzinfo=UTC)
    return {
        "a_string": column(["é", ""], pa.string()),
        "a_large_string": column(["魔搭", "x"], pa.large_string()),
        "some_bytes": column([b"\0\xff", b""], pa.binary()),
        "fixed_bytes": column([b"ab", b"cd"], pa.binary(2)),
        "an_int8": column([-1, 5], pa.int8()),
        "a_uint64": column([2**64 - 1, 0], pa.uint64()),
        "a_float32": column([0.5, -0.0], pa.float32()),
        "a_bool": column([True, False], pa.bool_()),
        "a_date": column([day.date(), day.date()], pa.date32()),
        "a_time": column([day, day], pa.timestamp("us", "Europe/Berlin")),
        "a_decimal": column(
            [decimal.Decimal("1.50"), decimal.Decimal("-2.25")], pa.decimal128(9, 2)
        ),
        "a_list": column([[1, None], []], pa.list_(pa.int64())),
        "a_fixed_list": column([[1.0, 2.0], [3.0, 4.0]], pa.list_(pa.float32(), 2)),
        "a_struct": column(
            [{"x": 1, "y": [{"z": "q"}]}, {"x": None, "y": []}],
            pa.struct([("x", pa.int32()), ("y", pa.list_(pa.struct([("z", pa.string())])))]),
        ),
        "a_map": column([[("k", 1)], []], pa.map_(pa.string(), pa.int64())),
        "a_category": column(["de", "zh"], pa.string()).dictionary_encode(),
        "nothing": pa.nulls(count),
    }

"""A folder that Hugging Face's `datasets.load_dataset` reads: Parquet shards and a dataset card.

Owns the shards, the card, and which column types `datasets` has. Must not know where rows come from
or how files are written.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import yaml

from ray_asr.errors import DataError
from ray_asr.results.export_formats import Export, json_value

# What `datasets` cuts shards at, and what it reads at once.
_SHARD_BYTES = 500 * 10**6
_GROUP_BYTES = 2**25
_COLUMNS = {
    "utterance_id": "the recording's id",
    "status": "`ok`, `no_speech` or `failed`",
    "text": "what was said",
    "segments": "stretches of speech, with times in ms, words and speakers",
    "duration_ms": "of the recording",
    "language": "of the speech",
    "emotion": "of the speaker, where the model says one",
    "audio_events": "music, laughter and the like, where the model says them",
    "model_id": "what recognized it",
    "reference_text": "what a person wrote down",
    "audio_path": "of the recording, as its source names it",
}


def write_hf(export: Export) -> None:
    """`data/train-*.parquet` with all columns, and `README.md` with their types, written last."""
    schema = export.rows.footers.schema()
    target = pa.schema([pa.field(field.name, _type(field.type)) for field in schema])
    groups = _groups(export, schema, target)
    group, shard = next(groups, None), 0
    languages: set[str] = set()
    size = 0
    while group is not None or not shard:
        with (
            export.place.raw(f"data/train-{shard:05d}.parquet") as sink,
            pq.ParquetWriter(sink, target, compression="zstd") as writer,
        ):
            while group is not None:
                writer.write_table(group, row_group_size=max(group.num_rows, 1))
                _note_languages(group, languages)
                export.add("rows", group.num_rows)
                size += group.nbytes
                group = next(groups, None)
                if sink.tell() >= _SHARD_BYTES:
                    break
        shard += 1
    export.add("rows", 0)
    export.add("shards", shard)
    with export.place.lines("README.md") as write:
        write(_card(export, target, languages, size))


def _groups(export: Export, schema: pa.Schema, target: pa.Schema) -> Iterator[pa.Table]:
    """Rows in tables of a size that suits a reader."""
    waiting: list[pa.RecordBatch] = []
    size = 0
    for batch in export.rows.batches_taken():
        waiting.append(_as_schema(batch, schema, target, export.language))
        size += waiting[-1].nbytes
        if size >= _GROUP_BYTES:
            yield pa.Table.from_batches(waiting, target)
            waiting, size = [], 0
    if waiting:
        yield pa.Table.from_batches(waiting, target)


def _as_schema(
    batch: pa.RecordBatch, schema: pa.Schema, target: pa.Schema, language: str
) -> pa.RecordBatch:
    columns = []
    for field, wanted in zip(schema, target, strict=True):
        if field.name not in batch.schema.names:
            columns.append(pa.nulls(batch.num_rows, wanted.type))
            continue
        column = batch.column(field.name)
        if field.name == "language" and language:
            values = [value or language for value in column.to_pylist()]
            columns.append(pa.array(values, wanted.type))
        elif _is_json(field.type):
            values = [
                None if value is None else json.dumps(json_value(value), ensure_ascii=False)
                for value in column.to_pylist()
            ]
            columns.append(pa.array(values, wanted.type))
        else:
            columns.append(_cast(column, wanted))
    return pa.RecordBatch.from_arrays(columns, schema=target)


def _cast(column: pa.Array, wanted: pa.Field) -> pa.Array:
    try:
        return column.cast(wanted.type)
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
        raise DataError(
            f"the column {wanted.name!r} has types that cannot be one ({error}); export it as "
            "jsonl, which takes any."
        ) from error


def _type(kind: pa.DataType) -> pa.DataType:
    """The type that a column has in the export."""
    return pa.string() if _is_json(kind) else _plain(kind)


def _is_json(kind: pa.DataType) -> bool:
    """Whether `datasets` has no such type, so that the column becomes texts of JSON."""
    return _feature(_plain(kind)) is None


def _plain(kind: pa.DataType) -> pa.DataType:
    """The same values in a type that all versions of `datasets` have."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    if pa.types.is_fixed_size_binary(kind):
        return pa.binary()
    return pa.list_(kind.value_type) if pa.types.is_fixed_size_list(kind) else kind


def _feature(kind: pa.DataType) -> Any:
    """A type in the words of a dataset card; None where it has none."""
    if pa.types.is_struct(kind):
        fields = [(one.name, _feature(one.type)) for one in kind]
        if any(feature is None for _, feature in fields):
            return None
        return {"struct": [{"name": name, **feature} for name, feature in fields]}
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        inner = _feature(kind.value_type)
        if inner is None:
            return None
        of_inner = inner.get("struct", inner.get("dtype", inner))
        return {"list" if pa.types.is_list(kind) else "large_list": of_inner}
    name = _value(kind)
    return {"dtype": name} if name else None


def _value(kind: pa.DataType) -> str:
    if pa.types.is_timestamp(kind):
        return f"timestamp[{kind.unit}{f', tz={kind.tz}' if kind.tz else ''}]"
    if pa.types.is_decimal128(kind):
        return f"decimal128({kind.precision}, {kind.scale})"
    names = {
        pa.null(): "null", pa.bool_(): "bool", pa.float32(): "float32", pa.float64(): "float64",
        pa.string(): "string", pa.large_string(): "large_string", pa.binary(): "binary",
        pa.large_binary(): "large_binary", pa.date32(): "date32", pa.date64(): "date64",
    }  # fmt: skip
    if kind in names:
        return names[kind]
    return str(kind) if pa.types.is_integer(kind) else ""


def _note_languages(group: pa.Table, languages: set[str]) -> None:
    if "language" in group.schema.names and len(languages) < 200:
        found = group.column("language").unique().to_pylist()
        languages.update(one for one in found if re.fullmatch("[a-z]{2,3}", str(one)))


def _card(export: Export, schema: pa.Schema, languages: set[str], size: int) -> str:
    """What the Hub and `load_dataset` read first."""
    front: dict[str, Any] = {
        "task_categories": ["automatic-speech-recognition"],
        "configs": [
            {
                "config_name": "default",
                "data_files": [{"split": "train", "path": "data/train-*.parquet"}],
            }
        ],
        "dataset_info": {
            "features": [{"name": one.name, **_feature(one.type)} for one in schema],
            "splits": [
                {"name": "train", "num_bytes": size, "num_examples": export.entries["rows"]}
            ],
            "dataset_size": size,
        },
    }
    if languages:
        front["language"] = sorted(languages)
    lines = [f"| `{_in_a_cell(field.name)}` | {_COLUMNS.get(field.name, '')} |" for field in schema]
    return "\n".join(
        [
            "---",
            yaml.safe_dump(front, allow_unicode=True, sort_keys=False).rstrip(),
            "---",
            "",
            "# Transcripts",
            "",
            "Made by automatic speech recognition with ray_asr: a row is a recording.",
            "",
            "| column | |",
            "|---|---|",
            *lines,
            "",
        ]
    )


def _in_a_cell(name: str) -> str:
    return re.sub(r"[`|<>&\s]+", "_", name)

"""A job on an S3 store that fails now and then: is each id there exactly once?

    python -m tests.faults.store --rows 2000 --broken 0.05 --slow 0.05 --seed 0

A real server behind a proxy that turns requests away, cuts answers off in the middle and lets some
come slowly. Recordings are packed to it; these shards, and a table of addresses of other
recordings on it, are transcribed from it to it; some parts are lost, and the same command is given
again; the output is verified and scored. Credentials stand in the addresses and in the
environment: no file of the store, no log and no message may hold them. Prints a JSON record; ends
with 1 where anything is wrong.
"""

from __future__ import annotations

import argparse
import io
import json
import logging
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

import ray_asr
from ray_asr.config import Config, EngineConfig, with_settings
from ray_asr.corpus.pack import pack
from ray_asr.corpus.storage import open_filesystem, read_whole, write_whole
from ray_asr.errors import RayAsrError
from ray_asr.job.pipeline import connect, transcribe_path
from tests.fakes import FakeEngine, heard, tone, wav_bytes
from tests.ray.heads import ROOT
from tests.stores import ACCESS_KEY, FAULTS, REGION, SECRET_KEY, make_bucket, proxy, s3_server

BUCKET = "speech"
MISSING_EVERY = 40  # of the addresses, so many lead nowhere
SETTINGS = {
    "model": "demo", "vad_model": "demo", "punc_model": "demo", "unit_mb": 1.0, "ncpu": 1,
    "batch_size_s": 10.0, "max_single_segment_time": 10_000, "num_actors": 1, "autoscale": False,
    "funasr_options": {"hf_token": SECRET_KEY},
}  # fmt: skip


def make_engine(_: EngineConfig) -> FakeEngine:
    return FakeEngine()


def address(path: str, port: int) -> str:
    """With all that one may write into it, credentials among them."""
    user = f"{quote(ACCESS_KEY, safe='')}:{quote(SECRET_KEY, safe='')}"
    query = f"endpoint_override=127.0.0.1:{port}&scheme=http&region={REGION}"
    return f"s3://{user}@{BUCKET}/{path}?{query}"


def job(folder: str, port: int) -> dict[str, Any]:
    """Pack, transcribe, lose two parts, transcribe: what a user would do; its summaries."""
    connect("local", num_cpus=3, _temp_dir=f"{folder}/ray", object_store_memory=200 * 2**20)
    shards = address("in/shards", port)
    packed = pack(f"{folder}/recordings", shards, shard_mb=0.5, row_group_mb=0.1)
    config = with_settings(Config(), SETTINGS)
    source, output = address("in", port), address("out", port)
    first = transcribe_path(source, output, config, make_engine=make_engine)
    filesystem, path = open_filesystem(output)
    parts = [
        info.path
        for info in filesystem.get_file_info(pafs.FileSelector(path))
        if info.base_name.startswith("part-")
    ]
    for lost in sorted(parts)[:2]:
        filesystem.delete_file(lost)
    again = transcribe_path(source, output, config, make_engine=make_engine)
    proof, scored = ray_asr.verify(output, source), ray_asr.score(output)
    return {
        "packed": packed.rows, "shards": packed.shards, "parts": len(parts),
        "first": [first.rows_out, first.rows_failed],
        "again": [again.rows_out, again.rows_resumed],
        "verified": [proof.rows_out, proof.proven],
        "scored": [scored.rows_scored, scored.wer.rate],
        "shown": [packed.table(), first.table(), again.table(), proof.table()],
    }  # fmt: skip


def write_inputs(folder: Path, rows: int, port: int) -> dict[str, str]:
    """Half the rows as files to pack, half on the store behind a table; each id's text."""
    texts: dict[str, str] = {}
    store, _ = open_filesystem(address("", port))
    paths: list[str] = []
    for number in range(rows):
        sound = tone(0.3, level=0.1 + number % 80 / 100)
        if number % 2:
            name = f"{number:06d}.wav"
            (folder / name).write_bytes(wav_bytes(sound, subtype="FLOAT"))
            texts[name] = heard(sound)
            (folder / f"{number:06d}.txt").write_text(texts[name])
            continue
        paths.append(f"audio/{number:06d}.wav")
        is_missing = len(paths) % MISSING_EVERY == 0
        texts[paths[-1]] = "" if is_missing else heard(sound)
        if not is_missing:
            data = wav_bytes(sound, subtype="FLOAT")
            write_whole(store, f"{BUCKET}/{paths[-1]}", data)
    sink = io.BytesIO()
    audio = [f"s3://{BUCKET}/{path}" for path in paths]
    table = pa.table({"utterance_id": paths, "audio": audio})
    pq.write_table(table, sink, row_group_size=50)
    write_whole(store, f"{BUCKET}/in/paths.parquet", sink.getvalue())
    return texts


def secrets_in(text: bytes | str) -> bool:
    data = text.encode() if isinstance(text, str) else text
    secrets = (SECRET_KEY, quote(SECRET_KEY, safe=""), ACCESS_KEY)
    return any(secret.encode() in data for secret in secrets)


def on_the_store(port: int) -> dict[str, bytes]:
    store, path = open_filesystem(address("", port))
    infos = store.get_file_info(pafs.FileSelector(path, recursive=True))
    files = [info.path for info in infos if info.type == pafs.FileType.File]
    return {path: read_whole(store, path) for path in files}


def checked(files: dict[str, bytes], texts: dict[str, str], said: str, logs: Path) -> list[str]:
    """What is wrong."""
    wrong: list[str] = []
    rows: list[dict[str, Any]] = []
    for path, data in files.items():
        if path.startswith(f"{BUCKET}/out/part-"):
            rows += pq.read_table(io.BytesIO(data)).to_pylist()
        if secrets_in(data):
            wrong.append(f"secrets in {path}")
        if path.rpartition("/")[2].startswith("_writing"):
            wrong.append(f"{path} is left over")
    if sorted(row["utterance_id"] for row in rows) != sorted(texts):
        wrong.append(f"{len(rows)} rows came out of {len(texts)}")
    for row in rows:
        if row["text"] != texts[row["utterance_id"]]:
            wrong.append(f"{row['utterance_id']}: {row['error_code']} {row['error_message']}")
        if secrets_in(json.dumps(row)):
            wrong.append(f"secrets in the row {row['utterance_id']}")
    failed = {row["error_code"] for row in rows if row["status"] == "failed"}
    if failed - {"audio_unreadable"}:
        wrong.append(f"failed with {sorted(failed)}")
    if secrets_in(said):
        wrong.append("secrets in what the job said")
    for path in logs.rglob("*"):
        if path.is_file() and not path.is_symlink() and secrets_in(path.read_bytes()):
            wrong.append(f"secrets in {path.relative_to(logs)}")
    return wrong


def run(rows: int, broken: float, slow: float, seed: int) -> dict[str, Any]:
    """The whole of it; see the head of this file."""
    with (
        tempfile.TemporaryDirectory(prefix="ra_", ignore_cleanup_errors=True) as folder,
        s3_server() as server,
        proxy(server, broken, slow, seed) as before,
    ):
        make_bucket(server, BUCKET)
        recordings = Path(folder, "recordings")
        recordings.mkdir()
        texts = write_inputs(recordings, rows, server)
        environment = {name: v for name, v in os.environ.items() if not name.startswith("AWS_")}
        environment |= {
            "AWS_ACCESS_KEY_ID": ACCESS_KEY, "AWS_SECRET_ACCESS_KEY": SECRET_KEY,
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{before.port}",
            "AWS_EC2_METADATA_DISABLED": "true",
        }  # fmt: skip
        began = time.monotonic()
        done = subprocess.run(
            [sys.executable, "-m", "tests.faults.store", "--job", folder, str(before.port)],
            cwd=ROOT, env=environment, capture_output=True, text=True, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - began
        wrong = checked(on_the_store(server), texts, done.stdout + done.stderr, Path(folder, "ray"))
        if done.returncode:
            wrong.append(f"the job ended with {done.returncode}: {done.stderr[-6000:]}")
        return {
            "rows": rows, "seed": seed, "seconds": round(seconds, 1),
            "requests": before.requests,
            "injected": {kind: before.injected[kind] for kind in FAULTS},
            "tried_again": done.stderr.count("is tried again"),
            "job": json.loads(done.stdout) if not done.returncode else None, "wrong": wrong,
        }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--rows", type=int, default=2000)
    parser.add_argument("--broken", type=float, default=0.05)
    parser.add_argument("--slow", type=float, default=0.05)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--job", nargs=2, metavar=("FOLDER", "PORT"))
    given = parser.parse_args()
    if given.job:
        logging.basicConfig(level=logging.INFO)
        logging.getLogger("ray_asr").setLevel(logging.DEBUG)
        try:
            print(json.dumps(job(given.job[0], int(given.job[1]))))  # noqa: T201
        except RayAsrError as error:
            logging.error("%s", error)
            sys.exit(int(error.exit_code))
        return
    record = run(given.rows, given.broken, given.slow, given.seed)
    print(json.dumps(record, indent=2))  # noqa: T201
    sys.exit(bool(record["wrong"]))


if __name__ == "__main__":
    main()

"""Hostile inputs, each in a process that may die of it, and all of them through the job."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import av
import pyarrow as pa
import pytest

from ray_asr.config import Config, with_settings
from ray_asr.corpus.audio import decode, decode_pieces
from ray_asr.corpus.audio_blocks import BytesFile
from ray_asr.errors import ErrorCode, RowError
from ray_asr.job.graph import chunks_of_rows, transcripts_of
from tests.fakes import FakeEngine, planned, wav_bytes
from tests.faults import hostile_forged as forged
from tests.faults.harmful import Harmful
from tests.faults.hostile import REACHING, bomb, bomb_names, case
from tests.faults.hostile_run import Outcome, from_file, run, table
from tests.faults.hostile_sources import (
    NAMES,
    RATE,
    ogg_pages,
    source,
    tone,
    write_long_opus,
)

SEED, COUNT = 22, 300
HOURS = 15.0


def faults(outcomes: list[Outcome]) -> list[str]:
    return [
        f"{outcome.id}: {outcome.code}: {outcome.fault}" for outcome in outcomes if outcome.fault
    ]


def test_hostile_inputs_yield_a_row_each_within_bounds() -> None:
    outcomes = list(run(((SEED, index) for index in range(COUNT)), processes=2))
    assert faults(outcomes) == []
    assert len({outcome.id for outcome in outcomes}) == COUNT
    kinds = {outcome.kind for outcome in outcomes}
    assert {"bombs", "whole files", "lying numbers", "reaching out"} <= kinds
    assert str(COUNT) in table(outcomes)


@pytest.mark.long
def test_bombs_are_refused_before_they_go_off() -> None:
    names = [name for name in bomb_names() if "hour" not in name and "names" not in name]
    outcomes = list(run(names, bomb, processes=2))
    assert faults(outcomes) == []
    assert len(outcomes) == len(names)


@pytest.mark.usefixtures("ray_local")
@pytest.mark.long
def test_each_hostile_row_of_a_job_is_one_row_of_its_output() -> None:
    import ray

    cases = [case(SEED, index) for index in range(COUNT)]
    rows = pa.table(
        {
            "utterance_id": [one.id for one in cases],
            "audio": pa.array([one.data for one in cases], pa.large_binary()),
            "audio_path": [one.hint for one in cases],
        }
    )
    config = with_settings(
        Config(), {"model": "demo", "vad_model": "demo", "punc_model": "demo", "ncpu": 1}
    )
    plan = planned(config)
    chunks = chunks_of_rows(ray.data.from_arrow(rows), config, plan)
    found = transcripts_of(chunks, config, plan, lambda engine: FakeEngine()).take_all()
    assert sorted(row["utterance_id"] for row in found) == sorted(one.id for one in cases)
    expected = {one.id: one.expected for one in cases if one.expected}
    for row in found:
        outcome = row["error_code"] or "ok"
        assert outcome in expected.get(row["utterance_id"], {outcome}), row
        assert (row["status"] == "failed") == bool(row["error_message"]), row


def test_the_same_number_is_the_same_input() -> None:
    before = {name: source(name) for name in NAMES}
    source.cache_clear()
    assert [name for name in NAMES if source(name) != before[name]] == []
    assert case(3, 14) == case(3, 14)
    assert case(3, 14).data != case(4, 14).data


@pytest.mark.long
def test_what_crashes_hangs_or_swells_is_named_and_the_rest_goes_on() -> None:
    items = ["is fine", "crashes", "hangs", "swells", "is fine, too"]
    outcomes = {outcome.id: outcome for outcome in run(items, Harmful, hang_s=2.0)}
    assert [outcomes[item].code for item in items] == ["ok", "crashed", "hung", "ok", "ok"]
    assert [bool(outcomes[item].fault) for item in items] == [False, True, True, True, False]
    assert outcomes["swells"].peak_mb > 470


@pytest.fixture
def connections() -> Iterator[tuple[str, list[object]]]:
    """The address of a server that answers nobody, and who has come to it."""
    came: list[object] = []
    with socket.create_server(("127.0.0.1", 0)) as server:

        def count() -> None:
            while True:
                try:
                    connection, address = server.accept()
                except OSError:
                    return
                came.append(address)
                connection.close()

        threading.Thread(target=count, daemon=True).start()
        yield f"http://127.0.0.1:{server.getsockname()[1]}/a.ts", came
        server.shutdown(socket.SHUT_RDWR)


def test_nothing_but_the_bytes_is_opened(
    connections: tuple[str, list[object]], tmp_path: Path
) -> None:
    address, came = connections
    secret = tmp_path / "secret.wav"
    secret.write_bytes(wav_bytes(tone(RATE)))
    for target in (address, str(secret), f"file://{secret}", f"concat:{secret}|{secret}"):
        for name, make in REACHING.items():
            with pytest.raises(RowError) as caught:
                decode(make(target))
            assert caught.value.code == ErrorCode.AUDIO_NOT_AUDIO, name
            assert "secret" not in caught.value.message
        with contextlib.suppress(RowError):
            decode(forged.movie_elsewhere(target.encode()))
    assert came == []


def test_a_player_without_limits_would_have_connected(
    connections: tuple[str, list[object]],
) -> None:
    address, came = connections
    with pytest.raises((av.FFmpegError, ValueError)):
        av.open(BytesFile(memoryview(REACHING["HLS"](address))), format="hls")
    assert came


@pytest.fixture(scope="module")
def long_recording(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("long") / "x.opus"
    assert write_long_opus(path, HOURS) > 30 * 2**20
    return path


def test_fifteen_hours_are_refused_before_they_are_decoded(long_recording: Path) -> None:
    make = partial(from_file, expected="audio_too_long")
    assert faults(list(run([str(long_recording)], make))) == []
    with pytest.raises(RowError) as caught:
        next(decode_pieces(long_recording.read_bytes(), 1.0))
    assert caught.value.code == ErrorCode.AUDIO_TOO_LONG


def test_fifteen_hours_come_in_pieces_where_they_may(long_recording: Path) -> None:
    data = long_recording.read_bytes()
    pieces = decode_pieces(data, 60.0, max_duration_s=HOURS * 3600 + 60)
    lengths = [len(next(pieces)) / RATE for _ in range(3)]
    pieces.close()
    assert lengths == pytest.approx([60.0] * 3, abs=0.5)


def test_the_pages_of_a_long_recording_are_whole(long_recording: Path) -> None:
    end = long_recording.read_bytes()[-2_000_000:]
    data = end[end.index(b"OggS") :]
    granules = [struct.unpack_from("<q", data, start + 6)[0] for start, _ in ogg_pages(data)]
    assert granules == sorted(granules)
    assert granules[-1] / 48_000 == pytest.approx(HOURS * 3600, rel=0.001)

"""How long containers say that they are, and what of that is believed."""

from __future__ import annotations

import struct

import numpy as np
import pytest

from ray_asr.corpus.audio import decode, decode_pieces, duration_ms
from ray_asr.corpus.audio_headers import read_header
from ray_asr.corpus.audio_vorbis import check_setup
from ray_asr.errors import ErrorCode, RowError
from tests.faults.hostile_sources import (
    NAMES,
    RATE,
    encoded,
    ogg_pages,
    source,
    tone,
    with_sums,
)

SAY_SO = (
    "16.wav",
    "16.flac",
    "24.flac",
    "stereo.mp3",
    "vorbis.ogg",
    "opus.ogg",
    "aac.m4a",
    "tone.g722",
)


@pytest.mark.parametrize("name", NAMES)
def test_no_recording_is_shorter_than_it_is_said_to_be_at_least(name: str) -> None:
    header = read_header(memoryview(source(name)), name)
    assert header.problem is None
    assert header.least_s <= len(decode(source(name), path_hint=name)) / RATE + 0.05


@pytest.mark.parametrize("name", SAY_SO)
def test_what_says_that_it_is_too_long_is_refused_before_it_is_decoded(name: str) -> None:
    with pytest.raises(RowError) as caught:
        next(decode_pieces(source(name), 0.2, path_hint=name, max_duration_s=0.8))
    assert caught.value.code == ErrorCode.AUDIO_TOO_LONG


def test_a_recording_taken_out_of_a_stream_is_as_long_as_its_packets() -> None:
    data = bytearray(source("opus.ogg"))
    for start, _ in list(ogg_pages(data))[2:]:
        granule = struct.unpack_from("<q", data, start + 6)[0]
        data[start + 6 : start + 14] = struct.pack("<q", granule + 20 * 3600 * 48_000)
    late = with_sums(bytes(data))
    assert read_header(memoryview(late)).least_s < 10.0
    assert len(decode(late)) == pytest.approx(len(decode(source("opus.ogg"))), abs=RATE)


def test_a_length_that_no_recording_has_is_not_stored() -> None:
    data = bytearray(source("vorbis.ogg"))
    *_, (start, _) = ogg_pages(data)
    data[start + 6 : start + 14] = struct.pack("<q", 2**62)
    assert duration_ms(data) is None


def test_more_channels_and_higher_rates_count_as_longer() -> None:
    wide = encoded(tone(192_000, 8, 1.0), 192_000, "flac", "flac")
    assert len(decode(wide, max_duration_s=5.0)) == RATE
    with pytest.raises(RowError) as caught:
        decode(wide, max_duration_s=2.0)
    assert caught.value.code == ErrorCode.AUDIO_TOO_LONG
    assert "8 channels of 192000 Hz" in caught.value.message


def test_rates_that_change_a_few_times_are_followed() -> None:
    parts = [encoded(tone(rate), rate, "adts", "aac") for rate in (16_000, 44_100, 48_000)]
    assert len(decode(b"".join(parts))) > 3 * RATE


def test_codebooks_of_an_encoder_pass() -> None:
    data = source("stereo-vorbis.ogg")
    pages = list(ogg_pages(data))
    body = b"".join(data[start + 27 + data[start + 26] : end] for start, end in pages[:4])
    check_setup(body[body.index(b"\x05vorbis") :][:8_000])


def test_silence_between_id3_tags_and_sound_is_no_matter() -> None:
    tag = b"ID3\x04\x00\x00\x00\x00\x00\x10" + bytes(16)
    assert np.array_equal(decode(tag * 3 + source("speech.mp3")), decode(source("speech.mp3")))

"""Real files of every codec, made here, decoded, cut, damaged and mutated."""

import io
import struct
import warnings
from fractions import Fraction
from functools import cache

import av
import numpy as np
import pyarrow as pa
import pytest
import soundfile as sf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from ray_asr.corpus import audio_blocks
from ray_asr.corpus.audio import decode, decode_pieces, duration_ms
from ray_asr.errors import ErrorCode, RowError

RATE = 16_000
SECONDS = 1.5


def speech_like(rate: int, seconds: float = SECONDS, channels: int = 1) -> np.ndarray:
    """A sweep below 3 kHz with syllable-like loudness, `(T, channels)`, the same at any rate."""
    t = np.arange(round(rate * seconds)) / rate
    sweep = np.sin(2 * np.pi * (300 * t + 400 * t**2)) * (0.2 + 0.2 * np.sin(2 * np.pi * 3 * t))
    return np.stack([sweep * gain for gain in (1.0, 0.5)[:channels]], axis=1).astype(np.float32)


def with_soundfile(rate: int, channels: int, container: str, subtype: str | None = None) -> bytes:
    file = io.BytesIO()
    sf.write(file, speech_like(rate, channels=channels), rate, format=container, subtype=subtype)
    return file.getvalue()


def with_ffmpeg(rate: int, channels: int, container: str, codec: str) -> bytes:
    file = io.BytesIO()
    layout = "mono" if channels == 1 else "stereo"
    samples = (speech_like(rate, channels=channels) * 32767).astype(np.int16).reshape(1, -1)
    with av.open(file, "w", format=container) as output:
        stream = output.add_stream(codec, rate=rate)
        stream.layout = layout
        frame = av.AudioFrame.from_ndarray(samples, format="s16", layout=layout)
        frame.sample_rate = rate
        for packet in [*stream.encode(frame), *stream.encode(None)]:
            output.mux(packet)
    return file.getvalue()


def video_without_sound() -> bytes:
    file = io.BytesIO()
    with av.open(file, "w", format="mp4") as output:
        stream = output.add_stream("mpeg4", rate=5)
        stream.width, stream.height, stream.pix_fmt = 32, 32, "yuv420p"
        for _ in range(5):
            picture = np.zeros((32, 32, 3), np.uint8)
            output.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        output.mux(stream.encode(None))
    return file.getvalue()


def png() -> bytes:
    context = av.CodecContext.create("png", "w")
    context.width, context.height, context.pix_fmt = 8, 8, "rgb24"
    context.time_base = Fraction(1)
    picture = av.VideoFrame.from_ndarray(np.zeros((8, 8, 3), np.uint8), format="rgb24")
    return b"".join(bytes(p) for p in [*context.encode(picture), *context.encode(None)])


def wav(data: bytes, claimed: int | None = None, tag: int = 1, bits: int = 16) -> bytes:
    """A 16 kHz mono WAV whose data chunk claims `claimed` bytes."""
    size = len(data) if claimed is None else claimed
    width = bits // 8
    head = struct.pack("<HHIIHH", tag, 1, RATE, RATE * width, width, bits)
    chunks = b"fmt " + struct.pack("<I", 16) + head + b"data" + struct.pack("<I", size) + data
    return b"RIFF" + struct.pack("<I", min(4 + len(chunks), 2**32 - 1)) + b"WAVE" + chunks


FILES = {
    "wav-u8": lambda r, c: with_soundfile(r, c, "WAV", "PCM_U8"),
    "wav-16": lambda r, c: with_soundfile(r, c, "WAV", "PCM_16"),
    "wav-24": lambda r, c: with_soundfile(r, c, "WAV", "PCM_24"),
    "wav-32": lambda r, c: with_soundfile(r, c, "WAV", "PCM_32"),
    "wav-float": lambda r, c: with_soundfile(r, c, "WAV", "FLOAT"),
    "wav-ulaw": lambda r, c: with_soundfile(r, c, "WAV", "ULAW"),
    "flac": lambda r, c: with_soundfile(r, c, "FLAC"),
    "mp3": lambda r, c: with_soundfile(r, c, "MP3"),
    "vorbis": lambda r, c: with_soundfile(r, c, "OGG", "VORBIS"),
    "opus": lambda r, c: with_ffmpeg(r, c, "ogg", "libopus"),
    "opus-sf": lambda r, c: with_soundfile(r, c, "OGG", "OPUS"),
    "m4a": lambda r, c: with_ffmpeg(r, c, "mp4", "aac"),
    "aac": lambda r, c: with_ffmpeg(r, c, "adts", "aac"),
    "webm": lambda r, c: with_ffmpeg(r, c, "webm", "libopus"),
    "g722": lambda r, c: with_ffmpeg(r, c, "g722", "g722"),
    "aiff": lambda r, c: with_soundfile(r, c, "AIFF"),
}


@cache
def made(name: str, rate: int = RATE, channels: int = 1) -> bytes:
    return FILES[name](rate, channels)


def rates_of(name: str) -> tuple[int, ...]:
    if name in ("opus", "opus-sf", "webm"):
        return (8_000, 16_000, 48_000)
    return (16_000,) if name == "g722" else (8_000, 16_000, 22_050, 44_100)


CASES = [
    (name, rate, channels)
    for name in FILES
    for rate in rates_of(name)
    for channels in ((1,) if name == "g722" else (1, 2))
]


def correlation(decoded: np.ndarray, wanted: np.ndarray) -> tuple[float, int]:
    """The best normalised correlation within 140 ms of delay (AAC priming), and that delay."""
    most = 2_240
    padded = np.concatenate([wanted, np.zeros(max(0, len(decoded) - len(wanted)))])
    found = decoded[: len(padded)]
    spectrum = np.fft.rfft(found, 2 * len(padded)) * np.conj(np.fft.rfft(padded, 2 * len(padded)))
    products = np.fft.irfft(spectrum)[:most]
    delay = int(np.argmax(products))
    return float(products[delay] / (np.linalg.norm(found) * np.linalg.norm(padded))), delay


def error_code(data: bytes, path_hint: str = "", **limits: float) -> ErrorCode:
    with pytest.raises(RowError) as caught:
        decode(data, path_hint=path_hint, **limits)
    assert caught.value.message.endswith(".")
    return caught.value.code


@pytest.mark.parametrize(("name", "rate", "channels"), CASES)
def test_length_and_signal_survive_every_codec(name: str, rate: int, channels: int) -> None:
    data = made(name, rate, channels)
    waveform = decode(data, path_hint=f"folder/x.{name}")
    assert waveform.dtype == np.float32
    assert waveform.ndim == 1
    assert np.abs(waveform).max() <= 1.0
    wanted = speech_like(RATE, channels=channels).mean(axis=1)
    # AAC without an edit list keeps its priming and fills its last frame.
    spare_s = 2.5 * 1024 / rate if name in ("m4a", "aac") else 0.001
    assert len(wanted) - 0.001 * RATE <= len(waveform) <= len(wanted) + spare_s * RATE + 1
    likeness, delay = correlation(waveform, wanted)
    assert likeness > (0.97 if name in ("mp3", "m4a", "aac", "opus", "webm") else 0.99)
    assert delay <= (2_100 if name in ("m4a", "aac") else 25)
    loudness = np.linalg.norm(waveform) / np.linalg.norm(wanted)
    assert loudness == pytest.approx(1.0, abs=0.06)


@pytest.mark.parametrize("name", FILES)
def test_header_duration_is_near_the_decoded_length(name: str) -> None:
    found = duration_ms(made(name), path_hint=f"x.{name}")
    if name in ("aac", "aiff"):
        assert found is None
    else:
        assert found == pytest.approx(1000 * SECONDS, abs=160)


@pytest.mark.parametrize("container", [bytearray, memoryview, pa.py_buffer])
def test_any_buffer_is_read(container) -> None:
    data = made("flac")
    assert np.array_equal(decode(container(data)), decode(data))


def test_pcm_is_exact_at_16_khz() -> None:
    values = np.array([0, 1, -1, 32767, -32768], np.int16)
    assert np.array_equal(decode(wav(values.tobytes())), values.astype(np.float32) / 32768)


@pytest.mark.parametrize("container", ["WAV", "FLAC"])
@pytest.mark.parametrize("channels", [1, 2])
@pytest.mark.parametrize("blocks", [1, 2.5, 3])
def test_recordings_of_several_blocks_are_whole(
    container: str, channels: int, blocks: float
) -> None:
    count = round(blocks * audio_blocks._BLOCK_SAMPLES / channels)
    samples = np.random.default_rng(0).integers(-(2**15), 2**15, (count, channels), np.int16)
    file = io.BytesIO()
    sf.write(file, samples, RATE, format=container, subtype="PCM_16")
    expected = (samples.astype(np.float32) / 2**15).mean(axis=1)
    assert np.array_equal(decode(file.getvalue()), expected)
    pieces = list(decode_pieces(file.getvalue(), 1.0))
    assert len(pieces) >= blocks
    assert np.array_equal(np.concatenate(pieces), expected)


def test_an_utterance_is_what_the_decoder_gave_copied_nowhere() -> None:
    waveform = decode(made("flac"))
    assert waveform.base is not None
    assert waveform.flags.c_contiguous
    assert waveform.base.nbytes == waveform.nbytes  # it keeps no more memory than that


def test_float_samples_beyond_full_scale_are_clipped() -> None:
    values = np.array([0.5, 1.5, -7.0], np.float32)
    assert decode(wav(values.tobytes(), tag=3, bits=32)).tolist() == [0.5, 1.0, -1.0]


@pytest.mark.parametrize("claimed", [0, 0xFFFFFFFF, 0x7FFFF000])
def test_streamed_wav_without_its_size_is_whole(claimed: int) -> None:
    values = (speech_like(RATE)[:, 0] * 32767).astype(np.int16)
    assert len(decode(wav(values.tobytes(), claimed))) == len(values)


def test_id3_tag_in_front_is_skipped() -> None:
    tag = b"ID3\x04\x00\x00" + bytes([0, 0, 1, 0]) + bytes(128)
    for name in ("mp3", "flac"):
        assert np.array_equal(decode(tag + made(name)), decode(made(name)))


def test_live_webm_without_sizes_is_whole() -> None:
    data = bytearray(made("webm"))
    segment = data.index(b"\x18\x53\x80\x67") + 4
    assert data[segment] == 1
    data[segment : segment + 8] = b"\x01" + b"\xff" * 7
    assert len(decode(data)) == len(decode(made("webm")))


@pytest.mark.parametrize(
    "data", [b"", wav(b""), wav(b"") + b"LIST\x04\x00\x00\x00INFO"], ids=["none", "wav", "tagged"]
)
def test_nothing_inside_is_empty(data: bytes) -> None:
    assert error_code(data) == ErrorCode.AUDIO_EMPTY


def test_flac_without_samples_is_empty() -> None:
    file = io.BytesIO()
    sf.write(file, np.zeros((0, 1), np.float32), RATE, format="FLAC")
    assert error_code(file.getvalue()) == ErrorCode.AUDIO_EMPTY


@pytest.mark.parametrize("kept", [0.3, 0.7, 0.98])
@pytest.mark.parametrize("name", ["wav-16", "flac", "mp3", "vorbis", "opus", "m4a", "webm"])
def test_cut_file_is_truncated(name: str, kept: float) -> None:
    data = made(name)
    assert error_code(data[: int(len(data) * kept)]) == ErrorCode.AUDIO_TRUNCATED


@pytest.mark.parametrize("name", ["wav-16", "flac", "m4a", "webm", "opus"])
def test_file_that_ends_in_its_header_is_truncated(name: str) -> None:
    assert error_code(made(name)[:30]) == ErrorCode.AUDIO_TRUNCATED


def test_ogg_without_its_last_page_is_truncated() -> None:
    data = made("vorbis")
    assert error_code(data[: data.rindex(b"OggS")]) == ErrorCode.AUDIO_TRUNCATED


def test_mp3_with_fewer_frames_than_promised_is_truncated() -> None:
    data = bytearray(made("mp3"))
    tag = max(data.find(b"Xing"), data.find(b"Info"))
    data[tag + 8 : tag + 12] = struct.pack(">I", 10_000)
    assert error_code(bytes(data)) == ErrorCode.AUDIO_TRUNCATED


@pytest.mark.parametrize(
    "data",
    [
        np.random.default_rng(7).bytes(100_000),
        bytes(5_000),
        b"once upon a time there was no sound at all\n" * 50,
        b"%PDF-1.4\n%\xe2\xe3\xcf\xd3\n" + bytes(500),
        b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nhttp://localhost/a.ts\n",
        b"ffconcat version 1.0\nfile '/etc/hostname'\n",
        b"x",
    ],
    ids=["noise", "zeros", "text", "pdf", "playlist", "concat", "one byte"],
)
def test_other_bytes_are_not_audio(data: bytes) -> None:
    assert error_code(data) == ErrorCode.AUDIO_NOT_AUDIO


def test_pictures_have_no_audio_stream() -> None:
    assert error_code(video_without_sound()) == ErrorCode.AUDIO_NO_STREAM
    assert error_code(png()) == ErrorCode.AUDIO_NO_STREAM


@pytest.mark.parametrize("name", ["wav-16", "flac", "opus", "vorbis", "webm"])
def test_damage_is_corrupt(name: str) -> None:
    data = bytearray(made(name, RATE, 2) if name == "flac" else made(name))
    if name == "wav-16":
        data[20:22] = b"\x99\x99"  # a coding that nobody has
    elif name == "webm":
        at = data.index(b"\x1f\x43\xb6\x75")
        data[at : at + 200] = bytes(200)
    elif name == "flac":
        data = bytearray(with_long_flac())
        data[len(data) // 3 : len(data) // 3 + 40] = bytes(40)
    else:
        at = data.index(b"OggS", 10)
        data[at : at + 4] = b"Oops"
    assert error_code(bytes(data)) == ErrorCode.AUDIO_CORRUPT


def with_long_flac() -> bytes:
    file = io.BytesIO()
    noise = np.random.default_rng(0).uniform(-0.5, 0.5, (8 * RATE, 1))
    sf.write(file, noise, RATE, format="FLAC")
    return file.getvalue()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_non_finite_samples_are_named(value: float) -> None:
    values = np.zeros(1000, np.float32)
    values[500] = value
    data = wav(values.tobytes(), tag=3, bits=32)
    assert error_code(data) == ErrorCode.AUDIO_NON_FINITE


@pytest.mark.parametrize("name", ["wav-16", "flac", "mp3", "m4a", "g722"])
def test_longer_than_allowed_is_refused(name: str) -> None:
    hint = f"x.{name}"
    assert error_code(made(name), hint, max_duration_s=1.0) == ErrorCode.AUDIO_TOO_LONG
    assert len(decode(made(name), path_hint=hint, max_duration_s=2.0))


def test_bomb_is_refused_before_it_is_decoded() -> None:
    data = io.BytesIO()
    with sf.SoundFile(data, "w", 8_000, 1, format="FLAC") as sound:
        for _ in range(60):
            sound.write(np.zeros(8_000 * 60, np.int16))
    assert len(data.getvalue()) < 2**20
    assert error_code(data.getvalue(), max_duration_s=30.0) == ErrorCode.AUDIO_TOO_LONG


def test_absurd_sampling_rate_is_corrupt() -> None:
    data = bytearray(wav(bytes(40_000)))
    data[24:28] = struct.pack("<I", 1)
    assert error_code(bytes(data)) == ErrorCode.AUDIO_CORRUPT


def test_message_says_nothing_of_the_content() -> None:
    with pytest.raises(RowError) as caught:
        decode(b"secret words " * 100)
    assert "secret" not in str(caught.value)


@settings(
    max_examples=120, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck)
)
@given(
    name=st.sampled_from(sorted(FILES)),
    channels=st.sampled_from([1, 2]),
    changes=st.lists(st.tuples(st.floats(0, 1), st.binary(min_size=1, max_size=8)), max_size=6),
    in_head=st.booleans(),
    kept=st.one_of(st.just(1.0), st.floats(0, 1)),
)
def test_mutated_file_gives_samples_or_a_row_error(name, channels, changes, in_head, kept) -> None:
    data = bytearray(made(name, RATE, 1 if name == "g722" else channels))
    for place, new in changes:
        at = int(place * (min(len(data), 200) if in_head else len(data)))
        data[at : at + len(new)] = new
    data = bytes(data[: int(kept * len(data))])
    duration_ms(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        try:
            waveform = decode(data, path_hint=f"x.{name}", max_duration_s=20.0)
        except RowError:
            return
    assert 0 < len(waveform) <= 20 * RATE + 1
    assert np.isfinite(waveform).all()
    assert np.abs(waveform).max() <= 1.0


@settings(max_examples=100, deadline=None, derandomize=True)
@given(
    magic=st.sampled_from(
        b"|RIFF\xff\xff\xff\xffWAVE|fLaC|OggS|\x1aE\xdf\xa3|ID3|\xff\xfb|\x00\x00\x00\x18ftyp"
        b"|\xff\xf1|\x89PNG\r\n\x1a\n|caff|FORM|GIF89a".split(b"|")
    ),
    rest=st.binary(max_size=300),
)
def test_magic_with_anything_behind_it_never_escapes(magic: bytes, rest: bytes) -> None:
    duration_ms(magic + rest)
    try:
        assert len(decode(magic + rest, max_duration_s=20.0))
    except RowError:
        return

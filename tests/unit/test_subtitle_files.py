"""Subtitles read back with the readers of their formats."""

# ruff: noqa: RUF001

from __future__ import annotations

import html
import io
from pathlib import Path

import av
import pysrt
import pytest
import webvtt
from hypothesis import given, settings
from hypothesis import strategies as st

from ray_asr.results.subtitle_cuts import Line
from ray_asr.results.subtitle_files import srt, vtt
from ray_asr.results.subtitle_units import plain_text
from ray_asr.results.subtitles import Cue, make_cues

MARKUP = ["a --> b", "<b>bold</b>", "<script>x</script>", "AT&T &lt;", "{\\an8}up", "two\\Nlines",
          "1", "NOTE x",
          "WEBVTT", "00:00:01.000 --> 00:00:02.000", "STYLE"]  # fmt: skip


def cue(text: str, start_ms: int = 0, speaker: str = "") -> Cue:
    return Cue(start_ms, start_ms + 1000, (Line(text, speaker),))


def read_srt(text: str) -> list[tuple[int, int, str]]:
    items = pysrt.from_string(text, error_handling=pysrt.ERROR_RAISE)
    return [(item.start.ordinal, item.end.ordinal, item.text) for item in items]


def read_vtt(text: str) -> list[tuple[int, int, str, str | None]]:
    captions = webvtt.from_buffer(io.StringIO(text), format="vtt")
    return [
        (
            c.start_time.in_milliseconds(),
            c.end_time.in_milliseconds(),
            html.unescape(c.text),
            c.voice,
        )
        for c in captions
    ]


def test_times_and_lines_are_read_as_they_were_made() -> None:
    cues = [
        Cue(0, 833, (Line("Hello."),)),
        Cue(3_723_004, 3_725_999, (Line("It is late,"), Line("and I am here."))),
        Cue(400_000_000, 400_001_000, (Line("第一百小时"),)),
    ]
    assert read_srt(srt(cues)) == [
        (0, 833, "Hello."),
        (3_723_004, 3_725_999, "It is late,\nand I am here."),
        (400_000_000, 400_001_000, "第一百小时"),
    ]
    assert [one[:3] for one in read_vtt(vtt(cues))] == read_srt(srt(cues))
    assert srt(cues).startswith("1\n00:00:00,000 --> 00:00:00,833\nHello.\n\n2\n")
    assert vtt(cues).startswith("WEBVTT\n\n00:00:00.000 --> 00:00:00.833\nHello.\n\n")


def test_nothing_said_is_an_empty_file_of_its_kind() -> None:
    assert srt([]) == ""
    assert read_vtt(vtt([])) == []


@pytest.mark.parametrize("text", MARKUP)
def test_text_is_never_markup(text: str) -> None:
    cues = [cue("before"), cue(text, 2000), cue("after", 4000)]
    shown = read_srt(srt(cues))
    assert [one[2] for one in shown][::2] == ["before", "after"]
    lookalike = text.translate(str.maketrans("<>{}\\", "‹›()/"))
    assert shown[1][2] == lookalike
    read = read_vtt(vtt(cues))
    assert len(read) == 3
    assert read[1][2] == text


@settings(max_examples=100)
@given(texts=st.lists(st.one_of(st.text(max_size=60), st.sampled_from(MARKUP)), max_size=6))
def test_any_transcript_is_read_back_cue_by_cue(texts: list[str]) -> None:
    segments = [
        {"start_ms": 5000 * n, "end_ms": 5000 * n + 3000, "text": text, "words": [], "speaker": ""}
        for n, text in enumerate(texts)
    ]
    cues = make_cues(segments)
    times = [(one.start_ms, one.end_ms) for one in cues]
    assert [one[:2] for one in read_srt(srt(cues))] == times
    assert [one[:2] for one in read_vtt(vtt(cues))] == times
    for one in (srt(cues), vtt(cues)):
        assert "\x00" not in one
        assert "\u202e" not in one


def test_speakers_are_said_where_they_change() -> None:
    cues = [cue("One.", 0, "0"), cue("Two.", 2000, "0"), cue("Three.", 4000, "1"),
            Cue(6000, 7000, (Line("Four?", "0"), Line("Five.", "1")))]  # fmt: skip
    with_labels = [one[2] for one in read_srt(srt(cues, has_labels=True))]
    assert with_labels == ["[0] One.", "Two.", "[1] Three.", "[0] Four?\n[1] Five."]
    assert read_srt(srt(cues))[3][2] == "-Four?\n-Five."
    assert "-Four?\n-Five." in vtt(cues)
    voices = read_vtt(vtt(cues, has_labels=True))
    assert [one[3] for one in voices[:3]] == ["0", "0", "1"]
    assert [one[2] for one in voices[:3]] == ["One.", "Two.", "Three."]


def test_a_speakers_label_is_text_too() -> None:
    hostile = plain_text("<i>\n-->&")
    text = vtt([cue("x", 0, hostile)], has_labels=True)
    assert "<v &lt;i&gt; --&gt;&amp;>x</v>" in text
    assert len(read_vtt(text)) == 1
    assert read_srt(srt([cue("x", 0, hostile)], has_labels=True))[0][2] == "[‹i› --›&] x"


def test_the_language_stands_in_the_header_of_webvtt() -> None:
    assert vtt([], language="zh-CN\n\n00:00").startswith(
        "WEBVTT\nKind: captions\nLanguage: zh-CN0000\n"
    )


@pytest.mark.parametrize("suffix", ["srt", "vtt"])
def test_a_player_shows_text_as_text(suffix: str, tmp_path: Path) -> None:
    """FFmpeg's decoders, which players use, hand on what they take for markup as orders of ASS."""
    cues = [cue(text, 2000 * n) for n, text in enumerate(MARKUP)]
    path = tmp_path / f"a.{suffix}"
    path.write_text(srt(cues) if suffix == "srt" else vtt(cues), encoding="utf-8")
    shown, starts = [], []
    with av.open(str(path)) as container:
        for packet in container.demux(container.streams.subtitles[0]):
            for event in packet.decode():
                starts.append(packet.pts)
                shown.append(event.ass.decode().split(",", 8)[8])
    assert starts == [one.start_ms for one in cues]
    lookalikes = str.maketrans("<>{}\\", "‹›()/") if suffix == "srt" else {}
    # What would be an order of ASS, FFmpeg writes so that it is none.
    as_ass = {"\\": "\\\u2060", "{": "\\{{}"} if suffix == "vtt" else {}
    assert shown == [text.translate(lookalikes).translate(str.maketrans(as_ass)) for text in MARKUP]

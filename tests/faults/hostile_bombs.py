"""What a few bytes can be made to become: each with the outcomes that are right.

`make test` decodes those whose names have no "hour" and no "names" in them: the others take long.
"""

from __future__ import annotations

from collections.abc import Callable

from tests.faults import hostile_forged as forged
from tests.faults.hostile_sources import RATE, source
from tests.faults.hostile_vorbis import vorbis_of_codebooks

_OK, _TOO_LONG, _CORRUPT = ("ok",), ("audio_too_long",), ("audio_corrupt",)
# Name, what makes it, the outcomes that are right, its length in seconds.
BOMBS: list[tuple[str, Callable[[], bytes], tuple[str, ...], float | None]] = [
    ("an hour of FLAC", lambda: forged.flac_of_zeros(3600), _OK, 3600.0),
    ("ten hours of FLAC", lambda: forged.flac_of_zeros(36_000, 8_000), _TOO_LONG, None),
    (
        "ten hours of FLAC that does not say so",
        lambda: forged.flac_of_zeros(36_000, 8_000, says=0),
        _TOO_LONG,
        None,
    ),
    (
        "a minute of FLAC that says ten hours",
        lambda: forged.flac_of_zeros(60, says=36_000 * RATE),
        _TOO_LONG,
        None,
    ),
    ("an hour of Opus", lambda: forged.opus_of_silence(1.0), _OK, 3595.45),
    ("fifteen hours of Opus", lambda: forged.opus_of_silence(15.0), _TOO_LONG, None),
    (
        "an hour of Opus without its end",
        lambda: forged.opus_of_silence(1.0, ends=False),
        ("audio_truncated",),
        None,
    ),
    ("Opus under 300,000 comments", lambda: forged.opus_with_comments(300_000), _CORRUPT, None),
    ("20,000 Ogg streams", lambda: forged.ogg_of_streams(20_000), _CORRUPT, None),
    (
        "MP4 of 2^26 samples",
        lambda: forged.movie(stsz=(1, 2**26), stts=(1, 2**26, 2)),
        _CORRUPT,
        None,
    ),
    (
        "MP4 of 2^26 moments",
        lambda: forged.movie(stsz=(1, 2**26), stts=(1, 2**26, 1)),
        _CORRUPT,
        None,
    ),
    (
        "MP4 of 2^26 pictures",
        lambda: forged.movie(stsz=(1, 2**26), stts=(1, 2**26, 2), handler=b"vide"),
        _CORRUPT,
        None,
    ),
    (
        "MP4 fragments of 2^26 samples",
        lambda: forged.movie(fragments=[forged.fragment(2**26)]),
        _CORRUPT,
        None,
    ),
    (
        "MP4 fragments that read on",
        lambda: forged.movie(fragments=[forged.fragment(2**26, 0x200)] * 9),
        _CORRUPT,
        None,
    ),
    (
        "MP4 of 50,000 edits",
        lambda: forged.movie(stsz=(1, 2_000), stts=(1, 2_000, 8), edits=50_000),
        _CORRUPT,
        None,
    ),
    ("MP4 of 5,000 tracks", lambda: forged.movie(tracks=5_000), (), None),
    ("compressed MP4 index of 900 MB", lambda: forged.compressed_movie(900), _CORRUPT, None),
    ("WebM of 400,000 tracks", lambda: forged.webm_of_tracks(400_000), _CORRUPT, None),
    ("WebM of 3 million voids", lambda: forged.webm_of(b"\xec\x80" * 3_000_000), (), None),
    ("ID3 of 300 MB of text", lambda: forged.id3_of_zlib(300), _OK, None),
    ("AIFF with ID3 of 300 MB of text", lambda: forged.aiff_of_zlib(300), (), None),
    ("ID3 of 30 MB", lambda: forged.id3_of(30 * 2**20), _OK, None),
    ("CAF under 300,000 names", lambda: forged.caf_with_names(300_000), _CORRUPT, None),
    ("PNG of 16,000 by 16,000", lambda: forged.png_of_black(16_000), ("audio_no_stream",), None),
    (
        "200 ID3 tags",
        lambda: (b"ID3\4\0\0" + bytes(4)) * 200 + source("speech.mp3"),
        _CORRUPT,
        None,
    ),
    ("MP3 of rates that change", lambda: forged.mp3_of_changing_rates(3_000), _CORRUPT, None),
    ("APE of 2^28 frames", lambda: forged.ape_of_frames(2**28), (), None),
    ("Vorbis of 200 codebooks of 2^22", lambda: vorbis_of_codebooks(200, 22), _CORRUPT, None),
    ("150 streams", lambda: forged.many_streams(150), _OK, 1.2),
    ("600 streams", lambda: forged.many_streams(600), _CORRUPT, None),
]

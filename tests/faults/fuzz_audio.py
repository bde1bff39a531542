"""Coverage-guided fuzzing of `ray_asr.corpus.audio` with atheris.

    pip install '.[fuzz]'
    python -m tests.faults.fuzz_audio --minutes 15 --corpus folder/

atheris sees which Python lines an input reaches: the recognition of containers, the walks over
them, the checks. FFmpeg, libsndfile and soxr are not instrumented, so that what happens in them
guides nothing; a crash of theirs is found all the same, and its input is kept in the folder. What
was found lies in `findings/`, each with a test.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["ray_asr.corpus"]):
    from ray_asr.corpus.audio import decode_pieces, duration_ms

from ray_asr.errors import RowError
from tests.faults.hostile import case
from tests.faults.hostile_sources import NAMES, source

_MAX_DURATION_S = 5.0
_MAX_BYTES = 40_000
_SLOW_S = 20.0


def decodes(data: bytes) -> None:
    """Decode `data`; its first byte says whether it is called G.722."""
    hint = "x.g722" if data[:1] == b"\x07" else "x"
    data = data[1:]
    duration_ms(data, path_hint=hint)
    start = time.monotonic()
    try:
        samples = sum(
            len(piece)
            for piece in decode_pieces(data, 1.0, path_hint=hint, max_duration_s=_MAX_DURATION_S)
        )
    except RowError as error:
        if not error.message.endswith("."):
            raise AssertionError(error.message) from error
    else:
        if not 0 < samples <= (_MAX_DURATION_S + 0.1) * 16_000:
            raise AssertionError(f"{samples} samples")
    if time.monotonic() - start > _SLOW_S:
        raise AssertionError(f"{time.monotonic() - start:.0f} s")


def main() -> None:
    """Fuzz for as long as the command line says, from seeds of the hostile inputs."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=float, default=15.0)
    parser.add_argument("--corpus", type=Path, default=Path(tempfile.gettempdir()) / "audio-fuzz")
    asked = parser.parse_args()
    seeds = asked.corpus / "seeds"
    seeds.mkdir(parents=True, exist_ok=True)
    (asked.corpus / "found").mkdir(exist_ok=True)
    for name in NAMES:
        mark = b"\x07" if name.endswith("g722") else b"\0"
        (seeds / name).write_bytes(mark + source(name)[: _MAX_BYTES - 1])
    for index in range(300):
        (seeds / f"hostile-{index}").write_bytes(b"\0" + case(99, index).data[: _MAX_BYTES - 1])
    atheris.Setup(
        [
            sys.argv[0],
            f"-max_total_time={round(60 * asked.minutes)}",
            f"-max_len={_MAX_BYTES}",
            "-rss_limit_mb=4096",
            "-timeout=60",
            "-print_final_stats=1",
            f"-artifact_prefix={asked.corpus}/found/",
            str(seeds),
        ],
        decodes,
    )
    atheris.Fuzz()


if __name__ == "__main__":
    main()

"""Word error rates of the embedded trio on both test sets, through the job's own worker.

Owns the figures of the recipe's README. Needs the recordings that the recipe is made from; the
embedded files are a part of the same sets, in other formats.
"""

from __future__ import annotations

import argparse
import dataclasses

import jiwer
import numpy as np
import pyarrow as pa
from build_speech import test_announcements
from prompts import as_transcribed, load_prompts, read_g722, split

from ray_asr.config import EngineConfig
from ray_asr.corpus import rows
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.job.worker import TranscribeWorker
from ray_asr.results.normalize import normalize
from ray_asr.schema import Provenance


def decoded(items: list[tuple[str, str, np.ndarray]]) -> pa.Table:
    """(id, words, waveform) as the rows that reach a worker."""
    waveforms = [wave.astype(np.float32).tobytes() for _, _, wave in items]
    return pa.table(
        {
            rows.ID: [key for key, _, _ in items],
            rows.WAVEFORM: pa.array(waveforms, pa.large_binary()),
            rows.ERROR_CODE: [""] * len(items),
            rows.ERROR_MESSAGE: [""] * len(items),
        }
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--announcements", type=int, default=300)
    parser.add_argument("--show", type=int, default=8, help="wrong transcripts to show of each set")
    parser.add_argument("--precision", default="fp32", help="as the setting engine.precision")
    args = parser.parse_args()
    trio = EngineConfig(model="demo", vad_model="demo", punc_model="demo", ncpu=1)
    engine = FunASREngine(dataclasses.replace(trio, precision=args.precision))
    worker = TranscribeWorker(lambda: engine, 60.0, "en", Provenance("demo", "", ""))
    prompts = [(p.prompt_id, p.words, read_g722(p.path)) for p in split(load_prompts())[1]]
    for name, items in (
        ("announcements", test_announcements(args.announcements, 20)),
        ("prompts", prompts),
    ):
        transcripts = worker.transcribe(decoded(items))
        references = [normalize(as_transcribed(words)) for _, words, _ in items]
        texts = [normalize(transcript.text) for transcript in transcripts]
        measured = jiwer.process_words(references, texts)
        print(
            f"{name}: {len(items)} recordings, WER {100 * measured.wer:.2f} % "
            f"({measured.substitutions} substituted, {measured.deletions} deleted, "
            f"{measured.insertions} inserted), CER {100 * jiwer.cer(references, texts):.2f} %"
        )
        wrong = [pair for pair in zip(references, texts) if pair[0] != pair[1]]
        for reference, text in wrong[: args.show]:
            print(f"    {reference} | {text}")


if __name__ == "__main__":
    main()

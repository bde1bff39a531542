"""FunASR as an `Engine`: its own models, called so that none of its habits reaches a row.

With `loading.py` and `padding.py` the only importer of `funasr` and `torch`. Owns threads at run
time, the calls of the three models, and the way from FunASR's results back to positions. Must not
know Ray or Parquet.

The three models are called one by one, since `AutoModel.generate` drops rows whose text is blank,
blanks a whole file when one batch returns fewer results than segments, and batches only inside
one file.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from ray_asr.config import EngineConfig
from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.padding import silence_padding
from ray_asr.errors import EngineFatalError
from ray_asr.schema import SAMPLE_RATE_HZ, Recognition, Span, Waveform, Word

# The front end needs one window of 25 ms; what is shorter holds no word.
_SHORTEST_SAMPLES = SAMPLE_RATE_HZ * 25 // 1000
# After one of these every further call of the process fails too: no row is to blame.
_DEAD_DEVICE = re.compile(r"(CUDA|HIP|cuDNN|CUBLAS\w*|NCCL) error|device-side assert", re.I)

logger = logging.getLogger(__name__)


class FunASREngine:
    """One set of FunASR models in this process (see `protocol.Engine`).

    Args:
        config: which models, and on what; `ncpu` is at least 1 here.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._asr: Any = None
        self._vad: Any = None
        self._punc: Any = None

    def load(self) -> None:
        config = self._config
        if config.ncpu < 1:
            raise EngineFatalError("an engine needs at least one core: engine.ncpu is 0.")
        common: dict[str, Any] = {"device": config.device, "ncpu": config.ncpu}
        named: dict[str, Any] = {"hub": config.hub, "model_revision": config.model_revision}
        options = dict(config.funasr_options)
        self._asr = load_auto_model(config.model, "model", **common, **named, **options)
        silence_padding(self._asr.model)
        if config.vad_model:
            self._vad = load_auto_model(
                config.vad_model,
                "vad_model",
                **common,
                **named,
                # Given to `generate` it is ignored: the VAD reads it when it is built.
                max_single_segment_time=config.max_single_segment_time,
            )
        if config.punc_model:
            self._punc = load_auto_model(config.punc_model, "punc_model", **common, **named)
        self._keep_threads()

    def _keep_threads(self) -> None:
        """Hold torch to `ncpu` threads, whatever a model set while it was loaded."""
        import torch

        if torch.get_num_threads() != self._config.ncpu:
            torch.set_num_threads(self._config.ncpu)

    def _infer(self, auto: Any, data: Any, **options: Any) -> list[dict[str, Any]]:
        """One call of a model's own `inference`; its results without the timing notes."""
        import torch

        self._keep_threads()
        try:
            with torch.inference_mode():
                results = auto.model.inference(data_in=data, **{**auto.kwargs, **options})
        except RuntimeError as error:
            if _DEAD_DEVICE.search(str(error)) and not isinstance(error, torch.OutOfMemoryError):
                reason = str(error).partition("\n")[0]
                raise EngineFatalError(
                    f"the device {self._config.device} no longer computes ({reason}); run the "
                    "same command again to do what is missing."
                ) from error
            raise
        if isinstance(results, tuple):
            results = results[0]
        return list(results)

    def detect_speech(self, waveform: Waveform) -> list[Span]:
        duration_ms = len(waveform) * 1000 // SAMPLE_RATE_HZ
        if len(waveform) < _SHORTEST_SAMPLES:
            return []
        if self._vad is None:
            return [Span(0, duration_ms)]
        results = self._infer(self._vad, [_tensor(waveform)], key=["waveform"])
        spans = results[0]["value"] if results else []
        return [
            Span(int(start_ms), min(int(end_ms), duration_ms))
            for start_ms, end_ms in spans
            if start_ms < min(end_ms, duration_ms)
        ]

    def recognize(self, waveforms: Sequence[Waveform]) -> list[Recognition]:
        long_enough = [i for i, w in enumerate(waveforms) if len(w) >= _SHORTEST_SAMPLES]
        recognitions = [Recognition("")] * len(waveforms)
        if not long_enough:
            return recognitions
        keys = [str(i) for i in long_enough]
        results = self._infer(
            self._asr,
            [_tensor(waveforms[i]) for i in long_enough],
            key=keys,
            batch_size=len(keys),
            output_timestamp=True,
            **self._wording(),
        )
        # Positions are ours: each key is unique, and a row that FunASR leaves out stays empty.
        by_key = {str(result["key"]): result for result in results}
        for index, key in zip(long_enough, keys, strict=True):
            if key in by_key:
                recognitions[index] = _recognition(by_key[key])
        return recognitions

    def _wording(self) -> dict[str, Any]:
        config = self._config
        wording: dict[str, Any] = {}
        if config.language:
            wording["language"] = config.language
        if config.hotword:
            wording["hotword"] = config.hotword
        return wording

    def punctuate(self, texts: Sequence[str]) -> list[str]:
        if self._punc is None:
            return list(texts)
        return [self._punctuated(text) for text in texts]

    def _punctuated(self, text: str) -> str:
        if not text.strip():
            return ""
        # FunASR fetches a text that begins like a URL; a blank in front keeps it a text.
        results = self._infer(self._punc, [f" {text}"], key=["text"])
        punctuated = str(results[0]["text"]).strip() if results else ""
        return punctuated or text


def _tensor(waveform: Waveform) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))


def _recognition(result: dict[str, Any]) -> Recognition:
    text = str(result.get("text", "")).strip()
    times = result.get("timestamp") or []
    words = text.split()
    if len(words) != len(times):  # without blanks between them (Chinese), or untimed
        words = [character for word in words for character in word]
    if len(words) != len(times):
        return Recognition(text)
    return Recognition(
        text,
        tuple(
            Word(word, int(start_ms), int(end_ms))
            for word, (start_ms, end_ms) in zip(words, times, strict=True)
        ),
    )

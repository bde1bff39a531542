"""FunASR as an `Engine`: its own models, called so that none of its habits reaches a row.

With the other modules of this folder the only importer of `funasr` and `torch`. Owns threads at
run time, the calls of the three models, and the way from their results back to positions. Must not
know Ray or Parquet.

The three models are called one by one, since `AutoModel.generate` drops rows whose text is blank,
blanks a whole file when one batch returns fewer results than segments, and batches only inside
one file. A model of a family that `recognizers` knows is fed features in batches; any other goes
through FunASR's own `inference`.
"""

from __future__ import annotations

import contextlib
import logging
import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from ray_asr.config import EngineConfig
from ray_asr.engine.device_memory import memory_share
from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.overlap import in_turn, overlapped
from ray_asr.engine.padding import silence_padding
from ray_asr.engine.places import bring
from ray_asr.engine.protocol import Speakers, SpeechStream
from ray_asr.engine.threads import keep_torch_threads, limit_threads
from ray_asr.errors import BatchTooLargeError, EngineFatalError
from ray_asr.schema import SAMPLE_RATE_HZ, Recognition, Span, Voices, Waveform

# The front end needs one window of 25 ms; what is shorter holds no word.
_SHORTEST_SAMPLES = SAMPLE_RATE_HZ * 25 // 1000
# After one of these every further call of the process fails too: no row is to blame.
_DEAD_DEVICE = re.compile(r"(CUDA|HIP|cuDNN|CUBLAS\w*|NCCL) error|device-side assert", re.I)
_NO_MEMORY = re.compile(r"out of memory|not enough memory|can't allocate memory", re.I)

logger = logging.getLogger(__name__)


class FunASREngine:
    """One set of FunASR models in this process (see `protocol.Engine`).

    Args:
        config: which models, and on what; `ncpu` is at least 1 here. A model named "" is not
            loaded, and its step must not be asked for; without voice activity detection all of a
            waveform is speech, and without punctuation a text stays as it is.
    """

    def __init__(self, config: EngineConfig) -> None:
        self._config = config
        self._on_gpu = config.device.startswith("cuda")
        self._asr: Any = None
        self._vad: Any = None
        self._fast_vad: Any = None
        self._punc: Any = None
        self._in_step: Any = None
        self._speakers: Speakers | None = None
        self._recognizer: Any = None
        self._asr_options: dict[str, Any] = {}
        self._features: Any = None
        self.precision = "fp32"
        self.parameters = 0  # of the recognizer

    def load(self) -> None:
        config = self._config
        if config.ncpu < 1:
            raise EngineFatalError("an engine needs at least one core: engine.ncpu is 0.")
        limit_threads(config.ncpu)
        bring()
        common: dict[str, Any] = {
            "device": config.device, "ncpu": config.ncpu, "trust": config.trust_model,
            "offline": config.offline,
        }  # fmt: skip
        named: dict[str, Any] = {"hub": config.hub, "model_revision": config.model_revision}
        if config.model:
            options = {**config.funasr_options, **({"use_itn": True} if config.use_itn else {})}
            self._asr = load_auto_model(
                config.model,
                "model",
                **common,
                **named,
                llm_precision=self._llm_precision,
                **options,
            )
            self._prepare_recognizer()
        if config.vad_model:
            self._vad = load_auto_model(
                config.vad_model,
                "vad_model",
                **common,
                **named,
                # Given to `generate` it is ignored: the VAD reads it when it is built.
                max_single_segment_time=config.max_single_segment_time,
            )
            self._prepare_vad()
        if config.punc_model:
            self._punc = load_auto_model(config.punc_model, "punc_model", **common, **named)
            self._prepare_punctuation()
        if config.spk_model:
            spk = load_auto_model(config.spk_model, "spk_model", **common, **named)
            self._prepare_speakers(spk)
        self._keep_threads()

    def memory_share(self) -> float:
        return memory_share(self._config.device)

    def _llm_precision(self) -> str:
        """What a language model is loaded in that has to be told before; known once torch is."""
        from ray_asr.engine.precision import choose

        return choose(self._config.precision, self._config.device, False, halves=True)[0]

    def _prepare_recognizer(self) -> None:
        from ray_asr.engine import generic
        from ray_asr.engine.attention import fuse_attention
        from ray_asr.engine.features import FeatureExtractor
        from ray_asr.engine.hotwords import check_class
        from ray_asr.engine.itn import check_itn
        from ray_asr.engine.precision import bring_to, choose
        from ray_asr.engine.recognizers import batch_recognizer

        config, auto = self._config, self._asr
        of_class = type(auto.model).__name__
        check_class(config.hotword, of_class, config.model)
        check_itn(config.use_itn, of_class, config.model)
        self.parameters = generic.parameters_of(auto)
        silence_padding(auto.model)
        frontend = auto.kwargs.get("frontend")
        if FeatureExtractor.supports(frontend):
            self._recognizer = batch_recognizer(auto, config.hotword, config.language)
        batched = self._recognizer is not None
        halves = of_class in generic.LANGUAGE_MODELS
        self.precision, reason = choose(config.precision, config.device, batched, halves)
        logger.info("the recognizer computes in %s: %s", self.precision, reason)
        if batched:
            bring_to(auto.model, self.precision)
            fuse_attention(auto.model)
            self._features = FeatureExtractor(frontend, config.device)
            # Kernels are compiled or chosen in the first batch: that is loading too.
            self.recognize([np.zeros(SAMPLE_RATE_HZ, np.float32)] * 2)
        else:
            self._asr_options = generic.inference_options(auto, config, self.precision)

    def _prepare_vad(self) -> None:
        from ray_asr.engine.vad import FsmnVad

        if FsmnVad.supports(self._vad):
            self._fast_vad = FsmnVad(self._vad)

    def _prepare_punctuation(self) -> None:
        from ray_asr.engine.attention import fuse_attention
        from ray_asr.engine.punctuation import LockstepPunctuation

        if LockstepPunctuation.supports(self._punc):
            fuse_attention(self._punc.model)
            self._in_step = LockstepPunctuation(self._punc)

    def _prepare_speakers(self, spk: Any) -> None:
        from ray_asr.engine.speakers import WINDOWS_AT_ONCE, WindowedSpeakers

        def embed(windows: Sequence[Waveform]) -> Voices:
            heard = self._infer(spk, [_tensor(w) for w in windows], key=["voice"])
            return np.concatenate([one["spk_embedding"].float().cpu().numpy() for one in heard])

        at_once = WINDOWS_AT_ONCE[self._config.device.partition(":")[0]]
        self._speakers = WindowedSpeakers(embed, self._config.preset_spk_num, at_once)
        self._speakers.voices([np.zeros(SAMPLE_RATE_HZ, np.float32)])

    def _keep_threads(self) -> None:
        """Hold torch to `ncpu` threads, whatever a model set while it was loaded."""
        keep_torch_threads(self._config.ncpu)

    @contextlib.contextmanager
    def _computing(self) -> Iterator[None]:
        """Around every computation: its threads, and what its errors mean for others."""
        import torch

        self._keep_threads()
        try:
            with torch.inference_mode():
                yield
        except (RuntimeError, MemoryError) as error:
            reason = str(error).partition("\n")[0]
            if isinstance(error, (torch.OutOfMemoryError, MemoryError)) or _NO_MEMORY.search(
                reason
            ):
                if self._on_gpu:
                    torch.cuda.empty_cache()
                raise BatchTooLargeError(f"the batch does not fit the memory ({reason}).") from None
            if _DEAD_DEVICE.search(str(error)):
                raise EngineFatalError(
                    f"the device {self._config.device} no longer computes ({reason}); run the "
                    "same command again to do what is missing."
                ) from error
            raise

    def _infer(self, auto: Any, data: Any, **options: Any) -> list[dict[str, Any]]:
        """One call of a model's own `inference`; its results without the timing notes."""
        with self._computing():
            results = auto.model.inference(data_in=data, **{**auto.kwargs, **options})
        if isinstance(results, tuple):
            results = results[0]
        return list(results)

    def detect_speech(self, waveforms: Sequence[Waveform]) -> list[list[Span]]:
        if self._vad is None:
            return [
                [Span(0, _duration_ms(w))] if len(w) >= _SHORTEST_SAMPLES else [] for w in waveforms
            ]
        if self._fast_vad is not None:
            with self._computing():
                found = self._fast_vad.detect(waveforms)
        else:
            found = [self._detect_alone(waveform) for waveform in waveforms]
        return [
            _within(spans, _duration_ms(waveform))
            for spans, waveform in zip(found, waveforms, strict=True)
        ]

    def _detect_alone(self, waveform: Waveform) -> Sequence[Sequence[float]]:
        if len(waveform) < _SHORTEST_SAMPLES:
            return []
        results = self._infer(self._vad, [_tensor(waveform)], key=["waveform"])
        return results[0]["value"] if results else []

    def speech_stream(self) -> SpeechStream | None:
        return None if self._fast_vad is None else _Stream(self, self._fast_vad.stream())

    def speakers(self) -> Speakers | None:
        return self._speakers

    def recognize(self, waveforms: Sequence[Waveform]) -> list[Recognition]:
        return next(iter(self.recognize_all([waveforms])))()

    def recognize_all(
        self, batches: Iterable[Sequence[Waveform]]
    ) -> Iterator[Callable[[], list[Recognition]]]:
        run = overlapped if self._on_gpu else in_turn
        if self._recognizer is None:
            return run(batches, _Batch, self._compute_theirs, _Batch.scattered)
        return run(batches, self._prepare, self._compute, self._finish)

    def _prepare(self, waveforms: Sequence[Waveform]) -> _Batch:
        batch = _Batch(waveforms)
        if batch.chosen:
            with self._computing(), self._copying() as copied:
                batch.features, batch.lengths = self._features([waveforms[i] for i in batch.chosen])
            batch.ready = copied()
        return batch

    @contextlib.contextmanager
    def _copying(self) -> Iterator[Callable[[], Any]]:
        """A stream of its own for copies and features, and the event that they are done."""
        import torch

        if not self._on_gpu:
            yield lambda: None
            return
        stream = torch.cuda.Stream()
        with torch.cuda.stream(stream):
            yield stream.record_event

    def _compute(self, batch: _Batch) -> _Batch:
        if batch.chosen:
            if batch.ready is not None:
                import torch

                stream = torch.cuda.current_stream()
                stream.wait_event(batch.ready)
                batch.features.record_stream(stream)
            with self._computing():
                batch.heard = self._recognizer.forward(batch.features, batch.lengths)
        batch.features = None  # the device's memory, while the words are made
        return batch

    def _finish(self, batch: _Batch) -> list[Recognition]:
        if batch.chosen:
            batch.recognitions = self._recognizer.words(batch.heard)
        return batch.scattered()

    def _compute_theirs(self, batch: _Batch) -> _Batch:
        """A batch through FunASR's own `inference`; a row that it leaves out stays empty."""
        if not batch.chosen:
            return batch
        from ray_asr.engine.generic import recognitions

        keys = [str(i) for i in batch.chosen]
        results = self._infer(
            self._asr,
            [_tensor(batch.waveforms[i]) for i in batch.chosen],
            key=keys,
            batch_size=len(keys),
            **self._asr_options,
        )
        batch.recognitions = recognitions(results, keys)
        return batch

    def punctuate(self, texts: Sequence[str]) -> list[str]:
        if self._punc is None:
            return list(texts)
        spoken = [i for i, text in enumerate(texts) if text.strip()]
        with_words = [texts[i] for i in spoken]
        if self._in_step is not None:
            with self._computing():
                better = self._in_step(with_words)
        else:
            better = [self._punctuated(text) for text in with_words]
        punctuated = [""] * len(texts)
        for i, text in zip(spoken, better, strict=True):
            punctuated[i] = text or texts[i]
        return punctuated

    def _punctuated(self, text: str) -> str:
        # FunASR fetches a text that begins like a URL; a blank in front keeps it a text.
        results = self._infer(self._punc, [f" {text}"], key=["text"])
        return str(results[0]["text"]).strip() if results else ""


class _Batch:
    """Waveforms on their way through the three steps; those too short to be features stay out."""

    def __init__(self, waveforms: Sequence[Waveform]) -> None:
        self.waveforms = waveforms
        self.chosen = [i for i, w in enumerate(waveforms) if len(w) >= _SHORTEST_SAMPLES]
        self.features: Any = None
        self.lengths: Any = None
        self.ready: Any = None
        self.heard: Any = None
        self.recognitions: list[Recognition] = []

    def scattered(self) -> list[Recognition]:
        """One recognition for each waveform, in order."""
        all_of_them = [Recognition("")] * len(self.waveforms)
        for index, recognition in zip(self.chosen, self.recognitions, strict=True):
            all_of_them[index] = recognition
        return all_of_them


class _Stream:
    """One long recording's voice activity, piece by piece (see `protocol.SpeechStream`)."""

    def __init__(self, engine: FunASREngine, stream: Any) -> None:
        self._engine = engine
        self._stream = stream
        self._samples = 0

    def accept(self, samples: Waveform, is_final: bool) -> list[Span]:
        self._samples += len(samples)
        with self._engine._computing():
            found = self._stream.accept(samples, is_final)
        return _within(found, self._samples * 1000 // SAMPLE_RATE_HZ)


def _duration_ms(waveform: Waveform) -> int:
    return len(waveform) * 1000 // SAMPLE_RATE_HZ


def _within(spans: Sequence[Sequence[float]], duration_ms: int) -> list[Span]:
    """Spans that hold anything, none of them past the recording's end."""
    return [
        Span(int(start_ms), min(int(end_ms), duration_ms))
        for start_ms, end_ms in spans
        if start_ms < min(end_ms, duration_ms)
    ]


def _tensor(waveform: Waveform) -> Any:
    import torch

    return torch.from_numpy(np.ascontiguousarray(waveform, dtype=np.float32))

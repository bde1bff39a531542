"""A batch of features to recognitions, for the model families that can be decoded all at once.

Owns the calls of encoder, predictor and decoder, and the one copy to the host. Must not know Ray,
Parquet or audio.

FunASR's own `inference` decodes utterance by utterance, each with waits for the device, and
computes times in Python frame by frame. Texts and times here are the same.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from ray_asr.engine.best_outputs import best_outputs_of
from ray_asr.engine.cif_times import Times, token_times
from ray_asr.engine.hotwords import phrases, token_ids
from ray_asr.engine.padding import packed
from ray_asr.schema import Recognition, Word

# FunASR's names of the classes whose `inference` is read here and followed.
_PARAFORMER, _BICIF, _SEACO = "Paraformer", "BiCifParaformer", "SeacoParaformer"
_MOST_HOTWORDS = 50  # with more, SeACo chooses among them by all utterances of a batch together


@dataclass(frozen=True, slots=True)
class Heard:
    """What one forward pass leaves on the host, before words are made of it.

    Attributes:
        tokens: token ids, `(N, U)`.
        counts: tokens of each utterance, `(N,)`.
        frames: encoder frames of each utterance, `(N,)`.
        weights: predictor weights for times, `(N, T)`.
        fires: where they reach 1, `(N, T)`.
    """

    tokens: NDArray[np.int64]
    counts: list[int]
    frames: list[int]
    weights: NDArray[np.float32]
    fires: NDArray[np.float32]


class BatchRecognizer(Protocol):
    """Features in, recognitions out; the two halves may run in different threads."""

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> Any:
        """The model's part: `(N, T, D)` on the device, lengths on the host; result on the host."""
        ...

    def words(self, heard: Any) -> list[Recognition]:
        """The host's part: one recognition for each of the N utterances, in order."""
        ...


def batch_recognizer(auto: Any, hotword: str = "", language: str = "") -> BatchRecognizer | None:
    """The batched equal of `auto.model.inference`, or None where FunASR's own has to be called.

    Args:
        auto: a FunASR `AutoModel`.
        hotword: words to favour (`engine.hotword`), for SeACo.
        language: for SenseVoice.
    """
    from ray_asr.engine.sense_voice import SenseVoiceRecognizer

    model, options = auto.model, auto.kwargs
    name = type(model).__name__
    tokenizer = options.get("tokenizer")
    beam = options.get("decoding_ctc_weight", 0.0) or options.get("lm_weight", 0.0)
    if name == "SenseVoiceSmall":
        return SenseVoiceRecognizer(model, tokenizer, options, language)
    if name not in (_PARAFORMER, _BICIF, _SEACO) or beam or tokenizer is None:
        return None
    if type(model.encoder).__name__ != "SANMEncoder":  # others make fewer frames of their input
        return None
    if hasattr(tokenizer, "bpemodel"):  # its times come out by other rules
        return None
    if name == _SEACO:
        return _SeacoRecognizer(model, tokenizer, options.get("frontend"), hotword)
    return _BiCifRecognizer(model, tokenizer) if name == _BICIF else _Recognizer(model, tokenizer)


class _Recognizer:
    """Paraformer: encoder, CIF predictor, one pass of the decoder, argmax.

    The predictor computes in float32 whatever the others compute in: a sum of weights in half
    precision fires at other frames.
    """

    upsampling = 1

    def __init__(self, model: Any, tokenizer: Any) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._silent = {model.blank_id, model.sos, model.eos}

    def forward(self, features: torch.Tensor, lengths: torch.Tensor) -> Heard:
        model = self._model
        dtype = next(model.encoder.parameters()).dtype
        device_lengths = lengths.to(features.device, non_blocking=True)
        hidden, _ = model.encode(features.to(dtype), device_lengths)
        hidden_wide = hidden.float()
        embeds, counts, weights, fires, *_ = model.calc_predictor(hidden_wide, device_lengths)
        counts = counts.round().long()
        if embeds.size(1) == 0:
            tokens = counts.new_zeros(len(counts), 0)
        else:
            tokens = self._tokens(hidden, device_lengths, embeds.to(hidden.dtype), counts)
        weights, fires = self._timing(hidden_wide, device_lengths, counts, weights, fires)
        # Token ids and counts are exact in float32: one copy, and one wait, for all of it.
        together = torch.cat([counts[:, None].float(), tokens.float(), weights, fires], 1).cpu()
        widths = [1, tokens.size(1), weights.size(1), fires.size(1)]
        host_counts, host_tokens, host_weights, host_fires = together.split(widths, 1)
        return Heard(
            host_tokens.long().numpy(),
            host_counts[:, 0].long().clamp(max=tokens.size(1)).tolist(),
            lengths.tolist(),
            host_weights.contiguous().numpy(),
            host_fires.contiguous().numpy(),
        )

    def _tokens(
        self, hidden: torch.Tensor, lengths: torch.Tensor, embeds: torch.Tensor, counts: Any
    ) -> torch.Tensor:
        """The best token of each, `(N, U)`; behind `counts` it is anything."""
        decoder = self._model.decoder
        best = best_outputs_of(decoder)
        if best is None:
            return decoder(hidden, lengths, embeds, counts)[0].argmax(-1)
        rows = decoder(hidden, lengths, embeds, counts, return_hidden=True)[0]
        return best.of_batch(rows, counts)

    def _timing(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        counts: torch.Tensor,
        weights: torch.Tensor,
        fires: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """The weights and fires that times are read from.

        FunASR 1.4.16 hands them over the wrong way round for this class (`Paraformer.inference`
        to `ts_prediction_lfr6_standard`); its times are what users compare with.
        """
        return fires, weights

    def _timing_frames(self, frames: int) -> int:
        tail = float(getattr(self._model.predictor, "tail_threshold", 0.0)) > 0.0
        return frames + 1 if tail else frames

    def words(self, heard: Heard) -> list[Recognition]:
        kept = [
            [token for token in row[:count] if token not in self._silent]
            for row, count in zip(heard.tokens.tolist(), heard.counts, strict=True)
        ]
        width = heard.weights.shape[1]
        if not width:
            return [_untimed(self._tokenizer.ids2tokens(tokens)) for tokens in kept]
        times = token_times(
            heard.weights,
            heard.fires,
            [min(self._timing_frames(frames), width) for frames in heard.frames],
            [len(tokens) for tokens in kept],
            self.upsampling,
        )
        return [
            _spoken(self._tokenizer.ids2tokens(tokens), when)
            for tokens, when in zip(kept, times, strict=True)
        ]


class _BiCifRecognizer(_Recognizer):
    """BiCif: a second predictor, three times as fine, gives the times."""

    upsampling = 3

    def __init__(self, model: Any, tokenizer: Any) -> None:
        super().__init__(model, tokenizer)
        self._lstm: Any = None
        if hasattr(model.predictor, "blstm"):
            self._lstm = model.predictor.blstm = packed(model.predictor.blstm)

    def _timing(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        counts: torch.Tensor,
        weights: torch.Tensor,
        fires: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self._lstm is not None:
            self._lstm.lengths = self.upsampling * lengths.cpu()
        _, _, weights, fires = self._model.calc_predictor_timestamp(hidden, lengths, counts)
        if self._lstm is not None:
            self._lstm.lengths = None
        return weights.float(), fires.float()

    def _timing_frames(self, frames: int) -> int:
        return 3 * frames


class _SeacoRecognizer(_BiCifRecognizer):
    """SeACo: the decoder's scores merged with those of a decoder that sees the hotwords."""

    def __init__(self, model: Any, tokenizer: Any, frontend: Any, hotword: str) -> None:
        super().__init__(model, tokenizer)
        self._hotwords = token_ids(model, tokenizer, frontend, phrases(hotword))
        if model.predictor_name != "CifPredictorV3":
            self.upsampling = 1

    def _tokens(
        self, hidden: torch.Tensor, lengths: torch.Tensor, embeds: torch.Tensor, counts: Any
    ) -> torch.Tensor:
        decode = self._model._seaco_decode_with_ASF
        if self._hotwords is None or len(self._hotwords) <= _MOST_HOTWORDS:
            return decode(hidden, lengths, embeds, counts, hw_list=self._hotwords).argmax(-1)
        # One by one, so that no utterance's neighbours choose the hotwords that it may have.
        scores = hidden.new_zeros(*embeds.shape[:2], self._model.vocab_size)
        for i, (frames, count) in enumerate(zip(lengths.tolist(), counts.tolist(), strict=True)):
            if count:
                one = slice(i, i + 1)
                scores[one, :count] = decode(
                    hidden[one, :frames], lengths[one], embeds[one, :count], counts[one],
                    hw_list=self._hotwords,
                )  # fmt: skip
        return scores.argmax(-1)

    def _timing(
        self,
        hidden: torch.Tensor,
        lengths: torch.Tensor,
        counts: torch.Tensor,
        weights: torch.Tensor,
        fires: torch.Tensor,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        if self.upsampling == 1:  # no second predictor: FunASR gives no times
            return weights[:, :0], fires[:, :0]
        return super()._timing(hidden, lengths, counts, weights, fires)


def _untimed(tokens: Sequence[str]) -> Recognition:
    """Tokens of a model without times, as FunASR joins them."""
    from funasr.utils.postprocess_utils import sentence_postprocess

    return Recognition(sentence_postprocess(list(tokens))[0]) if tokens else Recognition("")


def _spoken(tokens: Sequence[str], times: Times | None) -> Recognition:
    """Tokens as FunASR joins them to words, with their times where those could be had."""
    from funasr.utils.postprocess_utils import sentence_postprocess

    if not tokens:
        return Recognition("")
    if times is None:  # as with times, words stand apart
        return Recognition(" ".join(sentence_postprocess(list(tokens))[1]))
    text, spans, _ = sentence_postprocess(list(tokens), times)
    return timed(text, spans)


def timed(text: str, times: Sequence[Sequence[int]]) -> Recognition:
    """A text and the `[start_ms, end_ms]` of its words, or of its characters where it has none."""
    text = text.strip()
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

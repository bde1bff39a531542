"""The network of FSMN-VAD: log-mel energies to the probabilities of silence.

Owns the arithmetic of FunASR's `FSMN` encoder, of the stacking and normalization of frames before
it, and how recordings lie behind each other in one stream. Must not know Ray, Parquet, audio, nor
what is decided from the probabilities.

Source: Zhang et al., Deep-FSMN for Large Vocabulary Continuous Speech Recognition,
https://arxiv.org/abs/1803.05030, section 2: each layer's memory is a weighted sum of the frames
before. Only those before: what follows a recording does not reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F
from torch import nn

from ray_asr.engine.packed_linear import PackedLinear, is_worth_it

# What is on its way through the layers fits a core's cache, or is small beside a GPU's memory.
_CPU_BLOCK_FRAMES = 2048
_GPU_BLOCK_FRAMES = 120_000
# oneDNN compiles a product anew for each number of rows: so few numbers occur.
_ROWS_STEP = 128


class SilenceScores:
    """FunASR's `FSMN` encoder on a stream of frames, in blocks.

    A stream is one recording, or several with `gap` rows between them. Equal to FunASR's within
    1e-5. The weights are read once, here: the normalization goes into the first layer, and where
    nothing comes between two layers they become one if that is less work.

    Args:
        encoder: an `FSMN` that `supports` allows.
        silence_ids: the output classes that are silence.
        stacked: neighbours that make a frame of the encoder, an odd number.
        cmvn: `(2, D)`, what is added to a stacked frame and then multiplied with it, or None.
    """

    def __init__(
        self,
        encoder: Any,
        silence_ids: Sequence[int],
        stacked: int = 1,
        cmvn: torch.Tensor | None = None,
    ) -> None:
        first = _normalized(_affine(encoder.in_linear1.linear), cmvn)
        *before, last = _joined(first, _affine(encoder.in_linear2.linear))
        self._before = [*(_linear(*affine) for affine in before), _linear(*last, relu=True)]
        self._layers = [_Layer(block) for block in encoder.fsmn]
        after = _joined(_affine(encoder.out_linear1.linear), _affine(encoder.out_linear2.linear))
        self._after = [_linear(*affine) for affine in after]
        self._device = encoder.in_linear1.linear.weight.device
        self._stacked, self._width = stacked, first[0].shape[1] // stacked
        self._silence_ids = list(silence_ids)
        on_gpu = self._device.type == "cuda"
        self.block_frames = _GPU_BLOCK_FRAMES if on_gpu else _CPU_BLOCK_FRAMES

    @staticmethod
    def supports(encoder: Any) -> bool:
        """Whether this class computes what `encoder` computes."""
        return (
            type(encoder).__module__ == "funasr.models.fsmn_vad_streaming.encoder"
            and type(encoder).__name__ == "FSMN"
            and encoder.use_softmax
            and all(parameter.dtype == torch.float32 for parameter in encoder.parameters())
            # With frames to the right, FunASR's answer depends on how it cuts the recording.
            and all(
                block.fsmn_block.conv_right is None and block.lorder > 1 for block in encoder.fsmn
            )
        )

    @property
    def gap(self) -> int:
        """Rows between two recordings, so that no layer remembers the first one in the second."""
        return max(0, max(layer.span for layer in self._layers) - self._stacked + 1)

    def memory(self) -> list[torch.Tensor]:
        """What is remembered before a stream's first row."""
        none = torch.zeros(0, self._width, device=self._device)
        return [none, *(layer.memory() for layer in self._layers)]

    def __call__(
        self,
        rows: torch.Tensor,
        memory: list[torch.Tensor],
        keep: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """The probabilities of silence, block by block.

        Args:
            rows: `(R, D / stacked)` float32 on the encoder's device, the rows that follow those
                of the last call: log-mel energies of frames, the first and the last one of a
                recording as often again as they stand in for neighbours.
            memory: what is remembered of the rows before; overwritten with what is after these.
            keep: `(T, 1)` float32, 0 for the outputs that are of no recording, else 1.

        Returns:
            `(T, S)` float32 on the device, a column for each class that is silence; output t is
            that of `stacked` rows, so T is less than R at the start of a stream.
        """
        rows = torch.cat((memory[0], rows)) if len(memory[0]) else rows
        frames = max(0, len(rows) - self._stacked + 1)
        memory[0] = rows[frames:].clone()
        found = rows.new_empty(frames, len(self._silence_ids))
        for start in range(0, frames, self.block_frames):
            end = min(start + self.block_frames, frames)
            block = rows[start : end + self._stacked - 1]
            found[start:end] = self._block(block, memory, None if keep is None else keep[start:end])
        return found

    def _block(
        self, rows: torch.Tensor, memory: list[torch.Tensor], keep: torch.Tensor | None
    ) -> torch.Tensor:
        frames = len(rows) - self._stacked + 1
        width = self._stacked * self._width
        hidden = rows.new_empty(-(-frames // _ROWS_STEP) * _ROWS_STEP, width)
        hidden[:frames] = rows.as_strided((frames, width), (self._width, 1))
        hidden[frames:] = 0.0
        for linear in self._before:
            hidden = linear(hidden)
        for i, layer in enumerate(self._layers, start=1):
            hidden, memory[i] = layer(hidden, memory[i], frames, keep)
        for linear in self._after:
            hidden = linear(hidden)
        return hidden[:frames].softmax(-1)[:, self._silence_ids]


class _Layer:
    """Projection, memory, and the way back to the width of the network."""

    def __init__(self, block: Any) -> None:
        self._projection = _linear(block.linear.linear.weight.detach(), None)
        # The frame itself is added to what is remembered: one more weight on the last tap.
        taps = block.fsmn_block.conv_left.weight.detach().clone()
        taps[:, :, -1] += 1.0
        # Frames side by side in a row, each with its numbers together: oneDNN's fastest way.
        self._taps = taps.transpose(2, 3).contiguous(memory_format=torch.channels_last)
        self._stride = int(block.lstride)
        self._affine = _linear(*_affine(block.affine.linear), relu=True)

    @property
    def span(self) -> int:
        """Frames before one that reach it."""
        return (self._taps.shape[3] - 1) * self._stride

    def memory(self) -> torch.Tensor:
        return self._taps.new_zeros(self.span, self._taps.shape[0])

    def __call__(
        self, hidden: torch.Tensor, memory: torch.Tensor, frames: int, keep: torch.Tensor | None
    ) -> tuple[torch.Tensor, torch.Tensor]:
        projected = self._projection(hidden)
        if keep is not None:
            projected[:frames] *= keep
        known = torch.cat((memory, projected))
        image = known[None, None].permute(0, 3, 1, 2)
        weighed = F.conv2d(
            image, self._taps, dilation=(1, self._stride), groups=self._taps.shape[0]
        )
        hidden = self._affine(weighed.permute(0, 2, 3, 1)[0, 0])
        return hidden, known[frames : frames + self.span].clone()


_Affine = tuple[torch.Tensor, torch.Tensor]


def _affine(linear: torch.nn.Linear) -> _Affine:
    return linear.weight.detach(), linear.bias.detach()


def _normalized(affine: _Affine, cmvn: torch.Tensor | None) -> _Affine:
    """The layer that does to a frame what `affine` does to the normalized one."""
    if cmvn is None:
        return affine
    weight, bias = (tensor.double() for tensor in affine)
    shift, scale = cmvn[:, : weight.shape[1]].to(weight)
    weight = weight * scale
    return weight.to(affine[0]), (bias + weight @ shift).to(affine[1])


def _joined(first: _Affine, second: _Affine) -> list[_Affine]:
    """Two layers as one, where that one has no more weights."""
    into, out = first[0].shape[1], second[0].shape[0]
    if into * out > first[0].numel() + second[0].numel():
        return [first, second]
    (weight, bias), (weight_2, bias_2) = ([t.double() for t in pair] for pair in (first, second))
    joined = weight_2 @ weight, weight_2 @ bias + bias_2
    return [(joined[0].to(first[0]), joined[1].to(first[1]))]


def _linear(weight: torch.Tensor, bias: torch.Tensor | None, relu: bool = False) -> nn.Module:
    """`(R, I)` to `(R, O)`."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    linear.weight = nn.Parameter(weight, requires_grad=False)
    if bias is not None:
        linear.bias = nn.Parameter(bias, requires_grad=False)
    if weight.device.type == "cpu" and is_worth_it():
        return PackedLinear(linear, "relu" if relu else "none")
    return nn.Sequential(linear, nn.ReLU(inplace=True)) if relu else linear

"""The network of FSMN-VAD: features to the probabilities of silence.

Owns the arithmetic of FunASR's `FSMN` encoder for padded batches and for recordings in pieces.
Must not know Ray, Parquet, audio, nor what is decided from the probabilities.

Source: Zhang et al., Deep-FSMN for Large Vocabulary Continuous Speech Recognition,
https://arxiv.org/abs/1803.05030, section 2: each layer's memory is a weighted sum of the frames
before. Only those before: what stands behind an utterance in a batch does not reach it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import torch.nn.functional as F

# What is on its way through the layers fits a core's cache, or is small beside a GPU's memory.
_CPU_BLOCK_FRAMES = 1024
_GPU_BLOCK_FRAMES = 120_000


class SilenceScores:
    """FunASR's `FSMN` encoder, without a copy of the frames for each layer's convolution.

    Equal to it within 1e-5. The weights are read once, here.

    Args:
        encoder: an `FSMN` that `supports` allows.
        silence_ids: the output classes that are silence.
    """

    def __init__(self, encoder: Any, silence_ids: Sequence[int]) -> None:
        self._before = [_affine(encoder.in_linear1.linear), _affine(encoder.in_linear2.linear)]
        self._layers = [_Layer(block) for block in encoder.fsmn]
        self._after = [_affine(encoder.out_linear1.linear), _affine(encoder.out_linear2.linear)]
        self._device = self._before[0][0].device
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

    def memory(self, recordings: int) -> list[torch.Tensor]:
        """What the layers remember before the first frame of that many recordings."""
        return [layer.memory(recordings) for layer in self._layers]

    def __call__(self, features: torch.Tensor, memory: list[torch.Tensor]) -> torch.Tensor:
        """The probabilities of silence, block by block.

        Args:
            features: `(N, T, dim)` float32 on the encoder's device.
            memory: what the layers remember of the frames before; overwritten with what they
                remember after these.

        Returns:
            `(N, T, S)` float32 on the device, one column for each class that is silence.
        """
        step = max(1, self.block_frames // max(1, len(features)))
        blocks = [self._block(block, memory) for block in features.split(step, dim=1)]
        return blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=1)

    def _block(self, features: torch.Tensor, memory: list[torch.Tensor]) -> torch.Tensor:
        shape = features.shape[:2]
        hidden = features.reshape(-1, features.shape[2])
        for weight, bias in self._before:
            hidden = torch.addmm(bias, hidden, weight)
        hidden.relu_()
        for i, layer in enumerate(self._layers):
            hidden, memory[i] = layer(hidden, memory[i], shape)
        for weight, bias in self._after:
            hidden = torch.addmm(bias, hidden, weight)
        return hidden.softmax(-1)[:, self._silence_ids].view(*shape, -1)


class _Layer:
    """Projection, memory, and the way back to the width of the network."""

    def __init__(self, block: Any) -> None:
        self._projection = _weight(block.linear.linear)
        # In this layout oneDNN takes frames as they lie, with their numbers side by side.
        taps = block.fsmn_block.conv_left.weight.detach()
        self._taps = taps.to(memory_format=torch.channels_last)
        self._stride = int(block.lstride)
        self._affine = _affine(block.affine.linear)

    def memory(self, recordings: int) -> torch.Tensor:
        width, _, taps, _ = self._taps.shape
        return self._taps.new_zeros(recordings, (taps - 1) * self._stride, width)

    def __call__(
        self, hidden: torch.Tensor, memory: torch.Tensor, shape: Sequence[int]
    ) -> tuple[torch.Tensor, torch.Tensor]:
        frames = shape[1]
        projected = torch.mm(hidden, self._projection).view(*shape, -1)
        known = torch.cat((memory, projected), dim=1)
        images = known.unsqueeze(2).permute(0, 3, 1, 2)
        weighed = F.conv2d(
            images, self._taps, dilation=(self._stride, 1), groups=projected.shape[2]
        )
        projected += weighed.permute(0, 2, 3, 1).squeeze(2)
        weight, bias = self._affine
        hidden = torch.addmm(bias, projected.view(-1, projected.shape[2]), weight).relu_()
        return hidden, known[:, frames:].clone()


def _weight(linear: torch.nn.Linear) -> torch.Tensor:
    return linear.weight.detach().t().contiguous()


def _affine(linear: torch.nn.Linear) -> tuple[torch.Tensor, torch.Tensor]:
    return _weight(linear), linear.bias.detach()

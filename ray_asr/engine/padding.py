"""Keeps the padding of a batch from being heard.

Owns one correction to FunASR's Paraformer family (read in 1.4.16): its encoder leaves numbers
behind the end of each shorter utterance of a batch, and the CIF predictor's convolution and tail
read the first of them. The last word then hangs on what else is in the batch. With zeros there,
as for an utterance alone, a batch gives what its utterances give one by one.
"""

from __future__ import annotations

from typing import Any


def silence_padding(model: Any) -> None:
    """Have `model`'s encoder give zeros behind each utterance, where a CIF predictor follows it."""
    if getattr(model, "predictor", None) is not None and hasattr(model, "encoder"):
        model.encoder.register_forward_hook(_zero_behind_the_end)


def _zero_behind_the_end(_module: Any, _inputs: Any, output: Any) -> Any:
    """The encoder's `(hidden (N, T, D), lengths (N,), ...)` with zeros from each length on."""
    import torch

    hidden, lengths, *rest = output
    if not isinstance(hidden, torch.Tensor) or hidden.size(0) == 1:
        return output
    within = torch.arange(hidden.size(1), device=hidden.device) < lengths[:, None]
    return (hidden * within[..., None].to(hidden.dtype), lengths, *rest)


def packed(lstm: Any) -> Any:
    """`lstm` held to each utterance's own frames, where their number has been put in `lengths`.

    BiCif's fine predictor reads a batch backwards too, padding first.
    """
    import torch
    from torch import nn

    class PackedLSTM(nn.Module):
        lengths: torch.Tensor | None = None

        def __init__(self) -> None:
            super().__init__()
            self.lstm = lstm

        def forward(self, inputs: torch.Tensor) -> tuple[torch.Tensor, Any]:
            if self.lengths is None:
                return self.lstm(inputs)
            rows = nn.utils.rnn.pack_padded_sequence(
                inputs, self.lengths, batch_first=True, enforce_sorted=False
            )
            outputs, _ = nn.utils.rnn.pad_packed_sequence(
                self.lstm(rows)[0], batch_first=True, total_length=inputs.size(1)
            )
            return outputs, (None, None)

    return PackedLSTM()

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

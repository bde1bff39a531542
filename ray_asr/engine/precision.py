"""In which numbers a recognizer computes: which suits a device, and how a model is brought to it.

Owns the choice, which layers are replaced, and the half-precision casts. Must not know Ray, Parquet
or audio.

FunASR's own ways are not used: its `bf16` casts the weights but not the features, its autocast
breaks in CIF, and either lets a predictor sum its weights, and positions be counted, in half
precision (read in 1.4.16).
"""

from __future__ import annotations

from typing import Any

import torch
from torch import nn

from ray_asr.engine import int8, packed_linear
from ray_asr.engine.best_outputs import prepare_best_outputs
from ray_asr.engine.sanm_int8 import fuse_layers
from ray_asr.errors import ConfigError

FP32, BF16, FP16, INT8 = "fp32", "bf16", "fp16", "int8"
_HALF = {BF16: torch.bfloat16, FP16: torch.float16}
_LAYERS = ("EncoderLayer", "DecoderLayer")
_KEPT_WIDE = ("output_layer", "hotword_output_layer", "ctc_lo")


def choose(precision: str, device: str, batched: bool, halves: bool = False) -> tuple[str, str]:
    """The precision that `precision` stands for on `device`, and why.

    Args:
        precision: `auto`, or one that is taken as it is.
        device: "cpu" or "cuda".
        batched: whether the model is one that `recognizers` computes; others stay in float32,
            since what FunASR's own `inference` does in other numbers is not known to be sound.
        halves: whether the model is one of the others that has a language model which computes in
            half precision, by its own rules.

    Raises:
        ConfigError: not to be had on this device or with this model; says what is.
    """
    on_gpu = device.startswith("cuda")
    if precision == "auto":
        if not batched and not (halves and on_gpu):
            return FP32, "FunASR's own inference is held to float32"
        if not on_gpu:
            if int8.is_supported():
                return INT8, "8-bit weights and activations are the fastest on a CPU"
            return FP32, "this build of torch has no 8-bit kernels for this CPU"
        if torch.cuda.get_device_capability()[0] >= 8:
            return BF16, "the GPU has bfloat16 units, and bfloat16 cannot overflow"
        return FP16, "the GPU has float16 units but none for bfloat16"
    if precision == INT8 and on_gpu:
        raise ConfigError('engine.precision is int8, which is for CPUs: use "bf16" or "auto".')
    if precision in _HALF and not on_gpu:
        raise ConfigError(
            f'engine.precision is {precision}, which is for GPUs: use "int8" or "auto" on a CPU.'
        )
    if precision != FP32 and not batched and not (halves and precision in _HALF):
        raise ConfigError(
            f'engine.precision is {precision}, but this model class runs in fp32 only: use "auto".'
        )
    if precision == INT8 and not int8.is_supported():
        raise ConfigError(
            'engine.precision is int8, but this torch has no 8-bit kernels: use "fp32".'
        )
    return precision, "as configured"


def bring_to(model: nn.Module, precision: str) -> None:
    """Have the encoder and decoder layers of `model` compute in `precision`, in place.

    Predictors (sums of weights that fire at a threshold), position counts and output layers (whose
    largest number is the token) stay in float32.
    """
    layers = [m for m in model.modules() if type(m).__name__.startswith(_LAYERS)]
    on_cpu = all(parameter.device.type == "cpu" for parameter in model.parameters())
    if precision == INT8:
        fuse_layers(model)
        if type(model).__name__ != "SeacoParaformer":  # which merges scores of two decoders
            prepare_best_outputs(getattr(model, "decoder", None))
        for layer in layers:
            _quantize(layer)
    elif precision in _HALF:
        dtype = _HALF[precision]
        for name, child in model.named_children():
            if name not in ("predictor", "embed"):
                child.to(dtype)
        for name, module in model.named_modules():
            if name.rpartition(".")[2] in _KEPT_WIDE:
                module.float()
                module.register_forward_pre_hook(_cast_to(torch.float32))
        for layer in layers:
            layer.register_forward_pre_hook(_cast_to(dtype))
    if precision in (FP32, INT8) and on_cpu and packed_linear.is_worth_it():
        for layer in layers:
            packed_linear.pack_linears(layer)
        for module in list(model.modules()):
            packed_linear.pack_linears(module, _KEPT_WIDE)


def _cast_to(dtype: torch.dtype) -> Any:
    """A hook that brings what enters a module, masks included, to one type.

    A float32 mask would raise the product with it to float32, and the next convolution refuses it.
    """

    def cast(_module: nn.Module, inputs: tuple[Any, ...]) -> tuple[Any, ...]:
        return tuple(
            value.to(dtype)
            if isinstance(value, torch.Tensor) and value.is_floating_point()
            else value
            for value in inputs
        )

    return cast


def _quantize(module: nn.Module) -> None:
    for name, child in module.named_children():
        if type(child) is nn.Linear:
            if child.weight.numel():  # a fused layer has taken them
                setattr(module, name, int8.Int8Linear(child))
        else:
            _quantize(child)

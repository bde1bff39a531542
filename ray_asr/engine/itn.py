"""Inverse text normalisation: five o'clock as 5 o'clock, where a model writes it so.

Owns which classes can be asked for it. Must not know FunASR or torch, or how a model is called.

Read in FunASR 1.4.16: SenseVoice has two queries for it, `withitn` and `woitn`, of which `use_itn`
chooses one. Fun-ASR-Nano and Qwen3-ASR write so by themselves. Every other class takes the option
and does nothing with it.
"""

from __future__ import annotations

from ray_asr.engine.model_trust import KNOWN_CLASSES
from ray_asr.errors import ConfigError
from ray_asr.redaction import redacted

_WRITING = frozenset(["SenseVoiceSmall", "FunASRNano", "Qwen3ASR"])


def check_itn(use_itn: bool, of_class: str, model: str) -> None:
    """Refuse to promise what it is known that the model does not do.

    Args:
        use_itn: the setting.
        of_class: FunASR's name of the model's class; "" where it is not known yet.
        model: how the model is called, for the message.

    Raises:
        ConfigError: says which models do.
    """
    if use_itn and of_class in KNOWN_CLASSES - _WRITING:
        raise ConfigError(
            f'engine.use_itn: the model "{redacted(model)}" is a {of_class}, which writes numbers '
            "as they are spoken: leave engine.use_itn out, or use SenseVoice or Fun-ASR-Nano."
        )

"""The architecture of the embedded Paraformer, as its `config.yaml` has it."""

from __future__ import annotations

from typing import Any

WIDTH = 144
FRONTEND: dict[str, Any] = {
    "fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10,
    "lfr_m": 7, "lfr_n": 6, "dither": 0.0,
}  # fmt: skip


def paraformer_conf(dropout: float) -> dict[str, Any]:
    """Encoder, predictor, decoder and CTC branch; `dropout` is for training only."""
    return {
        "model_conf": {
            "ctc_weight": 0.3, "lsm_weight": 0.1, "length_normalized_loss": True,
            "predictor_weight": 1.0, "predictor_bias": 1, "sampling_ratio": 0.75,
        },
        "encoder": "SANMEncoder",
        "encoder_conf": {
            "output_size": WIDTH, "attention_heads": 4, "linear_units": 4 * WIDTH,
            "num_blocks": 6, "dropout_rate": dropout, "positional_dropout_rate": dropout,
            "attention_dropout_rate": dropout, "input_layer": "pe",
            "pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True,
            "kernel_size": 11, "sanm_shfit": 0, "selfattention_layer_type": "sanm",
        },
        "decoder": "ParaformerSANMDecoder",
        "decoder_conf": {
            "attention_heads": 4, "linear_units": 3 * WIDTH, "num_blocks": 2,
            "dropout_rate": dropout, "positional_dropout_rate": dropout,
            "self_attention_dropout_rate": dropout, "src_attention_dropout_rate": dropout,
            "att_layer_num": 2, "kernel_size": 11, "sanm_shfit": 0,
        },
        "predictor": "CifPredictorV2",
        "predictor_conf": {
            "idim": WIDTH, "threshold": 1.0, "l_order": 1, "r_order": 1, "tail_threshold": 0.45,
        },
        "ctc_conf": {"dropout_rate": dropout, "ctc_type": "builtin", "reduce": True},
        "input_size": 560,
    }  # fmt: skip

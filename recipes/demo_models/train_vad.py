"""Trains the embedded FSMN-VAD and measures it through FunASR's own `AutoModel`.

Owns the detector's architecture, its training and its folder. What speech and noise are is
`vad_data.py` and `noise.py`.
"""

from __future__ import annotations

import argparse
import random
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from funasr.frontends.wav_frontend import WavFrontend
from funasr.models.fsmn_vad_streaming.encoder import FSMN
from prompts import SAMPLE_RATE, load_prompts, read_g722, split
from vad_data import frame_labels, load_synthetic, make_clip

CLIP_S, SHORT_CLIP_S = 8.0, 1.2
IGNORED = -100
LOG_FLOOR = float(np.log(np.finfo(np.float32).eps))

CONFIG: dict[str, Any] = {
    "model": "FsmnVADStreaming",
    "model_conf": {
        "sample_rate": 16000, "detect_mode": 1, "snr_mode": 0, "max_end_silence_time": 800,
        "max_start_silence_time": 3000, "do_start_point_detection": True,
        "do_end_point_detection": True, "window_size_ms": 200, "sil_to_speech_time_thres": 150,
        "speech_to_sil_time_thres": 150, "speech_2_noise_ratio": 1.0, "do_extend": 1,
        "lookback_time_start_point": 100, "lookahead_time_end_point": 100,
        "max_single_segment_time": 30000, "snr_thres": -100.0,
        "noise_frame_num_used_for_snr": 100, "decibel_thres": -100.0, "speech_noise_thres": 0.6,
        "fe_prior_thres": 1e-4, "silence_pdf_num": 1, "sil_pdf_ids": [0],
        "speech_noise_thresh_low": -0.1, "speech_noise_thresh_high": 0.3,
        "output_frame_probs": False, "frame_in_ms": 10, "frame_length_ms": 25,
    },
    # Here and not only in model_conf: without it FunASR puts a schedule of its own in its place.
    "max_end_silence_time": 800,
    "encoder": "FSMN",
    "encoder_conf": {
        "input_dim": 400, "input_affine_dim": 64, "fsmn_layers": 4, "linear_dim": 96,
        "proj_dim": 48, "lorder": 20, "rorder": 0, "lstride": 1, "rstride": 0,
        "output_affine_dim": 64, "output_dim": 2,
    },
    "frontend": "WavFrontendOnline",
    "frontend_conf": {
        "fs": 16000, "window": "hamming", "n_mels": 80, "frame_length": 25, "frame_shift": 10,
        "dither": 0.0, "lfr_m": 5, "lfr_n": 1,
    },
}  # fmt: skip


def make_clips(waves: list[np.ndarray], count: int, rng: random.Random) -> tuple[Any, Any]:
    """`count` recordings as features `(N, T, 80)` float16 and labels `(N, T)`.

    About one in seven is short; the frames that pad it are ignored in training.
    """
    frontend = WavFrontend(**{**CONFIG["frontend_conf"], "lfr_m": 1})
    frames = len(frame_labels(np.zeros(int(CLIP_S * SAMPLE_RATE), bool)))
    features = torch.full((count, frames, 80), LOG_FLOOR, dtype=torch.float16)
    labels = torch.full((count, frames), IGNORED, dtype=torch.long)
    for index in range(count):
        seconds = CLIP_S if rng.random() < 0.85 else rng.uniform(0.3, SHORT_CLIP_S)
        wave, mask = make_clip(waves, int(seconds * SAMPLE_RATE), rng)
        found, _ = frontend(torch.from_numpy(wave)[None], torch.tensor([len(wave)]))
        features[index, : found.shape[1]] = found[0].half()
        labels[index, : found.shape[1]] = torch.from_numpy(frame_labels(mask))
    return features, labels


def stack(features: torch.Tensor) -> torch.Tensor:
    """Each frame with the two before and after it, `(N, T, 80)` to `(N, T, 400)`."""
    padded = torch.cat([features[:, :1]] * 2 + [features] + [features[:, -1:]] * 2, dim=1)
    return padded.unfold(1, 5, 1).transpose(2, 3).flatten(2)


def train(features: Any, labels: Any, mean: Any, scale: Any, epochs: int, seed: int) -> FSMN:
    """The encoder after `epochs`, its outputs probabilities of (not speech, speech)."""
    torch.manual_seed(seed)
    model = FSMN(**CONFIG["encoder_conf"], use_softmax=False)
    # FunASR takes the logarithm of both probabilities, so neither may round to 0: smoothed
    # targets and a price on large outputs keep them apart from it.
    cost = torch.nn.CrossEntropyLoss(ignore_index=IGNORED, label_smoothing=0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=1e-3)
    steps = epochs * (len(features) // 16)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 3e-3, total_steps=steps)
    for epoch in range(epochs):
        started, losses = time.monotonic(), []
        order = torch.randperm(len(features))
        for start in range(0, len(order) - 15, 16):
            picked = order[start : start + 16]
            shift = torch.empty(16, 1, 1).uniform_(-1.0, 1.0)
            batch = (stack(features[picked].float() + shift) + mean) * scale
            outputs = model(batch)
            loss = cost(outputs.flatten(0, 1), labels[picked].flatten())
            loss = loss + 1e-3 * (outputs**2).mean()
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            schedule.step()
            losses.append(float(loss))
        print(f"epoch {epoch}: loss {np.mean(losses):.4f}, {time.monotonic() - started:.0f} s",
              flush=True)  # fmt: skip
    return model.eval()


def write_cmvn(path: Path, mean: torch.Tensor, scale: torch.Tensor) -> None:
    """Shift and scale `(400,)` in Kaldi's text form, as FunASR reads it."""

    def row(values: torch.Tensor) -> str:
        return " ".join(f"{value:.6g}" for value in values.tolist())

    path.write_text(
        f"<Nnet>\n<Splice> 400 400\n[ 0 ]\n<AddShift> 400 400\n<LearnRateCoef> 0 [ {row(mean)} ]\n"
        f"<Rescale> 400 400\n<LearnRateCoef> 0 [ {row(scale)} ]\n</Nnet>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path, help="folder of synthesize.py")
    parser.add_argument("out", type=Path, help="the model's folder")
    parser.add_argument("--clips", type=int, default=1300)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--per-voice", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    started, rng = time.monotonic(), random.Random(args.seed)
    recorded = [read_g722(prompt.path) for prompt in split(load_prompts())[0]]
    synthetic = load_synthetic(args.data, args.per_voice)
    # A voice recorded in a room counts as much as all the made ones.
    waves = recorded * max(1, len(synthetic) // len(recorded)) + synthetic
    print(f"{len(recorded)} recordings, {len(synthetic)} synthetic sentences", flush=True)
    features, labels = make_clips(waves, args.clips, rng)
    known = labels != IGNORED
    mean, deviation = features[known].float().mean(0), features[known].float().std(0)
    mean, scale = (-mean).repeat(5), (1 / deviation).repeat(5)
    print(f"{known.sum() / 360_000:.2f} h, {(labels == 1).sum() / known.sum():.0%} speech, made in "
          f"{time.monotonic() - started:.0f} s", flush=True)  # fmt: skip
    model = train(features, labels, mean, scale, args.epochs, args.seed)
    args.out.mkdir(parents=True, exist_ok=True)
    state = {f"encoder.{name}": value.half() for name, value in model.state_dict().items()}
    torch.save(state, args.out / "model.pt")
    write_cmvn(args.out / "am.mvn", mean, scale)
    (args.out / "config.yaml").write_text(yaml.safe_dump(CONFIG, sort_keys=False))
    print(f"{sum(p.numel() for p in model.parameters())} parameters, "
          f"{time.monotonic() - started:.0f} s in all")  # fmt: skip


if __name__ == "__main__":
    main()

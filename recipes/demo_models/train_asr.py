"""Train the embedded Paraformer: encoder by CTC first, then predictor and decoder on top of it.

Owns the schedule and the losses; the model itself is FunASR's own class, unchanged. The predictor
(CIF) is taught where words are by the CTC branch's forced alignment, since learning that and the
words together from nothing does not converge on little data.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import random
import sys
import time
from pathlib import Path

import jiwer
import numba
import numpy as np
import torch
import torch.nn.functional as F
from model_conf import paraformer_conf
from pieces import Pieces, train_pieces

logging.disable(logging.CRITICAL)
from funasr.models.paraformer.cif_predictor import cif_v1  # noqa: E402
from funasr.models.paraformer.model import Paraformer  # noqa: E402
from funasr.models.transformer.utils.add_sos_eos import add_sos_eos  # noqa: E402
from funasr.models.transformer.utils.nets_utils import make_pad_mask  # noqa: E402

# Share of each kind in every epoch, by items.
MIXTURE = {
    "recorded": 0.10, "announced": 0.16, "spliced": 0.32, "flite": 0.14, "espeak": 0.08,
    "piper": 0.20,
}  # fmt: skip
# Towards the end the recorded voice counts for more: it is what the model is for.
LATE_MIXTURE = {
    "recorded": 0.12, "announced": 0.24, "spliced": 0.36, "flite": 0.09, "espeak": 0.05,
    "piper": 0.14,
}  # fmt: skip
SYNTHETIC = ("flite", "espeak", "piper")
BATCH_FRAMES = 2500  # padded frames of 60 ms: 150 s
EOS = 2
ALL_TOKENS = 10_000
FLAT_STEPS = 200
CURRICULUM = ((5, FLAT_STEPS), (9, 450))  # (most tokens of an utterance, until which step)
Item = tuple[torch.Tensor, list[int], str]


@numba.njit(cache=True)
def alignment(log_probs: np.ndarray, ids: np.ndarray) -> np.ndarray:
    """Viterbi path through CTC: which of `ids` `(U,)` each frame of `log_probs` `(T, V)` belongs
    to, -1 where it is blank. Source: Graves et al. 2006, section 4."""
    frames, states = log_probs.shape[0], 2 * len(ids) + 1
    score = np.full((frames, states), -1e30)
    back = np.zeros((frames, states), np.int8)
    label = np.zeros(states, np.int64)
    for u in range(len(ids)):
        label[2 * u + 1] = ids[u]
    score[0, 0] = log_probs[0, 0]
    if states > 1:
        score[0, 1] = log_probs[0, label[1]]
    for t in range(1, frames):
        for s in range(states):
            best, step = score[t - 1, s], 0
            if s > 0 and score[t - 1, s - 1] > best:
                best, step = score[t - 1, s - 1], 1
            if s > 1 and label[s] != 0 and label[s] != label[s - 2] and score[t - 1, s - 2] > best:
                best, step = score[t - 1, s - 2], 2
            score[t, s] = best + log_probs[t, label[s]]
            back[t, s] = step
    s = states - 1
    if states > 1 and score[frames - 1, states - 2] > score[frames - 1, s]:
        s = states - 2
    owner = np.full(frames, -1, np.int64)
    for t in range(frames - 1, -1, -1):
        if s % 2 == 1:
            owner[t] = s // 2
        s -= back[t, s]
    return owner


def target_weights(owner: np.ndarray, count: int) -> np.ndarray:
    """CIF weights `(T,)`: a unit over the frames of each token, and one right after the last.

    After its flat start the CTC branch gives a word the frames in which it is said, so its path
    tells where a unit belongs. (A unit at the most probable frame of each token, or spread to half
    way between tokens, cannot be told from the frames alone: word errors stayed at 17 %.)
    """
    weights = np.zeros(len(owner), np.float32)
    weights[owner >= 0] = 1.0 / np.bincount(owner[owner >= 0], minlength=count)[owner[owner >= 0]]
    end = int(np.flatnonzero(owner >= 0)[-1]) + 1
    if end < len(owner):
        weights[end] = 1.0  # the end of sentence
    return weights


def load_model(work: Path, weights: Path, dropout: float = 0.0):
    """(model, pieces, (mean, deviation) of the features) of a training in `work`, for use."""
    pieces, conf = Pieces(work), paraformer_conf(dropout)
    model = Paraformer(**conf.pop("model_conf"), **conf, ctc="CTC", vocab_size=len(pieces.tokens))
    model.load_state_dict(torch.load(weights))
    return model.eval(), pieces, torch.load(work / "norm.pt")


def stretch(features: torch.Tensor, factor: float) -> torch.Tensor:
    """Stacked features `(T, 560)` made `factor` times as long, at the same pitch: the 10 ms frames
    inside are interpolated and stacked again."""
    frames = features.float().view(len(features), 7, 80)[:, :6].reshape(1, -1, 80)
    count = round(frames.size(1) * factor / 6)
    longer = F.interpolate(
        frames.transpose(1, 2), size=6 * count, mode="linear", align_corners=True
    )
    padded = F.pad(longer, (0, 1), mode="replicate")[0].T
    return padded.unfold(0, 7, 6).transpose(1, 2).reshape(count, 560).to(features.dtype)


class Trainer:
    """One run: data, model, schedule."""

    def __init__(self, args: argparse.Namespace) -> None:
        self.args = args
        random.seed(args.seed)
        torch.manual_seed(args.seed)
        args.work.mkdir(parents=True, exist_ok=True)
        raw = {
            kind: torch.load(args.data / f"{kind}.pt")
            for kind in MIXTURE
            if (args.data / f"{kind}.pt").exists()
        }
        tests = {
            kind: torch.load(args.data / f"{kind}.pt")
            for kind in ("test-announced", "test-prompts")
        }
        if not (args.work / "tokens.json").exists():
            texts = [words for kind in raw for words in {w: 0 for _, w in raw[kind]}]
            train_pieces(texts, args.pieces, args.work)
        self.pieces = Pieces(args.work)
        if not (args.work / "norm.pt").exists():
            sample = torch.cat([f[::7].float() for kind in raw for f, _ in raw[kind][::3]])
            torch.save((sample.mean(0), sample.std(0)), args.work / "norm.pt")
        self.mean, self.std = torch.load(args.work / "norm.pt")
        self.data = {kind: self._encode(items) for kind, items in raw.items()}
        self.tests = {kind: [(f, [], w) for f, w in items] for kind, items in tests.items()}
        conf = paraformer_conf(args.dropout)
        self.model = Paraformer(
            **conf.pop("model_conf"), **conf, ctc="CTC", vocab_size=len(self.pieces.tokens)
        )
        if args.start:
            self.model.load_state_dict(torch.load(args.start))
        size = sum(p.numel() for p in self.model.parameters())
        counts = {kind: len(items) for kind, items in self.data.items()}
        print(counts, f"{size / 1e6:.2f} M parameters", flush=True)

    def _encode(self, items: list[tuple[torch.Tensor, str]]) -> list[Item]:
        encoded = []
        for features, words in items:
            ids = self.pieces.encode(words)
            repeats = sum(a == b for a, b in zip(ids, ids[1:])) if ids else 0
            if ids and len(ids) + repeats <= len(features):
                encoded.append((features, ids, words))
        return encoded

    def _slowed(self, kind: str, items: list[Item]) -> list[Item]:
        """Synthetic voices at the pace of the recorded one, which is a third slower."""
        if kind not in SYNTHETIC or not self.args.slow:
            return items
        low, high = self.args.slow
        return [(stretch(f, random.uniform(low, high)), ids, words) for f, ids, words in items]

    def batches(self, most_tokens: int, mixture: dict[str, float]) -> list[list[Item]]:
        """An epoch: as many items of each kind as `mixture` says, in batches of like length."""
        total = self.args.epoch_items
        if most_tokens < ALL_TOKENS:
            total //= 4
        share = sum(mixture[kind] for kind in self.data)
        items = [
            item
            for kind, pool in self.data.items()
            for item in self._slowed(
                kind,
                random.choices(
                    [item for item in pool if len(item[1]) <= most_tokens],
                    k=int(total * mixture[kind] / share),
                ),
            )
        ]
        items.sort(key=lambda item: len(item[0]) * random.uniform(0.9, 1.1))
        out: list[list[Item]] = [[]]
        for item in items:
            longest = max([len(item[0]), *(len(other[0]) for other in out[-1])])
            if out[-1] and longest * (len(out[-1]) + 1) > BATCH_FRAMES:
                out.append([])
            out[-1].append(item)
        random.shuffle(out)
        return out

    def collate(self, batch: list[Item], masked: bool):
        """`(speech (N, T, 560), lengths (N,), ids (N, U) padded with -1, id lengths (N,))`."""
        speech = [(f.float() - self.mean) / self.std for f, _, _ in batch]
        if masked:  # SpecAugment, on the 80 bands and on time (Park et al. 2019)
            for x in speech:
                bands = x.view(len(x), 7, 80)
                for _ in range(2):
                    width = random.randint(0, 10)
                    low = random.randint(0, 80 - width)
                    bands[:, :, low : low + width] = 0
                for _ in range(len(x) // 40 + 1):
                    width = random.randint(0, min(4, len(x) // 6))
                    at = random.randint(0, len(x) - width)
                    x[at : at + width] = 0
        lengths = torch.tensor([len(x) for x in speech])
        ids = [torch.tensor(i) for _, i, _ in batch]
        padded = torch.nn.utils.rnn.pad_sequence(speech, batch_first=True)
        labels = torch.nn.utils.rnn.pad_sequence(ids, batch_first=True, padding_value=-1)
        return padded, lengths, labels, torch.tensor([len(i) for i in ids])

    def ctc_loss(self, logits: torch.Tensor, lengths, labels, label_lengths) -> torch.Tensor:
        """CTC, normalised by label length, so that short utterances weigh as much as long ones."""
        losses = F.ctc_loss(
            logits.log_softmax(-1).transpose(0, 1), labels.clamp(min=0), lengths, label_lengths,
            reduction="none", zero_infinity=True,
        )  # fmt: skip
        return (losses / label_lengths.clamp(min=3) ** 0.7).mean()

    def even_loss(self, logits: torch.Tensor, lengths, labels, label_lengths) -> torch.Tensor:
        """Cross entropy against tokens spread evenly over the frames: a flat start.

        CTC alone stays for long where every frame is blank; on short utterances an even spread
        is near enough to the truth to leave that at once.
        """
        spread = torch.full(logits.shape[:2], -100)
        for row, (frames, count) in enumerate(zip(lengths.tolist(), label_lengths.tolist())):
            quiet = min(2, (frames - count) // 2)  # the ends of a recording are quiet
            inner = torch.arange(frames - 2 * quiet) * count // max(frames - 2 * quiet, 1)
            spread[row, quiet : frames - quiet] = labels[row, inner]
        return F.cross_entropy(logits.transpose(1, 2), spread)

    def raw_weights(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The predictor's CIF weights `(N, T)` before any scaling, as inference sees them."""
        predictor = self.model.predictor
        context = predictor.pad(hidden.transpose(1, 2))
        queries = torch.relu(predictor.cif_conv1d(context)).transpose(1, 2)
        return torch.sigmoid(predictor.cif_output(queries)).squeeze(-1) * mask

    def decoder_losses(self, hidden, lengths, labels, label_lengths, logits):
        """(decoder cross entropy, CIF weight loss) for one batch."""
        mask = (~make_pad_mask(lengths, maxlen=hidden.size(1))).float()
        log_probs = logits.detach().log_softmax(-1).numpy()
        targets = np.zeros(mask.shape, np.float32)
        for row, (frames, count) in enumerate(zip(lengths.tolist(), label_lengths.tolist())):
            owner = alignment(log_probs[row, :frames], labels[row, :count].numpy())
            targets[row, :frames] = target_weights(owner, count)
        target = torch.from_numpy(targets)
        weights = self.raw_weights(hidden, mask)
        drift = (weights.cumsum(1) - target.cumsum(1)).abs() * mask
        weight_loss = (
            3.0 * ((weights - target).abs() * mask).sum() / mask.sum()
            + 0.5 * drift.sum() / mask.sum()
            + 0.5 * (weights.sum(1) - target.sum(1)).abs().mean()
        )
        _, with_end = add_sos_eos(labels, 1, EOS, -1)
        with_end_lengths = label_lengths + 1
        scaled = weights * (with_end_lengths / weights.sum(1).clamp(min=0.1))[:, None]
        acoustic, _ = cif_v1(hidden, scaled, 1.0)
        width = int(with_end_lengths.max())
        acoustic = F.pad(acoustic, (0, 0, 0, max(0, width - acoustic.size(1))))[:, :width]
        semantic, _ = self.model.sampler(hidden, lengths, with_end, with_end_lengths, acoustic)
        out = self.model.decoder(hidden, lengths, semantic, with_end_lengths)[0]
        return self.model.criterion_att(out, with_end), weight_loss

    @torch.no_grad()
    def evaluate(self, kind: str, limit: int | None = None):
        """(word error rate of CIF and decoder, of the CTC branch, pairs) one item at a time."""
        model = self.model.eval()
        references, decoded, spelled = [], [], []
        for item in self.tests[kind][:limit]:
            speech, lengths, _, _ = self.collate([(item[0], [0], "")], masked=False)
            hidden, _ = model.encode(speech, lengths)
            best = model.ctc.argmax(hidden)[0].tolist()
            spelled.append(self.pieces.decode([b for a, b in zip([0, *best], best) if a != b]))
            acoustic, count, _, _ = model.calc_predictor(hidden, lengths)
            count = count.round().long()
            ids = []
            if count.max() >= 1:
                out = model.cal_decoder_with_predictor(hidden, lengths, acoustic, count)[0]
                ids = out[0, : count[0]].argmax(-1).tolist()
            decoded.append(self.pieces.decode(ids))
            references.append(item[2])
        model.train()
        pairs = list(zip(references, decoded, spelled))
        return jiwer.wer(references, decoded), jiwer.wer(references, spelled), pairs

    def report(self, step: int, started: float, limit: int | None) -> None:
        for kind in self.tests:
            decoded, spelled, pairs = self.evaluate(kind, limit)
            print(f"  step {step} {kind}: decoder {decoded:.3f} ctc {spelled:.3f} "
                  f"t={time.monotonic() - started:.0f}", pairs[3], flush=True)  # fmt: skip

    def run(self) -> None:
        """Stage 1 trains encoder and CTC; stage 2 adds predictor and decoder; one schedule."""
        args, model = self.args, self.model
        parameters = list(model.parameters())
        optimizer = torch.optim.AdamW(
            parameters, lr=args.peak_rate, weight_decay=0.02, betas=(0.9, 0.98), fused=True
        )
        started, step, total = time.monotonic(), args.first_step, args.steps
        model.train()
        sums = np.zeros(3)
        while step < total:
            most_tokens, until = next(
                (tokens, end) for tokens, end in (*CURRICULUM, (ALL_TOKENS, total)) if step < end
            )
            mixture = MIXTURE if step < args.late_step else LATE_MIXTURE
            for batch in self.batches(most_tokens, mixture):
                if step >= until:
                    break
                step += 1
                warmup = min(1.0, (step - args.first_step) / (50 if args.first_step else 300))
                rate = min(warmup, 0.5 * (1 + math.cos(math.pi * step / total)) + 0.005)
                for group in optimizer.param_groups:
                    group["lr"] = args.peak_rate * rate
                speech, lengths, labels, label_lengths = self.collate(
                    batch, masked=step > FLAT_STEPS
                )
                hidden, _ = model.encode(speech, lengths)
                logits = model.ctc.ctc_lo(hidden)
                loss = ctc = self.ctc_loss(logits, lengths, labels, label_lengths)
                parts = [ctc.item(), 0.0, 0.0]
                if step <= FLAT_STEPS:
                    even = self.even_loss(logits, lengths, labels, label_lengths)
                    loss = even + 0.1 * ctc
                    parts[1] = even.item()
                if step > args.ctc_steps:
                    warming = step < args.ctc_steps + 100
                    entropy, weights = self.decoder_losses(
                        hidden.detach() if warming else hidden,
                        lengths,
                        labels,
                        label_lengths,
                        logits,
                    )
                    loss = args.ctc_weight * ctc + entropy + 2.0 * weights
                    parts = [ctc.item(), entropy.item(), weights.item()]
                optimizer.zero_grad()
                loss.backward()
                torch.nn.utils.clip_grad_norm_(parameters, 5.0)
                optimizer.step()
                sums += parts
                if step % 25 == 0:
                    ctc, att, cif = sums / 25
                    print(f"{step}/{total} lr {args.peak_rate * rate:.1e} ctc {ctc:.3f} "
                          f"att {att:.3f} cif {cif:.3f} t={time.monotonic() - started:.0f}",
                          flush=True)  # fmt: skip
                    sums[:] = 0
                if step % 250 == 0 or step == total:
                    torch.save(model.state_dict(), args.work / "asr.pt")
                    self.report(step, started, None if step == total else 60)
        for reference, decoded, spelled in self.evaluate("test-prompts")[2]:
            print(f"    {reference} | {decoded} | {spelled}")
        errors = {kind: self.evaluate(kind)[0] for kind in self.tests}
        (args.work / "asr-result.json").write_text(json.dumps(errors))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("data", type=Path)
    parser.add_argument("work", type=Path)
    parser.add_argument("--steps", type=int, default=4000)
    parser.add_argument("--ctc-steps", type=int, default=1800)
    parser.add_argument("--late-step", type=int, default=2750)
    parser.add_argument("--first-step", type=int, default=0)
    parser.add_argument("--start", type=Path, help="weights to go on from")
    parser.add_argument("--peak-rate", type=float, default=2e-3)
    parser.add_argument("--ctc-weight", type=float, default=1.0, help="once all is trained")
    parser.add_argument("--slow", type=float, nargs=2, help="stretch synthetic voices: least, most")
    parser.add_argument("--pieces", type=int, default=400)
    parser.add_argument("--dropout", type=float, default=0.0)
    parser.add_argument("--epoch-items", type=int, default=8000)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--seed", type=int, default=7)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    torch.set_flush_denormal(True)
    Trainer(args).run()


if __name__ == "__main__":
    sys.exit(main())

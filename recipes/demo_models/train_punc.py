"""Trains the embedded CT-Transformer and measures it through FunASR's own `AutoModel`.

Owns the punctuation model's architecture, its training and its folder. Which texts and marks
there are is `punc_texts.py`.
"""

from __future__ import annotations

import argparse
import json
import random
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from funasr import AutoModel
from funasr.models.ct_transformer.model import CTTransformer
from funasr.models.sanm.encoder import SANMEncoder  # noqa: F401 (registers itself by name)
from prompts import load_prompts, split
from punc_texts import (
    COMMA,
    IGNORED,
    PERIOD,
    PUNC_LIST,
    QUESTION,
    PunctuatedTexts,
    Sentence,
    parse,
    prompt_sentence,
    template,
    words_in,
)

MAX_WORDS, MIN_COUNT = 6000, 3
TOKENS_A_BATCH = 1500
UNKNOWN = "<unk>"


def config(dropout: float) -> dict[str, Any]:
    """The model's `config.yaml`; `dropout` is for training only."""
    return {
        "model": "CTTransformer",
        "model_conf": {
            "ignore_id": IGNORED, "embed_unit": 64, "att_unit": 96, "dropout_rate": dropout,
            "punc_list": PUNC_LIST, "punc_weight": [1.0] * len(PUNC_LIST), "sentence_end_id": 3,
        },
        "encoder": "SANMEncoder",
        "encoder_conf": {
            "input_size": 64, "output_size": 96, "attention_heads": 4, "linear_units": 256,
            "num_blocks": 3, "dropout_rate": dropout, "positional_dropout_rate": dropout,
            "attention_dropout_rate": 0.0, "input_layer": "pe",
            "pos_enc_class": "SinusoidalPositionEncoder", "normalize_before": True,
            "kernel_size": 11, "sanm_shfit": 0, "selfattention_layer_type": "sanm",
            "padding_idx": 0,
        },
        "tokenizer": "CharTokenizer",
        "tokenizer_conf": {"unk_symbol": UNKNOWN},
    }  # fmt: skip


def word_list(texts: PunctuatedTexts) -> list[str]:
    """The words that the training texts have most often, the unknown one last."""
    counts: Counter[str] = Counter()
    for entry in texts.entries:
        counts.update(word for sentence in entry for word, _ in sentence)
    said = Counter(word for sentence in texts.prompts for word, _ in sentence)
    rng = random.Random("word list")
    for _ in range(3000):
        said.update(word for word, _ in parse(template(rng)))
    counts.update({word: MIN_COUNT + count for word, count in said.items()})
    ranked = sorted(counts, key=lambda word: (-counts[word], word))
    return ["<blank>", *[w for w in ranked if counts[w] >= MIN_COUNT][:MAX_WORDS], UNKNOWN]


def make_batch(
    runs: list[Sentence], ids: dict[str, int], rng: random.Random
) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """Word ids `(N, T)`, lengths `(N,)` and marks `(N, T)`; a few words are made unknown."""
    unknown = ids[UNKNOWN]
    lengths = torch.tensor([len(run) for run in runs])
    words = torch.zeros(len(runs), int(lengths.max()), dtype=torch.long)
    marks = torch.full_like(words, IGNORED)
    for row, run in enumerate(runs):
        found = [unknown if rng.random() < 0.06 else ids.get(word, unknown) for word, _ in run]
        words[row, : len(run)] = torch.tensor(found)
        marks[row, : len(run)] = torch.tensor([mark for _, mark in run])
    return words, lengths, marks


def train(texts: PunctuatedTexts, words: list[str], steps: int, seed: int) -> CTTransformer:
    """The model after `steps` batches of about 1,500 words."""
    torch.manual_seed(seed)
    conf = config(dropout=0.15)
    model = CTTransformer(
        encoder=conf["encoder"], encoder_conf=conf["encoder_conf"], vocab_size=len(words),
        **conf["model_conf"],
    )  # fmt: skip
    torch.nn.init.normal_(model.embed.weight, std=0.1)
    weights = torch.tensor([0.0, 1.0, 1.0, 1.0, 1.5, 1.0])
    cost = torch.nn.CrossEntropyLoss(weight=weights, ignore_index=IGNORED, label_smoothing=0.02)
    optimizer = torch.optim.AdamW(model.parameters(), lr=2e-3, weight_decay=0.02)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimizer, 2e-3, total_steps=steps)
    ids = {word: index for index, word in enumerate(words)}
    rng, started, losses, seen = random.Random(seed), time.monotonic(), [], 0
    pool: list[Sentence] = []
    model.train()
    for step in range(steps):
        if len(pool) < 200:
            pool += sorted((texts.draw(rng) for _ in range(1200)), key=len)
        start, picked = rng.randrange(len(pool)), []
        while start < len(pool) and sum(map(len, picked)) < TOKENS_A_BATCH:
            picked.append(pool.pop(start))
        batch, lengths, marks = make_batch(picked, ids, rng)
        outputs, _ = model.punc_forward(batch, lengths)
        loss = cost(outputs.flatten(0, 1), marks.flatten())
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        losses.append(float(loss))
        seen += int(lengths.sum())
        if step % 200 == 199:
            print(f"step {step + 1}: loss {np.mean(losses[-200:]):.4f}, {seen} words, "
                  f"{time.monotonic() - started:.0f} s", flush=True)  # fmt: skip
    return model.eval()


def save(model: CTTransformer, words: list[str], out: Path) -> None:
    """The folder that FunASR loads; half-precision weights, which it widens on loading."""
    out.mkdir(parents=True, exist_ok=True)
    state = {name: value.half() for name, value in model.state_dict().items()}
    torch.save(state, out / "model.pt")
    (out / "tokens.json").write_text(json.dumps(words, separators=(",", ":")) + "\n")
    (out / "config.yaml").write_text(
        yaml.safe_dump(config(dropout=0.0), sort_keys=False, allow_unicode=True)
    )


def marks_of(text: str, words: list[str]) -> list[int] | None:
    """The mark after each of `words` in `text`, None where `text` has other words."""
    found = parse(text)
    return [mark for _, mark in found] if [word for word, _ in found] == words else None


def measure(folder: Path, texts: PunctuatedTexts, held_out: list[Sentence]) -> None:
    """Prints precision, recall and F1 for each mark, and whether every word came back."""
    model = AutoModel(
        model=str(folder), disable_update=True, device="cpu", ncpu=1, disable_pbar=True
    )
    rng = random.Random("measure")
    joined: list[Sentence] = []
    spoken = [sentence for sentence in held_out if len(sentence) > 3]
    for _ in range(100):
        joined.append([pair for s in rng.sample(spoken, rng.randint(2, 5)) for pair in s])
    fortunes = [[pair for s in entry[:6] for pair in s] for entry in texts.held_out[::3]]
    made = [parse(template(rng)) for _ in range(200)]
    print("| texts | mark | true | precision | recall | F1 |\n|---|---|---|---|---|---|")
    for name, runs in (
        ("held-out prompts", held_out), ("held-out prompts, 2-5 joined", joined),
        ("held-out fortunes", fortunes), ("templates, drawn anew", made),
    ):  # fmt: skip
        pairs: Counter[tuple[int, int]] = Counter()
        changed = []
        for run in runs:
            result = model.generate(input=[words_in(run)])[0]["text"]
            marks = marks_of(result, [word for word, _ in run])
            if marks is None:
                changed.append(result)
            else:
                pairs.update(zip((mark for _, mark in run), marks, strict=True))
        for label, mark in (("comma", COMMA), ("period", PERIOD), ("question", QUESTION)):
            right = pairs[mark, mark]
            true = sum(count for (was, _), count in pairs.items() if was == mark)
            given = sum(count for (_, is_), count in pairs.items() if is_ == mark)
            f1 = 2 * right / max(true + given, 1)
            print(f"| {name} | {label} | {true} | {right / max(given, 1):.1%} "
                  f"| {right / max(true, 1):.1%} | {f1:.1%} |")  # fmt: skip
        ends = (PERIOD, QUESTION)
        right = sum(n for (was, is_), n in pairs.items() if was in ends and is_ in ends)
        total = sum(n for (was, is_), n in pairs.items() for mark in (was, is_) if mark in ends)
        print(f"| {name} | any sentence end | | | | {2 * right / max(total, 1):.1%} |")
        print(f"{name}: {len(runs)} texts, {sum(map(len, runs))} words, words changed in "
              f"{len(changed)} {changed[:3]}")  # fmt: skip
    for text in (
        "thank you for calling please hold", "what is your name", "yes", "xyzzy plugh",
        "you have five new messages press one to listen to your messages press two to hang up",
    ):  # fmt: skip
        print(repr(text), "->", repr(model.generate(input=[text])[0]["text"]))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, help="the model's folder")
    parser.add_argument("--steps", type=int, default=1000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--measure-only", action="store_true")
    args = parser.parse_args()
    torch.set_num_threads(1)
    started = time.monotonic()
    training, held_out = split(load_prompts())
    texts = PunctuatedTexts(training, held_out)
    if not args.measure_only:
        words = word_list(texts)
        count = sum(len(s) for entry in texts.entries for s in entry)
        print(f"{len(texts.entries)} runs of fortunes' sentences ({count} words), "
              f"{len(training)} prompts, {len(words)} tokens; "
              f"{len(texts.held_out)} runs held out", flush=True)  # fmt: skip
        model = train(texts, words, args.steps, args.seed)
        save(model, words, args.out)
        print(f"{sum(p.numel() for p in model.parameters())} parameters, "
              f"{time.monotonic() - started:.0f} s in all")  # fmt: skip
    measure(args.out, texts, [prompt_sentence(prompt) for prompt in held_out])


if __name__ == "__main__":
    main()

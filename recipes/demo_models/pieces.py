"""Word pieces in FunASR's `CharTokenizer` form: `@@` marks a piece that its word goes on after.

Owns tokens.json, seg_dict and the way from words to ids. Knows nothing about audio.
"""

from __future__ import annotations

import json
from pathlib import Path

import sentencepiece

SPECIAL = ["<blank>", "<s>", "</s>"]
SUFFIX = "\u2581"


def train_pieces(texts: list[str], count: int, folder: Path) -> list[str]:
    """`count` byte-pair pieces that never straddle a word, written to `folder/tokens.json`."""
    corpus = folder / "texts.txt"
    corpus.write_text("\n".join(texts), encoding="utf-8")
    sentencepiece.SentencePieceTrainer.train(
        input=str(corpus), model_prefix=str(folder / "pieces"), vocab_size=count,
        model_type="bpe", treat_whitespace_as_suffix=True, character_coverage=1.0,
        bos_id=-1, eos_id=-1, unk_id=0, minloglevel=2, num_threads=1,
    )  # fmt: skip
    model = sentencepiece.SentencePieceProcessor(model_file=str(folder / "pieces.model"))
    pieces = [model.id_to_piece(i) for i in range(1, model.vocab_size())]
    tokens = [*SPECIAL, *(_token(piece) for piece in pieces if piece != SUFFIX), "<unk>"]
    (folder / "tokens.json").write_text(json.dumps(tokens, ensure_ascii=False, indent=0))
    words = sorted({word for text in texts for word in text.split()})
    lines = [f"{word} {' '.join(split_word(model, word))}" for word in words]
    (folder / "seg_dict").write_text("\n".join(lines) + "\n", encoding="utf-8")
    return tokens


def _token(piece: str) -> str:
    return piece[: -len(SUFFIX)] if piece.endswith(SUFFIX) else piece + "@@"


def split_word(model: sentencepiece.SentencePieceProcessor, word: str) -> list[str]:
    """The tokens of one word."""
    pieces = model.encode(word, out_type=str)
    if pieces and pieces[-1] == SUFFIX:
        pieces[-2:] = [pieces[-2] + SUFFIX]
    return [_token(piece) for piece in pieces]


class Pieces:
    """Words to ids, by the files that `train_pieces` left in a folder."""

    def __init__(self, folder: Path) -> None:
        self.tokens: list[str] = json.loads((folder / "tokens.json").read_text())
        self._ids = {token: index for index, token in enumerate(self.tokens)}
        lines = (folder / "seg_dict").read_text(encoding="utf-8").splitlines()
        self._words = {line.split()[0]: line.split()[1:] for line in lines}

    def encode(self, words: str) -> list[int] | None:
        """The ids of `words`, or None where a word was never seen or a piece has no id (a letter
        rare at a word's end)."""
        tokens = [token for word in words.split() for token in self._words.get(word, [""])]
        ids = [self._ids.get(token) for token in tokens]
        return None if None in ids else ids  # type: ignore[return-value]

    def decode(self, ids: list[int]) -> str:
        """The words of `ids`."""
        text = " ".join(self.tokens[i] for i in ids if i >= len(SPECIAL))
        return text.replace("@@ ", "").replace("@@", "")

"""The forms in which words to favour come, and where a list of them is read."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_asr.config import Config, fingerprint, with_settings
from ray_asr.engine.hotwords import check_class, of_list, phrases
from ray_asr.errors import ConfigError
from ray_asr.job.hotword_list import with_hotwords


def config_with(hotword: str) -> Config:
    return with_settings(Config(), {"hotword": hotword})


def favoured(hotword: str | Path) -> list[str]:
    return phrases(with_hotwords(config_with(str(hotword))).engine.hotword)


@pytest.mark.parametrize(
    ("hotword", "means"),
    [
        ("", []),
        ("魔搭", ["魔搭"]),
        ("魔搭  阿里巴巴 ", ["魔搭", "阿里巴巴"]),
        ("machine learning\nray\n", ["machine learning", "ray"]),
        ("machine  learning\n", ["machine learning"]),
    ],
)
def test_one_line_is_words_and_several_are_phrases(hotword: str, means: list[str]) -> None:
    assert phrases(hotword) == means


@pytest.mark.parametrize(
    ("text", "means"),
    [
        ("魔搭\n阿里巴巴\n", ["魔搭", "阿里巴巴"]),
        ("魔搭\r\n\r\n 阿里巴巴 \r\n魔搭", ["魔搭", "阿里巴巴"]),
        ("machine learning\nray", ["machine learning", "ray"]),
        ("machine learning", ["machine learning"]),
        ("魔搭 20\n阿里巴巴\t15.5\n", ["魔搭", "阿里巴巴"]),  # weights of FunASR's servers
        ("machine learning 20\n", ["machine learning"]),
        ("windows 11\nray\n", ["windows 11", "ray"]),
        ("", []),
        (" \n", []),
    ],
)
def test_a_list_has_a_phrase_a_line_with_weights_or_without(text: str, means: list[str]) -> None:
    assert phrases(of_list(text)) == means


def test_a_file_counts_by_what_it_holds(tmp_path: Path) -> None:
    first, second = tmp_path / "a.txt", tmp_path / "b.txt"
    first.write_text("\ufeff魔搭\n阿里巴巴\n", encoding="utf-8")
    second.write_text("魔搭 5\n阿里巴巴 5", encoding="utf-8")
    of_file = with_hotwords(config_with(str(first)))
    assert of_file == with_hotwords(config_with("魔搭 阿里巴巴"))
    assert fingerprint(of_file) == fingerprint(with_hotwords(config_with(str(second))))
    second.write_text("魔搭\n阿里\n", encoding="utf-8")
    assert fingerprint(of_file) != fingerprint(with_hotwords(config_with(str(second))))


def test_an_address_is_read_and_what_was_read_is_read_no_more(tmp_path: Path) -> None:
    file = tmp_path / "phrases"
    file.write_text("new york\nray.txt\n", encoding="utf-8")
    once = with_hotwords(config_with(f"file://{file}"))
    file.unlink()
    assert phrases(once.engine.hotword) == ["new york", "ray.txt"]
    assert with_hotwords(once) == once


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (None, r"engine\.hotword: .*words\.txt does not exist"),
        (b"", r"words\.txt holds no words: write one a line"),
        ("魔搭".encode("gb18030"), r"words\.txt is not UTF-8: save it as UTF-8"),
        (b"x" * (4 * 2**20 + 1), r"words\.txt has more than 4 MiB"),
    ],
)
def test_a_list_that_is_none_is_refused(tmp_path: Path, data: bytes | None, said: str) -> None:
    file = tmp_path / "words.txt"
    if data is not None:
        file.write_bytes(data)
    with pytest.raises(ConfigError, match=said):
        favoured(file)


def test_an_address_that_nothing_opens_shows_no_secret() -> None:
    with pytest.raises(ConfigError, match=r"^engine\.hotword: ") as refused:
        favoured("gopher://me:s3cr3t@there/words")
    assert "s3cr3t" not in str(refused.value)


@pytest.mark.parametrize("of_class", ["Paraformer", "BiCifParaformer", "SenseVoiceSmall"])
def test_a_model_without_a_use_for_hotwords_is_refused(of_class: str) -> None:
    check_class("", of_class, "mine")
    with pytest.raises(ConfigError, match=rf'"mine" is a {of_class}, which takes no hotwords'):
        check_class("魔搭", of_class, "mine")


@pytest.mark.parametrize(
    "of_class", ["SeacoParaformer", "ContextualParaformer", "FunASRNano", "Qwen3ASR", "Own", ""]
)
def test_a_model_that_takes_them_or_may_is_not(of_class: str) -> None:
    check_class("魔搭", of_class, "mine")

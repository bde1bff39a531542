"""Settings from a file, from `--set` and from both."""

from __future__ import annotations

from pathlib import Path

import pytest

from ray_asr.config import (
    Config,
    load_config,
)
from ray_asr.errors import ConfigError


def config_file(tmp_path: Path, text: str) -> Path:
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    return path


def test_no_file_and_no_settings_are_the_defaults() -> None:
    assert load_config(None) == Config()


@pytest.mark.parametrize("text", ["", "# only a comment\n", "engine: {}\n"])
def test_an_empty_file_is_the_defaults(tmp_path: Path, text: str) -> None:
    assert load_config(config_file(tmp_path, text)) == Config()


def test_set_comes_after_the_file(tmp_path: Path) -> None:
    path = config_file(tmp_path, "batch:\n  batch_size_s: 30\nengine:\n  ncpu: 2\n")
    config = load_config(path, ["batch.batch_size_s=90"])
    assert (config.batch.batch_size_s, config.engine.ncpu) == (90.0, 2)
    assert load_config(path, ["batch_size_s=91"]).batch.batch_size_s == 91.0


def test_the_last_set_wins_however_it_is_named() -> None:
    sets = ["batch.batch_size_s=40", "batch_size_s=50", "batch.batch_size_s=30"]
    assert load_config(None, sets).batch.batch_size_s == 30.0


@pytest.mark.parametrize(
    ("assignment", "name", "value"),
    [
        ("batch.batch_size_s=120", "batch.batch_size_s", 120.0),
        ("batch_size_s=1.5e+2", "batch.batch_size_s", 150.0),
        ("ncpu=4", "engine.ncpu", 4),
        ("engine.vad_model=", "engine.vad_model", ""),
        ('engine.vad_model=""', "engine.vad_model", ""),
        ("engine.hotword=a=b c", "engine.hotword", "a=b c"),
        ("engine.hotword=魔搭 阿里", "engine.hotword", "魔搭 阿里"),
        ("engine.model=/models/my model", "engine.model", "/models/my model"),
        (" engine.model = demo ", "engine.model", "demo"),
        ("engine.funasr_options={a: 1, b: [x]}", "engine.funasr_options", {"a": 1, "b": ["x"]}),
    ],
)
def test_set_takes_yaml_values(assignment: str, name: str, value: object) -> None:
    section, leaf = name.split(".")
    found = getattr(getattr(load_config(None, [assignment]), section), leaf)
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("assignment", "says"),
    [
        *[(text, "--set") for text in ("batch_size_s", "batch_size_s 5", "", "batch_size_s={a")],
        ("=5", "setting"),
    ],
)
def test_a_set_that_is_no_assignment_is_refused(assignment: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        load_config(None, [assignment])


@pytest.mark.parametrize(
    "text",
    ["- a\n- b\n", "just words\n", "batch: 5\n", "batch:\n", "batch_size_s: 60\n", "engine: [1]\n"],
)
def test_a_file_without_sections_is_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(ConfigError, match="sections of settings: input, engine, batch, job"):
        load_config(config_file(tmp_path, text))


@pytest.mark.parametrize(
    "data",
    [b"a: [1\n", b"\tx: 1\n", b"a: *b\n", b"\xff\xfe\x00\xd8", b"engine: !!python/name:os.abc\n"],
)
def test_a_file_that_is_no_plain_yaml_is_refused(tmp_path: Path, data: bytes) -> None:
    path = tmp_path / "config.yaml"
    path.write_bytes(data)
    with pytest.raises(ConfigError, match="is not YAML"):
        load_config(path)


def test_a_file_that_is_missing_is_refused(tmp_path: Path) -> None:
    for path in (tmp_path / "none.yaml", tmp_path):
        with pytest.raises(ConfigError, match="cannot read the configuration"):
            load_config(path)


def test_an_unknown_setting_in_a_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r'did you mean "batch\.batch_size_s"'):
        load_config(config_file(tmp_path, "batch:\n  batchsize_s: 5\n"))

from __future__ import annotations

import copy
import dataclasses
import pickle
from pathlib import Path
from typing import Any

import pytest
import yaml

from ray_asr.config import (
    SECTIONS,
    Config,
    deciding_settings,
    fingerprint,
    load_config,
    resolve_name,
    to_dict,
    with_settings,
)
from ray_asr.config_checks import OWNED_FUNASR_OPTIONS
from ray_asr.errors import ConfigError

LEAVES = {
    f"{section}.{leaf.name}": leaf
    for section, cls in SECTIONS.items()
    for leaf in dataclasses.fields(cls)
}
# Another value for every setting that may change alone.
OTHER: dict[str, Any] = {
    "input.id_column": "id",
    "input.audio_column": "wav",
    "input.max_duration_s": 10.0,
    "engine.model": "demo",
    "engine.vad_model": "",
    "engine.punc_model": "demo",
    "engine.spk_model": "cam++",
    "engine.hub": "hf",
    "engine.model_revision": "v2.0.4",
    "engine.offline": True,
    "engine.language": "en",
    "engine.hotword": "ray",
    "engine.sentence_timestamp": True,
    "engine.max_single_segment_time": 15_000,
    "engine.precision": "int8",
    "engine.ncpu": 3,
    "engine.trust_model": True,
    "engine.funasr_options": {"max_end_silence_time": 500},
    "batch.batch_size_s": 120.0,
    "job.unit_mb": 1.0,
    "job.stages": "split",
    "job.num_actors": 7,
    "job.max_failed_ratio": 0.1,
    "job.row_timeout_s": 30.0,
    "job.recycle_rows": 1000,
    "control.autoscale": False,
    "control.min_actors": 2,
    "control.max_actors": 9,
    "control.reserve_cores": 1,
    "control.pin_cores": True,
    "control.baseline": "baseline.json",
    "control.sample_interval_s": 5.0,
    "control.actor_timeout_s": 60.0,
    "control.vary_batch": False,
}
TOGETHER = {"engine.device": "cuda", "job.num_gpus": 0.5}
# A setting that wants another, which changes texts too.
WITH_ANOTHER = {
    "engine.preset_spk_num": {"engine.spk_model": "cam++", "engine.preset_spk_num": 2},
    "engine.use_itn": {"engine.use_itn": True, "engine.punc_model": ""},
}


def changed(name: str) -> dict[str, Any]:
    """`name` with another value, and what it wants beside it."""
    if name in TOGETHER:
        return TOGETHER
    return WITH_ANOTHER.get(name) or {name: OTHER[name]}


def test_this_file_knows_every_setting() -> None:
    assert {*OTHER, *TOGETHER, *WITH_ANOTHER} == set(LEAVES)


def test_a_leaf_name_is_unique_in_the_whole_tree() -> None:
    names = [leaf.name for leaf in LEAVES.values()]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("name", LEAVES)
def test_every_setting_says_what_it_does_and_its_unit(name: str) -> None:
    metadata = LEAVES[name].metadata
    assert metadata["text"]
    assert {"unit", "decides"} <= set(metadata)


def test_defaults_are_funasrs_own_names() -> None:
    engine = Config().engine
    assert (engine.model, engine.vad_model, engine.punc_model) == (
        "paraformer-zh",
        "fsmn-vad",
        "ct-punc",
    )


# --- names


@pytest.mark.parametrize("path", LEAVES)
def test_a_setting_is_found_by_its_leaf_and_by_its_path(path: str) -> None:
    section, leaf = path.split(".")
    assert resolve_name(leaf) == resolve_name(path) == (section, leaf)


@pytest.mark.parametrize(
    ("name", "nearest"),
    [
        ("batch_sise_s", "batch_size_s"),
        ("batch.batch_sise_s", "batch.batch_size_s"),
        ("engine.ncpus", "engine.ncpu"),
        ("job.batch_size_s", "batch_size_s"),
        ("enginee.model", "engine.model"),
        ("vadmodel", "vad_model"),
    ],
)
def test_an_unknown_setting_offers_the_nearest(name: str, nearest: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_settings(Config(), {name: 1})
    assert f'there is no setting "{name}"' in str(caught.value)
    assert f'did you mean "{nearest}"' in str(caught.value) or nearest in str(caught.value)


def test_an_unknown_setting_like_none_lists_some_that_exist() -> None:
    with pytest.raises(ConfigError, match=r"the settings are .*batch_size_s"):
        resolve_name("zzzzzzzz")


@pytest.mark.parametrize("name", ["", ".", "engine", "engine.", "a.engine.model"])
def test_what_is_not_a_name_is_refused(name: str) -> None:
    with pytest.raises(ConfigError):
        resolve_name(name)


# --- types and values


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("batch_size_s", "sixty"),
        ("batch_size_s", "60"),
        ("batch_size_s", True),
        ("batch_size_s", None),
        ("batch_size_s", [60]),
        ("ncpu", 2.5),
        ("ncpu", 2.0),
        ("ncpu", "2"),
        ("ncpu", True),
        ("ncpu", None),
        ("model", 5),
        ("model", ["paraformer-zh"]),
        ("language", False),
        ("funasr_options", "a=1"),
        ("funasr_options", None),
        ("funasr_options", [1]),
    ],
)
def test_a_wrong_type_is_refused_by_name(name: str, value: object) -> None:
    with pytest.raises(ConfigError) as caught:
        with_settings(Config(), {name: value})
    section, leaf = resolve_name(name)
    assert f"{section}.{leaf} is {value!r}" in str(caught.value)


def test_a_whole_number_is_a_float_where_one_is_wanted() -> None:
    value = with_settings(Config(), {"batch_size_s": 120}).batch.batch_size_s
    assert value == 120.0
    assert isinstance(value, float)


def test_null_is_no_model_for_models_that_may_be_left_out() -> None:
    assert with_settings(Config(), {"vad_model": None}).engine.vad_model == ""
    with pytest.raises(ConfigError, match=r"engine\.model is empty"):
        with_settings(Config(), {"model": None})


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"model": ""}, "engine.model"),
        ({"device": "gpu"}, "engine.device"),
        ({"device": "cudax"}, "engine.device"),
        ({"hub": "github"}, "engine.hub"),
        ({"precision": "int4"}, "use one of auto, bf16, fp16, fp32, int8"),
        ({"precision": "fp16"}, "use auto, fp32 or int8"),
        ({"precision": "bf16"}, "use auto, fp32 or int8"),
        ({"precision": "int8", "device": "cuda", "num_gpus": 1}, "use auto, fp32, bf16 or fp16"),
        ({"stages": "apart"}, "job.stages"),
        ({"batch_size_s": 20}, "use at least 30"),
        ({"ncpu": -1}, "engine.ncpu"),
        ({"max_single_segment_time": 30}, "engine.max_single_segment_time"),
        ({"batch_size_s": 0.5}, "batch.batch_size_s"),
        ({"batch_size_s": float("nan")}, "batch.batch_size_s"),
        ({"unit_mb": 0}, "job.unit_mb"),
        ({"unit_mb": float("nan")}, "job.unit_mb"),
        ({"num_actors": -1}, "job.num_actors"),
        ({"row_timeout_s": -1}, "job.row_timeout_s"),
        ({"row_timeout_s": 0.5}, "job.row_timeout_s"),
        ({"row_timeout_s": float("nan")}, "job.row_timeout_s"),
        ({"row_timeout_s": float("inf")}, "job.row_timeout_s"),
        ({"recycle_rows": -1}, "job.recycle_rows"),
        ({"num_gpus": 0.4, "device": "cuda"}, "job.num_gpus"),
        ({"num_gpus": 1.5, "device": "cuda"}, "job.num_gpus"),
        ({"num_gpus": -1, "device": "cuda"}, "job.num_gpus"),
        ({"num_gpus": float("nan"), "device": "cuda"}, "job.num_gpus"),
        ({"num_gpus": 1}, "job.num_gpus"),
        ({"device": "cuda"}, "job.num_gpus"),
        ({"max_failed_ratio": 1.1}, "job.max_failed_ratio"),
        ({"max_failed_ratio": -0.1}, "job.max_failed_ratio"),
    ],
)
def test_a_value_that_cannot_work_is_refused_by_name(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigError) as caught:
        with_settings(Config(), settings)
    assert named in str(caught.value)


@pytest.mark.parametrize("value", [0, -5.0, float("nan")])
def test_a_longest_recording_that_fails_every_row_is_refused(value: float) -> None:
    with pytest.raises(ConfigError, match=r"input\.max_duration_s"):
        with_settings(Config(), {"max_duration_s": value})


@pytest.mark.parametrize("num_gpus", [1, 2, 0.5, 1 / 3, 0.25, 0.1])
def test_whole_gpus_and_equal_shares_are_taken(num_gpus: float) -> None:
    config = with_settings(Config(), {"num_gpus": num_gpus, "device": "cuda"})
    assert config.job.num_gpus == pytest.approx(num_gpus)


@pytest.mark.parametrize("device", ["cuda", "cuda:0", "cuda:1"])
def test_a_cuda_device_is_taken_by_its_number_too(device: str) -> None:
    assert with_settings(Config(), {"device": device, "num_gpus": 1}).engine.device == device


def test_validation_holds_for_a_tree_built_by_hand() -> None:
    with pytest.raises(ConfigError, match=r"batch\.batch_size_s"):
        dataclasses.replace(Config(), batch=dataclasses.replace(Config().batch, batch_size_s=0.1))


@pytest.mark.parametrize("count", [-1, 16])
def test_a_number_of_speakers_is_one_that_can_be_told_apart(count: int) -> None:
    with pytest.raises(ConfigError, match=r"preset_spk_num is -?\d+: use 1 to 15"):
        with_settings(Config(), {"spk_model": "cam++", "preset_spk_num": count})


def test_a_number_of_speakers_wants_a_model_that_tells_them_apart() -> None:
    with pytest.raises(ConfigError, match=r"engine\.spk_model=cam\+\+"):
        with_settings(Config(), {"preset_spk_num": 2})


def test_marks_are_not_set_twice() -> None:
    with pytest.raises(ConfigError, match=r'set engine\.punc_model="" too'):
        with_settings(Config(), {"use_itn": True})


# --- FunASR options


@pytest.mark.parametrize("option", sorted(OWNED_FUNASR_OPTIONS))
def test_funasr_options_refuse_what_ray_asr_owns(option: str) -> None:
    with pytest.raises(ConfigError, match=f"funasr_options may not set {option}:"):
        with_settings(Config(), {"funasr_options": {"decoding_ctc_weight": 0.1, option: 1}})


@pytest.mark.parametrize("option", ["device", "ncpu", "batch_size", "batch_size_s", "hub"])
def test_owned_options_are_at_least_those_of_the_contract(option: str) -> None:
    assert option in OWNED_FUNASR_OPTIONS


def test_funasr_options_pass_anything_else() -> None:
    options = {"max_end_silence_time": 500, "ban_emo_unk": True}
    config = with_settings(Config(), {"funasr_options": options})
    assert config.engine.funasr_options == options


def test_funasr_options_are_a_copy_of_what_was_given() -> None:
    options = {"ban_emo_unk": True}
    config = with_settings(Config(), {"funasr_options": options})
    options["device"] = True
    assert config.engine.funasr_options == {"ban_emo_unk": True}


def test_two_configurations_share_no_options() -> None:
    assert Config().engine.funasr_options is not Config().engine.funasr_options


# --- fingerprint


def test_a_fingerprint_is_twelve_hex_digits_and_stays() -> None:
    assert len(fingerprint(Config())) == 12
    assert int(fingerprint(Config()), 16) >= 0
    assert fingerprint(Config()) == fingerprint(Config())


@pytest.mark.parametrize("name", OTHER)
def test_the_fingerprint_changes_with_deciding_settings_only(name: str) -> None:
    changed = fingerprint(with_settings(Config(), {name: OTHER[name]})) != fingerprint(Config())
    assert changed == LEAVES[name].metadata["decides"] == (name in deciding_settings(Config()))


def test_what_only_changes_speed_does_not_decide() -> None:
    speed = {"engine.device", "engine.ncpu", "batch.batch_size_s", "job.num_actors", "job.num_gpus"}
    assert not speed & set(deciding_settings(Config()))
    assert fingerprint(with_settings(Config(), TOGETHER)) == fingerprint(Config())


def test_every_deciding_setting_gives_a_fingerprint_of_its_own() -> None:
    configs = [with_settings(Config(), changed(n)) for n in deciding_settings(Config())]
    prints = [fingerprint(config) for config in [Config(), *configs]]
    assert len(set(prints)) == len(prints)


def test_the_order_of_options_does_not_decide() -> None:
    orders = [{"a": 1, "b": 2}, {"b": 2, "a": 1}]
    prints = {fingerprint(with_settings(Config(), {"funasr_options": o})) for o in orders}
    assert len(prints) == 1


# --- the tree itself


def test_a_configuration_survives_pickling() -> None:
    config = with_settings(Config(), {"hotword": "x", "funasr_options": {"a": [1]}, **TOGETHER})
    assert pickle.loads(pickle.dumps(config)) == config
    assert copy.deepcopy(config) == config
    assert fingerprint(pickle.loads(pickle.dumps(config))) == fingerprint(config)


def test_a_configuration_is_frozen_and_changing_gives_another() -> None:
    config = Config()
    with pytest.raises(dataclasses.FrozenInstanceError):
        config.batch.batch_size_s = 5.0  # type: ignore[misc]
    assert with_settings(config, {"batch_size_s": 50}) != config
    assert config == Config()


def test_a_dictionary_of_settings_shares_nothing_with_the_tree() -> None:
    config = with_settings(Config(), {"funasr_options": {"a": 1}})
    to_dict(config)["engine"]["funasr_options"]["device"] = "x"
    assert config.engine.funasr_options == {"a": 1}


def test_the_batch_suits_the_device_and_the_longest_segment() -> None:
    on_gpu = {"device": "cuda", "num_gpus": 1}
    assert Config().padded_s == 120.0
    assert with_settings(Config(), {"precision": "fp32"}).padded_s == 30.0
    assert with_settings(Config(), on_gpu).padded_s == 300.0
    assert with_settings(Config(), on_gpu | {"precision": "fp32"}).padded_s == 300.0
    assert with_settings(Config(), {"max_single_segment_time": 150_000}).padded_s == 150.0
    assert with_settings(Config(), {"batch_size_s": 90}).padded_s == 90.0


@pytest.mark.parametrize("name", [*OTHER, *TOGETHER, *WITH_ANOTHER])
def test_what_is_written_loads_as_it_was(tmp_path: Path, name: str) -> None:
    config = with_settings(Config(), changed(name))
    assert config != Config()
    text = yaml.safe_dump(to_dict(config), allow_unicode=True)
    path = tmp_path / "config.yaml"
    path.write_text(text, encoding="utf-8")
    assert load_config(path) == config

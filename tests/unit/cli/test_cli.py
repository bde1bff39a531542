from __future__ import annotations

import os
import runpy
import shlex
import sys
from pathlib import Path

import pytest

import ray_asr
from ray_asr import cli, cli_form, cli_options, errors
from ray_asr.config import SECTIONS, Config
from ray_asr.errors import DataError
from ray_asr.job import pipeline
from tests.fakes import write_input
from tests.unit.cli.conftest import exit_code

VERBS = [
    "demo", "pack", "plan", "transcribe", "tune", "bench", "score", "simulate", "verify", "compact",
    "retry", "export", "report",
]  # fmt: skip
JOBS = Path(__file__).parents[3] / "jobs"


@pytest.mark.parametrize("flags", [[], ["--restart"]])
def test_a_job_begins_anew_only_where_it_is_told_to(
    monkeypatch: pytest.MonkeyPatch, flags: list[str]
) -> None:
    given: list[bool] = []

    def job(*_: object, restart: bool) -> None:
        given.append(restart)
        raise DataError("that is all.")

    monkeypatch.setattr(pipeline, "transcribe_path", job)
    assert exit_code("transcribe", "in", "out", *flags) == 3
    assert given == [bool(flags)]


def test_every_verb_of_the_surface_is_there() -> None:
    assert {*VERBS, "completion"} == set(cli.cli.commands)


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("flag", ["--help", "-h"])
def test_each_verb_explains_itself_with_an_example(
    verb: str, flag: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(verb, flag) == 0
    said = capsys.readouterr()
    assert said.out.startswith(f"Usage: ray-asr {verb}")
    assert f"\nExamples:\n  ray-asr {verb}" in said.out
    assert said.err == ""


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_of_each_verb_can_be_given(verb: str) -> None:
    command = cli.cli.commands[verb]
    assert isinstance(command, cli_form.Verb)
    assert command.examples
    for example in command.examples:
        name, given, *arguments = shlex.split(example)
        assert (name, given) == ("ray-asr", verb)
        assert len(f"  {example}") <= 100
        # Says what is wrong with them.
        command.make_context(verb, arguments, **cli.cli.context_settings)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_can_answer_in_json(verb: str) -> None:
    assert any("--json" in param.opts for param in cli.cli.commands[verb].params)


@pytest.mark.parametrize("verb", VERBS)
def test_each_verb_is_a_file_for_ray_job_submit(
    verb: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", [f"{verb}.py", "--help"])
    with pytest.raises(SystemExit) as ended:
        runpy.run_path(str(JOBS / f"{verb}.py"))
    assert ended.value.code == 0
    assert capsys.readouterr().out.startswith(f"Usage: ray-asr {verb}")


def test_help_lists_the_verbs_and_the_exit_codes(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--help") == 0
    said = capsys.readouterr().out
    assert all(f"  {verb} " in said for verb in VERBS)
    said = " ".join(said.split())
    assert "0 done, 1 unexpected, 2 configuration, 3 input data" in said


def test_the_version_is_the_packages(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("--version") == 0
    assert ray_asr.__version__ in capsys.readouterr().out


def test_flags_are_settings_that_exist() -> None:
    leaves = {leaf for cls in SECTIONS.values() for leaf in cls.__dataclass_fields__}
    assert set(cli_options.FLAGS) <= leaves


# --- bad settings


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--set", "batch.batch_sise_s=5"], 'did you mean "batch.batch_size_s"?'),
        (["--set", "nonsense=5"], 'there is no setting "nonsense"'),
        (["--set", "batch_size_s"], 'write it as "section.setting=value"'),
        (["--set", "batch_size_s=many"], "batch.batch_size_s is 'many': it takes float."),
        (["--set", "engine.funasr_options={ncpu: 4}"], "funasr_options may not set ncpu"),
        (["--batch-size-s", "0.5"], "use at least 1 second"),
        (["--batch-size-s", "10"], "less than one segment of engine.max_single_segment_time"),
        (["--precision", "fp16"], "use auto, fp32 or int8"),
        (["--precision", "bf16"], "use auto, fp32 or int8"),
        (
            ["--precision", "int8", "--device", "cuda", "--num-gpus", "1"],
            "use auto, fp32, bf16 or fp16",
        ),
        (["--device", "tpu"], 'use "cpu" or "cuda"'),
        (["--num-gpus", "1"], "set engine.device=cuda"),
        (["--config", "/no/such/file.yaml"], "cannot read the configuration /no/such/file.yaml"),
    ],
)
def test_a_bad_setting_is_exit_code_2_and_one_line(
    arguments: list[str],
    said: str,
    configs: list[Config],
    no_ray: list[str | None],
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert exit_code("transcribe", "in", "out", *arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("ray-asr: ")
    assert said in printed.err
    assert "Traceback" not in printed.err
    assert (configs, no_ray) == ([], [])


@pytest.mark.parametrize(
    "arguments",
    [
        ["transcribe"],
        ["transcribe", "in"],
        ["transcribe", "in", "out", "--no-such-flag"],
        ["transcribe", "in", "out", "--ncpu", "many"],
        ["score", "out", "--unit", "sentence"],
        ["no-such-verb"],
        [],
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], configs: list[Config], no_ray: list[str | None]
) -> None:
    assert exit_code(*arguments) == 2
    assert (configs, no_ray) == ([], [])


# --- good settings


def test_flags_sets_and_file_reach_the_job(
    tmp_path: Path, configs: list[Config], capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("engine:\n  model: demo\n  ncpu: 1\nbatch:\n  batch_size_s: 40\n")
    assert (
        exit_code(
            "transcribe", "in", "out", "--config", str(path),
            "--set", "engine.ncpu=2", "--set", "job.unit_mb=8", "--batch-size-s", "20",
            "--vad-model", "", "--id-column", "key", "--audio-column", "wav",
        )
        == 0
    )  # fmt: skip
    (config,) = configs
    assert (config.engine.model, config.engine.ncpu, config.engine.vad_model) == ("demo", 2, "")
    assert (config.batch.batch_size_s, config.job.unit_mb) == (20.0, 8.0)
    assert (config.input.id_column, config.input.audio_column) == ("key", "wav")
    assert capsys.readouterr().out == "the table\n"


def test_the_address_reaches_ray(configs: list[Config], no_ray: list[str | None]) -> None:
    assert exit_code("transcribe", "in", "out", "--address", "local") == 0
    assert exit_code("transcribe", "in", "out") == 0
    assert no_ray == ["local", None]
    assert len(configs) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        ["--device", "cuda", "--set", "job.num_gpus=1"],
        ["--set", "engine.device=cuda", "--num-gpus", "1"],
        ["--device", "cuda", "--num-gpus", "1"],
    ],
)
def test_settings_that_only_fit_together_may_be_given_in_any_way(
    arguments: list[str], configs: list[Config]
) -> None:
    assert exit_code("transcribe", "in", "out", *arguments) == 0
    assert (configs[0].engine.device, configs[0].job.num_gpus) == ("cuda", 1.0)


def test_a_flag_mends_what_a_file_alone_could_not_do(tmp_path: Path, configs: list[Config]) -> None:
    path = tmp_path / "config.yaml"
    path.write_text("job:\n  num_gpus: 1\n")
    assert exit_code("transcribe", "in", "out", "--config", str(path), "--device", "cuda") == 0
    assert configs[0].job.num_gpus == 1.0


# --- exit codes


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (errors.ConfigError("no."), 2),
        (errors.DataError("no."), 3),
        (errors.PlanError("no."), 4),
        (errors.TooManyFailuresError("no."), 5),
        (errors.EngineFatalError("no."), 1),
        (errors.RayAsrError("no."), 1),
    ],
)
def test_an_error_of_ours_is_one_line_and_its_exit_code(
    error: Exception,
    code: int,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise error

    monkeypatch.setattr(pipeline, "transcribe_path", fail)
    assert exit_code("transcribe", "in", "out") == code
    assert capsys.readouterr().err == "ray-asr: no.\n"


@pytest.mark.parametrize(("verbose", "level"), [(False, "CRITICAL"), (True, "INFO")])
def test_rays_page_about_an_error_is_for_the_verbose(
    verbose: bool, level: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RAY_DATA_LOG_LEVEL", "")
    monkeypatch.delenv("RAY_DATA_LOG_LEVEL")
    cli._configure_logging(verbose)
    assert os.environ["RAY_DATA_LOG_LEVEL"] == level


def test_a_fault_of_ours_is_not_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    monkeypatch.setattr(pipeline, "transcribe_path", fail)
    with pytest.raises(ZeroDivisionError):
        cli.main(["transcribe", "in", "out"])


@pytest.fixture
def vad_folder() -> str:
    return str(Path(ray_asr.__file__).parent / "demo" / "models" / "vad")


def bad_inputs(folder: Path, kind: str) -> str:
    source = folder / "in"
    source.mkdir()
    if kind == "missing":
        source.rmdir()
    elif kind == "not parquet":
        (source / "a.parquet").write_bytes(b"RIFF....WAVE")
    elif kind == "other columns":
        write_input(source / "a.parquet", [b"x"])
        return str(source)
    return str(source)


@pytest.mark.parametrize("kind", ["missing", "empty", "not parquet", "other columns"])
def test_a_bad_input_is_exit_code_3_and_one_line_and_no_output(
    kind: str, tmp_path: Path, vad_folder: str, capsys: pytest.CaptureFixture[str]
) -> None:
    source, output = bad_inputs(tmp_path, kind), tmp_path / "out"
    arguments = ["--model", vad_folder, "--punc-model", "", "--audio-column", "wav"]
    assert exit_code("transcribe", source, str(output), *arguments) == 3
    printed = capsys.readouterr().err
    assert len(printed.splitlines()) == 1
    assert source in printed
    assert not output.exists()


@pytest.mark.parametrize("verb", ["transcribe", "tune", "plan"])
def test_a_missing_input_starts_nothing(
    verb: str, tmp_path: Path, vad_folder: str, no_ray: list[str | None]
) -> None:
    source, output = str(tmp_path / "in"), str(tmp_path / "out")
    places = [source, output] if verb == "transcribe" else [source]
    assert exit_code(verb, *places, "--model", vad_folder) == 3
    assert no_ray == []


def test_a_model_folder_without_its_files_is_exit_code_2_and_starts_nothing(
    tmp_path: Path, no_ray: list[str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    source = write_input(tmp_path / "in" / "a.parquet", [b"x"])
    output = tmp_path / "out"
    (tmp_path / "model").mkdir()
    assert (
        exit_code("transcribe", str(source), str(output), "--model", str(tmp_path / "model")) == 2
    )
    assert "has no config.yaml and no model.pt" in capsys.readouterr().err
    assert not output.exists()
    assert no_ray == []


def test_scoring_an_output_that_is_not_there_is_exit_code_3(
    tmp_path: Path, no_ray: list[str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code("score", str(tmp_path / "out")) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert no_ray == []


@pytest.mark.parametrize("kind", ["no source", "nothing in it", "destination in use"])
def test_what_cannot_be_packed_is_exit_code_3_and_starts_nothing(
    kind: str, tmp_path: Path, no_ray: list[str | None], capsys: pytest.CaptureFixture[str]
) -> None:
    source, destination = tmp_path / "recordings", tmp_path / "shards"
    if kind != "no source":
        source.mkdir()
    if kind == "destination in use":
        (source / "a.wav").write_bytes(b"x")
        destination.mkdir()
        (destination / "mine.txt").write_text("keep", encoding="utf-8")
    assert exit_code("pack", str(source), str(destination)) == 3
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert no_ray == []
    kept = [file.name for file in destination.glob("*")]
    assert kept == (["mine.txt"] if kind == "destination in use" else [])


def test_what_can_be_packed_connects_to_ray(tmp_path: Path, no_ray: list[str | None]) -> None:
    (tmp_path / "recordings").mkdir()
    (tmp_path / "recordings" / "a.wav").write_bytes(b"x")
    arguments = [str(tmp_path / "recordings"), str(tmp_path / "shards"), "--address", "there"]
    assert exit_code("pack", *arguments) == 2  # the Ray of this file is never there
    assert no_ray == ["there"]
    assert not (tmp_path / "shards").exists()

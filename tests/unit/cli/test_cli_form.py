from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from ray_asr import cli
from ray_asr.config import Config
from ray_asr.corpus import pack as packing
from ray_asr.job import pipeline
from tests.outputs import write_inputs, write_output
from tests.unit.cli.conftest import exit_code

# --- results and all else


def strict(text: str) -> Any:
    """JSON as its standard has it: no NaN."""

    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    return json.loads(text, parse_constant=refuse)


@pytest.fixture
def finished(tmp_path: Path) -> tuple[str, str]:
    """An output and its input, done by no engine."""
    source = write_inputs(tmp_path / "in", {"a.parquet": [f"r{n}" for n in range(8)]})
    write_output(source, tmp_path / "out")
    return str(tmp_path / "out"), str(source)


@pytest.mark.parametrize("verb", ["verify", "compact", "simulate"])
def test_json_stands_alone_on_stdout(
    verb: str, finished: tuple[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    output, source = finished
    arguments = {
        "verify": [output, source],
        "compact": [output],
        "simulate": ["--workloads", "1"],
    }
    assert exit_code(verb, *arguments[verb], "--json") in (0, 3)
    assert strict(capsys.readouterr().out)


def test_the_result_alone_is_on_stdout_whatever_a_library_prints(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    class Summary:
        def to_dict(self) -> dict[str, Any]:
            return {"rows": 3, "text": "普 \x9b31m"}

    def chatty(*_: object, **__: object) -> Summary:
        sys.stdout.write("a library says hello\n")
        return Summary()

    monkeypatch.setattr(pipeline, "transcribe_path", chatty)
    assert exit_code("transcribe", "in", "out", "--json") == 0
    said = capsys.readouterr()
    assert strict(said.out) == {"rows": 3, "text": "普 \x9b31m"}
    assert "\x9b" not in said.out
    assert "a library says hello" in said.err


@pytest.mark.parametrize("forced", [False, True])
def test_a_table_has_colour_where_it_is_wanted(
    forced: bool,
    finished: tuple[str, str],
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    if forced:
        monkeypatch.setenv("FORCE_COLOR", "1")
    exit_code("verify", *finished)
    assert ("\x1b[" in capsys.readouterr().out) is forced
    exit_code("verify", "--help")
    assert ("\x1b[1mOptions:\x1b[0m" in capsys.readouterr().out) is forced
    assert exit_code("verify", "/nowhere", "/nowhere") == 3
    assert ("\x1b[31mray-asr:\x1b[0m" in capsys.readouterr().err) is forced


def test_stdout_that_knows_few_characters_gets_the_others_written_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, configs: list[Config]
) -> None:
    class Nothing:
        def table(self) -> str:
            return "普通话"

    monkeypatch.setattr(pipeline, "transcribe_path", lambda *_, **__: Nothing())
    with (tmp_path / "out.txt").open("w", encoding="ascii") as stream:
        monkeypatch.setattr(sys, "stdout", stream)
        assert exit_code("transcribe", "in", "out") == 0
    assert (tmp_path / "out.txt").read_text(encoding="ascii") == "\\u666e\\u901a\\u8bdd\n"


# --- mistakes


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["transcrbe"], "did you mean transcribe? See `ray-asr --help`."),
        (["nonsense"], 'there is no verb "nonsense": see `ray-asr --help`.'),
        (["--verbos", "demo"], "did you mean --verbose or --version? See `ray-asr --help`."),
        (
            ["transcribe", "in", "out", "--modle", "demo"],
            "there is no option --modle: did you mean --model",
        ),
        (["transcribe", "in"], "missing argument 'OUTPUT': see `ray-asr transcribe --help`."),
        (["transcribe", "in", "out", "more"], "more"),
        (["transcribe", "in", "out", "--ncpu", "many"], "'many' is not a valid integer: see"),
        (["score", "out", "--unit", "sentence"], "'sentence' is not one of"),
        (["completion", "tcsh"], "'tcsh' is not one of 'bash', 'zsh', 'fish'"),
    ],
)
def test_wrong_usage_is_one_sentence_with_the_next_step(
    arguments: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert exit_code(*arguments) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert len(printed.err.splitlines()) == 1
    assert printed.err.startswith("ray-asr: ")
    assert said in printed.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["transcribe", "in", "out"], "the same command does the rest"),
        (["pack", "in", "out"], "nothing more is done"),
    ],
)
def test_ctrl_c_is_a_sentence_and_130(
    arguments: list[str],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    def interrupted(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(pipeline, "transcribe_path", interrupted)
    monkeypatch.setattr(packing, "pack", interrupted)
    assert exit_code(*arguments) == 130
    printed = capsys.readouterr()
    assert printed.out == ""
    (line,) = printed.err.split("\n")[:-1]
    assert line.startswith("ray-asr: stopped: ")
    assert said in line


# --- completion


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_completion(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("completion", shell) == 0
    said = capsys.readouterr()
    assert f"_RAY_ASR_COMPLETE={shell}_complete" in said.out
    assert "ray-asr" in said.out


@pytest.mark.parametrize(
    ("line", "completed"),
    [
        ("ray-asr tra", "plain,transcribe"),
        ("ray-asr transcribe --batch", "plain,--batch-size-s"),
        ("ray-asr transcribe --set batch.b", "plain,batch.batch_size_s="),
        ("ray-asr transcribe sha", "file,sha"),
        ("ray-asr retry out --code worker", "plain,worker_died"),
    ],
)
def test_verbs_options_settings_and_paths_are_completed(
    line: str,
    completed: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("_RAY_ASR_COMPLETE", "bash_complete")
    monkeypatch.setenv("COMP_WORDS", line)
    monkeypatch.setenv("COMP_CWORD", str(line.count(" ")))
    assert exit_code() == 0
    assert completed in capsys.readouterr().out.splitlines()


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_itself_completes_a_verb(capsys: pytest.CaptureFixture[str]) -> None:
    assert exit_code("completion", "bash") == 0
    script = capsys.readouterr().out
    asked = "COMP_WORDS=(ray-asr tra); COMP_CWORD=1; _ray_asr_completion ray-asr"
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    found = subprocess.run(
        ["bash", "-c", f'{script}\n{asked}\necho "${{COMPREPLY[@]}}"'],
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        check=True,
    )
    assert found.stdout.strip() == "transcribe"


@pytest.mark.parametrize(
    ("arguments", "file"), [([], None), (["--json"], "-"), (["--json", "bench.json"], "bench.json")]
)
def test_a_benchmark_has_its_json_on_stdout_or_in_a_file_while_it_measures(
    arguments: list[str], file: str | None
) -> None:
    verb, settings = cli.cli.commands["bench"], cli.cli.context_settings
    context = verb.make_context("bench", [*arguments, "--quick"], **settings)
    assert context.params["json_file"] == file
    assert context.params["quick"]

"""Every verb of the command line is a function too, with the same defaults and the same errors."""

from __future__ import annotations

import inspect
import subprocess
import sys
from pathlib import Path

import pytest

import ray_asr
from ray_asr import cli
from ray_asr.control.simulate import SimulationOptions
from ray_asr.errors import ConfigError, DataError
from ray_asr.job.bench import BenchOptions
from ray_asr.job.forecast import ForecastOptions
from ray_asr.job.tune import TuneOptions
from tests.fakes import tone, wav_bytes, write_input

# `ray_asr.demo` is the package of what is embedded.
FUNCTIONS = {"demo": "run_demo"}
OPTIONS = {
    "bench": [BenchOptions],
    "tune": [TuneOptions],
    "simulate": [SimulationOptions, ForecastOptions],
}


@pytest.mark.parametrize("verb", sorted({*cli.cli.commands} - {"export", "report", "completion"}))
def test_each_verb_is_a_documented_function_with_the_defaults_of_its_flags(verb: str) -> None:
    function = getattr(ray_asr, FUNCTIONS.get(verb, verb))
    assert inspect.getdoc(function)
    if verb == "transcribe":
        return
    known = dict(inspect.signature(function).parameters)
    for options in OPTIONS.get(verb, []):
        known |= inspect.signature(options).parameters
    flags = {flag.name: flag.default for flag in cli.cli.commands[verb].params}
    both = [
        (flags[name], known[name].default)
        for name in known.keys() & flags.keys() - {"node_s"}
        if type(flags[name]) is type(known[name].default)
    ]
    assert both or verb in ("demo", "verify")
    assert all(flag == default for flag, default in both)


def test_the_package_starts_nothing_when_it_is_imported() -> None:
    said = subprocess.run(
        [sys.executable, "-c", "import sys, ray_asr; print({'ray', 'torch'} & set(sys.modules))"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert said.stdout.strip() == "set()"


def test_functions_give_results_and_the_errors_of_the_command_line(tmp_path: Path) -> None:
    result = ray_asr.simulate(SimulationOptions(workloads=1))
    assert "1 of 1" in result.table()
    with pytest.raises(ConfigError, match="run `ray-asr tune`"):
        ray_asr.predict(options=ForecastOptions(audio_hours=1.0))
    with pytest.raises(ConfigError, match=r"no such\.json"):
        ray_asr.predict(options=ForecastOptions(audio_hours=1.0), baseline="no such.json")
    with pytest.raises(DataError):
        ray_asr.score(str(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match="min_actors is 5"):
        ray_asr.plan(min_actors=5, max_actors=2)
    with pytest.raises(DataError):
        ray_asr.pack(str(tmp_path / "nowhere"), str(tmp_path / "out"))
    source = write_input(tmp_path / "in.parquet", [wav_bytes(tone(1.0))])
    with pytest.raises(ConfigError, match=r"nowhere\.json"):
        ray_asr.tune(str(source), TuneOptions(check=True, out=str(tmp_path / "nowhere.json")))

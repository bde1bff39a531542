"""The engine alone, without Ray: `python -m ray_asr.engine.bench --device cuda`.

Owns what the engine is measured against: the bare model on batches that are ready, and one
`AutoModel.generate` a file. Must not know Ray or Parquet. The three take turns in one process, so
that a noisy machine is noisy for all of them. Loading is not measured.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

from ray_asr.config import EngineConfig
from ray_asr.engine.bench_audio import LONGEST_S, SHORTEST_S, decode_plain, utterances
from ray_asr.engine.funasr_engine import FunASREngine
from ray_asr.engine.loading import load_auto_model
from ray_asr.engine.padding import silence_padding
from ray_asr.engine.precision import bring_to, choose
from ray_asr.engine.protocol import Engine
from ray_asr.engine.recognizers import batch_recognizer
from ray_asr.engine.untrained import build_untrained
from ray_asr.errors import ConfigError, RayAsrError
from ray_asr.schema import SAMPLE_RATE_HZ, Waveform

_BATCHES_IN_A_WINDOW = 4  # as many as the job sorts over
_WINDOWS_AHEAD = 2
_MEAN_S = (SHORTEST_S + LONGEST_S) / 2
_GENERATED_FILES = 100  # of all, for the slowest of the three
_CASES = ("engine", "bare", "generate")


def padded_groups(durations_s: Sequence[float], batch_size_s: float) -> list[list[int]]:
    """Indices of like durations together, up to `batch_size_s` of count x longest."""
    groups: list[list[int]] = []
    for index in sorted(range(len(durations_s)), key=lambda i: -durations_s[i]):
        longest_s = durations_s[groups[-1][0]] if groups else 0.0
        if groups and longest_s * (len(groups[-1]) + 1) <= batch_size_s:
            groups[-1].append(index)
        else:
            groups.append([index])
    return groups


class BareModel:
    """The model's own arithmetic and nothing else: the limit of what an engine can reach."""

    def __init__(self, config: EngineConfig, precision: str) -> None:
        import torch

        self._auto = load_auto_model(
            config.model, "model", device=config.device, ncpu=config.ncpu, hub=config.hub,
            trust=config.trust_model,
        )  # fmt: skip
        self._model = self._auto.model
        self._device = torch.device(config.device)
        silence_padding(self._model)
        batched = batch_recognizer(self._auto) is not None
        if not batched or not hasattr(self._model, "calc_predictor"):
            raise ConfigError(
                f"the bare model is measured for the Paraformer family; {config.model} is a "
                f"{type(self._model).__name__}: leave this case out."
            )
        self.precision, _ = choose(precision, config.device, batched)
        bring_to(self._model, self.precision)
        torch.set_num_threads(config.ncpu)

    def batches(self, waveforms: Sequence[Waveform], batch_size_s: float) -> list[Any]:
        """Padded features on the device, ready to be computed, and their lengths."""
        import torch
        from funasr.utils.load_utils import extract_fbank

        frontend = self._auto.kwargs["frontend"]
        dtype = next(self._model.encoder.parameters()).dtype
        groups = padded_groups([len(w) / SAMPLE_RATE_HZ for w in waveforms], batch_size_s)
        ready: list[Any] = []
        for group in groups:
            samples = [torch.from_numpy(waveforms[i]) for i in group]
            features, lengths = extract_fbank(samples, data_type="sound", frontend=frontend)
            ready.append((features.to(self._device, dtype), lengths.to(self._device)))
        return ready

    def compute(self, batches: Sequence[Any]) -> int:
        """Encoder, predictor, decoder, argmax of each batch; the number of tokens."""
        import torch

        model, tokens = self._model, []
        with torch.inference_mode():
            for features, lengths in batches:
                hidden, lengths = model.encode(features, lengths)
                embeds, counts, *_ = model.calc_predictor(hidden.float(), lengths)
                counts = counts.round().long()
                scores, *_ = model.decoder(hidden, lengths, embeds.to(hidden.dtype), counts)
                tokens.append((scores.argmax(-1), counts))
            # One wait at the end: the device has done all that was asked of it.
            return int(sum(counts.sum() for _, counts in tokens))


def _decoded(encoded: Sequence[bytes], rows: int, decoders: int) -> Iterator[list[Waveform]]:
    """Windows of `rows` waveforms, in order; two windows are decoded ahead."""
    with ThreadPoolExecutor(decoders) as pool:
        windows: deque[list[Future[Waveform]]] = deque()
        for start in range(0, len(encoded), rows):
            window = encoded[start : start + rows]
            windows.append([pool.submit(decode_plain, data) for data in window])
            if len(windows) > _WINDOWS_AHEAD:
                yield [task.result() for task in windows.popleft()]
        while windows:
            yield [task.result() for task in windows.popleft()]


def recognize_encoded(
    engine: Engine, encoded: Sequence[bytes], batch_size_s: float, decoders: int
) -> list[str]:
    """Encoded audio to texts, in order, as the job does it inside an actor."""
    rows = max(1, int(_BATCHES_IN_A_WINDOW * batch_size_s / _MEAN_S))
    where: list[list[int]] = []

    def batches() -> Iterator[list[Waveform]]:
        first = 0
        for waveforms in _decoded(encoded, rows, decoders):
            durations_s = [len(waveform) / SAMPLE_RATE_HZ for waveform in waveforms]
            for group in padded_groups(durations_s, batch_size_s):
                where.append([first + index for index in group])
                yield [waveforms[index] for index in group]
            first += len(waveforms)

    texts = [""] * len(encoded)
    for number, result in enumerate(engine.recognize_all(batches())):
        for index, recognition in zip(where[number], result(), strict=True):
            texts[index] = recognition.text
    return texts


def _seconds(task: Callable[[], Any]) -> float:
    started = time.perf_counter()
    task()
    return time.perf_counter() - started


def measure(
    config: EngineConfig,
    *,
    precision: str,
    audio_s: float,
    batch_size_s: float,
    repeat: int,
    decoders: int,
    container: str,
    cases: Sequence[str],
) -> dict[str, Any]:
    """Times real time of each case: medians, and all repetitions."""
    import torch

    encoded, total_s = utterances(decode_plain, audio_s, container)
    runs: dict[str, tuple[Callable[[], Any], float]] = {}
    facts: dict[str, Any] = {
        "model": config.model,
        "device": config.device,
        "hardware": torch.cuda.get_device_name() if config.device != "cpu" else "cpu",
        "ncpu": config.ncpu,
        "audio_s": total_s,
        "container": container,
        "batch_size_s": batch_size_s,
        "torch": torch.__version__,
    }
    if "engine" in cases:
        engine = FunASREngine(replace(config, precision=precision))
        engine.load()
        runs["engine"] = (
            lambda: recognize_encoded(engine, encoded, batch_size_s, decoders),
            total_s,
        )
    if "bare" in cases:
        bare = BareModel(config, precision)
        facts["precision"] = bare.precision
        batches = bare.batches([decode_plain(data) for data in encoded], batch_size_s)
        runs["bare"] = (lambda: bare.compute(batches), total_s)
    if "generate" in cases:
        auto = load_auto_model(
            config.model, "model", device=config.device, ncpu=config.ncpu, trust=config.trust_model
        )
        few = encoded[:_GENERATED_FILES]
        few_s = sum(len(decode_plain(data)) for data in few) / SAMPLE_RATE_HZ
        runs["generate"] = (lambda: [auto.generate(decode_plain(data)) for data in few], few_s)
    for run, _ in runs.values():
        run()  # kernels are chosen and memory is allocated in the first
    speeds: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(repeat):
        for name, (run, seconds) in runs.items():
            speeds[name].append(seconds / _seconds(run))
    return {
        **facts,
        "cases": {
            name: {
                "x_real_time": statistics.median(each),
                "least": min(each),
                "most": max(each),
                "repetitions": each,
            }
            for name, each in speeds.items()
        },
    }


def run_limit(spec: dict[str, Any]) -> dict[str, Any]:
    """The bare model as one case of `ray-asr bench` (see `ray_asr.job.bench_process`).

    With `processes` above one each computes its share of the batches in its share of the cores: the
    limit of a machine whose threads wait for each other more than processes do.
    """
    processes = spec["options"].get("processes", 1)
    context = multiprocessing.get_context("spawn")
    ready, results = context.Barrier(processes), context.SimpleQueue()
    others = [
        context.Process(target=_compute_share, args=(spec, number, processes, ready, results))
        for number in range(1, processes)
    ]
    for other in others:
        other.start()
    _compute_share(spec, 0, processes, ready, results)
    shares = [results.get() for _ in range(processes)]
    for other in others:
        other.join()
    return {
        "started": min(share["started"] for share in shares),
        "ended": max(share["ended"] for share in shares),
        "texts": None,
        "tokens": sum(share["tokens"] for share in shares),
        "precision": shares[0]["precision"],
    }


def _compute_share(
    spec: dict[str, Any], number: int, processes: int, ready: Any, results: Any
) -> None:
    options = spec["options"]
    threads = max(1, options["ncpu"] // processes)
    config = EngineConfig(model=spec["model"], device=spec["device"], ncpu=threads)
    bare = BareModel(config, options["precision"])
    files = sorted(Path(spec["files"]).iterdir())
    batches = bare.batches(
        [decode_plain(file.read_bytes()) for file in files], options["batch_size_s"]
    )[number::processes]
    bare.compute([*batches[:1], *batches[-1:]])  # the largest memory, the smallest kernels
    ready.wait()
    started = time.time()
    tokens = bare.compute(batches)
    results.put(
        {
            "started": started,
            "ended": time.time(),
            "tokens": tokens,
            "precision": bare.precision,
        }
    )


def _arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m ray_asr.engine.bench", description=__doc__)
    parser.add_argument("--spec", type=Path, help=argparse.SUPPRESS)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--model", default="", help='a folder, or "demo"; untrained unless given')
    parser.add_argument("--precision", default="auto", help="auto, fp32, bf16, fp16 or int8")
    parser.add_argument("--ncpu", type=int, default=2, help="compute threads")
    parser.add_argument("--decoders", type=int, default=2, help="threads that decode audio")
    parser.add_argument("--minutes", type=float, default=5.0, help="of audio")
    parser.add_argument("--batch-size-s", type=float, default=60.0, help="padded seconds a batch")
    parser.add_argument("--container", choices=["FLAC", "WAV"], default="FLAC")
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--cases", default=",".join(_CASES), help="of these, with commas")
    parser.add_argument("--json", type=Path, help="write the result here too")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> int:
    """Measure what the command line asks for; the JSON goes to standard output."""
    given = _arguments(arguments)
    if given.spec is not None:
        spec = json.loads(given.spec.read_text(encoding="utf-8"))
        Path(spec["result"]).write_text(json.dumps(run_limit(spec)), encoding="utf-8")
        return 0
    cases = given.cases.split(",")
    try:
        if unknown := sorted(set(cases) - set(_CASES)):
            raise ConfigError(f"there is no case {unknown[0]}: there are {', '.join(_CASES)}.")
        if given.minutes <= 0 or given.repeat < 1:
            raise ConfigError("--minutes must be above 0 and --repeat at least 1.")
        with tempfile.TemporaryDirectory(prefix="untrained_") as folder:
            model = given.model or str(build_untrained(Path(folder)))
            result = measure(
                EngineConfig(
                    model=model, vad_model="", punc_model="", device=given.device, ncpu=given.ncpu
                ),
                precision=given.precision,
                audio_s=60 * given.minutes,
                batch_size_s=given.batch_size_s,
                repeat=given.repeat,
                decoders=given.decoders,
                container=given.container,
                cases=cases,
            )
    except RayAsrError as error:
        sys.stderr.write(f"ray_asr.engine.bench: {error}\n")
        return int(error.exit_code)
    result["model"] = given.model or "untrained Paraformer-large"
    text = json.dumps(result, indent=2)
    sys.stdout.write(f"{text}\n")
    if given.json is not None:
        given.json.write_text(f"{text}\n", encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

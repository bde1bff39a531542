"""The article's way: processes of plain multiprocessing that share one queue of files.

Owns the rows "article-*" of the table, and "automodel" (one process). The files wait encoded in
memory; each process decodes its own and calls `AutoModel.generate`, one file a call, or a list
where `batch_size` is given.
"""

from __future__ import annotations

import multiprocessing as mp
import queue
import time
from pathlib import Path
from typing import Any

from case import decode, finish, generate, load, read_spec


def work(spec: dict[str, Any], files: Any, results: Any, ready: Any, loading: Any) -> None:
    with loading:  # one after another: while it loads, a model needs three times its memory
        model = load(spec)
    batch_size = spec["options"].get("batch_size", 1)
    ready.put(None)
    is_open = True
    while is_open:
        names, waveforms = [], []
        while len(names) < batch_size:
            item = files.get()
            if item is None:
                is_open = False
                break
            names.append(item[0])
            waveforms.append(decode(item[1]))
        if names:
            texts = generate(model, waveforms, batch_size)
            results.put(list(zip(names, texts, strict=True)))


def receive(results: Any, processes: list[Any]) -> Any:
    while True:
        try:
            return results.get(timeout=5)
        except queue.Empty:
            if ended := [process.exitcode for process in processes if process.exitcode]:
                why = "killed, as when memory is short" if ended[0] == -9 else "its words are above"
                raise SystemExit(f"a process ended with {ended[0]} ({why})") from None


def main() -> None:
    spec = read_spec()
    context = mp.get_context("spawn")
    files, results, ready = context.Queue(), context.Queue(), context.Queue()
    loading = context.Lock()
    count = spec["options"]["processes"]
    processes = [
        context.Process(target=work, args=(spec, files, results, ready, loading), daemon=True)
        for _ in range(count)
    ]
    for process in processes:
        process.start()
    audio = [(file.stem, file.read_bytes()) for file in sorted(Path(spec["files"]).iterdir())]
    for _ in processes:
        receive(ready, processes)
    started = time.time()
    for item in audio:
        files.put(item)
    for _ in processes:
        files.put(None)
    texts: dict[str, str] = {}
    while len(texts) < len(audio):
        texts.update(receive(results, processes))
    ended = time.time()
    finish(spec, started, ended, texts)
    for process in processes:
        process.join()


if __name__ == "__main__":
    main()

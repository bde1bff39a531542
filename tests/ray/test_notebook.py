"""The notebook runs from its first cell to its last, in a real kernel, on a Ray of its own."""

from __future__ import annotations

import os
import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import nbformat
import pytest
import traitlets.config
from nbclient import NotebookClient

NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "quickstart.ipynb"
MOST_BYTES = 300_000
# Where somebody's files lie, which is nobody's business.
PLACES = re.compile(r"/(?:tmp|home|root|work|Users|var|opt)/\w")
# How log lines and warnings of Python, Ray and tqdm look.
OTHERS = re.compile(r"INFO|WARNING|ERROR|Warning:|Traceback|\.(?:py|cc):\d+|ray::|\x1b")

pytestmark = [pytest.mark.timeout(900), pytest.mark.long]


def texts_of(cell: Any, kind: str = "text/plain") -> str:
    """What a cell shows, of one kind."""
    outputs = cell.get("outputs", [])
    shown = [output.data.get(kind, "") for output in outputs if "data" in output]
    return "\n".join("".join(text) for text in shown)


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="nb_") as made:  # a short path, as Ray's sockets want
        yield Path(made)


@pytest.fixture(scope="module")
def cells(folder: Path) -> list[Any]:
    """The cells of the notebook after it was run, in an empty folder."""
    book = nbformat.read(NOTEBOOK, as_version=4)
    places = {"RAY_TMPDIR": str(folder), "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    environment = {**os.environ, **places}
    environment.pop("RAY_ADDRESS", None)
    (folder / "here").mkdir()
    patient = traitlets.config.Config()
    patient.KernelManager.shutdown_wait_time = 60  # Ray ends with the kernel
    client = NotebookClient(
        book,
        timeout=240,
        kernel_name="python3",
        config=patient,
        resources={"metadata": {"path": str(folder / "here")}},
    )
    client.execute(env=environment)
    return book.cells


def cell_with(cells: list[Any], source: str) -> Any:
    (found,) = [cell for cell in cells if source in cell.source and cell.cell_type == "code"]
    return found


def test_no_cell_fails_or_says_what_only_a_library_wants_to_say(cells: list[Any]) -> None:
    for cell in cells:
        for output in cell.get("outputs", []):
            assert output.output_type in ("execute_result", "display_data", "stream")
            if output.output_type != "stream":
                continue
            if output.name == "stdout":
                assert "print(" in cell.source, output.text
            else:  # a warning of ours, such as that memory is short, is a plain sentence
                assert not OTHERS.search(output.text), output.text


@pytest.mark.parametrize(
    ("source", "words"),
    [
        ("ray_asr.pack(", ["rows", "121", "shards"]),
        ("ray_asr.plan(", ["recognize", "batch_size_s", "speed"]),
        ("ray_asr.verify(", ["✓ proven", "121 rows"]),
        ("ray_asr.score(", ["WER", "announcements", "prompts"]),
        ("ray_asr.tune(", ["x real time", "best", "control.baseline=quickstart-output"]),
        ("ray_asr.export(", ["exported", "1 rows"]),
    ],
)
def test_results_show_themselves(cells: list[Any], source: str, words: list[str]) -> None:
    cell = cell_with(cells, source)
    html = texts_of(cell, "text/html")
    assert "<table>" in html
    for word in words:
        assert word in html
    assert "<" not in texts_of(cell).replace("<=", "")


def test_a_job_shows_how_far_it_is_in_one_display_and_then_its_summary(cells: list[Any]) -> None:
    progress, summary = cell_with(cells, "run = ray_asr.transcribe").outputs
    assert 'value="1.0000"' in progress.data["text/html"]
    assert progress.data["text/plain"].startswith("121/121 rows (100 %)")
    assert "real time" in summary.data["text/html"]


def test_a_lazy_dataset_has_each_row_once(cells: list[Any]) -> None:
    html = texts_of(cell_with(cells, "to_pandas()"), "text/html")
    assert html.count("<tr>") == 8


def test_something_is_heard_and_something_is_seen(cells: list[Any]) -> None:
    assert "<audio" in texts_of(cell_with(cells, "Audio("), "text/html")
    assert texts_of(cell_with(cells, "plt.subplots"), "image/png")


def test_it_leaves_its_files_and_nothing_of_ray(cells: list[Any], folder: Path) -> None:
    left = folder / "here" / "quickstart-output"
    for name in ("shards", "transcripts", "subtitles", "baseline.json", "report.html"):
        assert (left / name).exists()
    assert list(folder.glob("ra_*")) == []


def test_the_notebook_that_is_kept_is_small_and_tells_nothing_of_a_machine() -> None:
    text = NOTEBOOK.read_text(encoding="utf-8")
    assert len(text) < MOST_BYTES
    assert not PLACES.search(text)
    book = nbformat.read(NOTEBOOK, as_version=4)
    nbformat.validate(book)
    shown = [cell for cell in book.cells if texts_of(cell, "text/html")]
    assert len(shown) >= 10

"""A private Ray for the tests of this folder."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator

import pytest


@pytest.fixture
def reports() -> None:
    """Asked for where jobs are to leave their pages."""


@pytest.fixture(autouse=True)
def no_reports(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """A page takes a second, which most jobs here have no use for."""
    if "reports" not in request.fixturenames:
        from ray_asr.job import pipeline

        monkeypatch.setattr(pipeline, "report_of_run", lambda *_: None)


@pytest.fixture(scope="package")
def ray_local() -> Iterator[None]:
    """One Ray for all of these tests, ended with them: the others must find none.

    Four CPUs, whatever the machine has: for three pools and a reader.
    """
    import ray

    from ray_asr.job.pipeline import connect

    # A short path, as Ray's sockets want it; its processes may still write when told to go.
    with tempfile.TemporaryDirectory(prefix="ra_", ignore_cleanup_errors=True) as folder:
        connect("local", num_cpus=4, _temp_dir=folder, object_store_memory=300 * 2**20)
        yield
        ray.shutdown()

"""What a weights file asks for is read without running it, and torch agrees on what is safe."""

from __future__ import annotations

import argparse
import collections
import io
import os
import pickle
import tarfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from ray_asr.engine.checkpoints import foreign_names
from ray_asr.engine.guard import _weights_only

DTYPES = [
    torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.float8_e4m3fn,
    torch.float8_e5m2, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.uint16,
    torch.uint32, torch.uint64, torch.bool, torch.complex64, torch.complex128,
]  # fmt: skip
YOUNG = {f"torch.{name}" for name in ("float8_e4m3fn", "float8_e5m2", "uint16", "uint32", "uint64")}


class Runs:
    """Calls a function when it is unpickled."""

    def __init__(self, function: Callable[..., Any], *arguments: Any) -> None:
        self._call = function, arguments

    def __reduce__(self) -> tuple[Any, ...]:
        return self._call


def weights() -> dict[str, Any]:
    layer = torch.nn.Linear(2, 3)
    return {
        **{str(dtype): torch.zeros(2).to(dtype) for dtype in DTYPES},
        "parameter": torch.nn.Parameter(torch.ones(2)),
        "transposed": torch.ones(2, 3).T,
        "sparse": torch.eye(2).to_sparse(),
        "quantized": torch.quantize_per_tensor(torch.ones(2), 0.1, 0, torch.qint8),
        "channels": torch.quantize_per_channel(
            torch.ones(2, 2), torch.ones(2).double(), torch.zeros(2).long(), 0, torch.qint8
        ),
        "state_dict": layer.state_dict(),
        "ordered": collections.OrderedDict(a=1),
        "plain": [1, 2**70, 1.5, "text", b"bytes", None, True, (1,), {2}],
        "size": torch.Size([2]),
        "dtype": torch.float16,
        "device": torch.device("cpu"),
    }


def notes() -> dict[str, Any]:
    """What a training leaves beside weights."""
    return {
        "args": argparse.Namespace(lr=0.1, layers=[1, 2]),
        "best": np.float64(0.5),
        "step": np.int64(7),
        "curve": np.arange(3.0),
    }


@pytest.mark.parametrize("zipped", [True, False])
@pytest.mark.parametrize("made", [weights, notes])
def test_weights_and_what_a_training_notes_are_safe_to_us_and_to_torch(
    tmp_path: Path, zipped: bool, made: Callable[[], dict[str, Any]]
) -> None:
    file = tmp_path / "model.pt"
    value = made()
    if not zipped:  # the older form does not know them
        value = {name: one for name, one in value.items() if name not in YOUNG}
    torch.save(value, file, _use_new_zipfile_serialization=zipped)
    assert foreign_names(file) == []
    with _weights_only():
        assert torch.load(file).keys() == value.keys()


def test_numbers_by_their_older_names_are_safe_too(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save({"best": np.float64(0.5)}, file, _use_new_zipfile_serialization=False)
    text = file.read_bytes().replace(b"cnumpy._core.multiarray", b"cnumpy.core.multiarray")
    file.write_bytes(text)
    assert b"numpy.core" in text
    assert foreign_names(file) == []
    with _weights_only():
        assert torch.load(file).keys() == {"best"}


EVIL = [(os.system, "true", "system"), (eval, "1", "eval"), (__import__, "os", "__import__")]


@pytest.mark.parametrize(
    "written", ["zip", "legacy", "new protocol", "pickle 0", "pickle 2", "pickle"]
)
@pytest.mark.parametrize(("function", "argument", "name"), EVIL)
def test_what_is_called_is_named(
    tmp_path: Path, written: str, function: Callable[..., Any], argument: str, name: str
) -> None:
    file = tmp_path / "model.pt"
    value = {"state_dict": torch.ones(1), "more": Runs(function, argument)}
    if written == "zip":
        torch.save(value, file)
    elif written == "legacy":
        torch.save(value, file, _use_new_zipfile_serialization=False)
    elif written == "new protocol":
        torch.save(value, file, pickle_protocol=4)
    else:
        protocol = int(written.partition(" ")[2] or 4)
        file.write_bytes(pickle.dumps({"more": Runs(function, argument)}, protocol=protocol))
    names = foreign_names(file)
    assert any(found.endswith(f".{name}") for found in names), names
    assert not any("torch" in found for found in names)
    with _weights_only(), pytest.raises((pickle.UnpicklingError, RuntimeError)):
        torch.load(file)


def test_what_would_run_before_a_cut_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(pickle.dumps([Runs(os.system, "true"), "x" * 100], protocol=2)[:-50])
    assert foreign_names(file) == ["posix.system"]


def test_a_program_of_torchscript_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.jit.script(torch.nn.Linear(2, 2)).save(str(file))
    assert "a TorchScript program" in foreign_names(file)


def test_the_oldest_form_is_named(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    with tarfile.open(file, "w") as archive:
        archive.addfile(tarfile.TarInfo("pickle"), io.BytesIO())
    assert foreign_names(file) == ["the .tar form of an old torch"]


def test_a_large_member_of_a_small_file_is_not_unpacked(tmp_path: Path) -> None:
    import zipfile

    file = tmp_path / "model.pt"
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("model/data.pkl", b"(" * (65 * 2**20))
    assert file.stat().st_size < 2**20
    assert foreign_names(file) == [f"a pickle of {65 * 2**20} bytes"]


@pytest.mark.parametrize(
    "data", [b"", b"PK\x03\x04", bytes(5000), b"weights", b"longer weights", b"\x80\x02"]
)
def test_what_is_no_weights_file_asks_for_nothing(tmp_path: Path, data: bytes) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(data)
    assert foreign_names(file) == []


def test_weights_alone_are_read_whatever_the_caller_or_the_environment_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file, ran = tmp_path / "model.pt", tmp_path / "ran"
    torch.save({"more": Runs(os.mkdir, str(ran))}, file)
    monkeypatch.setenv("TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", "1")
    with _weights_only(), pytest.raises(pickle.UnpicklingError):
        torch.load(file, weights_only=False)
    assert not ran.exists()
    assert os.environ["TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD"] == "1"
    torch.load(file)  # and torch's own default would not have held
    assert ran.exists()

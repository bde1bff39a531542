"""Log-mel energies of equally spaced frames of one run of samples, as Kaldi defines them.

Owns the arithmetic from samples to log-mel energies, on any device. Must not know FunASR's
classes, utterances, Ray or Parquet.

Source: S. Young et al., The HTK Book, 5.2-5.6 (preemphasis, windows, mel filters), with Kaldi's
choices: the mean of each frame is removed, preemphasis stays inside the frame, filters are
triangles on the mel scale, and energies are floored at the float32 epsilon.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

PREEMPHASIS = 0.97
LOWEST_HZ = 20.0
# Sixteen filters next to each other see a small part of the spectrum, and fill a vector register.
_BAND_FILTERS = 16

_ENERGY_FLOOR = float(torch.finfo(torch.float32).eps)
LOG_FLOOR = math.log(_ENERGY_FLOOR)  # the log-mel energy of digital silence


def fft_length(window: int) -> int:
    """The power of two that a frame of `window` samples is padded to."""
    return 1 << (window - 1).bit_length()


def window_function(name: str, window: int) -> npt.NDArray[np.float64]:
    """The `(window,)` weights of a frame's samples.

    Raises:
        KeyError: no window of this name; see `WINDOWS`.
    """
    turn = 2.0 * np.pi * np.arange(window) / (window - 1)
    hanning = 0.5 - 0.5 * np.cos(turn)
    shapes = {
        "hamming": 0.54 - 0.46 * np.cos(turn),
        "hanning": hanning,
        "povey": hanning**0.85,
        "blackman": 0.42 - 0.5 * np.cos(turn) + 0.08 * np.cos(2.0 * turn),
        "rectangular": np.ones(window),
    }
    return shapes[name]


WINDOWS = frozenset({"hamming", "hanning", "povey", "blackman", "rectangular"})


def mel_filters(n_mels: int, n_fft: int, sample_rate_hz: int) -> npt.NDArray[np.float64]:
    """Triangular filters from 20 Hz to half the sample rate, evenly spaced in mel.

    Returns:
        Weights `(n_fft // 2, n_mels)` of the power spectrum without its last bin, which no
        filter reaches.
    """

    def mel(hz: npt.NDArray[np.float64] | float) -> npt.NDArray[np.float64]:
        return 1127.0 * np.log1p(np.asarray(hz) / 700.0)

    edges = np.linspace(mel(LOWEST_HZ), mel(sample_rate_hz / 2), n_mels + 2)
    bins = mel(np.arange(n_fft // 2) * sample_rate_hz / n_fft)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return np.maximum(0.0, np.minimum(rising, falling))


class LogMel:
    """Samples to log-mel energies, for one length of frame.

    In float32, and up to the Fourier transform in Kaldi's order of steps, each rounded by itself:
    what rounding leaves in a band without sound is then the same here as there, and a constant
    becomes silence. On a CPU the passes around the transform are compiled (`mel_kernels`).

    Args:
        window: samples of a frame.
        shift: samples from one frame's start to the next one's.
        window_name: one of `WINDOWS`.
        n_mels: filters.
        sample_rate_hz: of the samples.
        scale: factor on the samples; a power of two, or equality with Kaldi is lost.
        device: where samples are and energies will be.
    """

    def __init__(
        self,
        window: int,
        shift: int,
        window_name: str,
        n_mels: int,
        sample_rate_hz: int,
        scale: float,
        device: torch.device,
    ) -> None:
        self._window, self._shift, self._n_mels = window, shift, n_mels
        self._n_fft = fft_length(window)
        weights = window_function(window_name, window) * scale
        self._weights = _on(device, weights)
        # As a tensor: by a number, CUDA would multiply with a rounded 1 / window instead.
        self._divisor = torch.tensor([float(window)], device=device)
        filters = mel_filters(n_mels, self._n_fft, sample_rate_hz)
        width = n_mels if device.type == "cuda" else _BAND_FILTERS
        self._bands = [
            _band(filters, range(first, min(first + width, n_mels)), device)
            for first in range(0, n_mels, width)
        ]
        self._kernels: Any = None
        if device.type == "cpu":
            # Loaded where it is used: it takes half a second, and is ready before the first batch.
            from ray_asr.engine import mel_kernels

            self._kernels = mel_kernels
            self(torch.zeros(window), 1)

    def __call__(self, samples: torch.Tensor, frames: int) -> torch.Tensor:
        """The energies of frames that start at samples 0, `shift`, 2 `shift`, ...

        Args:
            samples: `(S,)` float32, contiguous, S at least `(frames - 1) * shift + window`.
            frames: how many, at least 1.

        Returns:
            `(frames, n_mels)` float32, natural logarithms.
        """
        power = (self._power_compiled if self._kernels else self._power)(samples, frames)
        energies = samples.new_empty(frames, self._n_mels)
        for bins, mels, filters in self._bands:
            torch.mm(power[:, bins], filters, out=energies[:, mels])
        return energies.clamp_min_(_ENERGY_FLOOR).log_()

    def _power(self, samples: torch.Tensor, frames: int) -> torch.Tensor:
        """Power spectra `(frames, n_fft // 2 + 1)` by torch's own operations, on any device."""
        window = self._window
        overlapping = samples.as_strided((frames, window), (self._shift, 1))
        centred = overlapping - overlapping.sum(1, keepdim=True).div_(self._divisor)
        lowered = centred * PREEMPHASIS
        padded = samples.new_empty(frames, self._n_fft)
        padded[:, window:] = 0.0
        # The first sample stands in for the one before it.
        torch.sub(centred[:, 1:], lowered[:, :-1], out=padded[:, 1:window])
        torch.sub(centred[:, :1], lowered[:, :1], out=padded[:, :1])
        padded[:, :window] *= self._weights
        return torch.view_as_real(torch.fft.rfft(padded)).square_().sum(-1)

    def _power_compiled(self, samples: torch.Tensor, frames: int) -> torch.Tensor:
        """The same, `(frames, n_fft // 2)`, in one pass before the transform and one after."""
        padded = samples.new_empty(frames, self._n_fft)
        self._kernels.windowed_frames(
            samples.numpy(), self._shift, self._weights.numpy(), padded.numpy()
        )
        spectra = torch.view_as_real(torch.fft.rfft(padded)).flatten(1)
        power = samples.new_empty(frames, self._n_fft // 2)
        self._kernels.power_spectra(spectra.numpy(), power.numpy())
        return power


def _on(device: torch.device, values: npt.NDArray[np.float64]) -> torch.Tensor:
    return torch.from_numpy(values.astype(np.float32)).to(device)


def _band(
    filters: npt.NDArray[np.float64], mels: range, device: torch.device
) -> tuple[slice, slice, torch.Tensor]:
    """Neighbouring filters: bins, columns of the energies, the weights."""
    columns = slice(mels.start, mels.stop)
    reached = np.flatnonzero(filters[:, columns].any(axis=1))
    bins = slice(int(reached[0]), int(reached[-1]) + 1)
    return bins, columns, _on(device, filters[bins, columns])

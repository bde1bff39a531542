"""Passes over frames before and after the Fourier transform, compiled for a CPU.

Owns the loops of `mel.LogMel` that torch would make many passes through memory of. Must not know
models, torch or threads: arrays come in, and arrays that were made for them are filled.

The steps before the transform are rounded one by one, as Kaldi rounds them: no product is fused
with a sum there. Each kernel lets go of Python's lock.
"""

from __future__ import annotations

import numpy as np

from ray_asr.engine.compiled import compiled

_PREEMPHASIS = np.float32(0.97)


@compiled(fastmath={"reassoc"})
def _mean(samples):
    total = np.float32(0)
    for j in range(samples.shape[0]):
        total += samples[j]
    return total / np.float32(samples.shape[0])


@compiled()
def windowed_frames(samples, shift, weights, frames):
    """Frames without their mean, emphasized and weighted.

    Args:
        samples: `(S,)` float32.
        shift: samples from one frame's start to the next one's.
        weights: `(window,)` float32.
        frames: `(F, n_fft)` float32, filled; zeros behind the window.
    """
    window = weights.shape[0]
    for i in range(frames.shape[0]):
        frame = samples[i * shift : i * shift + window]
        out = frames[i]
        mean = _mean(frame)
        # The first sample stands in for the one before it.
        first = frame[0] - mean
        out[0] = (first - _PREEMPHASIS * first) * weights[0]
        for j in range(1, window):
            before = _PREEMPHASIS * (frame[j - 1] - mean)
            out[j] = ((frame[j] - mean) - before) * weights[j]
        for j in range(window, out.shape[0]):
            out[j] = np.float32(0)


@compiled(fastmath={"contract"})
def power_spectra(spectra, power):
    """Squared magnitudes.

    Args:
        spectra: `(F, 2 * B)` float32 or longer, real and imaginary parts by turns.
        power: `(F, B)` float32, filled.
    """
    for i in range(power.shape[0]):
        spectrum, out = spectra[i], power[i]
        for b in range(out.shape[0]):
            real, imaginary = spectrum[2 * b], spectrum[2 * b + 1]
            out[b] = real * real + imaginary * imaginary

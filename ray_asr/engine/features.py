"""Features of many waveforms at once: FunASR's `WavFrontend`, computed in blocks of frames.

Owns how utterances become blocks of frames and blocks become a padded batch: framing at the
edges, stacking of frames (LFR), mean and variance normalization (CMVN), staging on a device. Must
not know Ray or Parquet, nor what a model does with features.

All lengths are computed on the host from lengths: nothing waits for the device.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from ray_asr.engine.mel import WINDOWS, LogMel, fft_length
from ray_asr.schema import SAMPLE_RATE_HZ, Waveform

# What is on its way through a block fits a core's cache, or is small beside a GPU's memory.
_CPU_BLOCK_FRAMES = 512
_GPU_BLOCK_FRAMES = 16_384
# cuFFT plans each number of frames anew; so few numbers occur.
_GPU_FRAMES_STEP = 1024
_FRONTENDS = "funasr.frontends.wav_frontend"


@dataclass(frozen=True, slots=True)
class _Stacking:
    """Which frames make an output frame (LFR): `m` neighbours, every `n` frames."""

    m: int
    n: int

    @property
    def left(self) -> int:
        """Neighbours before the frame that an output frame is centred on."""
        return (self.m - 1) // 2

    def rows(self, frames: int) -> int:
        return -(-frames // self.n)


@dataclass(frozen=True, slots=True)
class _Piece:
    """Output frames `[first_row, end_row)` of one utterance, and the frames that they need."""

    utterance: int
    window: int
    first_row: int
    end_row: int
    first_frame: int
    end_frame: int
    last_frame: int  # of the utterance


class FeatureExtractor:
    """Log-mel features of a padded batch, as FunASR's `WavFrontend` computes them one by one.

    Equal to FunASR's own without dither: within 1e-3 in log-mel where a band is within 65 dB of
    the loudest one of its frame. Far below that FunASR's float32 tells rounding, not sound.

    A waveform that is shorter than a frame (25 ms) gives what FunASR gives where that works:
    `WavFrontend` shortens the frame to the waveform, which goes well above 16 ms (256 samples,
    where the FFT is still as long as a whole frame's); whatever is shorter, and anything shorter
    than a frame for `WavFrontendOnline`, gives 0 frames.

    On a CPU one thread computes, whatever torch's number of threads: its operations last
    microseconds, and threads that wait for each other cost more than they save.

    Args:
        frontend: a `WavFrontend` or `WavFrontendOnline` that `supports` allows; read once, here.
        device: "cpu" or "cuda"; where features are computed and returned.
    """

    def __init__(self, frontend: Any, device: str = "cpu") -> None:
        self._device = torch.device(device)
        self._on_gpu = self._device.type == "cuda"
        self._block_frames = _GPU_BLOCK_FRAMES if self._on_gpu else _CPU_BLOCK_FRAMES
        # The online one reads neither `snip_edges` nor `upsacle_samples`, nor shortens frames.
        self._online = type(frontend).__name__ == "WavFrontendOnline"
        self._snip_edges = self._online or bool(frontend.snip_edges)
        self._scale = float(1 << 15) if self._online or frontend.upsacle_samples else 1.0
        self._window_name = str(frontend.window)
        self._window = SAMPLE_RATE_HZ * frontend.frame_length // 1000
        self._shift = SAMPLE_RATE_HZ * frontend.frame_shift // 1000
        self._n_mels = int(frontend.n_mels)
        self._stacking = _Stacking(int(frontend.lfr_m), int(frontend.lfr_n))
        self._cmvn: tuple[torch.Tensor, torch.Tensor] | None = None
        if frontend.cmvn is not None:
            shift, scale = frontend.cmvn[:, : self.dim].to(torch.float64)
            self._cmvn = (
                (shift * scale).to(self._device, torch.float32),
                scale.to(self._device, torch.float32),
            )
        self._log_mels: dict[int, LogMel] = {}
        self._log_mel(self._window)  # its tables are on the device before the first batch

    @staticmethod
    def supports(frontend: Any) -> bool:
        """Whether this class computes what `frontend` computes; if not, FunASR's own must."""
        kind = type(frontend)
        return (
            kind.__module__ == _FRONTENDS
            and kind.__name__ in ("WavFrontend", "WavFrontendOnline")
            and frontend.fs == SAMPLE_RATE_HZ
            and frontend.window in WINDOWS
            and frontend.dither == 0
            and all(isinstance(ms, int) for ms in (frontend.frame_length, frontend.frame_shift))
        )

    @property
    def dim(self) -> int:
        """Numbers in one output frame: mel filters times stacked frames."""
        return self._n_mels * self._stacking.m

    def frames(self, samples: int) -> int:
        """Output frames of a waveform of that many samples."""
        return self._stacking.rows(self.fbank_frames(samples))

    def fbank_frames(self, samples: int) -> int:
        """Frames of `frame_shift` of a waveform of that many samples."""
        window = self._window_of(samples)
        if not window:
            return 0
        if self._snip_edges:
            return 1 + (samples - window) // self._shift
        return (samples + self._shift // 2) // self._shift

    def __call__(self, waveforms: Sequence[Waveform]) -> tuple[torch.Tensor, torch.Tensor]:
        """Features of all `waveforms`.

        Returns:
            Features `(N, T, dim)` float32 on the device, T the longest, with zeros behind each
            utterance's end; lengths `(N,)` int64 on the host, in output frames.
        """
        lengths = [self.frames(len(waveform)) for waveform in waveforms]
        features = torch.zeros(len(lengths), max(lengths, default=0), self.dim, device=self._device)
        with self._threads():
            for block in self._blocks([len(waveform) for waveform in waveforms], self._stacking):
                rows = self._stacked_rows(block, waveforms)
                for piece, of_piece in zip(block, rows, strict=True):
                    place = features[piece.utterance, piece.first_row : piece.end_row]
                    if self._cmvn is None:
                        place.copy_(of_piece)
                    else:
                        torch.addcmul(self._cmvn[0], of_piece, self._cmvn[1], out=place)
        return features, torch.tensor(lengths, dtype=torch.int64)

    def fbank(self, waveforms: Sequence[Waveform]) -> tuple[torch.Tensor, torch.Tensor]:
        """Log-mel energies alone, neither stacked nor normalized.

        Returns:
            Energies `(N, F, n_mels)` float32 on the device, F the longest, with zeros behind each
            utterance's end; lengths `(N,)` int64 on the host, in frames of `frame_shift`.
        """
        lengths = [self.fbank_frames(len(waveform)) for waveform in waveforms]
        energies = torch.zeros(
            len(lengths), max(lengths, default=0), self._n_mels, device=self._device
        )
        self.fbank_into(waveforms, [energies[i, :count] for i, count in enumerate(lengths)])
        return energies, torch.tensor(lengths, dtype=torch.int64)

    def fbank_into(self, waveforms: Sequence[Waveform], places: Sequence[torch.Tensor]) -> None:
        """Log-mel energies of each waveform into its place.

        Args:
            waveforms: `(S,)` each.
            places: `(F, n_mels)` float32 on the device each, F the waveform's `fbank_frames`.
        """
        with self._threads():
            for block in self._blocks([len(waveform) for waveform in waveforms], _Stacking(1, 1)):
                energies, slots = self._energies(block, waveforms)
                for piece, slot in zip(block, slots, strict=True):
                    rows = energies[slot : slot + piece.end_row - piece.first_row]
                    places[piece.utterance][piece.first_row : piece.end_row].copy_(rows)

    def _window_of(self, samples: int) -> int:
        """Samples in a frame of a waveform of that many samples; 0 where no frame can be."""
        if samples >= self._window:
            return self._window
        if self._online or samples < 1 or fft_length(samples) != fft_length(self._window):
            return 0
        return samples

    def _threads(self) -> contextlib.AbstractContextManager[None]:
        return contextlib.nullcontext() if self._on_gpu else _one_thread()

    def _blocks(self, samples: Sequence[int], stacking: _Stacking) -> Iterator[list[_Piece]]:
        """All output frames, in pieces that are computed together."""
        block: list[_Piece] = []
        room = self._block_frames
        for piece in self._pieces(samples, stacking):
            slots = self._slots(piece)
            if block and (slots > room or piece.window != block[0].window):
                yield block
                block, room = [], self._block_frames
            block.append(piece)
            room -= slots
        if block:
            yield block

    def _pieces(self, samples: Sequence[int], stacking: _Stacking) -> Iterator[_Piece]:
        step = max(1, self._block_frames // stacking.n)
        for utterance, count in enumerate(samples):
            frames = self.fbank_frames(count)
            rows = stacking.rows(frames)
            for first_row in range(0, rows, step):
                end_row = min(first_row + step, rows)
                last = (end_row - 1) * stacking.n + stacking.m - 1 - stacking.left
                yield _Piece(
                    utterance,
                    self._window_of(count),
                    first_row,
                    end_row,
                    max(0, first_row * stacking.n - stacking.left),
                    min(frames, last + 1),
                    frames - 1,
                )

    def _slots(self, piece: _Piece) -> int:
        """Frames from the start of a piece to that of the next one in a block."""
        samples = (piece.end_frame - piece.first_frame - 1) * self._shift + piece.window
        return -(-samples // self._shift)

    def _stacked_rows(
        self, block: Sequence[_Piece], waveforms: Sequence[Waveform]
    ) -> tuple[torch.Tensor, ...]:
        """Stacked frames of each piece `(rows, dim)`, on the device."""
        energies, slots = self._energies(block, waveforms)
        index = np.concatenate(
            [
                _stacked(piece, self._stacking) + slot
                for piece, slot in zip(block, slots, strict=True)
            ]
        )
        rows = energies.index_select(0, self._to_device(self._pinned(index)))
        return rows.view(-1, self.dim).split([piece.end_row - piece.first_row for piece in block])

    def _energies(
        self, block: Sequence[_Piece], waveforms: Sequence[Waveform]
    ) -> tuple[torch.Tensor, list[int]]:
        """Log-mel energies `(frames, n_mels)` on the device, and where each piece's begin.

        The pieces' samples lie behind each other, each from a multiple of the frame shift on: so
        the frames of all are equally spaced. Those across two pieces are computed and not used.
        """
        window = block[0].window
        *slots, end = accumulate((self._slots(piece) for piece in block), initial=0)
        frames = slots[-1] + block[-1].end_frame - block[-1].first_frame
        if self._on_gpu:
            frames = -(-frames // _GPU_FRAMES_STEP) * _GPU_FRAMES_STEP
        staged = torch.empty(
            max((frames - 1) * self._shift + window, end * self._shift), pin_memory=self._on_gpu
        )
        for piece, slot in zip(block, slots, strict=True):
            samples = self._samples(piece, waveforms[piece.utterance])
            start = slot * self._shift
            staged.numpy()[start : start + len(samples)] = samples
        return self._log_mel(window)(self._to_device(staged), frames), slots

    def _samples(self, piece: _Piece, waveform: Waveform) -> Waveform:
        """The samples under a piece's frames; a waveform is mirrored where frames reach past it.

        Source: Kaldi's `snip-edges=false`: a frame is centred on the middle of its shift.
        """
        start = piece.first_frame * self._shift
        if not self._snip_edges:
            start += self._shift // 2 - piece.window // 2
        end = start + (piece.end_frame - piece.first_frame - 1) * self._shift + piece.window
        if start >= 0 and end <= len(waveform):
            return waveform[start:end]
        index = np.arange(start, end) % (2 * len(waveform))
        return waveform[np.minimum(index, 2 * len(waveform) - 1 - index)]

    def _log_mel(self, window: int) -> LogMel:
        if window not in self._log_mels:
            self._log_mels[window] = LogMel(
                window,
                self._shift,
                self._window_name,
                self._n_mels,
                SAMPLE_RATE_HZ,
                self._scale,
                self._device,
            )
        return self._log_mels[window]

    def _pinned(self, index: npt.NDArray[np.int64]) -> torch.Tensor:
        tensor = torch.from_numpy(index.reshape(-1))
        return tensor.pin_memory() if self._on_gpu else tensor

    def _to_device(self, tensor: torch.Tensor) -> torch.Tensor:
        return tensor.to(self._device, non_blocking=True)


def _stacked(piece: _Piece, stacking: _Stacking) -> npt.NDArray[np.int64]:
    """Frames of each output frame, `(rows, m)`, counted from the piece's first frame.

    Before the utterance's first frame that frame stands in, and behind its last frame the last.
    """
    centres = np.arange(piece.first_row, piece.end_row, dtype=np.int64) * stacking.n
    frames = centres[:, None] + np.arange(-stacking.left, stacking.m - stacking.left)
    return np.clip(frames, 0, piece.last_frame) - piece.first_frame


@contextlib.contextmanager
def _one_thread() -> Iterator[None]:
    """Hold torch to one thread for a while: the calling thread's own setting, put back after."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)

"""Sound to picture and back against the same by librosa, on the CPU, at Riffusion's sizes and the embedded model's.

::

    python benchmarks/spectrogram_against_librosa.py

Both compute a mel spectrogram of amplitudes and 32 rounds of fast Griffin-Lim with momentum 0.99 from a random phase.
librosa's inverse of the mel bands, a non-negative least squares fit, takes minutes at these sizes and is left out on
both sides: phases are found for the same magnitudes.
"""

from __future__ import annotations

import argparse
from functools import partial

import librosa
import numpy as np
import torch
from side_by_side import compare, machine

from d2m_cli.backbones.registry import choose
from d2m_cli.backbones.spectrogram import SpectrogramConfig, _griffin_lim, _stft, mel_amplitude


def main() -> None:
    """Time both ways for each size."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--repeats", type=int, default=5)
    repeats = parser.parse_args().repeats
    print(machine(), f"torch {torch.__version__}, librosa {librosa.__version__}, {torch.get_num_threads()} threads")
    sizes = {
        "riffusion-model-v1": SpectrogramConfig(),
        "embedded": SpectrogramConfig.load(choose("embedded").folder / "spectrogram.json"),
    }
    for name, config in sizes.items():
        samples = np.random.default_rng(0).normal(0, 0.1, round(config.window_seconds * config.sample_rate))
        heard = samples.astype(np.float32)
        given = torch.from_numpy(heard)[None]
        frames = {"n_fft": config.n_fft, "hop_length": config.hop_length, "win_length": config.win_length}
        bands = {
            "n_mels": config.n_mels, "fmin": config.min_frequency, "fmax": config.max_frequency, "htk": True,
            "norm": None, "power": 1.0,
        }  # fmt: skip
        theirs = partial(librosa.feature.melspectrogram, y=heard, sr=config.sample_rate, **frames, **bands)
        unit = f"for {config.window_seconds:.2f} s"
        compare(f"{name}, sound to picture", partial(mel_amplitude, given, config), theirs, "librosa", repeats, unit)
        magnitude = _stft(given, config).abs()
        back = partial(
            librosa.griffinlim, magnitude[0].numpy(), n_iter=config.griffin_lim_iterations, momentum=0.99,
            random_state=0, **frames,
        )  # fmt: skip
        ours = partial(_griffin_lim, magnitude, config, [0])
        compare(f"{name}, picture to sound", ours, back, "librosa", max(2, repeats // 2), unit)


if __name__ == "__main__":
    main()

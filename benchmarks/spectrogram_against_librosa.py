"""Sound to picture and back against the same by librosa, on the CPU, at Riffusion's sizes and the embedded model's.

::

    python benchmarks/spectrogram_against_librosa.py

Both compute a mel spectrogram of amplitudes of music, and fast Griffin-Lim with momentum 0.99: librosa 32 rounds from
random phases, d2m as many as it makes on its shorter transform, from phases that run on. How far a picture of
the sound is from the one sounded is told beside the time. librosa's inverse of the mel bands, a non-negative least
squares fit, takes minutes at these sizes and is left out on both sides: phases are found for the same magnitudes.
"""

from __future__ import annotations

import argparse
from functools import partial
from pathlib import Path

import librosa
import torch
from side_by_side import compare, machine

from d2m_cli.backbones.griffin_lim import griffin_lim, thinned
from d2m_cli.backbones.registry import choose
from d2m_cli.backbones.spectrogram import SpectrogramConfig, _inverse_filters, mel_amplitude, picture_from_audio

MUSIC = Path(__file__).resolve().parents[1] / "examples" / "music" / "lock_112.ogg"
ROUNDS = 32
"""Of librosa."""


def sounded(magnitude: torch.Tensor, config: SpectrogramConfig) -> torch.Tensor:
    """As d2m does, (1, samples)."""
    fewer, n_fft = thinned(magnitude, config.win_length)
    return (
        griffin_lim(fewer, n_fft, config.win_length, config.hop_length, config.griffin_lim_iterations, [0])
        / config.sample_scale
    )


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
        heard, _ = librosa.load(MUSIC, sr=config.sample_rate, duration=config.window_seconds)
        given = torch.from_numpy(heard)[None]
        frames = {"n_fft": config.n_fft, "hop_length": config.hop_length, "win_length": config.win_length}
        bands = {
            "n_mels": config.n_mels, "fmin": config.min_frequency, "fmax": config.max_frequency, "htk": True,
            "norm": None, "power": 1.0,
        }  # fmt: skip
        theirs = partial(librosa.feature.melspectrogram, y=heard, sr=config.sample_rate, **frames, **bands)
        unit = f"for {config.window_seconds:.2f} s"
        compare(f"{name}, sound to picture", partial(mel_amplitude, given, config), theirs, "librosa", repeats, unit)
        amplitude = mel_amplitude(given, config)
        loudest = float(amplitude.max())
        magnitude = (_inverse_filters(config, given.device) @ amplitude).clamp(min=0.0)
        back = partial(
            librosa.griffinlim, magnitude[0].numpy(), n_iter=ROUNDS, momentum=0.99,
            random_state=0, **frames,
        )  # fmt: skip
        ours = partial(sounded, magnitude, config)
        compare(f"{name}, picture to sound", ours, back, "librosa", max(2, repeats // 2), unit)
        wanted = picture_from_audio(given, config, loudest)
        for whose, sound in (("d2m", ours()), ("librosa", torch.from_numpy(back())[None] / config.sample_scale)):
            again = picture_from_audio(sound, config, loudest)
            print(
                f"{name}, a picture of {whose}'s sound from the one sounded: {float((again - wanted).abs().mean()):.4f}"
            )


if __name__ == "__main__":
    main()

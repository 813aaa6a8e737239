"""Measure the embedded backbone on captions that no training piece had: tempo, phase, lead instrument, level, time.

``python measure.py MODEL --music MUSIC [--prompts 40]``. Beats are tracked by librosa's ``beat_track`` (tempo prior
110 bpm); the lead is named by a small network trained here on rendered music alone. Chance is a metronome of the
prompted tempo at a random phase.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import librosa
import mir_eval
import numpy as np
import torch
from arrange import MOODS
from captions import COUNTS
from make_music import CONFIG
from torch import nn
from train_vae import crop, load_music

from d2m_cli.backbones.base import Identity, Sampling
from d2m_cli.backbones.riffusion import RiffusionBackbone
from d2m_cli.backbones.spectrogram import picture_from_audio

FIVE = ("piano", "guitar", "violin", "trumpet", "synth")


def track(samples: np.ndarray) -> tuple[float, np.ndarray]:
    """Tempo and beat times of one window by librosa's dynamic programming tracker."""
    tempo, beats = librosa.beat.beat_track(
        y=samples, sr=CONFIG.sample_rate, hop_length=240, start_bpm=110, units="time"
    )
    return float(np.atleast_1d(tempo)[0]), beats


def tempo_right(found: float, wanted: float, tolerance: float = 0.08) -> bool:
    """Within 8 % of the tempo, its half or its double."""
    return any(abs(found / (wanted * octave) - 1) <= tolerance for octave in (0.5, 1, 2))


def lead_network() -> nn.Module:
    layers: list[nn.Module] = []
    for inside, outside in ((1, 24), (24, 48), (48, 64), (64, 96)):
        layers += [nn.Conv2d(inside, outside, 3, 2, 1), nn.BatchNorm2d(outside), nn.ReLU()]
    return nn.Sequential(
        *layers, nn.AdaptiveAvgPool2d((8, 1)), nn.Flatten(), nn.Dropout(0.3), nn.Linear(768, len(FIVE))
    )


def train_lead_classifier(music: Path, minutes: float, roundtrip) -> nn.Module:
    """Trained on rendered windows, half of them passed through the autoencoder so that its blur is no novelty."""
    parts, records = load_music(music)
    records = [record for record in records if record["lead"] in FIVE]
    held, rng = records[-150:], np.random.default_rng(0)
    network = lead_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    start = time.time()

    def batch(chosen: list[dict], blur: bool) -> tuple[torch.Tensor, torch.Tensor]:
        pictures = np.stack([crop(parts, record, int(rng.integers(0, 1600)), 512) for record in chosen])
        x = torch.from_numpy(pictures).float() / 255
        return (roundtrip(x) if blur else x)[:, None] - 0.6, torch.tensor(
            [FIVE.index(record["lead"]) for record in chosen]
        )

    while time.time() - start < minutes * 60:
        x, y = batch([records[i] for i in rng.integers(0, len(records) - 150, 24)], bool(rng.random() < 0.5))
        loss = nn.functional.cross_entropy(network(x), y)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    network.eval()
    with torch.no_grad():
        for blur in (False, True):
            x, y = batch(held, blur)
            print(
                f"lead classifier on held-out renders{' through the autoencoder' if blur else ''}: {(network(x).argmax(1) == y).float().mean():.3f}",
                flush=True,
            )
    return network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--music", type=Path)
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--classifier", type=Path, default=Path("lead.pt"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    backbone = RiffusionBackbone(arguments.model, Identity("embedded", "MIT", True))
    negative = backbone.embed([""], {})
    sampling = Sampling(arguments.steps, arguments.guidance)
    rng = np.random.default_rng(77)

    def roundtrip(pictures: torch.Tensor) -> torch.Tensor:
        from d2m_cli.backbones.spectrogram import fold, unfold

        with torch.no_grad():
            mean = backbone.vae.encode(fold(pictures, CONFIG)).latent_dist.mean
            return unfold(backbone.vae.decode(mean).sample, CONFIG)

    network = lead_network()
    if arguments.classifier.is_file():
        network.load_state_dict(torch.load(arguments.classifier, weights_only=True))
        network.eval()
    elif arguments.music:
        network = train_lead_classifier(arguments.music, arguments.minutes, roundtrip)
        torch.save(network.state_dict(), arguments.classifier)
    rows = []
    for index in range(arguments.prompts):
        bpm = int(rng.integers(76, 141))
        first = round(float(rng.random()) * 60 / bpm, 2)
        mood, lead = str(rng.choice(MOODS)), FIVE[index % 5]
        prompt = (
            f"{mood} {lead} music at {bpm} bpm and first beat at {first:.2f} seconds on count {COUNTS[rng.integers(4)]}"
        )
        clock = time.time()
        audio = backbone.generate(backbone.embed([prompt], {}), negative, [index], None, sampling).audio[0, 0].numpy()
        clock = time.time() - clock
        tempo, beats = track(audio)
        grid = np.arange(first, 5.12, 60 / bpm)
        chance = [
            mir_eval.beat.f_measure(grid, np.arange(rng.random() * 60 / bpm, 5.12, 60 / bpm), 0.07) for _ in range(20)
        ]
        with torch.no_grad():
            picture = picture_from_audio(torch.from_numpy(audio)[None], CONFIG)[:, None, :, :512] - 0.6
            named = FIVE[int(network(picture).argmax())]
        rows.append(
            dict(prompt=prompt, tempo=tempo, tempo_right=tempo_right(tempo, bpm), f70=mir_eval.beat.f_measure(grid, beats, 0.07),
                 chance=float(np.mean(chance)), lead_right=named == lead, peak=float(np.abs(audio).max()),
                 rms=float(np.sqrt(np.mean(audio**2))), dc=float(abs(audio.mean())), seconds=clock)
        )  # fmt: skip
    summary = {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0] if key != "prompt"}
    summary |= {
        "max_peak": max(row["peak"] for row in rows),
        "min_rms": min(row["rms"] for row in rows),
        "max_dc": max(row["dc"] for row in rows),
    }
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()

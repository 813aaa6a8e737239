"""Measure the embedded backbone on captions that no training piece had: tempo, phase, lead instrument, level, time.

``python measure.py MODEL --music MUSIC [--prompts 40]``. MODEL is a folder in Stable Diffusion's layout or in MusicGen's;
for the latter, ``--audio`` is the rendered sound of MUSIC, and ``--rebuild`` measures it after the codec, in place of
generated music: what the tokens allow. Beats are tracked by librosa's ``beat_track`` (tempo prior
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
from train_vae import crop, first_beat, load_music

from d2m_cli.backbones.base import Identity, Sampling
from d2m_cli.backbones.musicgen import MusicgenBackbone
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


def train_lead_classifier(music: Path, minutes: float, roundtrip, blurred=None) -> nn.Module:
    """Trained on rendered windows, half of them passed through the autoencoder so that its blur is no novelty.

    ``blurred``, from `blurred_by_codec`, holds windows that were passed through a codec, in place of ``roundtrip``.
    """
    parts, records = load_music(music)
    records = [record for record in records if record["lead"] in FIVE]
    held, rng = records[-150:], np.random.default_rng(0)
    network = lead_network()
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=0.01)
    start = time.time()

    def batch(chosen: list[dict], blur: bool) -> tuple[torch.Tensor, torch.Tensor]:
        if blur and blurred is not None:
            first = len(blurred[0]) - len(held)
            index = slice(first, None) if chosen is held else torch.from_numpy(rng.integers(0, first, len(chosen)))
            return blurred[0][index][:, None] - 0.6, blurred[1][index]
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


def blurred_by_codec(backbone: MusicgenBackbone, audio: Path, music: Path, count: int):
    """As `roundtrip` for pictures, but of sound, which is drawn here once: (pictures, labels), the last 150 held out."""
    pictures, labels = [], []
    for sound, _, _, lead in rebuilt(backbone, audio, music, count):
        pictures.append(picture_from_audio(torch.from_numpy(sound)[None], CONFIG)[0, :, :512])
        labels.append(FIVE.index(lead))
    return torch.stack(pictures), torch.tensor(labels)


def rebuilt(backbone: MusicgenBackbone, audio: Path, music: Path, count: int):
    """Windows of rendered pieces after the codec, with what is known of them, as (samples, bpm, first beat, lead)."""
    rng = np.random.default_rng(77)
    for path in sorted(audio.glob("part-*.npy")):
        pieces = np.load(path, mmap_mode="r")
        records = [json.loads(line) for line in (music / f"{path.stem}.jsonl").read_text().splitlines()]
        for piece, record in zip(pieces, records, strict=True):
            if record["lead"] in FIVE and count:
                count -= 1
                start = int(rng.integers(0, 800)) / 50
                window = piece[round(start * 24000) :][:122880].astype(np.float32) / 32768
                with torch.no_grad():
                    sound = backbone._decode(backbone.targets(torch.from_numpy(window)[None, None]).long())[0, 0]
                yield sound.numpy(), record["bpm"], first_beat(record["bpm"], start)[0], record["lead"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("model", type=Path)
    parser.add_argument("--music", type=Path)
    parser.add_argument("--prompts", type=int, default=40)
    parser.add_argument("--minutes", type=float, default=3)
    parser.add_argument("--guidance", type=float, default=3.0)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--temperature", type=float, default=1.0)
    parser.add_argument("--top-k", type=int, default=250)
    parser.add_argument("--audio", type=Path, help="rendered sound of the pieces whose JSON lines lie in MUSIC")
    parser.add_argument("--rebuild", action="store_true", help="measure AUDIO after the codec")
    parser.add_argument("--write", type=Path, help="write each window as a .wav file into this folder")
    parser.add_argument("--classifier", type=Path, default=Path("lead.pt"))
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    diffusion = (arguments.model / "unet").is_dir()
    backbone = (RiffusionBackbone if diffusion else MusicgenBackbone)(
        arguments.model, Identity("embedded", "MIT", True)
    )
    negative = backbone.embed([""], {})
    sampling = Sampling(arguments.steps, arguments.guidance, temperature=arguments.temperature, top_k=arguments.top_k)
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
        blurred = None if diffusion else blurred_by_codec(backbone, arguments.audio, arguments.music, 900)
        network = train_lead_classifier(arguments.music, arguments.minutes, roundtrip, blurred)
        torch.save(network.state_dict(), arguments.classifier)
    rows = []

    def measured(audio: np.ndarray, bpm: int, first: float, lead: str, seconds: float, prompt: str = "") -> dict:
        tempo, beats = track(audio)
        grid = np.arange(first, 5.12, 60 / bpm)
        chance = [
            mir_eval.beat.f_measure(grid, np.arange(rng.random() * 60 / bpm, 5.12, 60 / bpm), 0.07) for _ in range(20)
        ]
        with torch.no_grad():
            picture = picture_from_audio(torch.from_numpy(audio)[None], CONFIG)[:, None, :, :512] - 0.6
            named = FIVE[int(network(picture).argmax())]
        return dict(
            prompt=prompt, tempo=tempo, tempo_right=tempo_right(tempo, bpm), f70=mir_eval.beat.f_measure(grid, beats, 0.07),
            chance=float(np.mean(chance)), lead_right=named == lead, peak=float(np.abs(audio).max()),
            rms=float(np.sqrt(np.mean(audio**2))), dc=float(abs(audio.mean())), seconds=seconds,
        )  # fmt: skip

    if arguments.rebuild:
        for sound, bpm, first, lead in rebuilt(backbone, arguments.audio, arguments.music, arguments.prompts):
            rows.append(measured(sound, bpm, first, lead, 0.0))
    for index in range(0 if arguments.rebuild else arguments.prompts):
        bpm = int(rng.integers(76, 141))
        first = round(float(rng.random()) * 60 / bpm, 2)
        mood, lead = str(rng.choice(MOODS)), FIVE[index % 5]
        prompt = (
            f"{mood} {lead} music at {bpm} bpm and first beat at {first:.2f} seconds on count {COUNTS[rng.integers(4)]}"
        )
        clock = time.time()
        audio = backbone.generate(backbone.embed([prompt], {}), negative, [index], None, sampling).audio[0, 0].numpy()
        clock = time.time() - clock
        rows.append(measured(audio, bpm, first, lead, clock, prompt))
        if arguments.write:
            import soundfile

            arguments.write.mkdir(parents=True, exist_ok=True)
            soundfile.write(arguments.write / f"{index:02d}.wav", audio, CONFIG.sample_rate)
    summary = {key: round(float(np.mean([row[key] for row in rows])), 4) for key in rows[0] if key != "prompt"}
    summary |= {
        "max_peak": max(row["peak"] for row in rows),
        "min_rms": min(row["rms"] for row in rows),
        "max_dc": max(row["dc"] for row in rows),
    }
    print(json.dumps(summary, indent=2))


if __name__ == "__main__":
    main()

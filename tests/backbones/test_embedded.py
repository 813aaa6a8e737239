"""The model that ships: it loads as Riffusion's does, keeps to its size, and obeys tempo, phase and pseudo-words."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import librosa
import mir_eval
import numpy as np
import pytest
import torch

from d2m_cli.backbones.base import Backbone, Sampling
from d2m_cli.backbones.registry import choose, open_backbone
from d2m_cli.ground.weights_path import weights_dir
from d2m_cli.inversion.checkpoint import Encoders
from d2m_cli.inversion.prompt import TRAINING_PROMPT


@pytest.fixture(scope="module")
def backbone() -> Backbone:
    return open_backbone(choose("embedded"), "cpu")


@pytest.fixture(scope="module")
def encoders(backbone: Backbone) -> Encoders:
    found = choose("embedded").encoders
    assert found is not None
    loaded = Encoders.load(found)
    loaded.check(backbone)
    return loaded


def play(backbone: Backbone, prompt: str, words: dict[str, torch.Tensor] | None = None, seed: int = 0) -> np.ndarray:
    condition, negative = backbone.embed([prompt], words or {}), backbone.embed([""], {})
    return backbone.generate(condition, negative, [seed], None, Sampling()).audio[0].numpy()


def pulses(bpm: float, first: float, left_out: Sequence[int] = ()) -> torch.Tensor:
    """(1, 256) rhythm of a dancer who marks the beats, but for some."""
    times = np.arange(first, 5.1, 60 / bpm)
    sequence = torch.zeros(1, 256)
    for number, at in enumerate(times):
        if number not in left_out:
            sequence[0, round(at * 50)] = 1
    return sequence


def agreement(samples: np.ndarray, bpm: float, first: float) -> float:
    """F1 at 70 ms between librosa's tracked beats and a grid."""
    _, beats = librosa.beat.beat_track(y=samples, sr=24000, hop_length=240, start_bpm=110, units="time")
    return float(mir_eval.beat.f_measure(np.arange(first, 5.12, 60 / bpm), beats, 0.07))


GRIDS = ((88.0, 0.31), (96.0, 0.50), (104.0, 0.12), (112.0, 0.27), (120.0, 0.40), (128.0, 0.05), (92.0, 0.1))


def test_weights_and_examples_stay_under_50_megabytes(record_property: Callable[[str, object], None]) -> None:
    root = weights_dir().parent
    folders = ("weights", "examples")
    listed = subprocess.run(["git", "-C", root, "ls-files", "-z", *folders], capture_output=True, check=False)
    if listed.returncode == 0:
        files = [root / os.fsdecode(name) for name in listed.stdout.split(b"\0") if name]
    else:  # an archive of the checkout: all that it holds was tracked
        files = [path for folder in folders for path in (root / folder).rglob("*") if "__pycache__" not in path.parts]
    total = sum(path.stat().st_size for path in files if path.is_file())
    said = f"weights/ and examples/ hold {total / 1e6:.2f} of 50 MB: {(50e6 - total) / 1e6:.2f} MB are left"
    record_property("room", said)
    print(said)
    assert 40e6 < total <= 50e6, said


def test_manifest_names_every_weights_file_as_it_is() -> None:
    root = weights_dir()
    listed = {entry["file"]: entry for entry in json.loads((root / "manifest.json").read_text())["weights"]}
    shipped = [*root.rglob("*.safetensors"), *root.rglob("*.onnx*"), *root.rglob("*.npz")]
    assert {path.relative_to(root).as_posix() for path in shipped} == set(listed)
    for path in shipped:
        entry = listed[path.relative_to(root).as_posix()]
        assert entry["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest()
        assert entry["licence"]
        assert entry["origin"]


def test_it_is_a_stable_diffusion_folder() -> None:
    folder = Path(choose("embedded").folder)
    index = json.loads((folder / "model_index.json").read_text())
    for part in ("unet", "vae", "text_encoder", "tokenizer", "scheduler"):
        assert part in index
        assert (folder / part).is_dir()


def test_auto_takes_it_where_nothing_else_has_encoders(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path))
    assert choose("auto").name == "embedded"


def test_same_inputs_same_bytes_and_level_is_sound(backbone: Backbone) -> None:
    first, again = (play(backbone, "funky guitar lock music at 112 bpm") for _ in range(2))
    assert first.shape == (1, 122880)
    assert first.tobytes() == again.tobytes()
    assert 0.01 < np.sqrt(np.mean(first**2)) < 0.5
    assert abs(first.mean()) < 1e-3


@pytest.mark.slow
def test_tempo_and_first_beat_in_words_are_obeyed(backbone: Backbone) -> None:
    """Chance is about 0.27; the mean over forty prompts is in docs/embedded.md."""
    found = [
        agreement(
            play(backbone, f"joyful piano music at {bpm:.0f} bpm and first beat at {first:.2f} seconds", seed=7)[0],
            bpm,
            first,
        )
        for bpm, first in GRIDS
    ]
    assert np.mean(found) >= 0.45


def test_the_dancers_star_sets_the_beats(backbone: Backbone, encoders: Encoders) -> None:
    with torch.no_grad():
        found = [
            agreement(
                play(backbone, TRAINING_PROMPT, encoders.pseudo_words(pulses(bpm, first, (3,)), "LO"), 11)[0],
                bpm,
                first,
            )
            for bpm, first in GRIDS
        ]
    assert np.mean(found) >= 0.45


@pytest.mark.slow
def test_another_dance_or_genre_is_other_music(backbone: Backbone, encoders: Encoders) -> None:
    with torch.no_grad():
        words = encoders.pseudo_words(pulses(112, 0.27), "LO")
        other_dance = encoders.pseudo_words(pulses(96, 0.50), "LO")
        other_genre = encoders.pseudo_words(pulses(112, 0.27), "JB")
        base, dance, genre = (play(backbone, TRAINING_PROMPT, given)[0] for given in (words, other_dance, other_genre))
    for other in (dance, genre):
        assert np.corrcoef(base, other)[0, 1] < 0.9


@pytest.mark.slow
def test_a_window_takes_at_most_six_seconds(backbone: Backbone) -> None:
    play(backbone, "warm up")
    start = time.perf_counter()
    play(backbone, "funky guitar")
    assert time.perf_counter() - start <= 6

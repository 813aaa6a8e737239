"""The files of a piece of music, and the pieces that are kept of each take."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
import soundfile
import torch

from d2m_cli import __version__
from d2m_cli.backbones.base import Draw
from d2m_cli.errors import UsageError
from d2m_cli.generation.generated import Generated
from d2m_cli.generation.models import Models
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.pipeline import generate_music
from d2m_cli.generation.windows import candidate_seed
from d2m_cli.ground.digests import content_digest
from tests.fakes import RATE, FakeBackbone, FakeEncoders, FakePoses

SECONDS = 6.0


class Numbered(FakeBackbone):
    """Plays the same tone in all windows, one of its own for each take: that of its number."""

    def generate(self, condition, negative, seeds, context=None, sampling=None):
        clock = np.arange(round(self.window_seconds * RATE)) / RATE
        rows = [0.3 * np.sin(2 * np.pi * TONES[seed] * clock)[None] for seed in seeds]
        return Draw(torch.from_numpy(np.stack(rows).astype(np.float32)), RATE)


TONES: dict[int, float] = {}
HERTZ = (300.0, 500.0, 700.0)


@pytest.fixture
def made(make_video, tmp_path: Path) -> Any:
    """A function that makes the music of one video."""
    video = make_video(tmp_path / "dance.mp4", seconds=SECONDS, sound=np.full(round(44100 * SECONDS), 0.1, np.float32))

    def make(**options: Any) -> Generated:
        asked = GenerateOptions(snap="off", ending="none", **options)
        content = content_digest(video)
        for window in range(3):
            for number in range(asked.candidates):
                TONES[candidate_seed(asked.seed, content, window, number)] = HERTZ[number]
        models = Models(FakePoses(SECONDS), Numbered(), FakeEncoders(), "e" * 64)  # type: ignore[arg-type]
        return generate_music(video, content, models, asked, lambda *_: None)

    return make


def tones(samples: np.ndarray, rate: int) -> list[bool]:
    """Which of the tones of takes are heard in one channel."""
    clock = np.arange(len(samples)) / rate
    parts = [np.abs(np.mean(samples * np.exp(-2j * np.pi * hz * clock))) for hz in HERTZ]
    return [bool(part > 0.2 * max(parts)) for part in parts]


def test_each_kept_piece_is_made_of_one_take_throughout(made, tmp_path: Path) -> None:
    plain, kept = made(candidates=3), made(candidates=3, keep_candidates=True)
    assert plain.music.candidates == ()
    np.testing.assert_array_equal(plain.music.samples, kept.music.samples)
    for number, piece in enumerate(kept.music.candidates):
        assert piece.samples.shape == kept.music.samples.shape
        assert tones(piece.samples[0], RATE) == [one == number for one in range(3)]
        assert piece.level is not None
    # Windows all of the same take: then the result is that piece.
    (number,) = {take.kept for take in kept.takes}
    np.testing.assert_array_equal(kept.music.candidates[number].samples, kept.music.samples)
    files = kept.save_takes(tmp_path / "out" / "dance.wav")
    assert [path.name for path in files] == ["dance.take-1.wav", "dance.take-2.wav", "dance.take-3.wav"]
    for path, piece in zip(files, kept.music.candidates, strict=True):
        heard, rate = soundfile.read(path, always_2d=True)
        assert rate == RATE
        np.testing.assert_allclose(heard.T, piece.samples, atol=1 / 32767)
    kept.save(tmp_path / "out" / "dance.json")
    told = json.loads((tmp_path / "out" / "dance.json").read_text())["music"]["takes"]
    assert [one["file"] for one in told] == [path.name for path in files]
    assert [one["number"] for one in told] == [1, 2, 3]
    assert told[number]["windows"] == [take.window.index for take in kept.takes]


def test_takes_that_were_not_kept_are_not_saved(made, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"no takes were kept: .*keep_candidates=True"):
        made(candidates=1, keep_candidates=True).save_takes(tmp_path / "a.wav")
    assert GenerateOptions(candidates=1, keep_candidates=True).doubts == (
        "keep_candidates=True has no effect with candidates=1",
    )


def test_keeping_takes_changes_no_settings() -> None:
    assert GenerateOptions(keep_candidates=True).settings == GenerateOptions().settings
    # What was made before there were mixes is not made again.
    assert GenerateOptions(mix=-12.0).settings == {**GenerateOptions().settings, "mix": -12.0}
    assert "mix" not in GenerateOptions().settings
    with pytest.raises(UsageError, match="mix must lie between -60 and 20 LU beside the music, not at 21"):
        GenerateOptions(mix=21.0)


def test_files_of_all_kinds_and_what_they_tell(made, tmp_path: Path) -> None:
    piece = made(candidates=1, genre="locking", mix=-6.0)
    names = ["a.wav", "a.flac", "a.mp3", "a.m4a", "a.mp4", "a.mkv"]
    for name in reversed(names):
        piece.save(tmp_path / name)
    piece.save(tmp_path / "other.wav")
    piece.save(tmp_path / "a.json")
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["files"] == names
    assert document["settings"]["mix"] == -6.0
    assert "takes" not in document["music"]
    for name in names[1:]:
        with av.open(str(tmp_path / name)) as container:
            told = {key.lower(): text for key, text in container.metadata.items()}
            assert container.duration / av.time_base == pytest.approx(SECONDS, abs=0.01)
        assert f"music by d2m {__version__} with fake" in told["comment"]
        if name not in ("a.mp4", "a.mkv"):
            assert (told["title"], told["genre"].lower()) == ("dance", "funk")
    with pytest.raises(UsageError, match=r"music is saved as \.wav, \.flac, \.mp3, \.m4a, \.mp4, \.mkv, \.json"):
        piece.save(tmp_path / "a.ogg")


def test_the_own_sound_is_in_films_alone(made, tmp_path: Path) -> None:
    piece, plain = made(candidates=1, mix=6.0), made(candidates=1)
    notes = piece.write({suffix: tmp_path / f"mixed{suffix}" for suffix in (".wav", ".mkv", ".json")})
    assert notes["mix"].startswith("the video's own sound")
    assert json.loads((tmp_path / "mixed.json").read_text())["mix"] == notes["mix"]
    plain.save(tmp_path / "plain.wav")
    assert (tmp_path / "mixed.wav").read_bytes() == (tmp_path / "plain.wav").read_bytes()


def test_what_lies_beside_is_named_too(made, tmp_path: Path) -> None:
    piece = made(candidates=1)
    piece.write({".flac": tmp_path / "a.flac", ".json": tmp_path / "a.json"}, (".wav", ".take-2.wav", ".json"))
    document = json.loads((tmp_path / "a.json").read_text())
    assert document["files"] == ["a.wav", "a.flac"]
    assert document["music"]["takes"] == [{"number": 2, "file": "a.take-2.wav", "windows": []}]

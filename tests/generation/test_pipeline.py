from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from d2m_cli.backbones.base import Sampling
from d2m_cli.batch.ledger import content_digest
from d2m_cli.batch.runner import Job
from d2m_cli.errors import UsageError
from d2m_cli.generation.pipeline import (
    GenerateOptions,
    Models,
    compose,
    generate_for_video,
    window_prompt,
    window_tempo,
)
from d2m_cli.generation.windows import Window, window_seed
from d2m_cli.media.audio import load_audio
from d2m_cli.rhythm.sequence import Rhythm, Tempo
from tests.fakes import RATE, FakeBackbone, FakeEncoders, FakePoses


def quiet(step: str, fraction: float = 0.0) -> None:
    assert 0.0 <= fraction <= 1.0


def rhythm(seconds: float, peaks: list[float], tempo: Tempo | None = None) -> Rhythm:
    return Rhythm(np.ones(round(seconds * 50), np.float32), 50.0, np.array(peaks), seconds, tempo, "stable")


def models(seconds: float = 12.0, encoders: FakeEncoders | None = None) -> Models:
    return Models(FakePoses(seconds), FakeBackbone(), encoders, "e" * 64 if encoders else "")


def test_peaks_of_the_dance_are_heard_at_their_times_across_windows() -> None:
    peaks = [0.5, 1.02, 2.6, 4.3, 4.96, 5.5, 6.7, 7.98, 8.4, 11.3]
    music, takes = compose(rhythm(12.0, peaks), 12.0, models(encoders=FakeEncoders()), GenerateOptions(), "aa", quiet)
    assert music.samples.shape == (1, 12 * RATE)
    loud = np.flatnonzero(np.abs(music.samples[0]) > 0.2)
    onsets = loud[np.diff(loud, prepend=-1000) > 200] / RATE
    np.testing.assert_allclose(onsets, peaks, atol=1 / RATE + 1e-9)
    # 5.12 - 1.28 = 3.84 s from one window to the next.
    assert [take.window.start for take in takes] == [0.0, 3.84, 7.68]


def test_each_window_continues_the_last_one() -> None:
    used = models(encoders=FakeEncoders())
    compose(rhythm(12.0, [1.0, 4.5]), 12.0, used, GenerateOptions(candidates=1), "aa", quiet)
    backbone = used.backbone
    assert backbone.contexts[0] is None
    assert [context.shape for context in backbone.contexts[1:]] == [(1, 1, round(1.28 * RATE))] * 2
    # The click at 4.5 s lies 0.66 s after the start of the second window, within its context.
    assert backbone.contexts[1][0, 0, round(0.66 * RATE) + 10] > 0.4


def test_seeds_and_bytes_hang_on_content_and_seed_alone() -> None:
    dance = rhythm(12.0, [1.0, 2.0])
    first, takes = compose(dance, 12.0, models(encoders=FakeEncoders()), GenerateOptions(seed=5), "aa", quiet)
    again, _ = compose(dance, 12.0, models(encoders=FakeEncoders()), GenerateOptions(seed=5), "aa", quiet)
    other_seed, _ = compose(dance, 12.0, models(encoders=FakeEncoders()), GenerateOptions(seed=6), "aa", quiet)
    other_video, _ = compose(dance, 12.0, models(encoders=FakeEncoders()), GenerateOptions(seed=5), "bb", quiet)
    assert [take.seed for take in takes] == [window_seed(5, "aa", i) for i in range(3)]
    assert first.samples.tobytes() == again.samples.tobytes()
    assert first.samples.tobytes() != other_seed.samples.tobytes()
    assert first.samples.tobytes() != other_video.samples.tobytes()


@pytest.mark.parametrize(
    ("options", "encoders", "text", "words"),
    [
        (GenerateOptions("LO"), True, "a @ music with * as the rhythm", {"@", "*"}),
        (GenerateOptions(None), True, "a music with * as the rhythm", {"*"}),
        (GenerateOptions("LO", "funky guitar"), True, "a @ music with * as the rhythm, funky guitar", {"@", "*"}),
        (GenerateOptions("LO", "a harp, *, in @ style"), True, "a harp, *, in @ style", {"@", "*"}),
        (GenerateOptions(None, "a harp, *, in @ style"), True, "a harp, *, in style", {"*"}),
        (GenerateOptions("LO", rhythm="words"), True, "a @ music with 120 bpm as the rhythm", {"@"}),
        (GenerateOptions("LO", rhythm="words"), False, "a lock music with 120 bpm as the rhythm", set()),
    ],
)
def test_prompts(options: GenerateOptions, encoders: bool, text: str, words: set[str]) -> None:
    used = models(encoders=FakeEncoders() if encoders else None)
    compose(rhythm(4.0, [1.0], Tempo(120.0, 0.25, 1.0)), 4.0, used, options, "aa", quiet)
    # The first prompt is the negative one.
    assert used.backbone.prompts == ["", text]
    assert set(used.backbone.words[1]) == words


def test_options_reach_the_sampler() -> None:
    used = models(encoders=FakeEncoders())
    options = GenerateOptions(candidates=1, steps=7, guidance=1.5, negative_prompt="noise")
    compose(rhythm(4.0, [1.0]), 4.0, used, options, "aa", quiet)
    assert used.backbone.sampling == [Sampling(7, 1.5)]
    assert used.backbone.prompts[0] == "noise"


def test_star_without_encoders_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="--rhythm words"):
        compose(rhythm(4.0, [1.0]), 4.0, models(), GenerateOptions(), "aa", quiet)


def test_tempo_of_a_window_by_hand() -> None:
    # 120 bpm, beats at 0.2, 0.7, ...; from 3.84 s on the first is at 4.2.
    seen = window_tempo(Tempo(120.0, 0.2, 0.9), 3.84, in_octave=False)
    assert seen is not None
    assert (seen.bpm, seen.confidence) == (120.0, 0.9)
    assert seen.first_beat == pytest.approx(0.36)
    # 180 bpm is said as 90: beats at 0.1, 0.7667, 1.4333, 2.1, 2.7667, 3.4333, 4.1, ...
    seen = window_tempo(Tempo(180.0, 0.1, 0.9), 3.84, in_octave=True)
    assert seen is not None
    assert seen.bpm == 90.0
    assert seen.first_beat == pytest.approx(0.26)
    assert window_tempo(None, 3.84, in_octave=True) is None


def test_words_tell_the_first_beat_where_the_backbone_knows_it() -> None:
    used = models()
    used.backbone.speaks_tempo = True
    dance = rhythm(12.0, [1.0], Tempo(120.0, 0.2, 0.9))
    text = window_prompt(dance, Window(1, 3.84, 5.12), used, GenerateOptions(rhythm="words")).text
    assert "120 bpm and first beat at 0.36 seconds" in text


def job(video: Path, out: Path, *suffixes: str) -> Job:
    artefacts = {suffix: out / (video.stem + suffix) for suffix in suffixes}
    return Job(video, Path(video.stem), content_digest(video), artefacts)


def test_all_files_of_a_video(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "dance ☃.mp4", seconds=6, sound=np.ones(44100 * 6, np.float32) * 0.1)
    used = models(6.0, FakeEncoders())
    result = generate_for_video(
        job(video, tmp_path / "out", ".wav", ".mp4", ".json"), used, GenerateOptions("LO"), quiet
    )
    assert result.details["windows"] == 2
    assert result.details["mp4"] == "picture copied"
    assert sorted(path.suffix for path in (tmp_path / "out").iterdir()) == [".json", ".mp4", ".wav"]
    samples, rate = load_audio(tmp_path / "out" / "dance ☃.wav")
    assert (samples.shape[1], rate) == (6 * RATE, RATE)
    from_video, _ = load_audio(tmp_path / "out" / "dance ☃.mp4", sample_rate=RATE)
    lag = np.argmax([from_video[0, k : k + RATE] @ samples[0, 50 : 50 + RATE] for k in range(100)]) - 50
    assert abs(lag) <= 0.002 * RATE
    document = json.loads((tmp_path / "out" / "dance ☃.json").read_text())
    assert document["settings"]["genre"] == "LO"
    assert document["video"] == {"file": "dance ☃.mp4", "content": content_digest(video), "seconds": 6.0}
    assert document["models"]["encoders"]["sha256"] == "e" * 64
    assert document["models"]["poses"] == {"fake-pose": "a" * 64}
    assert document["licences"] == {"music": "CC0"}
    assert document["rhythm"]["tempo"]["bpm"] == pytest.approx(120, rel=0.02)
    assert [window["start"] for window in document["windows"]] == [0.0, 3.84]
    assert document["music"]["beat_tracker"] == "librosa.beat.beat_track"
    assert torch.__version__.startswith(document["versions"]["torch"])


def test_only_what_was_asked_for_is_written(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    generate_for_video(job(video, tmp_path / "out", ".wav"), models(1.0, FakeEncoders()), GenerateOptions(), quiet)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["a.wav"]


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match="BR, HO"):
        GenerateOptions(genre="XX")
    with pytest.raises(UsageError, match="--steps"):
        GenerateOptions(steps=0)
    with pytest.raises(UsageError, match="--guidance"):
        GenerateOptions(guidance=float("nan"))

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from d2m_cli.backbones.base import FullSampling, Sampling
from d2m_cli.batch.music_files import result_of
from d2m_cli.errors import EncoderMismatchError, NoPersonError, UsageError
from d2m_cli.generation.compose import compose, window_prompt, window_tempo
from d2m_cli.generation.generated import Generated
from d2m_cli.generation.genre import SoundExample, check_genre, check_listener, hear
from d2m_cli.generation.models import Models
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.pipeline import generate_music
from d2m_cli.generation.windows import Window, window_seed
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.file_cache import FileCache
from d2m_cli.inversion.clap import ClapAudio
from d2m_cli.inversion.prompt import CAPTION_OCTAVE, TempoWords
from d2m_cli.media.audio import load_audio, save_wav
from d2m_cli.media.loudness import integrated_loudness, true_peak
from d2m_cli.pose.estimator import PoseOptions
from d2m_cli.rhythm.cache import DanceCache
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.rhythm.sequence import BeatMap, Rhythm, RhythmGrid, Tempo
from tests.fakes import RATE, FakeBackbone, FakeEncoders, FakePoses
from tests.rhythm.dances import film, groove
from tests.tiny_clap import save_tiny_clap


def quiet(step: str, fraction: float = 0.0) -> None:
    assert 0.0 <= fraction <= 1.0


def rhythm(seconds: float, peaks: list[float], tempo: Tempo | None = None) -> Rhythm:
    return Rhythm(np.ones(round(seconds * 50), np.float32), 50.0, np.array(peaks), seconds, tempo, "stable")


def models(seconds: float = 12.0, encoders: FakeEncoders | None = None) -> Any:
    return Models(FakePoses(seconds), FakeBackbone(), encoders, "e" * 64 if encoders else "")  # type: ignore[arg-type]


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
    assert [context.audio.shape for context in backbone.contexts[1:]] == [(1, 1, round(1.28 * RATE))] * 2
    # The click at 4.5 s lies 0.66 s after the start of the second window, within its context.
    assert backbone.contexts[1].audio[0, 0, round(0.66 * RATE) + 10] > 0.4


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
        (GenerateOptions("LO", rhythm="words"), True, "a @ music with 120 BPM as the rhythm", {"@"}),
        (GenerateOptions("LO", rhythm="words"), False, "funk, 120 BPM, tight drums, slap bass", set()),
        (GenerateOptions("LO", rhythm="words", genre_words="p-funk, horns"), False, "p-funk, 120 BPM, horns", set()),
        (GenerateOptions("LO", "a @ solo"), False, "a funk solo, tight drums, slap bass", set()),
    ],
)
def test_prompts(options: GenerateOptions, encoders: bool, text: str, words: set[str]) -> None:
    used = models(encoders=FakeEncoders() if encoders else None)
    compose(rhythm(4.0, [1.0], Tempo(120.0, 0.25, 1.0)), 4.0, used, options, "aa", quiet)
    # The first prompt is the negative one.
    assert used.backbone.prompts == ["", text]
    assert set(used.backbone.words[1]) == words
    assert all(vectors.shape == (1, 1, 1, 256) for vectors in used.backbone.words[1].values())


class BriefBackbone(FakeBackbone):
    """Reads eight words."""

    def unread(self, prompt: str, pseudo_words: Mapping[str, torch.Tensor]) -> str:
        return " ".join(prompt.split()[8:])


def test_what_the_model_does_not_read_is_told_and_noted() -> None:
    used = replace(models(encoders=FakeEncoders()), backbone=BriefBackbone())
    options = GenerateOptions("LO", "funky guitar", "one two three four five six seven eight nine")
    told: list[str] = []
    _, takes = compose(rhythm(12.0, [1.0]), 12.0, used, options, "aa", quiet, told.append)
    assert [take.unread for take in takes] == ["funky guitar"] * 3
    assert told == [
        "the negative prompt is longer than the model reads: not read is 'nine'",
        *["the prompt is longer than the model reads: not read is 'funky guitar'"] * 3,
    ]


def test_a_backbone_that_does_not_tell_is_taken_to_read_all() -> None:
    options = GenerateOptions("LO", "word " * 500)
    told: list[str] = []
    _, takes = compose(rhythm(4.0, [1.0]), 4.0, models(encoders=FakeEncoders()), options, "aa", quiet, told.append)
    assert (takes[0].unread, told) == ("", [])


def sound_options(folder: Path) -> GenerateOptions:
    (folder / "a.wav").write_bytes(b"a sound")
    return GenerateOptions(genre_audio=folder / "a.wav", clap=folder)


def test_a_sound_example_stands_for_the_genre(tmp_path: Path) -> None:
    used = models(encoders=FakeEncoders("clap"))
    used = replace(used, sound=SoundExample(torch.full((1, 512), 0.25), "c" * 64))
    options = sound_options(tmp_path)
    compose(rhythm(4.0, [1.0]), 4.0, used, options, "aa", quiet)
    assert used.backbone.prompts[1] == "a @ music with * as the rhythm"
    assert torch.equal(used.backbone.words[1]["@"], torch.full((1, 1, 1, 256), 0.25))


def test_without_a_sound_example_the_genre_is_left_out() -> None:
    used = models(encoders=FakeEncoders("clap"))
    compose(rhythm(4.0, [1.0]), 4.0, used, GenerateOptions(), "aa", quiet)
    assert used.backbone.prompts[1] == "a music with * as the rhythm"


def test_a_learned_constant_needs_no_genre() -> None:
    used = models(encoders=FakeEncoders("constant"))
    compose(rhythm(4.0, [1.0]), 4.0, used, GenerateOptions(), "aa", quiet)
    assert used.backbone.prompts[1] == "a @ music with * as the rhythm"
    assert set(used.backbone.words[1]) == {"@", "*"}


@pytest.mark.parametrize(
    ("kind", "genre", "text"),
    [
        ("label", None, "genre_audio needs encoders whose '@' listens to sounds.*knows genres by name"),
        ("constant", None, "genre_audio needs.*one learned constant"),
        (None, None, "genre_audio needs.*made without '@'"),
        ("words", None, "genre_audio needs.*this run has no encoders"),
        ("clap", "LO", "genre='LO' needs.*give a sound example with genre_audio and clap"),
        ("constant", "LO", "genre='LO' needs.*leave genre out"),
        (None, "LO", "genre='LO' needs.*leave genre out"),
    ],
)
def test_a_genre_that_the_encoders_do_not_know_is_an_error(
    tmp_path: Path, kind: str | None, genre: str | None, text: str
) -> None:
    encoders = None if kind == "words" else FakeEncoders(kind)
    options = GenerateOptions(genre) if genre else sound_options(tmp_path)
    with pytest.raises(EncoderMismatchError, match=text):
        check_genre(encoders, options)


@pytest.mark.parametrize(("kind", "genre"), [("label", "LO"), ("label", None), ("clap", None), ("constant", None)])
def test_a_genre_that_the_encoders_know_is_fine(kind: str, genre: str | None) -> None:
    check_genre(FakeEncoders(kind), GenerateOptions(genre))
    check_genre(None, GenerateOptions("LO"))


@pytest.fixture(scope="module")
def tiny_clap(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_clap(tmp_path_factory.mktemp("clap"))


def test_the_sound_example_is_heard_by_the_model_of_the_training(tiny_clap: Path, tmp_path: Path) -> None:
    example = tmp_path / "example.wav"
    tone = np.sin(2 * np.pi * 220 * np.arange(48000) / 48000).astype(np.float32)
    save_wav(example, np.stack([0.2 * tone, 0.4 * tone]), 48000)
    listener = ClapAudio(tiny_clap)
    heard = hear(example, listener)
    assert heard.embedding.shape == (1, 512)
    assert heard.clap_sha256 == listener.fingerprint
    # 16 bits on disk; the mean of both channels is heard.
    assert torch.allclose(heard.embedding[0], listener.embed(0.3 * tone, 48000), atol=1e-2)
    check_listener(listener, listener.fingerprint, None)
    check_listener(listener, "", None)
    with pytest.raises(EncoderMismatchError, match="trained with another CLAP model"):
        check_listener(listener, "x", tmp_path / "encoders.safetensors")
    example.write_bytes(b"no sound")
    with pytest.raises(UsageError, match=r"genre_audio .*example\.wav"):
        hear(example, listener)


def test_settings_know_a_sound_example_by_its_content(tmp_path: Path) -> None:
    example, clap = tmp_path / "example.wav", tmp_path / "clap"
    example.write_bytes(b"one")
    clap.mkdir()
    (clap / "model.safetensors").write_bytes(b"weights")
    options = GenerateOptions(genre_audio=example, clap=clap)
    first = options.settings
    assert first["genre_audio"] == {"file": "example.wav", "content": content_digest(example)}
    assert json.loads(json.dumps(first)) == first
    assert str(tmp_path) not in json.dumps(first)
    example.write_bytes(b"two")
    second = GenerateOptions(genre_audio=example, clap=clap).settings
    assert {key for key in first if first[key] != second[key]} == {"genre_audio"}
    (clap / "model.safetensors").write_bytes(b"more weights")
    third = GenerateOptions(genre_audio=example, clap=clap).settings
    assert {key for key in second if second[key] != third[key]} == {"clap"}
    # Without one, the settings of earlier runs stay what they were.
    assert not {"genre_audio", "clap"} & set(GenerateOptions().settings)


def test_options_reach_the_sampler() -> None:
    used = models(encoders=FakeEncoders())
    options = GenerateOptions(candidates=1, sampling=Sampling(7, 1.5), negative_prompt="noise")
    compose(rhythm(4.0, [1.0]), 4.0, used, options, "aa", quiet)
    assert used.backbone.sampling == [FullSampling(7, 1.5)]
    assert used.backbone.prompts[0] == "noise"


def test_star_without_encoders_is_an_error_that_says_what_to_do() -> None:
    with pytest.raises(UsageError, match="rhythm='words'"):
        compose(rhythm(4.0, [1.0]), 4.0, models(), GenerateOptions(), "aa", quiet)


def test_tempo_of_a_window_by_hand() -> None:
    # 120 bpm, beats at 0.2, 0.7, ...; from 3.84 s on the first is at 4.2.
    window = Window(1, 3.84, 5.12)
    seen = window_tempo(BeatMap.even(Tempo(120.0, 0.2, 0.9), 12.0), window, (100.0, 200.0))
    assert seen is not None
    assert (seen.bpm, seen.confidence) == (120.0, 0.9)
    assert seen.first_beat == pytest.approx(0.36)
    # 180 bpm is said as 90: beats at 0.1, 0.7667, 1.4333, 2.1, 2.7667, 3.4333, 4.1, ...
    seen = window_tempo(BeatMap.even(Tempo(180.0, 0.1, 0.9), 12.0), window, CAPTION_OCTAVE)
    assert seen is not None
    assert seen.bpm == 90.0
    assert seen.first_beat == pytest.approx(0.26)
    assert window_tempo(BeatMap.none(), window, CAPTION_OCTAVE) is None


@pytest.mark.parametrize(("bpm", "told"), [(75.0, 150), (80.0, 80), (118.6, 119), (165.0, 82), (330.0, 82)])
def test_a_tempo_is_told_in_the_familys_octave(bpm: float, told: int) -> None:
    used = models()
    used.backbone.tempo_words = TempoWords("bpm: {bpm}")
    dance = rhythm(12.0, [1.0], Tempo(bpm, 0.2, 0.9))
    text = window_prompt(dance, Window(1, 3.84, 5.12), used, GenerateOptions("house", rhythm="words")).text
    assert text == f"house, bpm: {told}, four-on-the-floor kick, deep bass, piano chords"


def test_captions_that_named_dances_keep_their_names() -> None:
    used = models()
    used.backbone.speaks_tempo = True
    dance = rhythm(12.0, [1.0], Tempo(120.0, 0.2, 0.9))
    window, by_words = Window(0, 0.0, 5.12), GenerateOptions("LO", rhythm="words")
    text = window_prompt(dance, window, used, by_words).text
    assert text == "a lock music with 120 bpm and first beat at 0.20 seconds as the rhythm"
    own = window_prompt(dance, window, used, replace(by_words, genre_words="funk, horns")).text
    assert own == "a funk music with 120 bpm and first beat at 0.20 seconds as the rhythm, horns"


def test_words_for_a_genre_need_a_genre_and_no_encoders() -> None:
    for genre in (None, "auto"):
        with pytest.raises(UsageError, match="genre_words puts one genre in words: name it with genre"):
            GenerateOptions(genre, genre_words="funk")
    with pytest.raises(EncoderMismatchError, match="leave genre_words out"):
        check_genre(FakeEncoders(), GenerateOptions("LO", genre_words="funk"))
    check_genre(None, GenerateOptions("LO", genre_words="funk"))


def test_windows_start_on_the_beats_that_were_seen() -> None:
    # 125 bpm: every eighth beat from 0.16 s; where the beat is doubtful, 3.84 s apart.
    for confidence, starts in ((0.9, [0.0, 2.08, 5.92, 9.76, 13.6]), (0.1, [0.0, 3.84, 7.68, 11.52])):
        dance = rhythm(16.5, [1.0], Tempo(125.0, 0.16, confidence))
        _, takes = compose(dance, 16.5, models(encoders=FakeEncoders()), GenerateOptions(candidates=1), "aa", quiet)
        assert [take.window.start for take in takes] == starts


def test_the_record_says_how_loud_the_music_is_and_why(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=6)
    generated = made(video, 6.0, GenerateOptions(loudness=-40.0))
    level = generated.record["music"]["level"]  # type: ignore[index]
    assert (level["wanted"], level["decided_by"]) == (-40.0, "loudness")
    assert integrated_loudness(generated.music.samples, RATE) == pytest.approx(level["loudness"], abs=0.01)
    # Clicks over noise have peaks far above their loudness.
    loud = made(video, 6.0, GenerateOptions())
    assert loud.music.level.decided_by == "peak"
    assert true_peak(loud.music.samples) == pytest.approx(10 ** (-1.01 / 20), rel=1e-3)
    for wrong in (0.1, -70.1, float("nan")):
        with pytest.raises(UsageError, match="loudness must lie between -70 and 0 LUFS"):
            GenerateOptions(loudness=wrong)
    with pytest.raises(UsageError, match="ending must be one of fade, hit, none"):
        GenerateOptions(ending="bang")  # type: ignore[arg-type]


def test_words_tell_the_first_beat_where_the_backbone_knows_it() -> None:
    used = models()
    used.backbone.speaks_tempo = True
    dance = rhythm(12.0, [1.0], Tempo(120.0, 0.2, 0.9))
    text = window_prompt(dance, Window(1, 3.84, 5.12), used, GenerateOptions(rhythm="words")).text
    assert "120 bpm and first beat at 0.36 seconds" in text


def made(video: Path, seconds: float, options: GenerateOptions) -> Generated:
    return generate_music(video, content_digest(video), models(seconds, FakeEncoders()), options, quiet)


def test_all_files_of_a_video(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "dance ☃.mp4", seconds=6, sound=np.ones(44100 * 6, np.float32) * 0.1)
    generated = made(video, 6.0, GenerateOptions("LO"))
    notes = generated.write({suffix: tmp_path / "out" / f"dance ☃{suffix}" for suffix in (".wav", ".mp4", ".json")})
    result = result_of(generated, notes)
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
    # How it was drawn, although nothing was said of that.
    assert document["settings"]["sampling"] == asdict(FullSampling())
    assert document["video"] == {"file": "dance ☃.mp4", "content": content_digest(video), "seconds": 6.0}
    assert document["models"]["encoders"]["sha256"] == "e" * 64
    assert document["models"]["clap"] is None
    assert document["models"]["poses"] == {"fake-pose": "a" * 64}
    assert document["licences"] == {"music": "CC0"}
    assert document["run"]["threads"] == torch.get_num_threads()
    assert document["rhythm"]["tempo"]["bpm"] == pytest.approx(120, rel=0.02)
    start, beats = document["windows"][1]["start"], generated.rhythm.beats
    assert beats.steady
    assert 0.0 < start <= 3.84
    # The fake's columns last 0.08 s.
    assert np.abs(beats.beats - start).min() <= 0.04 + 1e-9
    assert document["music"]["beat_tracker"] == "librosa.beat.beat_track"
    assert torch.__version__.startswith(document["versions"]["torch"])


def test_music_is_saved_by_its_ending(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=1)
    before = video.read_bytes()
    generated = made(video, 1.0, GenerateOptions("lock"))
    for name in ("b.wav", "b.mp4", "b.json"):
        generated.save(tmp_path / "out" / name)
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["b.json", "b.mp4", "b.wav"]
    samples, _ = load_audio(tmp_path / "out" / "b.wav")
    np.testing.assert_allclose(samples, generated.music.samples, atol=1 / 32767)
    written = json.loads((tmp_path / "out" / "b.json").read_text())
    assert written.pop("files") == ["b.wav", "b.mp4"]
    assert written == generated.record
    with pytest.raises(UsageError, match=r"b\.ogg: music is saved as \.wav, \.flac, "):
        generated.save(tmp_path / "b.ogg")
    with pytest.raises(UsageError, match="would replace the video"):
        generated.save(video)
    track = tmp_path / "mine.wav"
    save_wav(track, np.zeros((1, 100), np.float32), 8000)
    kept = track.read_bytes()
    heard = GenerateOptions(genre_audio=track, clap=tmp_path)
    for options, what in ((GenerateOptions(music=track), "track"), (heard, "sound example")):
        with pytest.raises(UsageError, match=f"would replace the {what}"):
            replace(generated, options=options).save(tmp_path / "out" / ".." / "mine.wav")
    assert track.read_bytes() == kept
    assert video.read_bytes() == before


def test_what_was_mended_in_a_video_stands_beside_its_content(make_video, tmp_path: Path) -> None:
    generated = made(make_video(tmp_path / "a.mp4", seconds=1), 1.0, GenerateOptions())
    mended = replace(generated, timeline=replace(generated.timeline, notes=("one", "two")))
    assert mended.record["video"] == {
        "file": "a.mp4", "content": generated.content, "seconds": 1.0, "notes": ["one", "two"]
    }  # fmt: skip
    assert result_of(mended, {}).details["video"] == "one; two"


def test_options_are_checked() -> None:
    with pytest.raises(UsageError, match=r"break \(BR\), house \(HO\)"):
        GenerateOptions(genre="XX")
    with pytest.raises(UsageError, match="steps must"):
        Sampling(steps=0)
    with pytest.raises(UsageError, match="guidance must"):
        Sampling(guidance=float("nan"))
    with pytest.raises(UsageError, match="genre or genre_audio, not both"):
        GenerateOptions("LO", genre_audio=Path("a.wav"), clap=Path("clap"))
    with pytest.raises(UsageError, match="its folder with clap"):
        GenerateOptions(genre_audio=Path("a.wav"))
    with pytest.raises(UsageError, match="give one with genre_audio"):
        GenerateOptions(clap=Path(__file__).parent).check_listening()
    with pytest.raises(UsageError, match="'encoder' or 'words', not 'beat'"):
        GenerateOptions(rhythm="beat")  # type: ignore[arg-type]


def test_genres_go_by_name_or_code() -> None:
    assert [GenerateOptions(name).genre for name in ("lock", "LO", "Street Jazz")] == ["LO", "LO", "JS"]


def test_placeholders_that_will_have_no_effect_are_told() -> None:
    assert GenerateOptions("LO", "a @ tune").doubts == (
        "the prompt holds '@' but no '*': the music will not follow the dance",
    )
    assert GenerateOptions("LO", "a * tune").doubts == ("the prompt holds '*' but no '@': genre has no effect",)
    assert GenerateOptions(None, "a * tune").doubts == GenerateOptions("LO", "funky guitar").doubts == ()


def test_the_run_says_what_the_encoders_are_not_bound_to() -> None:
    used = models(encoders=FakeEncoders())
    assert used.description == "music: fake on cpu; poses: fake-pose on CPUExecutionProvider"
    assert used.encoders is not None
    used.encoders.note = "these are not bound"
    assert used.description.endswith("; these are not bound")


def test_other_music_for_the_same_dance_needs_no_new_poses(make_video, tmp_path: Path) -> None:
    video = make_video(tmp_path / "a.mp4", seconds=2)
    looked: list[Path] = []

    class Poses(FakePoses):
        def estimate(self, video: Path, report=None, timeline=None):
            looked.append(video)
            return super().estimate(video, report, timeline)

    def music(prompt: str, known: DanceCache | None) -> np.ndarray:
        models = Models(Poses(2.0), FakeBackbone(), FakeEncoders(), known=known)  # type: ignore[arg-type]
        options = GenerateOptions(genre="lock", prompt=prompt)
        return generate_music(video, content_digest(video), models, options, lambda *_: None).music.samples

    files = FileCache(tmp_path / "cache")
    first, other = (music(prompt, DanceCache(files, PoseOptions())) for prompt in ("warm", "cold"))
    assert len(looked) == 1
    np.testing.assert_array_equal(music("warm", None), first)
    np.testing.assert_array_equal(music("cold", None), other)
    assert len(looked) == 3


def empty_room(make_video, folder: Path) -> Path:
    """A video in which the fake finds nobody."""
    video = make_video(folder / "room.mp4", seconds=6)
    video.write_bytes(video.read_bytes() + b"nobody")
    return video


def test_a_video_without_a_dancer_fails_unless_that_is_allowed(make_video, tmp_path: Path) -> None:
    video = empty_room(make_video, tmp_path)
    with pytest.raises(NoPersonError, match=r"nobody was found.*allow_no_dancer=True makes music by the prompt alone"):
        made(video, 6.0, GenerateOptions())
    # Whoever asks for a dancer by number means one.
    with pytest.raises(NoPersonError):
        made(video, 6.0, GenerateOptions(allow_no_dancer=True, dancers="only:3"))


@pytest.mark.parametrize(
    ("encoders", "captioned", "text", "words"),
    [
        (True, False, "a @ music with a steady beat as the rhythm, harp", {"@"}),
        (True, True, "a @ music, harp", {"@"}),
        (False, True, "a lock music, harp", set()),
        (False, False, "funk, a steady beat, tight drums, slap bass, harp", set()),
    ],
)
def test_music_without_a_dancer_is_by_the_prompt_alone(
    make_video, tmp_path: Path, encoders: bool, captioned: bool, text: str, words: set[str]
) -> None:
    video = empty_room(make_video, tmp_path)
    used = models(6.0, FakeEncoders() if encoders else None)
    used.backbone.speaks_tempo = captioned
    options = GenerateOptions("LO", "harp", allow_no_dancer=True, breaks=True)
    generated = generate_music(video, content_digest(video), used, options, quiet)
    assert generated.music.samples.shape == (1, 6 * RATE)
    assert [take.prompt for take in generated.takes] == [text, text]
    assert set(used.backbone.words[1]) == words
    assert generated.pose_source is None
    assert generated.record["notes"] == ["nobody was found in the picture: the music is by the prompt alone"]
    assert generated.record["rhythm"]["tempo"] is None  # type: ignore[index]
    result = result_of(generated, {})
    assert result.summary.endswith("no steady beat, 2 windows, " + generated.notes[0])
    assert result.details["note"] == generated.notes[0]
    assert "notes" not in made(make_video(tmp_path / "a.mp4", seconds=6), 6.0, GenerateOptions()).record


def test_with_encoders_of_another_mode_the_tempo_told_is_that_of_the_beats(make_video, tmp_path: Path) -> None:
    poses = film(groove(seconds=12.0, bpm=116.0), 30.0)

    class Seen(FakePoses):
        def estimate(self, video, report=None, timeline=None):
            return poses

    encoders = FakeEncoders()
    encoders.grid = RhythmGrid("paper")
    used = Models(Seen(12.0), FakeBackbone(), encoders, "e" * 64)  # type: ignore[arg-type]
    video = make_video(tmp_path / "groove.mp4", seconds=12.0)
    made = generate_music(video, "aa", used, GenerateOptions(candidates=1), quiet)
    own = extract_rhythm(poses, RhythmOptions("paper"))
    assert own.tempo is not None
    assert own.tempo.confidence < 0.1
    assert made.rhythm.mode == "paper"
    np.testing.assert_array_equal(made.rhythm.peaks, own.peaks)
    assert made.rhythm.tempo is not None
    assert made.rhythm.tempo.confidence > 0.5
    assert made.rhythm.tempo.bpm == pytest.approx(116.0, rel=0.01)
    assert made.rhythm.tempo == extract_rhythm(poses).tempo


def test_music_goes_on_at_the_tempo_where_nobody_is_seen() -> None:
    dance = groove(seconds=24.0, bpm=116.0)
    poses = film(dance, 30.0)
    (track,) = poses.tracks
    keypoints = track.keypoints.copy()
    # The dancer leaves the picture at 13 s.
    keypoints[track.times > 13.0] = 0.0
    found = extract_rhythm(replace(poses, tracks=(replace(track, keypoints=keypoints),)))
    assert found.beats.steady
    used = models(24.0, FakeEncoders())
    _, takes = compose(found, 24.0, used, GenerateOptions(candidates=1), "aa", quiet)
    late = [take.window.start for take in takes if take.window.start > 14.0]
    assert late
    period = 60 / 116
    for start in late:
        off = (start - 0.31) % period
        assert min(off, period - off) <= 0.04 + 0.03
    # "*" has a step for each of the beats that go on: a window of 5.12 s holds nine or ten.
    for words in used.backbone.words[-len(late) :]:
        assert int(words["*"].sum()) >= 9

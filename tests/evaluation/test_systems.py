"""Scoring made-up clips whose scores a hand calculation gives."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from d2m_cli.errors import AudioError, InputError, UsageError
from d2m_cli.evaluation.genre.divergence import GENRES
from d2m_cli.evaluation.models import Models, dance_beats
from d2m_cli.evaluation.pairing import ClipFacts, Missing, Pairing
from d2m_cli.evaluation.results import Evaluation
from d2m_cli.evaluation.rhythm.scores import GROUPS, ONSET_GROUPS
from d2m_cli.evaluation.rhythm.summary import NO_DIFFERENCE, NO_VERDICT
from d2m_cli.evaluation.seeds import Seed
from d2m_cli.evaluation.sound.embedding import mono_at
from d2m_cli.evaluation.systems import score_systems
from d2m_cli.evaluation.true_beats import TrueBeats
from d2m_cli.ground.progress import Progress
from d2m_cli.media.audio import save_wav
from d2m_cli.pose.io import load_poses, save_poses
from tests.evaluation.sounds import clicks, metronome
from tests.training.made import bobbing

RATE, SECONDS = 16000, 6.0
BPM = (96.0, 108.0, 120.0, 132.0)
QUIET = Progress(quiet=True)


class Loudness:
    """Embeds by how loud each half second is, and takes loud music for house; what is shorter it can't hear."""

    name, sample_rate, width, classes = "loudness", 8000, 1, GENRES
    same_music = ()

    def embed(self, samples: np.ndarray, rate: int) -> np.ndarray:
        mono = mono_at(samples, rate, 8000)
        if len(mono) < 4000:
            raise AudioError("too short")
        return np.abs(mono[: len(mono) // 4000 * 4000]).reshape(-1, 4000).mean(1, keepdims=True)

    def genres(self, samples: np.ndarray, rate: int) -> np.ndarray:
        loud = bool(self.embed(samples, rate).mean() > 1e-4)
        heard = np.full(10, 0.05)
        heard[GENRES.index("HO" if loud else "LO")] = 0.55
        return heard


def play(path: Path, beats: np.ndarray, seconds: float = SECONDS, rate: int = RATE, channels: int = 1) -> Path:
    path.parent.mkdir(exist_ok=True)
    save_wav(path, np.repeat(clicks(beats, seconds, rate), channels, 0).astype(np.float32), rate)
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("systems")
    for bpm in BPM:
        beats = metronome(bpm, SECONDS)
        play(made / "true" / f"{bpm:.0f}.wav", beats)
        play(made / "same" / f"{bpm:.0f}.wav", beats, rate=22050, channels=2)
        play(made / "late" / f"{bpm:.0f}.wav", metronome(bpm, SECONDS, 0.2 + 30 / bpm))
    return made


def pairing(folder: Path, *systems: str, **changed: Any) -> Pairing:
    clips = tuple(ClipFacts(f"{bpm:.0f}", f"song {bpm:.0f}", "HO", None) for bpm in BPM)

    def files(name: str) -> dict[str, Path]:
        return {clip.name: folder / name / f"{clip.name}.wav" for clip in clips}

    seeds = {name: (Seed(name, files(name)),) for name in systems}
    values = {"clips": clips, "systems": seeds, "reference": files("true")}
    return Pairing(**{**values, "missing": (), **changed})


def scored(pairs: Pairing, models: Models | None = None, draws: int = 20) -> Evaluation:
    return score_systems(pairs, models or Models(), QUIET, resamples=200, draws=draws)


@pytest.fixture(scope="module")
def both(folder: Path) -> Evaluation:
    ear = Loudness()
    return scored(pairing(folder, "same", "late"), Models((ear,), (ear,)), 200)


def protocol(found: Evaluation, system: int, name: str) -> Any:
    return next(one for one in found.systems[system].rhythm.system.protocols if one.protocol == name)


def test_the_same_music_at_another_rate_and_in_stereo_is_perfect(both: Evaluation) -> None:
    for name in ("paper", "beats70", "beats200", "bins5"):
        scores = protocol(both, 0, name)
        assert (scores.f1.value, scores.f1.low, scores.f1.high) == pytest.approx((1.0, 1.0, 1.0), abs=0.03), name
    scores = both.systems[0].rhythm.system
    assert scores.tempo.accuracy1_4.value == 1.0
    assert scores.tempo.median_octave_error < 0.01
    assert scores.alignment_reference.value > 0.95
    assert scores.continuity is None  # of clips under 10 s


def test_music_half_a_period_late_hits_no_beat(both: Evaluation) -> None:
    scores = protocol(both, 1, "beats70")
    assert (scores.bcs.value, scores.bhs.value, scores.f1.value) == (0.0, 0.0, 0.0)
    assert both.systems[1].rhythm.system.tempo.accuracy1_4.value == 1.0
    # 0.227 to 0.312 s away, at a sigma of 0.05 s.
    assert both.systems[1].rhythm.system.alignment_reference.value < 0.001


def test_a_metronome_of_random_phase_hits_by_the_width_of_the_window(both: Evaluation) -> None:
    floor = next(one for one in both.systems[0].rhythm.floors if one.name == "metronome at the true tempo")
    # A window of 0.14 s in a period of 60 / bpm.
    expected = np.mean([0.14 * bpm / 60.0 for bpm in BPM])
    beats = next(one for one in floor.protocols if one.protocol == "beats70")
    assert beats.f1.value == pytest.approx(expected, abs=0.05)
    assert beats.f1.low < expected < beats.f1.high


def test_chance_is_the_same_whether_drawn_for_one_system_or_for_several(folder: Path, both: Evaluation) -> None:
    alone = scored(pairing(folder, "late"), draws=200).systems[0].rhythm
    assert alone.floors == both.systems[1].rhythm.floors
    assert alone == both.systems[1].rhythm
    assert alone.draws == 200


def test_differences_are_paired(both: Evaluation) -> None:
    (comparison,) = both.comparisons
    found = {one.measure: one for one in comparison.differences}
    assert (comparison.first, comparison.second) == ("same", "late")
    assert found["beats70.f1"].difference == pytest.approx(1.0, abs=0.03)
    assert found["beats70.f1"].verdict == "first is higher"
    assert found["tempo.accuracy1_4"].difference == 0.0
    assert found["tempo.accuracy1_4"].verdict == NO_DIFFERENCE
    assert found["genre.accuracy (loudness)"].verdict == NO_DIFFERENCE


def test_distances_and_genres_of_the_same_sound(both: Evaluation) -> None:
    same = both.systems[0]
    fad = next(one for one in same.distances if one.kind == "FAD")
    assert fad.column == "FAD (loudness)"
    assert fad.value == pytest.approx(0.0, abs=1e-4)
    (genre,) = same.genres
    # -ln 0.55, and nothing between two clips that sound alike.
    assert genre.estimates["genre.kld_label"].value == pytest.approx(0.5978, abs=1e-4)
    assert genre.estimates["genre.kld_reference"].value == pytest.approx(0.0, abs=1e-9)
    assert (genre.estimates["genre.accuracy"].low, genre.estimates["genre.accuracy"].high) == (1.0, 1.0)


def test_json_holds_numbers_alone(both: Evaluation) -> None:
    document = json.loads(json.dumps(both.to_json(), allow_nan=False))
    assert document["format"] == "d2m-evaluation"
    assert [system["name"] for system in document["systems"]] == ["same", "late"]
    assert document["systems"][0]["rhythm"]["tracker"].startswith("predominant local pulse")
    assert len(document["systems"][0]["rhythm"]["clips"]) == 4


def test_silence_scores_nothing_and_is_named(folder: Path, tmp_path: Path) -> None:
    pairs = pairing(folder, "same")
    save_wav(tmp_path / "96.wav", np.zeros((1, RATE * 6), np.float32), RATE)
    play(tmp_path / "108.wav", np.array([0.1]), seconds=0.3)
    files = {**pairs.systems["same"][0].files, "96": tmp_path / "96.wav", "108": tmp_path / "108.wav"}
    ear = Loudness()
    found = scored(
        pairing(folder, "same", "mixed", systems={"same": pairs.systems["same"], "mixed": (Seed("mixed", files),)}),
        Models((ear,), (ear,)),
    )
    assert protocol(found, 1, "beats70").f1.value == pytest.approx(0.5, abs=0.02)
    told = "\n".join(found.remarks)
    assert "mixed: 96: generated: no onsets found" in told
    assert "mixed: 96: generated: no beats found" in told
    assert "mixed: 108: generated: 0.30 s are too short for a beat" in told
    assert "mixed: 96: silence counts in FAD and KAD (loudness)" in told
    assert "mixed: 108: not in FAD and KAD (loudness): too short" in told
    assert "mixed: 1 clip is shorter than the reference" in told
    assert "108: 5.70 s" in told
    # 3 of 4 are heard, of which the silent one is taken for another genre.
    genre = found.systems[1].genres[0]
    assert genre.scores.left_out == (("108", "108: too short"),)
    assert genre.estimates["genre.accuracy"].value == pytest.approx(2 / 3)
    # Compared on the three that both have.
    line = next(one for one in found.comparisons[0].differences if one.measure == "genre.accuracy (loudness)")
    assert line.difference == pytest.approx(1 / 3)
    json.dumps(found.to_json(), allow_nan=False)


def test_a_reference_without_beats_is_said_once(folder: Path, tmp_path: Path) -> None:
    save_wav(tmp_path / "96.wav", np.zeros((1, RATE * 6), np.float32), RATE)
    pairs = pairing(folder, "same", "late")
    found = scored(pairing(folder, "same", "late", reference={**pairs.reference, "96": tmp_path / "96.wav"}))
    assert found.remarks.count("96: reference: no beats found") == 1
    assert not [remark for remark in found.remarks if remark.startswith(("same: 96: ref", "late: 96: ref"))]
    assert protocol(found, 0, "beats70").f1.value == pytest.approx(0.75, abs=0.02)


def test_files_that_cannot_be_read_are_left_out_of_all_systems(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "96.wav").write_bytes(b"no sound at all")
    pairs = pairing(folder, "same", "late")
    late = Seed("late", {**pairs.systems["late"][0].files, "96": tmp_path / "96.wav"})
    systems = {**pairs.systems, "late": (late,)}
    found = scored(pairing(folder, "same", systems=systems, missing=(Missing("x", ("no reference",)),)))
    assert (found.clips, found.songs) == (3, 3)
    assert [one.clip for one in found.missing] == ["x", "96"]
    assert "96.wav" in found.missing[1].lacks[0]
    broken = (Seed("same", {clip.name: tmp_path / "96.wav" for clip in pairs.clips}),)
    with pytest.raises(InputError, match="no clip can be read in every folder"):
        scored(pairing(folder, "same", systems={"same": broken}))


def test_one_clip_has_no_interval_and_says_so(folder: Path) -> None:
    found = scored(pairing(folder, "same", "late", clips=(ClipFacts("120", "120", None, None),)))
    f1 = protocol(found, 0, "beats70").f1
    assert (f1.value, f1.low, f1.high) == (pytest.approx(1.0), None, None)
    assert protocol(found, 0, "paper").csd is None
    assert any("all clips are of one song: there are no intervals" in remark for remark in found.remarks)
    assert {one.verdict for one in found.comparisons[0].differences} == {"one song: no interval"}
    assert [one.name for one in found.systems[0].rhythm.floors] == [
        "metronome at the true tempo",
        "metronome at a random tempo",
    ]
    json.dumps(found.to_json(), allow_nan=False)


def test_few_songs_are_said(both: Evaluation) -> None:
    assert "intervals over 4 songs are too narrow: read them as the least uncertainty there is" in both.remarks


def test_a_dance_in_place_of_true_music(tmp_path: Path) -> None:
    paths = {}
    for bpm in (96, 120):
        paths[str(bpm)] = tmp_path / f"{bpm}.pose.npz"
        save_poses(paths[str(bpm)], bobbing(bpm, 0.2, SECONDS))
        play(tmp_path / f"{bpm}.wav", metronome(bpm, SECONDS))
    clips = tuple(ClipFacts(name, name, None, None) for name in paths)
    music = {name: tmp_path / f"{name}.wav" for name in paths}
    (tmp_path / "bad.pose.npz").write_bytes(b"no poses")
    ear = Loudness()
    pairs = Pairing(
        (*clips, ClipFacts("bad", "bad", None, None)),
        {"x": (Seed("x", {**music, "bad": music["96"]}),)},
        None,
        (),
        dances={**paths, "bad": tmp_path / "bad.pose.npz"},
    )
    found = scored(pairs, Models((), (ear,), dance=dance_beats(load_poses)))
    assert found.clips == 2
    assert [one.clip for one in found.missing] == ["bad"]
    assert found.systems[0].distances == ()
    assert "genre.kld_reference" not in found.systems[0].genres[0].estimates
    assert protocol(found, 0, "beats200").bhs.value > 0.5


def test_prompts_are_read_before_the_work(folder: Path) -> None:
    class Deaf:
        def read(self, prompt: str) -> None:
            raise UsageError(f"no plain words: {prompt}")

    clips = (ClipFacts("120", "120", None, "@ music"),)
    with pytest.raises(UsageError, match="no plain words: @ music"):
        scored(pairing(folder, "same", clips=clips), Models(clap=Deaf()))  # type: ignore[arg-type]


def test_a_clap_score_is_a_mean_over_clips_with_prompts(folder: Path) -> None:
    class Half:
        def read(self, prompt: str) -> None:
            pass

        def score(self, samples: np.ndarray, rate: int, prompt: str) -> float:
            if prompt == "short":
                raise AudioError("too short for clap")
            return {"a": 0.2, "b": 0.4}[prompt]

    clips = tuple(
        ClipFacts(f"{bpm:.0f}", str(bpm), None, words)
        for bpm, words in zip(BPM, ("a", "b", "short", None), strict=True)
    )
    found = scored(pairing(folder, "same", "late", clips=clips), Models(clap=Half()))  # type: ignore[arg-type]
    text = found.systems[0].text
    assert (text.score.value, text.clips) == (pytest.approx(0.3), 2)
    assert "120: no CLAP score: too short for clap" in found.remarks
    assert next(one for one in found.comparisons[0].differences if one.measure == "clap").verdict == NO_DIFFERENCE


def known(bpm: float, first: float = 0.2) -> TrueBeats:
    return TrueBeats(None, bpm, first, "by hand")


def test_the_reference_itself_is_no_measured_ceiling(both: Evaluation) -> None:
    assert both.ceiling is not None
    assert both.ceiling.by_construction == GROUPS
    assert {line.f1.value for line in both.ceiling.rhythm.protocols if line.f1 is not None} == {1.0}
    assert both.no_verdict == ()
    (genre,) = both.ceiling.genres
    # Judged as a system is, but for the distance from itself.
    assert genre.estimates["genre.kld_label"].value == pytest.approx(0.5978, abs=1e-4)
    assert "genre.kld_reference" not in genre.estimates


def test_true_beats_take_the_place_of_tracked_ones(folder: Path) -> None:
    # Those of two clips are half a beat from what the true music plays: half of the true music's clips miss them all.
    beats = {f"{bpm:.0f}": known(bpm, 0.2 + (30.0 / bpm if bpm > 110 else 0.0)) for bpm in BPM}
    found = scored(pairing(folder, "same", "late", beats=beats))
    assert found.reference == "true beats, and the onsets of the true music"
    assert found.ceiling is not None
    ceiling = {line.protocol: line for line in found.ceiling.rhythm.protocols}
    assert ceiling["beats70"].f1.value == pytest.approx(0.5, abs=0.02)
    assert protocol(found, 0, "beats70").f1.value == pytest.approx(0.5, abs=0.02)
    assert protocol(found, 1, "beats70").f1.value == pytest.approx(0.5, abs=0.02)
    # Onsets are still compared with those of the true music, whose own are the reference.
    assert protocol(found, 0, "paper").f1.value == pytest.approx(1.0, abs=0.03)
    assert protocol(found, 1, "paper").f1.value < 0.1
    assert found.ceiling.by_construction == ("paper", "bins5", "loris", "cdcd")
    assert (found.ceiling.shows("paper"), found.ceiling.shows("beats70")) == (False, True)
    assert found.no_verdict == ()
    json.dumps(found.to_json(), allow_nan=False)


def test_true_beats_without_true_music(folder: Path) -> None:
    beats = {f"{bpm:.0f}": known(bpm) for bpm in BPM}
    beats["132"] = TrueBeats((900.0,), None, None, "ms.txt")
    found = scored(pairing(folder, "same", "late", beats=beats, reference=None))
    assert (found.reference, found.ceiling, found.clips) == ("true beats", None, 3)
    assert found.missing[0].lacks == (
        "ms.txt: no beat within the 6.00 s of the clip; times are seconds from its start",
    )
    assert protocol(found, 0, "beats70").f1.value == pytest.approx(1.0, abs=0.03)
    assert protocol(found, 1, "beats70").f1.value == 0.0
    assert found.no_verdict == ONSET_GROUPS
    verdicts = {one.measure: one.verdict for one in found.comparisons[0].differences}
    assert verdicts["paper.f1"] == verdicts["cdcd.bhs"] == NO_VERDICT
    assert verdicts["beats70.f1"] == "first is higher"


def test_a_tempo_that_the_tracker_mishears(folder: Path) -> None:
    # Clicks at 96 bpm are of 48 bpm by those who know: every other beat is one.
    beats = {f"{bpm:.0f}": known(bpm / 2) for bpm in BPM}
    found = scored(pairing(folder, "same", beats=beats))
    assert found.ceiling is not None
    assert found.ceiling.rhythm.tempo.accuracy1_4.value == 0.0
    assert found.ceiling.rhythm.tempo.accuracy2_4.value == 1.0


def test_the_true_music_beside_a_dance(folder: Path, tmp_path: Path) -> None:
    dances = {}
    for bpm in BPM:
        dances[f"{bpm:.0f}"] = tmp_path / f"{bpm:.0f}.pose.npz"
        save_poses(dances[f"{bpm:.0f}"], bobbing(bpm, 0.2, SECONDS))
    ear = Loudness()
    found = scored(pairing(folder, "late", dances=dances), Models((ear,), (ear,), dance=dance_beats(load_poses)))
    assert found.reference.startswith("the dance")
    assert found.no_verdict == ONSET_GROUPS
    assert found.ceiling is not None
    assert found.ceiling.by_construction == ()
    # What another song's reference scores, which is a dance.
    assert found.systems[0].rhythm.floors[2].name == "reference of another song"
    ceiling = next(line for line in found.ceiling.rhythm.protocols if line.protocol == "beats200")
    assert protocol(found, 0, "beats200").f1.value < ceiling.f1.value
    # Sound is compared with the true music all the same.
    assert [one.kind for one in found.systems[0].distances] == ["FAD", "FAD-infinity", "KAD"]


def seeds(folder: Path, *names: str) -> tuple[Seed, ...]:
    return tuple(Seed(name, {f"{bpm:.0f}": folder / name / f"{bpm:.0f}.wav" for bpm in BPM}) for name in names)


def test_seeds_of_a_system_are_scored_together(folder: Path) -> None:
    systems = {"x": seeds(folder, "same", "late"), "y": seeds(folder, "late")}
    ear = Loudness()
    found = scored(pairing(folder, systems=systems), Models((ear,), (ear,)))
    first, second = found.systems
    assert (first.seeds, second.seeds) == (("same", "late"), ("late",))
    f1 = protocol(found, 0, "beats70").f1
    # All of one seed and none of the other.
    assert (f1.value, f1.low, f1.high) == pytest.approx((0.5, 0.0, 1.0), abs=0.03)
    (comparison,) = found.comparisons
    assert (comparison.seeds, comparison.one_seed) == ((2, 1), True)
    line = next(one for one in comparison.differences if one.measure == "beats70.f1")
    assert line.difference == pytest.approx(0.5, abs=0.02)
    assert line.verdict == NO_DIFFERENCE
    assert "one seed of y: intervals and verdicts leave out what another seed would change" in found.remarks
    assert "intervals over few seeds (2 of x) are too narrow: take 5 or more" in found.remarks
    # A distance goes with the number of clips: that of each seed, and their mean.
    fads = [one.distances[0] for one in found.systems]
    assert fads[0].by_seed == pytest.approx((0.0, fads[1].value), abs=1e-4)
    assert fads[0].value == pytest.approx(fads[1].value / 2, abs=1e-4)
    assert fads[1].by_seed == ()
    # Four clips of two seeds.
    assert (first.genres[0].scores.clips, second.genres[0].scores.clips) == (8, 4)
    document = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert document["systems"][0]["seeds"] == ["same", "late"]
    assert [len(scores) for _, scores in document["systems"][0]["rhythm"]["clips"]] == [2] * 4
    assert document["ceiling"]["rhythm"]["name"] == "true music"


def test_remarks_name_the_seed_they_are_about(folder: Path, tmp_path: Path) -> None:
    save_wav(tmp_path / "96.wav", np.zeros((1, 100), np.float32), RATE)
    (same,) = seeds(folder, "same")
    worse = Seed("worse", {**same.files, "96": tmp_path / "96.wav"})
    ear = Loudness()
    found = scored(pairing(folder, systems={"x": (same, worse)}), Models((ear,), (ear,)))
    told = "\n".join(found.remarks)
    assert "worse: 96: generated: no onsets found" in told
    assert "worse: 96: not in FAD and KAD (loudness): too short" in told
    assert "most of all worse: 96: 5.99 s" in told
    assert "one seed" not in told
    assert found.systems[0].genres[0].scores.left_out == (("worse: 96", "96: too short"),)

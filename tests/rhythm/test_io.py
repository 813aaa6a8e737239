"""Rhythm files: written whole, read back the same, refused when they are something else."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import InputError, OutputError
from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm
from d2m_cli.rhythm.io import load_rhythm, rhythm_to_json, save_rhythm
from d2m_cli.rhythm.sequence import Rhythm, RhythmGrid

from .dances import film, groove


@pytest.fixture(scope="module")
def rhythm() -> Rhythm:
    return extract_rhythm(film(groove(seconds=6.0), 30.0))


def test_what_is_written_comes_back(tmp_path: Path, rhythm: Rhythm) -> None:
    path = tmp_path / "deep" / "clip.rhythm.json"
    save_rhythm(path, rhythm, RhythmOptions(), {"file": "clip.mp4"})
    again = load_rhythm(path)
    np.testing.assert_array_equal(again.peaks, rhythm.peaks)
    np.testing.assert_allclose(again.envelope, rhythm.envelope, atol=1e-5)
    assert again.tempo == rhythm.tempo
    assert (again.rate, again.duration, again.mode) == (rhythm.rate, rhythm.duration, rhythm.mode)
    assert again.mapped is not None
    np.testing.assert_allclose(again.beats.beats, rhythm.beats.beats, atol=1e-6)
    np.testing.assert_allclose(again.beats.tempo, rhythm.beats.tempo, atol=1e-4)
    assert (again.beats.bpm, again.beats.confidence) == (rhythm.beats.bpm, rhythm.beats.confidence)
    assert [entry.name for entry in path.parent.iterdir()] == [path.name]


def test_the_file_says_how_it_was_made(tmp_path: Path, rhythm: Rhythm) -> None:
    content = rhythm_to_json(rhythm, RhythmOptions(sectors=8), {"file": "clip.mp4", "content": "ab"})
    assert content["mode"] == "beats"
    assert content["beat_map"]["confidence"] == rhythm.beats.confidence > 0.5
    assert len(content["beat_map"]["tempo"]) == len(content["beats"])
    assert content["settings"]["sectors"] == 8
    assert content["source"]["file"] == "clip.mp4"
    assert set(content["versions"]) == {"d2m", "numpy", "scipy"}
    assert content["tempo"]["confidence"] > 0.5
    assert content["beats"][0] == pytest.approx(content["tempo"]["first_beat"], abs=1e-6)
    json.dumps(content, allow_nan=False)


def test_windows_of_mode_published_come_back(tmp_path: Path) -> None:
    made = extract_rhythm(film(groove(seconds=9.0), 30.0), RhythmOptions("published"))
    save_rhythm(tmp_path / "a.json", made)
    again = load_rhythm(tmp_path / "a.json")
    np.testing.assert_array_equal(again.envelope, made.envelope)
    grid = RhythmGrid("published", 60.0, 303)
    for start in np.arange(-1.0, 8.0, 0.13):
        np.testing.assert_array_equal(again.window(start, grid), made.window(start, grid))


def test_a_file_of_mode_published_at_50_hz_can_still_be_read(tmp_path: Path) -> None:
    old = Rhythm(np.zeros(51, np.float32), 50.0, np.array([0.5]), 1.0, None, "published")
    save_rhythm(tmp_path / "a.json", old)
    np.testing.assert_array_equal(load_rhythm(tmp_path / "a.json").peaks, [0.5])


def test_without_a_tempo(tmp_path: Path) -> None:
    nothing = Rhythm(np.zeros(51, np.float32), 50.0, np.zeros(0), 1.0, None, "paper")
    save_rhythm(tmp_path / "a.json", nothing)
    again = load_rhythm(tmp_path / "a.json")
    assert again.tempo is None
    assert again.peaks.shape == (0,)


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("", "not JSON"),
        ("\xff\x00", "not JSON"),
        ("[]", "not a rhythm file"),
        ('{"format": "other"}', "not a rhythm file"),
        ('{"format": "d2m-rhythm", "format_version": 99}', "version 99"),
        ('{"format": "d2m-rhythm", "format_version": 1}', "damaged"),
        (
            '{"format": "d2m-rhythm", "format_version": 1, "tempo": null, "envelope": [0], "rate": 50, "peaks": [2, 1],'
            ' "duration": 3, "mode": "stable"}',
            "damaged",
        ),
    ],
)
def test_other_files_are_refused_by_name(tmp_path: Path, text: str, word: str) -> None:
    path = tmp_path / "odd.json"
    path.write_bytes(text.encode("latin-1"))
    with pytest.raises(InputError, match=word) as caught:
        load_rhythm(path)
    assert "odd.json" in str(caught.value)


WHOLE = {
    "format": "d2m-rhythm", "format_version": 1, "mode": "stable", "duration": 4.0, "rate": 50.0, "peaks": [1.0, 2.0],
    "tempo": {"bpm": 60.0, "first_beat": 0.0, "confidence": 1.0}, "envelope": [0.5] * 201,
}  # fmt: skip


@pytest.mark.parametrize(
    "damage",
    [
        {"duration": float("nan")},
        {"duration": float("inf")},
        {"duration": -1.0},
        {"duration": 1e9},
        {"duration": 3600.0},
        {"duration": "4"},
        {"duration": [4]},
        {"duration": True},
        {"duration": int("9" * 400)},
        {"rate": 0},
        {"rate": -50.0},
        {"rate": 1e300},
        {"rate": float("nan")},
        {"rate": None},
        {"peaks": [1.0, 9.0]},
        {"peaks": [-1.0, 1.0]},
        {"peaks": [1.0, 1.0]},
        {"peaks": [float("nan")]},
        {"peaks": [1.0, "2.0"]},
        {"peaks": [[1.0], [2.0]]},
        {"peaks": {"1": 1.0}},
        {"peaks": 1.0},
        {"envelope": [1e9] * 201},
        {"envelope": [-1.0] * 201},
        {"envelope": [1e300] * 201},
        {"envelope": [float("inf")] * 201},
        {"envelope": [int("9" * 400)] * 201},
        {"envelope": [0.5] * 20_000},
        {"envelope": []},
        {"envelope": "0.5"},
        {"tempo": {"bpm": 0.0, "first_beat": 0.0, "confidence": 1.0}},
        {"tempo": {"bpm": float("inf"), "first_beat": 0.0, "confidence": 1.0}},
        {"tempo": {"bpm": 60.0, "first_beat": 5.0, "confidence": 1.0}},
        {"tempo": {"bpm": 60.0, "first_beat": 0.0, "confidence": 2.0}},
        {"tempo": {"bpm": 60.0}},
        {"tempo": "60"},
        {"mode": ["stable"]},
        {"format": ["d2m-rhythm"]},
        {"format_version": {}},
    ],
    ids=str,
)
def test_damaged_values_are_refused_by_name(tmp_path: Path, damage: dict[str, object]) -> None:
    path = tmp_path / "odd.json"
    path.write_text(json.dumps(WHOLE))
    assert load_rhythm(path).duration == 4.0
    path.write_text(json.dumps(WHOLE | damage))
    with pytest.raises(InputError, match=r"odd\.json"):
        load_rhythm(path)


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "[" * 5000 + "]" * 5000], ids=len)
def test_lists_within_lists_without_end(tmp_path: Path, text: str) -> None:
    (tmp_path / "deep.json").write_text(text)
    with pytest.raises(InputError, match=r"deep\.json"):
        load_rhythm(tmp_path / "deep.json")


def test_the_development_datas_deep_file(shared: Callable[[str], Path]) -> None:
    path = shared("damaged/deep.rhythm.json")
    with pytest.raises(InputError, match="lists within lists"):
        load_rhythm(path)


def test_a_file_too_large_to_be_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps(WHOLE))
    monkeypatch.setattr("d2m_cli.rhythm.io.LARGEST", 100)
    with pytest.raises(InputError, match=r"a\.json.*more than"):
        load_rhythm(path)


def test_a_missing_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="can't read"):
        load_rhythm(tmp_path / "none.json")


def test_a_folder_in_the_way(tmp_path: Path, rhythm: Rhythm) -> None:
    (tmp_path / "a.json").mkdir()
    with pytest.raises(OutputError):
        save_rhythm(tmp_path / "a.json", rhythm)

from __future__ import annotations

import base64
import json
import re
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import mir_eval
import numpy as np
import pytest

from d2m_cli.ground.ledger_entries import Artefact, Entry
from d2m_cli.report.page.drawing import BANDS, COLUMNS_PER_SECOND, draw, judge, spectrogram, thin_skeletons, tie
from d2m_cli.report.page.html import render
from d2m_cli.report.page.listing import link, list_failed, list_made
from d2m_cli.report.page.sidecar import head_of, is_drawing, read_head, write_drawing
from d2m_cli.report.page.values import UNSEEN, Head, Listed
from tests.report.page_folder import BEATS, PROMPT, RATE, SECONDS, clicks, drawing, record, track


class Page(HTMLParser):
    """Elements, attributes and text of a page, as a browser reads them."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def listed(stem: str = "clip", **changes: object) -> Listed:
    return of_record(record(f"{stem}.mp4", **changes), stem)


def of_record(document: dict[str, Any], stem: str = "clip") -> Listed:
    artefacts = tuple(Artefact(f"{stem}{suffix}", 1, "0") for suffix in (".wav", ".mp4", ".json"))
    entry = Entry(f"{stem}.mp4", "c", "s", "done", artefacts, seconds=75.0, place=f"../{stem}.mp4", at=1.0)
    return list_made(stem, entry, document, f"report_files/{stem}.js", None)


def test_ties_bind_what_is_each_others_nearest() -> None:
    dance, music = np.array([1.0, 2.0, 3.0, 4.0]), np.array([0.85, 1.05, 2.2, 3.25, 3.9])
    # 0.85 is nearest to 1.0, which is nearer to 1.05; 3.25 is 0.25 s off.
    np.testing.assert_allclose(tie(dance, music), [[1.0, 1.05], [2.0, 2.2], [4.0, 3.9]])
    assert tie(dance, np.zeros(0)).shape == (0, 2)


def test_music_on_the_beat_scores_one_and_chance_what_a_metronome_does() -> None:
    drawn = drawing()
    beats = drawn.music_beats
    beat_score, onset_score = drawn.scores
    assert (beat_score.protocol, onset_score.protocol) == ("beats70", "paper")
    expected = mir_eval.beat.f_measure(BEATS, beats, f_measure_threshold=0.07)
    assert beat_score.f1 == pytest.approx(expected, abs=1e-3)
    # A metronome at 0.5 s that starts anywhere meets all beats within 0.07 s in 0.14 of 0.5 s of starts.
    assert beat_score.chance == pytest.approx(0.28, abs=0.08)
    assert beat_score.chance_low <= beat_score.chance <= beat_score.chance_high
    assert onset_score.f1 > 0.9
    np.testing.assert_allclose(drawn.onsets, BEATS, atol=0.06)


def test_a_dance_without_a_steady_beat_is_tied_by_its_accents() -> None:
    drawn = draw(clicks(BEATS), RATE, accents=BEATS[::2], dance_beats=(), bpm=None, tracks=None, no_skeletons="Gone.")
    assert not drawn.tied_to_beats
    assert set(drawn.ties[:, 0]) <= set(BEATS[::2])
    assert len(drawn.ties) == 3
    assert drawn.left_out == ("Gone.",)


def test_silence_and_nobody_are_drawn_too() -> None:
    drawn = draw(np.zeros((2, RATE), np.float32), RATE, accents=(), dance_beats=(), bpm=None, tracks=None)
    assert drawn.scores == ()
    assert not len(drawn.onsets)
    assert drawn.spectrogram.levels.max() == 0


def test_the_spectrogram_is_bright_where_the_tone_is() -> None:
    clock = np.arange(2 * RATE) / RATE
    tone = np.where(clock < 1.0, 0.5 * np.sin(2 * np.pi * 2000 * clock), 0.0).astype(np.float32)[None]
    found = spectrogram(tone, RATE)
    assert found.levels.shape == (2 * COLUMNS_PER_SECOND + 1, BANDS)
    assert found.rate == pytest.approx(COLUMNS_PER_SECOND)
    import librosa

    centres = librosa.mel_frequencies(BANDS + 2, fmin=0.0, fmax=10_000.0)[1:-1]
    assert found.levels[20].argmax() == np.abs(centres - 2000).argmin()
    assert found.levels[20].max() == 255
    assert found.levels[60].max() == 0


def test_long_music_has_no_more_columns_than_may_be(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d2m_cli.report.page.drawing.MOST_COLUMNS", 50)
    found = spectrogram(clicks(BEATS), RATE)
    # 121 columns, three of them in one.
    assert len(found.levels) == 41
    assert found.rate == pytest.approx(COLUMNS_PER_SECOND / 3)


def test_skeletons_lie_where_the_joints_are() -> None:
    found = thin_skeletons([track()], SECONDS)
    assert found.points.shape == (1, 46, 17, 2)
    np.testing.assert_allclose(found.points[0, 7, 3] / (UNSEEN - 1) * [192, 108], [52.5, 32.5], atol=0.01)
    hidden = track().keypoints.copy()
    hidden[:, 5, 2] = 0.1
    unseen = thin_skeletons([replace(track(), keypoints=hidden)], SECONDS)
    assert (unseen.points[0, :, 5] == UNSEEN).all()
    # After the last picture comes none.
    assert (thin_skeletons([track()], 5.0).points[0, -1] == UNSEEN).all()


def test_skeletons_of_a_very_long_video_are_left_out_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("d2m_cli.report.page.drawing.MOST_SKELETONS", 10)
    drawn = draw(clicks(BEATS), RATE, accents=BEATS, dance_beats=BEATS, bpm=120.0, tracks=[track()])
    assert drawn.skeletons is None
    assert "too long" in drawn.left_out[0]


def test_a_drawing_comes_back_with_its_head_and_its_values(tmp_path: Path) -> None:
    path, drawn = tmp_path / "clip.js", drawing()
    write_drawing(path, drawn, head_of(drawn, "abc"))
    assert is_drawing(path)
    head = read_head(path)
    assert head == head_of(drawn, "abc")
    assert head.counts == (6, 6, len(drawn.music_beats), len(drawn.onsets), len(drawn.ties))
    first, second = path.read_text().splitlines()
    values = json.loads(re.fullmatch(r"d2mReport\((.*)\);", second)[1])
    assert values["danceBeats"] == BEATS.tolist()
    points = np.frombuffer(base64.b64decode(values["skeletons"]["points"]), "<u2")
    np.testing.assert_array_equal(points.reshape(drawn.skeletons.points.shape), drawn.skeletons.points)
    assert first.endswith("*/")


def test_each_take_is_drawn_as_what_is_heard_in_it(tmp_path: Path) -> None:
    # The second is 0.1 s late: within the 0.2 s of ties, and beyond the 0.07 s of what counts as in time.
    sounds = [(1, clicks(BEATS)), (2, clicks(BEATS + 0.1))]
    drawn = draw(clicks(BEATS), RATE, accents=BEATS, dance_beats=BEATS, bpm=120.0, tracks=None, takes=sounds)
    first, second = drawn.takes
    np.testing.assert_array_equal(first.music_beats, drawn.music_beats)
    np.testing.assert_array_equal(first.spectrogram.levels, drawn.spectrogram.levels)
    assert first.scores == drawn.scores
    np.testing.assert_allclose(second.onsets, BEATS + 0.1, atol=0.06)
    np.testing.assert_allclose(second.ties[:, 1] - second.ties[:, 0], 0.1, atol=0.06)
    assert second.scores[0].f1 < 0.5 < first.scores[0].f1
    path = tmp_path / "clip.js"
    write_drawing(path, drawn, head_of(drawn, "abc"))
    head = read_head(path)
    assert head == head_of(drawn, "abc")
    assert [take.number for take in head.takes] == [1, 2]
    assert head.takes[1].counts == (6, 6, len(second.music_beats), len(second.onsets), len(second.ties))
    values = json.loads(path.read_text().splitlines()[1].removeprefix("d2mReport(").removesuffix(");"))
    np.testing.assert_allclose(values["takes"]["2"]["musicBeats"], second.music_beats, atol=1e-4)


def test_a_drawing_from_before_takes_were_drawn_is_read(tmp_path: Path) -> None:
    path, drawn = tmp_path / "clip.js", drawing()
    write_drawing(path, drawn, head_of(drawn, "abc"))
    text = path.read_text()
    assert text.count(', "takes": []') == 1
    path.write_text(text.replace(', "takes": []', ""))
    assert read_head(path) == head_of(drawn, "abc")


def test_a_reason_can_not_end_the_comment_that_it_stands_in(tmp_path: Path) -> None:
    path = tmp_path / "clip.js"
    write_drawing(path, None, Head("abc", left_out=("a*/alert(1)/*</script>",)))
    assert path.read_text().count("*/") == 1
    assert read_head(path).left_out == ("a*/alert(1)/*</script>",)


@pytest.mark.parametrize("text", ["", "/*d2m-report 9 {}*/\n", "/*d2m-report 1 {}*/\n", "/*d2m-report 1 {\n", "a\n"])
def test_what_is_no_drawing_has_no_head(tmp_path: Path, text: str) -> None:
    (tmp_path / "clip.js").write_text(text)
    assert read_head(tmp_path / "clip.js") is None


def test_links_lead_to_files_of_any_name() -> None:
    assert link("a b/c#d?e%.mp4") == "./a%20b/c%23d%3Fe%25.mp4"
    assert link("http:x.mp4") == "./http%3Ax.mp4"
    assert link("ü\udcff.mp4") == "./%C3%BC%FF.mp4"


def test_all_that_users_name_is_escaped() -> None:
    def page_of(name: str, prompt: str, word: str) -> Page:
        failed = list_failed(name, Entry(name, "", "", "failed"), "failed", word)
        return Page(render([failed, listed(name, prompt=prompt, unread=word)], title=name))

    name = "<script>alert(1)</script>"
    page, plain = page_of(name, PROMPT, "</ul><b>"), page_of("name", "prompt", "word")
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    assert [set(attributes) for _, attributes in page.tags] == [set(attributes) for _, attributes in plain.tags]
    text = "".join(page.texts)
    assert PROMPT in text
    assert text.count(name) >= 3
    (video,) = page.all("video")
    assert video["data-src"] == "./%3Cscript%3Ealert%281%29%3C/script%3E.mp4"
    assert name in video["aria-label"]


def test_the_page_names_nothing_outside() -> None:
    page = render([listed()], title="out")
    assert not re.search(r"(https?:)?//[a-z]", page.replace("// ", ""), re.IGNORECASE)
    assert "url(" not in page
    assert "@import" not in page


def test_what_was_written_decides_what_is_played() -> None:
    both = listed()
    assert both.picture == "./clip.mp4"
    assert [(sound.href, sound.alone) for sound in both.sounds] == [(None, "./clip.wav")]
    only_sound = listed("a/clip", files=["clip.flac"])
    assert only_sound.picture == "./../a/clip.mp4"
    assert [(sound.href, sound.alone) for sound in only_sound.sounds] == [("./a/clip.flac", None)]
    takes = [{"number": 1, "file": "clip.take-1.wav"}, {"number": 2, "file": "clip.take-2.wav"}]
    kept = listed("a/clip", takes=takes)
    assert [(sound.label, sound.href) for sound in kept.sounds] == [
        ("The music chosen", None),
        ("Take 1", "./a/clip.take-1.wav"),
        ("Take 2", "./a/clip.take-2.wav"),
    ]
    assert [name for name, _ in kept.files][-2:] == ["clip.take-1.wav", "clip.take-2.wav"]


def test_what_is_said_of_a_take_comes_with_it() -> None:
    sound = [(1, clicks(BEATS + 0.1))]
    drawn = draw(clicks(BEATS), RATE, accents=BEATS, dance_beats=BEATS, bpm=120.0, tracks=None, takes=sound)
    takes = [{"number": 1, "file": "clip.take-1.wav"}, {"number": 2, "file": "clip.take-2.wav"}]
    entry = Entry("clip.mp4", "c", "s", "done", (Artefact("clip.mp4", 1, "0"),))
    made = list_made("clip", entry, record("clip.mp4", takes=takes), "clip.js", head_of(drawn, "abc"))
    chosen, first, second = Page(render([made], title="out")).all("input")[2:]
    assert "data-told" not in chosen
    score = drawn.takes[0].scores[0]
    assert f"At {score.hits} of the 6 beats of the dance" in first["data-told"]
    # The second was not drawn.
    assert second["data-src"] == "./clip.take-2.wav"
    assert "data-told" not in second


def test_facts_and_notes_are_in_words() -> None:
    page = "".join(Page(render([listed(unread="a theremin", seed=7)], title="out")).texts)
    for text in ("lock", "120.0 bpm", "embedded", "MIT", "1:15 min for 3.0 s of music", "a theremin", "1970-01-01"):
        assert text in page


def test_a_track_of_ones_own_is_told_as_such() -> None:
    document = record("clip.mp4")
    # As it is recorded: no model, so nothing that steers one.
    document["settings"] = {"dancers": "largest", "decoder": "auto", "music": {"file": "song.mp3", "content": "c"}}
    document["models"]["backbone"] = {"name": "track:song.mp3", "sha256": "c", "licence": "that of the track"}
    document |= {"licences": {"music": "that of the track"}, "windows": []}
    found = of_record(document)
    assert (found.state, found.model, found.seed) == ("done", "none, from song.mp3", "")
    assert "Takes of each window" not in dict(found.facts)
    texts = Page(render([found], title="out")).texts
    assert "none, from song.mp3" in texts
    assert "that of the track" in texts
    assert "Licence of its weights" not in texts
    assert texts.count("Seed") == 1  # the heading of the table


def test_music_too_short_for_a_loudness_is_on_the_page() -> None:
    document = record("clip.mp4")
    document["music"]["level"] = {"wanted": -14.0, "loudness": None, "true_peak": -1.0, "decided_by": "peak"}
    found = of_record(document)
    assert found.state == "done"
    assert found.notes == ()
    assert "Loudness" not in dict(found.facts)


def test_a_passage_and_the_own_sound_are_told() -> None:
    document = record("clip.mp4")
    assert not {"Passage", "The video's own sound"} & dict(of_record(document).facts).keys()
    document["settings"] |= {"start": 2.5, "duration": None}
    document["mix"] = "the video's own sound lies 12 LU under the music"
    facts = dict(of_record(document).facts)
    assert facts["Passage"] == f"2.5 s to {2.5 + SECONDS:g} s"
    assert facts["The video's own sound"] == "lies 12 LU under the music"


def test_a_tempo_that_is_not_sure_is_not_shown_as_the_dances() -> None:
    document = record("clip.mp4")
    document["rhythm"] |= {"steady": False, "tempo": {"bpm": 116.8, "first_beat": 0.2, "confidence": 0.0}}
    page = "".join(Page(render([of_record(document)], title="out")).texts)
    assert "no steady beat in the dance" in page
    assert "117 bpm" not in page
    assert "116.8" not in page
    # Records of older versions do not say whether it is steady.
    del document["rhythm"]["steady"]
    assert of_record(document).bpm == 116.8


def test_pieces_for_one_video_stand_side_by_side() -> None:
    results = [listed("a", content="same"), listed("b", content="same"), listed("c", content="other")]
    page = Page(render(results, title="out"))
    labels = [one.get("aria-label") for one in page.all("section") if "group" in (one.get("class") or "")]
    assert labels == ["2 pieces of music for a.mp4", None]


def test_judging_needs_no_luck_of_the_draw() -> None:
    from d2m_cli.evaluation.rhythm.detections import Detections

    dance, music = Detections.at(BEATS, SECONDS, 120.0), Detections.at(BEATS + 0.03, SECONDS, 120.0)
    assert judge(dance, music) == judge(dance, music)
    assert judge(dance, music)[0].f1 == 1.0

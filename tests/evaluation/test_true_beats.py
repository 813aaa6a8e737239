"""True beats from every kind of file, and what is said of those that hold none."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.errors import InputError, UsageError
from d2m_cli.evaluation.true_beats import TrueBeats, find_true_beats, read_file, read_table

EXAMPLES = Path(__file__).parents[2] / "examples"


def write(path: Path, text: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("a.txt", "# by hand\n0.5\n1.0\n\n1.75 # late\n"),
        ("a.beats", "0.5 1\n1.0\t2\n1.75 3\n"),
        ("a.csv", "time,beat\n0.5,1\n1.0,2\n1.75,3\n"),
        ("a.csv", "0.5\n1.0\n1.75\n"),
        ("a.json", '{"beats": [0.5, 1, 1.75]}'),
    ],
)
def test_a_list_of_beats(tmp_path: Path, name: str, text: str) -> None:
    beats = read_file(write(tmp_path / name, text))
    assert (beats.times, beats.bpm) == ((0.5, 1.0, 1.75), None)
    assert beats.within(1.75).tolist() == [0.5, 1.0]
    # 1.25 s for two beats.
    assert beats.tempo(9.0) == pytest.approx(96.0)


@pytest.mark.parametrize(
    "text", ['{"bpm": 120, "first_beat": 0.25}', '{"tempo": {"bpm": 120, "first_beat": 0.25, "confidence": 1}}']
)
def test_a_tempo_and_its_first_beat(tmp_path: Path, text: str) -> None:
    beats = read_file(write(tmp_path / "a.json", text))
    assert beats.within(2.0).tolist() == [0.25, 0.75, 1.25, 1.75]
    assert beats.tempo(2.0) == 120.0


def test_a_first_beat_before_the_clip_begins() -> None:
    assert TrueBeats(None, 60.0, -1.75, "a").within(3.0).tolist() == [0.25, 1.25, 2.25]


def test_the_files_of_the_examples() -> None:
    found = find_true_beats(EXAMPLES / "videos")
    truth = json.loads((EXAMPLES / "videos" / "lock_112.truth.json").read_text())
    lock = found["lock_112"]()
    assert lock.times == tuple(truth["beats"])
    # As it is named; the times are rounded.
    assert lock.tempo(12.0) == 112.0
    with pytest.raises(InputError, match=r"capture.*holds no beats"):
        found["capture"]()
    paired = find_true_beats(EXAMPLES / "paired")
    rhythm = json.loads((EXAMPLES / "paired" / "train_00.rhythm.json").read_text())
    assert paired["train_00"]().times == tuple(rhythm["beats"])


def test_a_folder_names_clips_by_their_paths_and_reads_what_is_asked_for(tmp_path: Path) -> None:
    write(tmp_path / "house" / "a.beats.csv", "1\n2\n")
    write(tmp_path / "b.rhythm.json", "no JSON")
    found = find_true_beats(tmp_path)
    assert sorted(found) == ["b", "house/a"]
    assert found["house/a"]().times == (1.0, 2.0)
    with pytest.raises(UsageError, match=r"b\.rhythm\.json, line 1: no JSON"):
        found["b"]()
    write(tmp_path / "b.truth.json", "{}")
    with pytest.raises(UsageError, match=r"are both beats of b"):
        find_true_beats(tmp_path)
    (tmp_path / "empty").mkdir()
    with pytest.raises(UsageError, match=r"no file of beats in it; they end in \.beats, \.csv, \.json, \.txt"):
        find_true_beats(tmp_path / "empty")


def test_a_table_of_beats_and_one_of_tempi(tmp_path: Path) -> None:
    times = read_table(write(tmp_path / "t.csv", "\ufeffname, time,who\na,0.5,x\nb,1\na,1.5,y\n"))
    assert {clip: beats.times for clip, beats in times.items()} == {"a": (0.5, 1.5), "b": (1.0,)}
    tempi = find_true_beats(write(tmp_path / "u.csv", "clip,bpm,first_beat\nhouse/a,100,0.3\nb,90,-0.1\n"))
    assert tempi["house/a"]().within(1.0).tolist() == pytest.approx([0.3, 0.9])
    assert tempi["b"]().bpm == 90.0


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("a.txt", "0.5\nsoon\n", "line 2: 'soon' is no number"),
        ("a.txt", "0.5\n\n0.5\n", "line 3: 0.5 does not come after 0.5"),
        ("a.txt", "-0.5\n", "line 1: -0.5 lies before the start"),
        ("a.txt", "0,5\n", "line 1: '0,5' is no number"),
        ("a.csv", "nan\n", "line 1: 'nan' is no number"),
        ("a.json", '{\n"beats": [1, 2', "line 2: no JSON"),
        ("a.json", "[1, 2]", "give an object"),
        ("a.json", '{"beats": [1, "x"]}', "number 2 of \"beats\": 'x' is no number"),
        ("a.json", '{"beats": [1, true]}', 'number 2 of "beats": True is no number'),
        ("a.json", '{"bpm": 120}', 'give "beats", a list of seconds, or "bpm" and "first_beat"'),
        ("a.json", '{"bpm": 1200, "first_beat": 0}', '"bpm": a tempo of 1200 is none; give 20 to 400'),
    ],
)
def test_a_file_that_is_none_names_its_line(tmp_path: Path, name: str, text: str, told: str) -> None:
    path = write(tmp_path / name, text)
    with pytest.raises(UsageError) as caught:
        read_file(path)
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("", "not nothing"),
        ("clip,bpm\na,120\n", "must name the column clip and either time or bpm and first_beat"),
        ("clip,time,bpm,first_beat\n", "must name"),
        ("song,time\na,1\n", "must name"),
        ("clip,time\n", "no line after the first"),
        ("clip,time\na,1\n,2\n", "line 3: the clip has no name"),
        ("clip,time\na,2\nb,1\na,1\n", "line 4: 1 does not come after 2.0"),
        ("clip,time\na\n", "line 2: '' is no number"),
        ("clip,bpm,first_beat\na,120,0\na,120,0\n", "line 3: the clip a stands there twice"),
        ("clip,bpm,first_beat\na,fast,0\n", "line 2: 'fast' is no number"),
        ("clip,bpm,first_beat\na,120\n", "line 2: None is no number"),
    ],
)
def test_a_table_that_is_none_names_its_line(tmp_path: Path, text: str, told: str) -> None:
    path = write(tmp_path / "t.csv", text)
    with pytest.raises(UsageError) as caught:
        find_true_beats(path)
    assert str(caught.value).startswith(str(path))
    assert told in str(caught.value)


def test_what_is_not_there_or_no_text(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="can't be read as text"):
        find_true_beats(tmp_path / "gone.csv")
    (tmp_path / "t.csv").write_bytes(b"clip,time\n\xff,1\n")
    with pytest.raises(UsageError, match="can't be read as text"):
        find_true_beats(tmp_path / "t.csv")


def test_beats_of_another_clip(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no beats"):
        read_file(write(tmp_path / "a.txt", "# none\n"))
    # Milliseconds lie all after the end.
    beats = read_file(write(tmp_path / "b.txt", "500\n1000\n"))
    with pytest.raises(InputError, match=r"b\.txt: no beat within the 10\.00 s of the clip"):
        beats.within(10.0)
    assert np.array_equal(beats.within(2000.0), [500.0, 1000.0])

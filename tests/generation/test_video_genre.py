"""The genre of each video, from a table or from its name."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from d2m_cli.errors import InputError, UsageError
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.video_genre import genre_of_video, read_genre_table

AIST = "gLO_sBM_c01_d13_mLO2_ch02_slice0.mp4"


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_a_table_goes_before_a_name_and_its_longest_path_first(tmp_path: Path) -> None:
    path = write(
        tmp_path / "t.csv",
        "\ufeffname,genre,remark\ntake.mp4,house,a\ntake,lock,b\n./day 2/take,Krump,c\nother,,d\n" + AIST + ",WA,e\n",
    )
    table = read_genre_table(path)
    assert table == {"take.mp4": "HO", "take": "LO", "day 2/take": "KR", AIST: "WA"}
    for video, genre in (
        ("take.mp4", "HO"),
        ("x/take.mp4", "HO"),
        ("take.mov", "LO"),
        ("day 2/take.mp4", "KR"),
        (AIST, "WA"),
        (AIST.replace("slice0", "slice1"), "LO"),
    ):
        assert genre_of_video(tmp_path / video, table, path) == genre, video


def test_a_table_of_clips_serves_too() -> None:
    table = Path(__file__).parents[2] / "examples" / "clips.csv"
    options = GenerateOptions("auto", genre_table=table)
    genres = [options.of_video(Path("videos") / f"{name}.mp4").genre for name in ("lock_112", "house_120_60fps")]
    assert genres == ["LO", "HO"]


def test_a_video_whose_genre_nothing_tells_is_named_with_what_to_do(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "name,genre\nother,\n")
    with pytest.raises(InputError, match=r"other\.mp4: its genre can't be told: .* no line of .* add the line"):
        GenerateOptions("auto", genre_table=path).of_video(tmp_path / "other.mp4")
    with pytest.raises(InputError, match=r"take\.mp4: .* no table .* with genre_table, or name one .* with genre"):
        GenerateOptions("auto").of_video(Path("take.mp4"))


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("video,genre\na,house\n", "must name the columns name and genre"),
        ("", "not nothing"),
        ("name,genre\na,polka\n", "line 2: unknown genre 'polka'"),
        ("name,genre\n,house\n", "line 2: .* no name"),
        ("name,genre\na,house\na,lock\n", "line 3: a is HO in a line before"),
    ],
)
def test_tables_that_are_none(tmp_path: Path, text: str, told: str) -> None:
    with pytest.raises(UsageError, match=told):
        GenerateOptions("auto", genre_table=write(tmp_path / "t.csv", text))


def test_a_table_that_is_not_there_or_not_asked_for(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match=r"t\.csv: can't be read"):
        GenerateOptions("auto", genre_table=tmp_path / "t.csv")
    with pytest.raises(UsageError, match="say genre='auto'"):
        GenerateOptions("house", genre_table=write(tmp_path / "t.csv", "name,genre\na,house\n"))


def test_options_of_a_video_are_those_of_its_genre(tmp_path: Path) -> None:
    path = write(tmp_path / "t.csv", "name,genre\na,house\n")
    options = GenerateOptions("auto", "a harp", genre_table=path)
    assert options.of_video(Path("b/a.mp4")) == GenerateOptions("house", "a harp")
    # What settles whether a result is up to date holds the table's content, as values for JSON.
    before = json.dumps(options.settings)
    write(path, "name,genre\na,house\nb,lock\n")
    assert json.dumps(GenerateOptions("auto", "a harp", genre_table=path).settings) != before
    assert GenerateOptions("house").of_video(Path("a.mp4")) == GenerateOptions("house")

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import pytest

from d2m_cli.batch.manifest import ManifestLine, read_manifest
from d2m_cli.batch.naming import LONGEST, keep_apart, place
from d2m_cli.batch.options import Shard
from d2m_cli.batch.pieces import Piece, in_hand, pieces_of, videos_of
from d2m_cli.batch.runner import run_batch
from d2m_cli.errors import UsageError
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.own import OwnOptions
from d2m_cli.ground.inputs import Input
from d2m_cli.ground.ledger import Artefact, Entry, Ledger
from d2m_cli.ground.search import VIDEO_SUFFIXES, Search, search
from tests.batch.copier import Copier

PLAIN = GenerateOptions(genre="house", seed=5)
SUFFIXES = (".wav", ".json")


@pytest.fixture(autouse=True)
def _here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b.mp4"):
        Path(name).write_bytes(b"x")


def videos(*names: str) -> Search:
    return search([Path(name) for name in names or ("a.mp4", "b.mp4")], VIDEO_SUFFIXES)


def line(name: str, **own: object) -> ManifestLine:
    return ManifestLine(Input(Path(name)), OwnOptions(**own))  # type: ignore[arg-type]


def made(*lines: ManifestLine, options: GenerateOptions = PLAIN, **rest: object) -> list[tuple[str, int]]:
    """Name and seed of each piece."""
    found, _ = pieces_of(videos(), options, lines, **rest)  # type: ignore[arg-type]
    return [
        (str(one.stem), (one.own if isinstance(one, Piece) else OwnOptions()).of(options).seed) for one in found.found
    ]


def test_variations_count_seeds_up_and_are_numbered() -> None:
    assert made() == [("a", 5), ("b", 5)]
    assert made(variations=3) == [("a_1", 5), ("a_2", 6), ("a_3", 7), ("b_1", 5), ("b_2", 6), ("b_3", 7)]


def test_a_piece_knows_the_line_that_asks_for_it() -> None:
    lines = [replace(line("b.mp4", seed=seed), where=f"takes.csv: line {seed}") for seed in (2, 3)]
    found, _ = pieces_of(videos(), PLAIN, lines, variations=2)
    assert [(str(one.stem), one.line) for one in found.found if isinstance(one, Piece)] == [
        ("a_1", ""),
        ("a_2", ""),
        ("b_1", "takes.csv: line 2"),
        ("b_2", "takes.csv: line 2"),
        ("b_3", "takes.csv: line 3"),
        ("b_4", "takes.csv: line 3"),
    ]


def test_each_line_of_a_video_is_a_piece() -> None:
    lines = line("b.mp4", prompt="harp"), line("./b.mp4", prompt="drums", seed=9), line("c.mp4", seed=1)
    found, unused = pieces_of(videos(), PLAIN, lines)
    assert unused == 1
    assert [(str(one.stem), one.own.prompt) for one in found.found if isinstance(one, Piece)] == [
        ("a", None),
        ("b_1", "harp"),
        ("b_2", "drums"),
    ]
    assert made(*lines, variations=2) == [("a_1", 5), ("a_2", 6), ("b_1", 5), ("b_2", 6), ("b_3", 9), ("b_4", 10)]


def test_names_by_a_pattern() -> None:
    lines = line("a.mp4", genre="LH", start=2.0), line("a.mp4", genre="LH", start=7.5), line("a.mp4", genre="auto")
    names = [name for name, _ in made(*lines, name="{stem}-{genre}-{start}s")]
    assert names == ["a-la-hip-hop-2s", "a-la-hip-hop-7.5s", "a-unknown-0s", "b-house-0s"]
    assert made(options=GenerateOptions(), name="{genre} {variation:02d}", variations=2)[:2] == [
        ("none 01", 0),
        ("none 02", 1),
    ]
    assert made(*lines, name="{start:05.1f} {seed:03d}")[:2] == [("002.0 005", 5), ("007.5 005", 5)]
    # What a pattern does not tell apart is numbered, of one video; different ones are told apart as ever.
    found, _ = pieces_of(videos(), PLAIN, variations=2, name="x")
    stems = [item.stem.as_posix() for item in keep_apart(found.found, SUFFIXES, Ledger(Path("out")))]
    assert stems[:2] == ["x_1", "x_2"]
    assert len(set(stems)) == 4
    assert made(*lines, name="{stem}_{genre}")[:3] == [
        ("a_la-hip-hop_1", 5),
        ("a_la-hip-hop_2", 5),
        ("a_unknown", 5),
    ]


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("{stem}_{bpm}", "there is no field 'bpm'; use {stem}, {genre}, {seed}, {start}, {variation}"),
        ("{stem.path}", "there is no field 'stem.path'"),
        ("{}", "there is no field ''"),
        ("{stem", "can't be read"),
        ("{stem:02d}", "can't be read"),
        ("{start:02d}", "can't be read"),
        ("{seed:q}", "{seed} can't be written so; numbers may have zeros in front"),
        ("{start:999999999999}", "{start} can't be written so"),
        ("{start:.999999999f}", "{start} can't be written so"),
        ("{variation:{seed}}", "{variation} can't be written so"),
        ("{stem!r}", "{stem} can't be written so"),
        ("{stem:>400}", "{stem} can't be written so"),
        ("{genre}/{stem}", "hold slashes"),
        (".{stem}", "begin with a dot"),
        (" ", "may not be empty"),
        ("{stem}\n", "signs that can't be seen"),
    ],
)
def test_patterns_that_are_none(name: str, text: str) -> None:
    with pytest.raises(UsageError) as told:
        made(name=name)
    assert text in str(told.value)
    assert str(told.value).startswith("name=")


def test_what_can_not_be_varied() -> None:
    with pytest.raises(UsageError, match="variations must be at least 1, not 0"):
        made(variations=0)
    with pytest.raises(UsageError, match=f"seed: counted up from {2**63 - 2}, the last of 3 variations has {2**63}, "):
        made(options=GenerateOptions(seed=2**63 - 2), variations=3)
    assert made(options=GenerateOptions(seed=2**63 - 3), variations=3)[2] == ("a_3", 2**63 - 1)
    Path("track.wav").write_bytes(b"x")
    with pytest.raises(UsageError, match="a track has no variations"):
        made(options=GenerateOptions(music=Path("track.wav")), variations=2)
    assert made(line("a.mp4", music=Path("track.wav")), variations=2) == [("a", 5), ("b_1", 5), ("b_2", 6)]


def test_pieces_keep_their_names_beside_other_videos() -> None:
    Path("a_1.mp4").write_bytes(b"x")
    ledger = Ledger(Path("out"))
    found, _ = pieces_of(videos("a_1.mp4", "a.mp4"), PLAIN, variations=2)
    first, _ = pieces_of(videos("a_1.mp4", "a.mp4"), PLAIN)
    stems = [item.stem.as_posix() for item in keep_apart([first.found[0], *found.found[2:]], SUFFIXES, ledger)]
    assert stems == ["a_1", "a_1.mp4", "a_2"]
    for stem, name in zip(stems, ("a_1.mp4", "a.mp4", "a.mp4"), strict=True):
        artefacts = tuple(Artefact(stem + suffix, 1, "d") for suffix in SUFFIXES)
        ledger.add(Entry(name, "c", "s", "done", artefacts, place=place(Path(name), Path("out")), stem=stem))
    again = keep_apart([*found.found[2:], first.found[0]], SUFFIXES, Ledger(Path("out")))
    assert [item.stem.as_posix() for item in again] == ["a_1.mp4", "a_2", "a_1"]
    assert [item.own.seed for item in again if isinstance(item, Piece)] == [5, 6]


def test_long_names_of_pieces_stay_different() -> None:
    long = "n" * (LONGEST + 5)
    Path("x" * 200 + ".mp4").write_bytes(b"x")
    found, _ = pieces_of(videos("x" * 200 + ".mp4"), PLAIN, variations=3, name=f"{long}{{seed}}")
    stems = [item.stem.name for item in keep_apart(found.found, SUFFIXES, Ledger(Path("out")))]
    assert len(set(stems)) == 3
    assert all(len(stem) == LONGEST for stem in stems)


def test_pieces_of_a_video_are_in_one_share_and_can_be_sent_elsewhere() -> None:
    found, _ = pieces_of(videos(), PLAIN, variations=8)
    assert {item.share for item in found.found} == {Path("a"), Path("b")}
    shares = [number for item in found.found for number in range(1, 5) if Shard(number, 4).holds(item.share)]
    assert len(set(shares[:8])) == len(set(shares[8:])) == 1
    assert pickle.loads(pickle.dumps(found.found)) == found.found


TABLE = """video,genre,prompt,seed,start,duration,music,negative_prompt
a.mp4,Locking,"slow, soft",-3,1:02,2.5,,shouting
sub/b.mp4,AUTO,,,,,track.wav,

a.mp4
"""


def test_a_table_of_videos(tmp_path: Path) -> None:
    (tmp_path / "t" / "sub").mkdir(parents=True)
    for name in ("a.mp4", "sub/b.mp4", "track.wav"):
        (tmp_path / "t" / name).write_bytes(b"x")
    table = tmp_path / "t" / "table.csv"
    table.write_text(TABLE + "a.mp4,,,,,,,\n", encoding="utf-8-sig")
    lines = read_manifest(table, PLAIN)
    assert [one.own for one in lines] == [
        OwnOptions("LO", "slow, soft", "shouting", -3, 62.0, 2.5),
        OwnOptions("auto", music=tmp_path / "t" / "track.wav"),
        OwnOptions(),
    ]
    assert [one.path for one in videos_of(lines).found] == [tmp_path / "t" / "a.mp4", tmp_path / "t" / "sub" / "b.mp4"]
    asked = lines[0].own.of(GenerateOptions(genre="auto", genre_table=None, prompt="harp", duration=1.0))
    assert (asked.genre, asked.prompt, asked.seed, asked.duration) == ("LO", "slow, soft", -3, 2.5)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("video,colour\na.mp4,red\n", "table.csv: its first line holds 'colour'; it must be video and, where wanted"),
        ("name\na.mp4\n", "table.csv: its first line lacks video"),
        ("video;genre\na.mp4;lock\n", "table.csv: its columns are separated by semicolons; save the table with commas"),
        ("video\tgenre\na.mp4\tlock\n", "table.csv: its columns are separated by tabs; save the table with commas"),
        ("video,genre\na.mp4,house\na.mp4,salsa\n", "table.csv: line 3, column genre: unknown genre 'salsa'"),
        ("video,seed\na.mp4,1.5\n", "table.csv: line 2, column seed: '1.5' is not a whole number"),
        ("video,seed\na.mp4,99999999999999999999\n", "table.csv: line 2, column seed: seed must be a whole number of"),
        ("video,start\na.mp4,-1\n", "table.csv: line 2, column start: '-1' is no time"),
        ("video,duration\na.mp4,soon\n", "table.csv: line 2, column duration: 'soon' is no time"),
        ("video,duration\na.mp4,0\n", "table.csv: line 2: duration must be longer than 0 s"),
        ("video,music\na.mp4,gone.wav\n", "table.csv: line 2, column music: gone.wav: no such file"),
        ("video,genre\na.mp4,LO,x\n", "table.csv: line 2 has more cells than the first line"),
        ("video,seed\n,3\n", "table.csv: line 2, column video: there is none"),
        ("video\nfolder\n", "table.csv: line 2, column video: folder is a folder"),
        ("video\n\n", "table.csv names no video"),
        ("video\na.mp4\nc.mp4\n", "table.csv: line 3, column video: c.mp4: no such file or folder"),
    ],
)
def test_what_is_wrong_in_a_table_is_named_with_line_and_column(text: str, told: str) -> None:
    Path("folder").mkdir()
    Path("table.csv").write_text(text)
    with pytest.raises(UsageError) as error:
        videos_of(read_manifest(Path("table.csv"), PLAIN))
    assert str(error.value).startswith(told)


def test_a_genre_of_its_own_goes_before_the_table_of_genres() -> None:
    Path("genres.csv").write_text("name,genre\na,krump\nb,krump\n")
    options = GenerateOptions(genre="auto", genre_table=Path("genres.csv"))
    lines = line("a.mp4", genre="waack"), line("b.mp4", seed=1)
    found, _ = pieces_of(videos(), options, lines, name="{genre}")
    assert [str(one.stem) for one in found.found] == ["waack", "krump"]


def test_what_is_said_of_the_genre_and_the_track_of_all_is_not_for_others() -> None:
    options = GenerateOptions(genre="lock", genre_words="slap bass")
    for own, words in (("HO", None), ("locking", "slap bass"), (None, "slap bass")):
        asked = OwnOptions(genre=own, prompt="harp").of(options)
        assert (asked.genre, asked.genre_words) == ("HO" if own == "HO" else "LO", words)
    for name in ("all.wav", "own.wav"):
        Path(name).write_bytes(b"x")
    options = GenerateOptions(music=Path("all.wav"), music_start=5.0)
    assert OwnOptions(music=Path("own.wav")).of(options).music_start is None
    assert OwnOptions(duration=2.0).of(options).music_start == 5.0


def test_a_listener_may_have_its_words_from_the_lines() -> None:
    options = GenerateOptions(clap=Path("."))
    for column, cell in (("prompt", "harp"), ("genre", "house")):
        Path("table.csv").write_text(f"video,seed,{column}\na.mp4,1,{cell}\na.mp4,2,{cell}\n")
        assert len(read_manifest(Path("table.csv"), options)) == 2
    Path("table.csv").write_text("video,prompt\na.mp4,harp\nb.mp4,\n")
    with pytest.raises(UsageError, match="line 3: clap listens for a sound example or for words, and there are none"):
        read_manifest(Path("table.csv"), options)


def test_outcomes_name_the_piece_where_a_video_has_several(capsys: pytest.CaptureFixture[str]) -> None:
    Path("b.mp4").write_bytes(b"bad")
    lines = [replace(line("b.mp4", seed=seed), where=f"takes.csv: line {seed}") for seed in (2, 3)]
    found, _ = pieces_of(videos(), PLAIN, lines, name="x{seed}")
    summary = run_batch(found.found, Copier(), settings={}, artefacts=SUFFIXES, out_dir=Path("out"), label="copy")
    assert [outcome.name for outcome in summary.outcomes] == [
        "a.mp4",
        "b.mp4 (x2, takes.csv: line 2)",
        "b.mp4 (x3, takes.csv: line 3)",
    ]
    assert "b.mp4 (x3, takes.csv: line 3): failed: is not a video" in capsys.readouterr().err
    assert [in_hand(item) for item in found.found] == ["a (x5)", "b (x2)", "b (x3)"]
    assert [in_hand(item) for item in pieces_of(videos(), PLAIN, lines)[0].found] == ["a", "b_1", "b_2"]

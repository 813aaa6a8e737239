from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from d2m_cli.batch.naming import keep_apart, place
from d2m_cli.batch.numbering import numbered
from d2m_cli.batch.pieces import Piece
from d2m_cli.errors import InputError
from d2m_cli.generation.own import OwnOptions
from d2m_cli.ground.ledger import Artefact, Entry, Ledger
from d2m_cli.ground.search import Found

SUFFIXES = (".wav", ".json")


def settings_of(item: Found) -> str:
    assert isinstance(item, Piece)
    if item.own.prompt == "broken":
        raise InputError("no genre")
    return f"settings of {item.own.prompt}"


def pieces(*prompts: str, video: Path = Path("a.mp4"), called: str = "a") -> list[Piece]:
    """As they are counted."""
    names = [f"{called}_{number}" for number in range(1, len(prompts) + 1)] if len(prompts) > 1 else [called]
    return [
        Piece(video, Path(name), Path(video.stem), OwnOptions(prompt=prompt), called)
        for name, prompt in zip(names, prompts, strict=True)
    ]


def make(items: Sequence[Found], ledger: Ledger) -> list[str]:
    """Name pieces, and note that they were made."""
    told = keep_apart(numbered(items, ledger, settings_of), SUFFIXES, ledger)
    for item in told:
        stem = item.stem.as_posix()
        made = tuple(Artefact(stem + suffix, 1, "d") for suffix in SUFFIXES)
        where = place(item.path, ledger.folder)
        ledger.add(Entry(str(item.path), "c", settings_of(item), "done", made, place=where, stem=stem))
    return [item.stem.as_posix() for item in told]


@pytest.fixture
def ledger(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Ledger:
    monkeypatch.chdir(tmp_path)
    for name in ("a.mp4", "b/a.mp4"):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_bytes(b"x")
    return Ledger(Path("out"))


def test_the_order_of_pieces_does_not_matter(ledger: Ledger) -> None:
    assert make(pieces("harp", "drums", "bells"), ledger) == ["a_1", "a_2", "a_3"]
    assert make(pieces("bells", "harp", "drums"), ledger) == ["a_3", "a_1", "a_2"]
    # One went, one came, and one is there alone.
    assert make(pieces("bells", "flute", "harp"), ledger) == ["a_3", "a_2", "a_1"]
    assert make(pieces("bells"), ledger) == ["a_3"]
    assert make(pieces("organ"), ledger) == ["a"]


def test_what_was_made_alone_keeps_its_name_when_others_come(ledger: Ledger) -> None:
    assert make(pieces("harp"), ledger) == ["a"]
    assert make(pieces("drums", "harp", "bells"), ledger) == ["a_2", "a", "a_3"]
    assert make(pieces("harp", "drums"), ledger) == ["a", "a_2"]


def test_names_that_are_longer_to_keep_videos_apart_stay_too(ledger: Ledger) -> None:
    other = Path("b/a.mp4")
    assert make([*pieces("harp", "drums"), *pieces("harp", "drums", video=other)], ledger) == [
        "a_1", "a_2", "b/a_1", "b/a_2",
    ]  # fmt: skip
    assert make([*pieces("drums", "harp", video=other), *pieces("drums", "harp")], ledger) == [
        "b/a_2", "b/a_1", "a_2", "a_1",
    ]  # fmt: skip


def test_pieces_of_the_same_settings_and_of_other_names_stay_apart(ledger: Ledger) -> None:
    assert make(pieces("harp", "harp"), ledger) == ["a_1", "a_2"]
    assert make(pieces("drums", "harp", "harp"), ledger) == ["a_3", "a_2", "a_1"]
    assert make(pieces("harp", "drums", called="x"), ledger) == ["x_1", "x_2"]
    told = numbered([*pieces("broken", "drums"), Found(Path("b/a.mp4"), Path("a"))], ledger, settings_of)
    assert [item.stem.as_posix() for item in told] == ["a_1", "a_3", "a"]

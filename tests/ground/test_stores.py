"""Results at addresses of fsspec: in its file system of memory, and in the local one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from d2m_cli.errors import OutputError, UsageError
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.stores import Address


@pytest.fixture(params=["memory", "file"])
def address(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    import fsspec

    if request.param == "memory":
        fsspec.filesystem("memory").store.clear()
        return "memory://bucket/music/"
    return f"file://{tmp_path}/far"


@pytest.fixture
def made(tmp_path: Path) -> Path:
    path = tmp_path / "made"
    path.write_bytes(b"one")
    return path


def names(address: str) -> set[str]:
    import fsspec

    files, root = fsspec.core.url_to_fs(address)
    return {name.removeprefix(root.rstrip("/") + "/") for name in files.find(root)}


def test_what_is_put_there_is_found_again(address: str, made: Path, tmp_path: Path) -> None:
    folder = tmp_path / "ledger"
    store, path = Address(address, folder), folder / "sub" / "a.wav"
    assert not store.exists(path)
    with pytest.raises(FileNotFoundError):
        store.stamp(path)
    store.put(made, path)
    assert names(address) == {"sub/a.wav"}
    assert store.name(path) == f"{address.rstrip('/')}/sub/a.wav"
    noted = store.settled(path)
    assert noted.size == 3
    assert store.digest(path) == (content_digest(made), noted)
    # Once by a list of all, and once more by itself.
    again = Address(address, folder)
    assert noted.vouches_for(again.stamp(path))
    assert noted.vouches_for(again.stamp(path))
    time.sleep(0.01)  # where a store tells no more than a time, it tells it to a thousandth of a second
    made.write_bytes(b"two")
    store.put(made, path)
    assert not noted.vouches_for(again.stamp(path))
    assert store.is_folder(folder / "sub")
    assert not store.is_folder(path)
    store.remove(path)
    assert names(address) == set()


def test_what_others_put_there_since_the_list_was_made_is_seen(address: str, made: Path, tmp_path: Path) -> None:
    store, other = Address(address, tmp_path), Address(address, tmp_path)
    for name in "ab":
        store.put(made, tmp_path / name)
    first = store.stamp(tmp_path / "a")
    made.write_bytes(b"longer")
    other.put(made, tmp_path / "a")
    other.put(made, tmp_path / "c")
    assert (first.size, store.stamp(tmp_path / "a").size, store.stamp(tmp_path / "c").size) == (3, 6, 6)


def test_an_upload_that_breaks_off_leaves_what_was_there(
    address: str, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store, path = Address(address, tmp_path), tmp_path / "a.wav"
    store.put(made, path)

    def break_off(*_words: object, **_names: object) -> None:
        raise ConnectionResetError("the line is dead")

    monkeypatch.setattr(type(store._files), "mv", break_off)
    made.write_bytes(b"two")
    with pytest.raises(OutputError, match=r"a\.wav can't be written: the line is dead"):
        store.put(made, path)
    assert store.settled(path).size == 3
    assert content_digest(made) != store.digest(path)[0]


def test_what_is_no_address_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no address that fsspec knows"):
        Address("nosuch://bucket", tmp_path)


def test_each_part_has_a_folder_at_the_address(address: str, made: Path, tmp_path: Path) -> None:
    for part in ("p", "p::q", "a b#?"):
        store = Address(address, tmp_path, part)
        store.put(made, tmp_path / "1.wav")
        assert store.name(tmp_path / "1.wav") == f"{address.rstrip('/')}/{part}/1.wav"
    assert names(address) == {"p/1.wav", "p::q/1.wav", "a b#?/1.wav"}
    loose = Address(address, tmp_path, "")
    loose.put(made, tmp_path / "1.wav")
    again = Address(address, tmp_path, "")
    assert again.stamp(tmp_path / "1.wav").size == 3
    # What lies in folders was not listed with it, and is found all the same.
    assert again._listed == {}
    assert again.stamp(tmp_path / "p" / "1.wav").size == 3

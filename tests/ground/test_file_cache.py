from __future__ import annotations

import os
from pathlib import Path

import pytest

from d2m_cli.errors import InputError, OutputError, UsageError
from d2m_cli.ground import file_cache
from d2m_cli.ground.file_cache import CacheUse, FileCache, as_cache, default_cache
from d2m_cli.ground.files import atomic_path


def key(number: int) -> str:
    return f"{number:02x}" * 16


def put(cache: FileCache, number: int, size: int = 100) -> None:
    def write(path: Path) -> None:
        with atomic_path(path) as part:
            part.write_bytes(b"x" * size)

    cache.keep(key(number), ".bin", write)


def keys(cache: FileCache) -> list[int]:
    return [number for number in range(256) if cache.place(key(number), ".bin").exists()]


def test_what_is_kept_is_found(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache")
    assert cache.find(key(7), ".bin") is None
    put(cache, 7)
    found = cache.find(key(7), ".bin")
    assert found == tmp_path / "cache" / "07" / f"{key(7)}.bin"
    assert found.read_bytes() == b"x" * 100
    assert cache.find(key(7), ".other") is None
    assert cache.use() == CacheUse(1, 100)


def test_what_was_not_used_for_longest_goes(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit=1000)
    for number in range(10):
        put(cache, number)
        os.utime(cache.place(key(number), ".bin"), ns=(0, number))
    assert keys(cache) == list(range(10))
    cache.find(key(0), ".bin")
    put(cache, 10)
    # Eleven of 100 bytes are over the limit; nine tenths of it stay.
    assert keys(cache) == [0, 3, 4, 5, 6, 7, 8, 9, 10]


def test_the_limit_holds_whoever_writes(tmp_path: Path) -> None:
    for number in range(30):
        put(FileCache(tmp_path, limit=1000), number)
        assert FileCache(tmp_path).use().size <= 1000
    long = FileCache(tmp_path, limit=1000)
    for number in range(30, 130):
        put(long, number, 10)
        # Between two looks at the whole folder no more than a fiftieth is written.
        assert long.use().size <= 1000 + 1000 // 50 + 10


def test_leftovers_of_killed_processes_go_too(tmp_path: Path) -> None:
    cache = FileCache(tmp_path, limit=1000)
    put(cache, 1)
    with atomic_path(cache.place(key(2), ".bin")) as part:
        left = part.with_name(part.name.replace(str(os.getpid()), "1"))
        part.write_bytes(b"x")
    left.write_bytes(b"x" * 950)
    os.utime(left, ns=(0, 0))
    cache.trim()
    assert not left.exists()
    assert keys(cache) == [1, 2]


def test_clearing_leaves_what_others_put_there(tmp_path: Path) -> None:
    cache = FileCache(tmp_path / "cache")
    for number in (1, 2):
        put(cache, number)
    (tmp_path / "cache" / "notes.txt").write_text("mine")
    (tmp_path / "cache" / "01" / "mine.bin").write_text("mine")
    assert cache.clear() == CacheUse(2, 200)
    left = [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    assert sorted(path.name for path in left) == ["mine.bin", "notes.txt"]
    for path in left:
        path.unlink()
    assert cache.clear() == CacheUse(0, 0)
    assert not (tmp_path / "cache").exists()


def test_a_folder_that_can_not_be_written_to_is_told_once(tmp_path: Path) -> None:
    told: list[str] = []
    (tmp_path / "cache").write_text("a file")
    cache = FileCache(tmp_path / "cache", tell=told.append)
    for number in (1, 2):
        assert cache.find(key(number), ".bin") is None
        put(cache, number)
    (line,) = told
    assert line.startswith(f"nothing more is kept in the cache {tmp_path / 'cache'} (can't write ")
    assert line.endswith("); the work goes on without it")
    with pytest.warns(UserWarning, match="nothing more is kept"):
        put(FileCache(tmp_path / "cache"), 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_for_reading_alone_still_gives(tmp_path: Path) -> None:
    told: list[str] = []
    cache = FileCache(tmp_path, tell=told.append)
    put(cache, 1)
    (tmp_path / "01").chmod(0o555)
    tmp_path.chmod(0o555)
    try:
        assert cache.find(key(1), ".bin") is not None
        put(cache, 2)
    finally:
        tmp_path.chmod(0o755)
        (tmp_path / "01").chmod(0o755)
    assert len(told) == 1


def test_another_users_file_is_used(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FileCache(tmp_path)
    put(cache, 1)

    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "utime", refuse)
    assert cache.find(key(1), ".bin") is not None


def test_the_limit_is_the_users(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    own = default_cache("poses")
    assert own is not None
    assert (own.folder, own.limit) == (tmp_path / "d2m" / "poses", 4_000_000_000)
    monkeypatch.setenv(file_cache.LIMIT_VARIABLE, "0.5")
    given = default_cache("poses", tmp_path / "there")
    assert given is not None
    assert (given.folder, given.limit) == (tmp_path / "there", 500_000_000)
    named = as_cache(str(tmp_path))
    assert named is not None
    assert (named.limit, as_cache(named), as_cache(None)) == (500_000_000, named, None)
    for wrong in ("much", "0", "-1", "nan", "inf"):
        monkeypatch.setenv(file_cache.LIMIT_VARIABLE, wrong)
        with pytest.raises(UsageError, match=f"D2M_CACHE_GB must be a size in GB above 0, such as 2.5, not '{wrong}'"):
            default_cache("poses")


def test_clearing_tells_what_can_not_go(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cache = FileCache(tmp_path)
    put(cache, 1)

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "unlink", refuse)
    with pytest.raises(OutputError, match=r"can't remove .*: Permission denied"):
        cache.clear()


def test_a_file_is_no_folder_for_a_cache(tmp_path: Path) -> None:
    (tmp_path / "taken").touch()
    for make in (as_cache, lambda folder: default_cache("dances", folder)):
        with pytest.raises(UsageError, match=r"cache .*taken is a file, not a folder"):
            make(tmp_path / "taken")
        assert make(tmp_path / "new") is not None


def test_a_file_that_another_process_replaces_while_it_is_read_is_no_damage(tmp_path: Path) -> None:
    told: list[str] = []
    cache = FileCache(tmp_path, tell=told.append)
    put(cache, 7)

    def gone_and_made_again(path: Path) -> bytes:
        path.unlink()
        put(FileCache(tmp_path), 7)
        raise InputError(f"{path}: is not there")

    def gone(path: Path) -> bytes:
        path.unlink()
        raise InputError(f"{path}: is not there")

    assert cache.read(key(7), ".bin", gone_and_made_again) is None
    assert cache.read(key(7), ".bin", Path.read_bytes) == b"x" * 100
    assert cache.read(key(7), ".bin", gone) is None
    assert told == []


def test_what_is_damaged_or_can_not_be_read_is_told(tmp_path: Path) -> None:
    told: list[str] = []
    cache = FileCache(tmp_path, tell=told.append)
    put(cache, 7)

    def damaged(path: Path) -> bytes:
        raise InputError(f"{path}: is no sound")

    assert cache.read(key(7), ".bin", damaged) is None
    cache.place(key(8), ".bin").mkdir(parents=True)
    assert cache.read(key(8), ".bin", Path.read_bytes) is None
    assert told == [
        f"damaged in the cache, and made again: {cache.place(key(7), '.bin')}: is no sound",
        f"can't be read from the cache, and made again: {cache.place(key(8), '.bin')}: Is a directory",
    ]


def test_what_another_process_takes_away_while_it_is_written_ends_no_keeping(tmp_path: Path) -> None:
    told: list[str] = []
    cache = FileCache(tmp_path / "cache", tell=told.append)

    def taken_half_written(path: Path) -> None:
        with atomic_path(path) as part:
            part.unlink()

    def taken_before(path: Path) -> None:
        raise OutputError(f"can't write {path}") from FileNotFoundError(2, "No such file or directory")

    cache.keep(key(7), ".bin", taken_half_written)
    cache.keep(key(7), ".bin", taken_before)
    assert (keys(cache), told) == ([], [])
    put(cache, 7)
    assert (keys(cache), told) == ([7], [])

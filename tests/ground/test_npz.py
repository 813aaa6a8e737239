from __future__ import annotations

import tracemalloc
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from d2m_cli.ground.npz import UNREADABLE, open_npz, read_npy

ARRAYS = {
    "a": np.arange(12, dtype=np.float32).reshape(3, 4),
    "turned": np.asfortranarray(np.arange(6, dtype=">i8").reshape(2, 3)),
    "none": np.zeros((0, 17), np.float64),
    "one": np.array(2.5),
    "words": np.array(["süß", "b"]),
    "true": np.array([True, False]),
    "flat": np.arange(3, dtype=np.uint8),
}


@pytest.mark.parametrize("save", [np.savez, np.savez_compressed])
def test_what_numpy_writes_is_read(tmp_path: Path, save) -> None:
    save(tmp_path / "x.npz", **ARRAYS)
    with open_npz(tmp_path / "x.npz") as file:
        assert list(file.headers) == list(ARRAYS)
        for name, array in ARRAYS.items():
            assert (file.headers[name].shape, file.headers[name].dtype) == (array.shape, array.dtype)
            found = file.read(name)
            np.testing.assert_array_equal(found, array)
            assert found.dtype == array.dtype


def test_one_array(tmp_path: Path) -> None:
    for number, array in enumerate(ARRAYS.values()):
        np.save(tmp_path / f"{number}.npy", array)
        np.testing.assert_array_equal(read_npy(tmp_path / f"{number}.npy"), array)


@pytest.mark.usefixtures("busy_threads")
def test_many_threads_read_at_once(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", **ARRAYS)  # type: ignore[arg-type]

    def total(_: int) -> float:
        with open_npz(tmp_path / "x.npz") as file:
            return float(sum(file.read(name).sum() for name in ("a", "turned", "one")))

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(total, range(100))) == [66.0 + 15.0 + 2.5] * 100


def header(descr: str, shape: str) -> bytes:
    text = f"{{'descr': {descr}, 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    ("descr", "shape"),
    [
        ("'<f8'", "(4611686018427387904,)"),
        ("'<f8'", "(1000000, 1000000)"),
        ("'<f8'", "(-3,)"),
        ("'<f8'", "(3.0,)"),
        ("'<f8'", "(" * 500 + "3,)"),
        ("'|O'", "(3,)"),
        ("[('a', '<f8')]", "(3,)"),
        ("'<f7'", "(3,)"),
        ("'<U999999999'", "(3,)"),
        ("__import__('os')", "(3,)"),
    ],
)
def test_headers_that_are_no_plain_arrays(tmp_path: Path, descr: str, shape: str) -> None:
    (tmp_path / "x.npy").write_bytes(header(descr, shape) + bytes(24))
    with zipfile.ZipFile(tmp_path / "x.npz", "w") as archive:
        archive.write(tmp_path / "x.npy", "x.npy")
    with pytest.raises(UNREADABLE):
        read_npy(tmp_path / "x.npy")
    with pytest.raises(UNREADABLE), open_npz(tmp_path / "x.npz"):
        pass


def test_a_bomb_is_refused_before_it_goes_off(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.npz", "w", zipfile.ZIP_DEFLATED) as archive, archive.open("x.npy", "w") as file:
        file.write(header("'<f8'", f"({(64 << 20) // 8},)"))
        for _ in range(64):
            file.write(bytes(1 << 20))
    assert (tmp_path / "x.npz").stat().st_size < 100_000
    tracemalloc.start()
    try:
        with pytest.raises(ValueError, match="16777216 are allowed"), open_npz(tmp_path / "x.npz", 16 << 20):
            pass
        assert tracemalloc.get_traced_memory()[1] < 4 << 20
    finally:
        tracemalloc.stop()


def test_an_entry_that_claims_more_than_the_file_holds(tmp_path: Path) -> None:
    np.savez_compressed(tmp_path / "x.npz", x=np.zeros(3))
    whole = (tmp_path / "x.npz").read_bytes()
    at = whole.rindex(b"PK\x01\x02") + 24
    (tmp_path / "x.npz").write_bytes(whole[:at] + (900 << 20).to_bytes(4, "little") + whole[at + 4 :])
    with pytest.raises(ValueError, match="more than the file can hold"), open_npz(tmp_path / "x.npz"):
        pass


def test_a_changed_byte_fails_the_checksum(tmp_path: Path) -> None:
    np.savez(tmp_path / "x.npz", x=np.arange(100.0))
    whole = bytearray((tmp_path / "x.npz").read_bytes())
    whole[len(whole) // 2] ^= 1
    (tmp_path / "x.npz").write_bytes(bytes(whole))
    with pytest.raises(zipfile.BadZipFile), open_npz(tmp_path / "x.npz") as file:
        file.read("x")

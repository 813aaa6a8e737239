from __future__ import annotations

import pickle
import subprocess
import sys
import tracemalloc
from collections.abc import Iterator

import numpy as np
import pytest

from d2m_cli.generation.music import Aside, Music
from d2m_cli.generation.shelf import Shelf


def test_windows_of_another_shape_are_refused() -> None:
    shelf = Shelf()
    shelf.add(np.zeros((1, 5), np.float32))
    with pytest.raises(ValueError, match="does not lie beside"):
        shelf.add(np.zeros((2, 5), np.float32))
    with pytest.raises(IndexError):
        shelf[1]


@pytest.mark.parametrize("held", [16, 1 << 24])
def test_pieces_laid_aside_come_back_as_they_were(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr("d2m_cli.generation.shelf.HELD", held)
    rng = np.random.default_rng(0)
    pieces = [
        Music(rng.normal(0.0, 0.1, (2, 300_000)).astype(np.float32), 100 + n, np.array([1.0, 2.0 + n]))
        for n in range(3)
    ]
    aside = Aside(pieces)
    for found in (list(aside), aside[:], [aside[-3], aside[1], aside[2]], pickle.loads(pickle.dumps(aside))):
        assert [one.sample_rate for one in found] == [100, 101, 102]
        for one, piece in zip(found, pieces, strict=True):
            np.testing.assert_array_equal(one.samples, piece.samples)
            np.testing.assert_array_equal(one.beats, piece.beats)
    aside[0].samples[:] = 0.0
    np.testing.assert_array_equal(aside[0].samples, pieces[0].samples)
    with pytest.raises(IndexError):
        aside[3]


def test_one_piece_at_a_time_is_in_memory() -> None:
    def pieces() -> Iterator[Music]:
        for _ in range(4):
            yield Music(np.ones((1, 8_000_000), np.float32), 100, np.zeros(0))

    tracemalloc.start()
    aside = Aside(pieces())
    for piece in aside:
        assert piece.seconds == 80_000.0
        del piece
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    # 32 MB each, and up to 16 of what is still to be moved to the disk.
    assert most < 60_000_000


def test_no_room_says_which_folder_and_what_to_do() -> None:
    script = (
        "import resource, numpy as np\n"
        "from d2m_cli.errors import OutputError\n"
        "from d2m_cli.generation import shelf\n"
        "shelf.HELD = 1000\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (10000, 10000))\n"
        "windows = shelf.Shelf()\n"
        "try:\n"
        "    for _ in range(9):\n"
        "        windows.add(np.zeros((1, 500), np.float32))\n"
        "except OutputError as error:\n"
        "    print(len(windows), error)\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    # Of 2,000 bytes each, five have room.
    assert done.stdout.startswith("5 a long piece finds no room in ")
    assert "TMPDIR" in done.stdout

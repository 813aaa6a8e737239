"""What many tests need: small videos with known content, and the rule that gpu tests need a GPU."""

from __future__ import annotations

import gc
import os
import re
import struct
import sys
from collections.abc import Callable, Iterator
from fractions import Fraction
from itertools import count
from pathlib import Path
from typing import Any
from zlib import crc32

import numpy as np
import pytest

from d2m_cli.ground.privileges import open_encoder

MakeVideo = Callable[..., Path]

_ROOT = Path(__file__).resolve().parents[1]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--slow-share", metavar="I/N", help="run one of N shares of the slow tests, too")


@pytest.hookimpl(tryfirst=True)  # before pytest leaves out what is not asked for
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    if share := config.getoption("--slow-share"):
        number, _, of = share.partition("/")
        if not (number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
            raise pytest.UsageError(f"--slow-share takes I/N, with I from 1 to N, such as 2/6; not {share!r}")
        if config.option.markexpr != "not slow":
            raise pytest.UsageError("--slow-share takes no -m beside it")
        for item in items:
            # Tests of a file that have the same parameters go together, since they may share what is made for them.
            together = re.sub(r"::\w+(?=\[)", "", item.nodeid)
            if crc32(together.encode()) % int(of) == int(number) - 1:
                item.add_marker("sampled")
        config.option.markexpr = "not slow or sampled and not minutes"

    marked = [item for item in items if item.get_closest_marker("gpu")]
    if not marked:
        return
    import torch

    if not torch.cuda.is_available():
        for item in marked:
            item.add_marker(pytest.mark.skip(reason="no CUDA device"))


@pytest.fixture(autouse=True, scope="session")
def taking_turns() -> Iterator[None]:
    """No test may leave this process before all others on the machine, as an encoder once did: tests then hang."""
    yield
    if hasattr(os, "sched_getscheduler"):
        assert os.sched_getscheduler(0) == os.SCHED_OTHER


@pytest.fixture(autouse=True)
def same_chance_whatever_ran_before() -> None:
    """What a test draws without a seed is the same in each run, whichever tests its process has run before."""
    if (torch := sys.modules.get("torch")) is not None:
        torch.manual_seed(0)


@pytest.fixture(autouse=True)
def options_named_as_in_python() -> None:
    """A test of the command line may have run before in this process, which has options written as flags."""
    from d2m_cli.ground.options import tell_flags

    tell_flags(False)


@pytest.fixture(autouse=True, scope="session")
def own_cache_of_hashes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Keep what tests remember of their weights out of the user's cache."""
    from d2m_cli.ground.user_cache import user_cache
    from d2m_cli.hub import known

    folder = tmp_path_factory.mktemp("hashes")
    known.user_cache = (  # type: ignore[attr-defined]
        lambda name: user_cache(name) if "XDG_CACHE_HOME" in os.environ else folder / name
    )
    yield
    known.user_cache = user_cache  # type: ignore[attr-defined]


@pytest.fixture(scope="session")
def caches(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Folders of caches, which are not made before they are used."""
    folder = tmp_path_factory.mktemp("caches")
    return (folder / str(number) for number in count())


@pytest.fixture(autouse=True)
def own_cache_of_dances(caches: Iterator[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep poses out of the user's cache, and from other tests, where stand-ins may have made them."""
    from d2m_cli.ground import file_cache
    from d2m_cli.ground.user_cache import user_cache

    folder = next(caches)
    monkeypatch.setattr(
        file_cache, "user_cache", lambda name: user_cache(name) if "XDG_CACHE_HOME" in os.environ else folder / name
    )


@pytest.fixture(scope="session")
def shared() -> Callable[[str], Path]:
    """A function that gives a file of the development data, and skips the test where it is absent."""
    folder = Path(os.environ.get("D2M_SHARED_DATA", _ROOT.parent / "shared" / "data"))

    def find(name: str) -> Path:
        path = folder / name
        if not path.exists():
            pytest.skip(f"the development data is not here: no {path}")
        return path

    return find


@pytest.fixture
def busy_threads() -> Iterator[None]:
    """Threads change at every step, and garbage is collected in Python, also in the middle of a library's work."""

    def collecting(*_: object) -> None:
        sum(range(20))

    interval, thresholds = sys.getswitchinterval(), gc.get_threshold()
    sys.setswitchinterval(1e-6)
    gc.set_threshold(10, 1, 1000)
    gc.callbacks.append(collecting)
    yield
    gc.callbacks.remove(collecting)
    gc.set_threshold(*thresholds)
    sys.setswitchinterval(interval)


@pytest.fixture(scope="session")
def tiny_riffusion(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folder of a tiny model in riffusion-model-v1's layout."""
    from tests.tiny_models import save_tiny_riffusion

    return save_tiny_riffusion(tmp_path_factory.mktemp("tiny-riffusion"))


@pytest.fixture
def make_video() -> MakeVideo:
    """A function that writes a small video: frame i is an even grey of brightness 10 * i modulo 250."""
    return write_video


def write_video(
    path: Path,
    *,
    seconds: float = 2.0,
    fps: int = 25,
    size: tuple[int, int] = (64, 48),
    codec: str = "libx264",
    times: list[float] | None = None,
    sound: np.ndarray | None = None,
    sound_rate: int = 44100,
    options: dict[str, str] | None = None,
) -> Path:
    """Write a video of a given codec, on an even clock or at given times, with or without AAC sound."""
    import av

    if times is None:
        times = [i / fps for i in range(round(seconds * fps))]
    tick = Fraction(1, 12800)
    with av.open(str(path), "w") as container:
        stream: Any = container.add_stream(codec, rate=fps)
        stream.width, stream.height = size
        stream.pix_fmt = "yuvj420p" if codec == "mjpeg" else "yuv420p"
        stream.options = options or {}
        if codec == "libx264":
            # Frames out of order, so that decoding and display times differ.
            stream.options = {"preset": "ultrafast", "bf": "2", "crf": "30", **stream.options}
        if codec in ("libx264", "libx265", "libvpx", "libvpx-vp9"):
            stream.codec_context.time_base = tick
        if codec.startswith("libvpx"):
            stream.codec_context.thread_count = 1  # the threads of VP8 wait for one another by spinning: 1 s for 0.03 s
        audio = container.add_stream("aac", rate=sound_rate, layout="mono") if sound is not None else None
        open_encoder(stream)
        for i, seconds_now in enumerate(times):
            picture = np.full((size[1], size[0], 3), 10 * i % 250, dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            clock = stream.codec_context.time_base or Fraction(1, fps)
            frame.pts, frame.time_base = round(seconds_now / clock), clock
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
        if audio is not None and sound is not None:
            block = av.AudioFrame.from_ndarray(sound.astype(np.float32)[None], format="fltp", layout="mono")
            block.sample_rate, block.pts, block.time_base = sound_rate, 0, Fraction(1, sound_rate)
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path


@pytest.fixture
def turn_video() -> Callable[[Path], None]:
    """A function that marks an .mp4 as filmed with the camera turned by 90 degrees, in its track header."""

    def turn(path: Path) -> None:
        content = bytearray(path.read_bytes())
        start = content.index(b"tkhd") + 4
        # Version 0: 40 bytes of flags, times, numbers and reserved fields, then the matrix.
        assert content[start] == 0
        matrix = struct.pack(">9i", 0, 1 << 16, 0, -(1 << 16), 0, 0, 48 << 16, 0, 1 << 30)
        content[start + 40 : start + 76] = matrix
        path.write_bytes(bytes(content))

    return turn

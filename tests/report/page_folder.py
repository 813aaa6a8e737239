"""A folder of results for the tests of the report page: one short film with clicks, under many names."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from d2m_cli.batch.report_drawing import drawing_path
from d2m_cli.ground.ledger import Artefact, Entry, Ledger
from d2m_cli.ground.stamp import read_digest
from d2m_cli.media.audio import save_wav
from d2m_cli.media.mux import mux
from d2m_cli.pose.track import PoseTrack
from d2m_cli.report.page.drawing import draw
from d2m_cli.report.page.sidecar import head_of, write_drawing
from d2m_cli.report.page.values import Drawing

RATE, SECONDS, FPS = 24000, 3.0, 25
BEATS = np.arange(0.25, SECONDS, 0.5)
"""Of the dance, and of the music: 120 bpm."""
PROMPT = 'a "quoted" </script><script>window.harmed = 1</script> prompt & \' more'


def clicks(times: NDArray[np.float64], pitch: float = 1000.0) -> NDArray[np.float32]:
    """(1, n) of short tones."""
    clock = np.arange(round(SECONDS * RATE)) / RATE
    sound = sum(np.exp(-30 * (clock - at)) * (clock >= at) * np.sin(2 * np.pi * pitch * (clock - at)) for at in times)
    return (0.5 * np.asarray(sound, dtype=np.float32))[None]


def film(path: Path) -> Path:
    """A dark film of `SECONDS` seconds in which a bright bar goes from left to right."""
    import av

    with av.open(str(path), "w", format="mp4") as container:
        stream: Any = container.add_stream("libx264", rate=FPS)
        stream.width, stream.height, stream.pix_fmt = 192, 108, "yuv420p"
        for number in range(round(SECONDS * FPS)):
            picture = np.full((108, 192, 3), 40, np.uint8)
            at = round(number / (SECONDS * FPS) * 180)
            picture[:, at : at + 12] = 220
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode(None))
    return path


def track() -> PoseTrack:
    """A dancer who stands in the middle: joint j at x = 40 + 4 j, y = 20 + 4 j of 192 x 108."""
    times = np.arange(round(SECONDS * FPS)) / FPS
    joints = np.stack([40 + 4 * np.arange(17), 20 + 4 * np.arange(17), np.ones(17)], axis=1)
    return PoseTrack(np.tile(joints, (len(times), 1, 1)).astype(np.float32), times, (192, 108), 0, "made")


def take(number: int) -> NDArray[np.float32]:
    """(1, n) of lower tones, each take later by 0.1 s."""
    return clicks(BEATS + 0.1 * number, 400)


def drawing(takes: int = 0) -> Drawing:
    sounds = [(number, take(number)) for number in range(1, takes + 1)]
    return draw(clicks(BEATS), RATE, accents=BEATS, dance_beats=BEATS, bpm=120.0, tracks=[track()], takes=sounds)


def record(video: str, **changes: Any) -> dict[str, Any]:
    """A record as d2m writes it, as far as the page reads it."""
    return {
        "format": "d2m-music",
        "video": {"file": video, "content": changes.get("content", video), "seconds": SECONDS},
        "settings": {
            "genre": changes.get("genre", "LO"), "prompt": changes.get("prompt"), "negative_prompt": "",
            "seed": changes.get("seed", 0), "candidates": 3, "dancers": "largest", "decoder": "auto",
            "sampling": {"steps": 20},
        },
        "models": {"backbone": {"name": "embedded", "sha256": "0", "licence": "MIT"}},
        "licences": {"music": "MIT"},
        "run": {"models": "music: embedded on cpu"},
        "versions": {"d2m": "0"},
        "rhythm": {
            "mode": "beats", "tempo": {"bpm": changes.get("bpm", 120.0), "first_beat": 0.25, "confidence": 0.9},
            "peaks": BEATS.tolist(), "beats": BEATS.tolist(), "steady": True,
        },
        "music": {
            "seconds": SECONDS, "sample_rate": RATE, "channels": 1, "level": None, "snap": None,
            **({"takes": changes["takes"]} if "takes" in changes else {}),
        },
        "windows": [{"prompt": "a @ music", "unread": changes.get("unread", "")}],
        **({"files": changes["files"]} if "files" in changes else {}),
    }  # fmt: skip


class Folder:
    """Results under any names, with their ledger."""

    def __init__(self, out: Path) -> None:
        self.out = out
        out.mkdir(parents=True)
        self.ledger = Ledger(out)
        self._film = film(out.parent / "film.mp4")
        self._wav, self._mp4 = out.parent / "one.wav", out.parent / "one.mp4"
        save_wav(self._wav, clicks(BEATS), RATE)
        mux(self._film, clicks(BEATS), RATE, self._mp4)
        self._drawing = drawing()

    def add(self, stem: str, *, mp4: bool = True, drawn: bool = True, took: float = 2.0, **changes: Any) -> None:
        """One result."""
        base = self.out / stem
        base.parent.mkdir(parents=True, exist_ok=True)
        place = f"../{Path(stem).name}.mp4"
        files = {".wav": self._wav, **({".mp4": self._mp4} if mp4 else {})}
        paths = {suffix: base.with_name(base.name + suffix) for suffix in (*files, ".json")}
        for suffix, source in files.items():
            shutil.copyfile(source, paths[suffix])
        for number, _ in enumerate(changes.get("takes", []), start=1):
            save_wav(base.with_name(f"{base.name}.take-{number}.wav"), take(number), RATE)
        text = json.dumps(record(changes.pop("video", f"{Path(stem).name}.mp4"), **changes))
        paths[".json"].write_text(text, encoding="utf-8")
        made = {path.relative_to(self.out).as_posix(): read_digest(path) for path in paths.values()}
        artefacts = tuple(Artefact(name, stamp.size, digest) for name, (digest, stamp) in made.items())
        stamps = {name: stamp for name, (_, stamp) in made.items()}
        if drawn:
            digest = made[paths[".json"].relative_to(self.out).as_posix()][0]
            picture = self._drawing if "takes" not in changes else drawing(len(changes["takes"]))
            write_drawing(drawing_path(self.out, stem), picture, head_of(picture, digest))
        self._note(stem, place, "done", artefacts, seconds=took, stamps=stamps)

    def fail(self, stem: str, error: str) -> None:
        """One that failed."""
        names = tuple(Artefact(f"{stem}{suffix}", -1, "") for suffix in (".wav", ".mp4", ".json"))
        self._note(stem, f"../{stem}.mp4", "failed", names, error=error, kind="input")

    def _note(self, stem: str, place: str, status: Any, artefacts: Sequence[Artefact], **rest: Any) -> None:
        known: Mapping[str, Any] = {"command": "generate", "stem": stem, "place": place, "at": time.time()}
        self.ledger.add(Entry(place, f"of {stem}", "settings", status, tuple(artefacts), **known, **rest))

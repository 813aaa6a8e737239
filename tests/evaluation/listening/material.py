"""Systems, dances, keys and answers for the tests of listening tests."""

from __future__ import annotations

import base64
import json
import re
from pathlib import Path
from typing import Any

import av
import numpy as np

from d2m_cli.evaluation.listening.opinions import OpinionScores, score_answers
from tests.conftest import write_video

RATE = 48000
SECONDS = 0.8
SYSTEMS = ("zebrafish", "wolverine", "tarantula")
DANCES = ("polka_dance", "mazurka_dance", "tango_dance")
CLICK = 0.31


def clicks(strength: float, seconds: float = SECONDS) -> np.ndarray:
    """A sweep with a click, so that it has a loudness and a moment to find again."""
    times = np.arange(round(seconds * RATE)) / RATE
    samples = 0.1 * np.sin(2 * np.pi * (200 * times + 1000 * times**2))
    after = times[times >= CLICK] - CLICK
    samples[times >= CLICK] += 0.8 * np.sin(2 * np.pi * 1000 * after) * np.exp(-300 * after)
    return (strength * samples).astype(np.float32)[None]


def titled(path: Path, title: str) -> Path:
    """A video whose container and tracks say what it is."""
    plain = write_video(path.with_name("plain.mp4"), seconds=SECONDS)
    with av.open(str(plain)) as source, av.open(str(path), "w") as target:
        stream = source.streams.video[0]
        copy = target.add_stream_from_template(stream)
        target.metadata["title"] = target.metadata["comment"] = title
        copy.metadata["handler_name"] = title
        for packet in source.demux(stream):
            if packet.size:
                packet.stream = copy
                target.mux(packet)
    plain.unlink()
    return path


def systems_of(folder: Path) -> dict[str, Path]:
    return {system: folder / system for system in SYSTEMS}


def embedded(page: Path) -> dict[str, bytes]:
    found = re.findall(r'<script type="text/plain" id="m-([0-9a-f]{16})">([^<]*)</script>', page.read_text())
    return {name: base64.b64decode(content, validate=True) for name, content in found}


def document(page: Path) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="test">(.*?)</script>', page.read_text())
    assert found
    return json.loads(found[1])


def key_items(key: Path) -> dict[str, tuple[str, str]]:
    return {
        item: (clip["clip"], system)
        for clip in json.loads(key.read_text())["clips"]
        for item, system in clip["items"].items()
    }


def plain_key(path: Path, systems: int = 2, clips: int = 2, repeat: bool = False) -> Path:
    """A key whose items are called c0s0, c0s1, ... by clip and system."""
    names = [f"system {number}" for number in range(systems)]
    content = {
        "format": "d2m-listening-key",
        "version": 1,
        "test": "0123456789abcdef",
        "repeat": repeat,
        "systems": names,
        "clips": [
            {"clip": f"clip {clip}", "items": {f"c{clip}s{number}": name for number, name in enumerate(names)}}
            for clip in range(clips)
        ],
    }
    path.write_text(json.dumps(content))
    return path


def answer(item: str, coherence: Any, quality: Any, repeat: Any = False, **other: Any) -> dict[str, Any]:
    line = {"item": item, "repeat": repeat, "coherence": coherence, "quality": quality, "plays": 1, "problem": None}
    return {**line, **other}


def answers(participant: str, ratings: list[dict[str, Any]], /, **other: Any) -> dict[str, Any]:
    return {
        "format": "d2m-listening-result",
        "version": 1,
        "test": "0123456789abcdef",
        "participant": participant,
        "started": "2026-05-01T10:00:00.000Z",
        "finished": "2026-05-01T10:20:00.000Z",
        "ratings": ratings,
        **other,
    }


def write(path: Path, content: dict[str, Any]) -> Path:
    path.write_text(json.dumps(content))
    return path


def table_files(folder: Path, table: np.ndarray) -> list[Path]:
    """A file for each participant from (participants, clips, systems) ratings; quality is 6 less coherence."""
    return [
        write(
            folder / f"{person}.json",
            answers(
                f"p{person}",
                [
                    answer(f"c{clip}s{system}", int(value), 6 - int(value))
                    for (clip, system), value in np.ndenumerate(values)
                ],
            ),
        )
        for person, values in enumerate(table)
    ]


def scores_of(folder: Path, table: np.ndarray, **options: Any) -> OpinionScores:
    key = plain_key(folder / "key.json", table.shape[2], table.shape[1])
    return score_answers(table_files(folder, table), key, **options)

"""The record of a piece of music: all that made it, as one JSON document."""

from __future__ import annotations

import platform
from dataclasses import asdict
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

from d2m_cli import __version__
from d2m_cli.ground.audio_beats import BEAT_TRACKER
from d2m_cli.ground.one_core import torch_threads

if TYPE_CHECKING:
    from d2m_cli.generation.generated import Generated

FORMAT = "d2m-music"
FORMAT_VERSION = 1

_VERSIONED = (
    "torch",
    "diffusers",
    "transformers",
    "onnxruntime-gpu",
    "onnxruntime",
    "librosa",
    "python-stretch",
    "numpy",
    "av",
    "decord",
)


def describe(made: Generated) -> dict[str, Any]:
    """All that made one piece of music, as values that JSON can hold; times in seconds."""
    used, rhythm, music = made.models, made.rhythm, made.music
    notes = {"notes": list(made.timeline.notes)} if made.timeline.notes else {}
    told = {"notes": list(made.notes)} if made.notes else {}
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        **told,
        "video": {"file": made.video.name, "content": made.content, "seconds": music.seconds, **notes},
        "settings": made.options.settings,
        "models": {
            "backbone": {"name": used.backbone, "sha256": used.backbone_sha256, "licence": used.licence},
            "encoders": {"sha256": used.encoders_sha256} if used.encoders_sha256 is not None else None,
            "clap": {"sha256": used.clap_sha256} if used.clap_sha256 is not None else None,
            "poses": dict(used.poses),
        },
        "licences": {"music": used.licence},
        "run": {
            "models": used.description,
            "provider": made.pose_source.provider if made.pose_source is not None else None,
            "decoder": made.pose_source.decoder if made.pose_source is not None else None,
            # Sums that are shared out otherwise are rounded otherwise.
            "threads": torch_threads(),
        },
        "versions": _versions(),
        "rhythm": {
            "mode": rhythm.mode,
            "tempo": asdict(rhythm.tempo) if rhythm.tempo is not None else None,
            "peaks": [round(float(peak), 6) for peak in rhythm.peaks],
            "steady": rhythm.beats.steady,
            "beats": [round(float(beat), 6) for beat in rhythm.beats.beats],
        },
        "music": {
            "seconds": music.seconds,
            "sample_rate": music.sample_rate,
            "channels": len(music.samples),
            "peak": round(max(float(music.samples.max(initial=0.0)), -float(music.samples.min(initial=0.0))), 6),
            "level": asdict(music.level) if music.level is not None else None,
            "snap": music.snap.settings if music.snap is not None else None,
            "breaks": [[round(time, 6) for time in silent] for silent in music.breaks],
            "beats": [round(float(beat), 6) for beat in music.beats],
            "beat_tracker": BEAT_TRACKER,
        },
        "windows": [
            {
                "start": take.window.start,
                "seconds": take.window.seconds,
                "prompt": take.prompt,
                "unread": take.unread,
                "seed": take.seed,
                "batch_rows": take.rows,
                "takes": [score.settings for score in take.scores],
            }
            for take in made.takes
        ],
    }


def _versions() -> dict[str, str]:
    found = {"d2m": __version__, "python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

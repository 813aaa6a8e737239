"""Where the dance video lies that ships with d2m."""

from __future__ import annotations

from pathlib import Path

from d2m_cli.errors import UsageError

CLIP = "house_120_60fps.mp4"
"""The shortest of the example videos: ten seconds of house at 120 beats a minute."""
CLIP_GENRE = "house"


def example_clip() -> Path:
    """The dance video that ships with d2m.

    Returns
    -------
    A file of ``d2m_cli/_examples`` in an installed wheel, of ``examples/videos`` beside the package in a checkout.

    Raises
    ------
    UsageError
        Neither is there: the package was copied without it.
    """
    package = Path(__file__).resolve().parents[1]
    places = (package / "_examples" / CLIP, package.parent / "examples" / "videos" / CLIP)
    for path in places:
        if path.is_file():
            return path
    raise UsageError(
        f"the example video that ships with d2m is neither {places[0]} nor {places[1]}; install d2m again with "
        "'python -m pip install .' from a complete checkout"
    )

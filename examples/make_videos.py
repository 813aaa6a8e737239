"""Make the example videos and their ground truth.

Needs Python 3.10 or later with numpy, scipy, numba, av, torch (a CPU build will do) and Anny::

    pip install numpy scipy numba av torch anny==0.6.2
    python examples/make_videos.py                  # every dance, into examples/videos
    python examples/make_videos.py lock_112         # one of them
    python examples/make_videos.py --capture humanoid_dance.npz     # the recorded dance
    python examples/make_videos.py --bodies         # the keypoint tables in examples/dance/bodies.npz

The recorded dance is a file of the isaaclab wheel (BSD-3-Clause), `contrib/humanoid_amp/motions/humanoid_dance.npz`;
take it out of what this fetches, there is no need to install it::

    pip download --no-deps --python-version 3.12 --only-binary=:all: isaaclab==3.0.0

Everything follows from the seeds in `dance/choreography.py`; other versions of the packages may differ in the last bit.
Beside `<stem>.mp4` it writes `<stem>.truth.json` and `<stem>.keypoints.npz`; examples/README.md describes both.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Iterable
from fractions import Fraction
from pathlib import Path

import numpy as np
from dance.capture import captured_dance
from dance.choreography import DANCES, Dance
from numpy.typing import NDArray

VIDEOS = Path(__file__).parent / "videos"


def encode(path: Path, frames: Iterable[NDArray[np.uint8]], fps: int, size: tuple[int, int], crf: int) -> None:
    """Write RGB frames as a silent H.264 file."""
    import av

    with av.open(str(path), "w", options={"movflags": "+faststart"}) as container:
        stream = container.add_stream("libx264", rate=Fraction(fps))
        stream.width, stream.height = size
        stream.pix_fmt = "yuv420p"
        # One thread, so that the bytes do not depend on the machine's number of cores.
        stream.options = {"crf": str(crf), "preset": "slow", "threads": "1"}
        for image in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode())


def write_truth(dance: Dance, folder: Path) -> None:
    """Write what is known exactly about a dance: times as JSON, keypoints as an npz of int16 tenths of a pixel."""
    times = dance.times()
    dancers = range(len(dance.dancers))
    tenths = np.stack([np.round(10 * dance.pixel_keypoints(i, times)) for i in dancers])
    np.savez_compressed(folder / f"{dance.name}.keypoints.npz", allow_pickle=False, tenths=tenths.astype(np.int16))
    truth = {
        "fps": dance.fps,
        "frames": len(times),
        "size": list(dance.camera.size),
        "genre": dance.genre,
        "bpm": dance.bpm,
        "beats": None if dance.bpm is None else [round(float(t), 6) for t in dance.beats()],
        "dancers": [
            {
                "body": dance.dancers[i].body,
                "accents": None if dance.bpm is None else [round(float(t), 4) for t in dance.accent_times(i)],
            }
            for i in dancers
        ],
        "keypoints": f"{dance.name}.keypoints.npz",
        "camera": dance.camera.describe(),
    }
    (folder / f"{dance.name}.truth.json").write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")


def main() -> int:
    """Parse, draw, write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("names", nargs="*", help=f"dances to make (default all): {', '.join(DANCES)}")
    parser.add_argument("--out", type=Path, default=VIDEOS, help="folder to write to")
    parser.add_argument("--crf", type=int, default=26, help="H.264 quality; lower is larger")
    parser.add_argument(
        "--truth-only", action="store_true", help="write the ground truth without drawing; needs no Anny"
    )
    parser.add_argument(
        "--capture", type=Path, metavar="NPZ", help="make the recorded dance from this motion file instead"
    )
    parser.add_argument("--bodies", action="store_true", help="write the keypoint tables of the bodies and stop")
    options = parser.parse_args()
    unknown = sorted(set(options.names) - set(DANCES))
    if unknown:
        parser.error(f"no such dance: {', '.join(unknown)}; choose from {', '.join(DANCES)}")
    if not options.truth_only:
        from dance.body import BodyFactory, save_skeletons
        from dance.render import frames

        factory = BodyFactory()
        if options.bodies:
            save_skeletons(factory)
            return 0
    options.out.mkdir(parents=True, exist_ok=True)
    dances = (
        [captured_dance(options.capture)] if options.capture else [DANCES[name] for name in options.names or DANCES]
    )
    for dance in dances:
        write_truth(dance, options.out)
        if options.truth_only:
            continue
        started = time.monotonic()
        path = options.out / f"{dance.name}.mp4"
        encode(path, frames(dance, factory), dance.fps, dance.camera.size, options.crf)
        spent = (time.monotonic() - started) / len(dance.times())
        print(f"{path}: {path.stat().st_size / 1e3:.0f} kB, {spent:.2f} s a frame", file=sys.stderr)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""What decoding in another process costs: the same pictures, in this process and in that, in turn.

python -m tests.media.measure_process VIDEO...
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np

from d2m_cli.media.pictures import DecordPictures, in_chunks
from d2m_cli.media.video import VideoReader, probe

LONGEST, CHUNK, ROUNDS = 640, 32, 7


def here(reader: VideoReader) -> float:
    begun = time.perf_counter()
    decord = DecordPictures(reader.info, reader.size, lambda count: None) if reader.decoder == "decord" else None
    for _, pictures in in_chunks(reader.info, reader.size, CHUNK, -1, decord, lambda count: None):
        np.stack(list(pictures))
    return time.perf_counter() - begun


def there(reader: VideoReader) -> float:
    begun = time.perf_counter()
    for _ in reader:
        pass
    return time.perf_counter() - begun


def main() -> None:
    for name in sys.argv[1:]:
        timeline = probe(Path(name))
        for decoder in ("decord", "pyav"):
            reader = VideoReader(Path(name), LONGEST, CHUNK, decoder, timeline)
            rounds = [(here(reader), there(reader)) for _ in range(ROUNDS)]
            ratios = [away / home for home, away in rounds]
            print(
                f"{timeline.path.name}, {timeline.frames} pictures, {decoder}: here {min(r[0] for r in rounds):.2f} s, "
                f"there {min(r[1] for r in rounds):.2f} s, ratio {np.median(ratios):.3f} "
                f"({min(ratios):.2f} to {max(ratios):.2f})"
            )


if __name__ == "__main__":
    main()

"""Reads every file that it is given to its end, and prints what happens as it happens: a JSON document a line.

A program of its own, so that a crash shows as one, and so that its memory is its own.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from d2m_cli.errors import InputError
from d2m_cli.media.video import VideoReader


def main(paths: list[str]) -> None:
    for path in paths:
        pictures, error = 0, None
        say(begun=path)
        try:
            for chunk in VideoReader(Path(path), chunk=8):
                pictures += len(chunk.frames)
                say(pictures=pictures)
        except InputError as caught:
            error = str(caught)
        say(read=path, pictures=pictures, error=error)


def say(**words: object) -> None:
    print(json.dumps(words), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])

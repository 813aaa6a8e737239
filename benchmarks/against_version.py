"""d2m as it is here against another commit of it: seconds, CPU seconds, and whether the music is as good.

::

    python benchmarks/against_version.py                             # against version 0.1.0, the eight examples
    python benchmarks/against_version.py --commit v0.1.0 --repeats 1 examples/videos/lock_112.mp4

The other commit is unpacked by ``git archive`` into a temporary folder and run by the same Python with the same
packages. Both make music for the same videos with the same genre, prompt and seed, in turn and from nothing kept, and
write no page. ``d2m eval`` of this tree then scores both against the examples' true beats; its last table holds the
differences with their 95 % intervals, which draw songs. The default commit is the one of which the first measurements
on a GPU were made.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import tempfile
from functools import partial
from pathlib import Path

from side_by_side import D2M, EXAMPLES, ROOT, by_turns, machine, ratios, run, told

COMMIT = "fbd94bf"
WORDS = ("--genre", "lock", "--prompt", "funky guitar", "--seed", "0")
NOTHING_KEPT = ("--no-cache", "--no-report")
"""Where a version has them: one that keeps no poses has no option that says so."""


def unpacked(commit: str, folder: Path) -> Path:
    """The files of a commit."""
    folder.mkdir()
    packed = subprocess.run(["git", "-C", str(ROOT), "archive", commit], capture_output=True, check=True).stdout
    subprocess.run(["tar", "-x", "-C", str(folder)], input=packed, check=True)
    return folder


def make(tree: Path, options: list[str], videos: list[Path], out: Path) -> None:
    """Music by the d2m of a tree, in a folder that is new."""
    shutil.rmtree(out, ignore_errors=True)
    where = {"cwd": tree, "env": {**os.environ, "PYTHONPATH": str(tree)}}
    run(*D2M, "generate", *map(str, videos), *WORDS, *options, "--out", str(out), **where)


def known(tree: Path) -> list[str]:
    """Those of `NOTHING_KEPT` that the d2m of a tree has; raises where it is another tree's."""
    environment = {**os.environ, "PYTHONPATH": str(tree), "COLUMNS": "200"}
    ask = partial(subprocess.run, cwd=tree, env=environment, capture_output=True, text=True, check=True)
    place = ask([D2M[0], "-c", "import d2m_cli; print(d2m_cli.__file__)"]).stdout.strip()
    if not Path(place).is_relative_to(tree):
        raise SystemExit(f"Python takes {place}, not that of {tree}")
    page = ask([*D2M, "generate", "--help"]).stdout
    return [option for option in NOTHING_KEPT if option in page]


def main() -> None:
    """Time both in turn, and print `d2m eval` of what they made."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("videos", type=Path, nargs="*", default=[EXAMPLES])
    parser.add_argument("--commit", default=COMMIT)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--warm", type=int, default=0, help="rounds before, that are not timed")
    given = parser.parse_args()
    videos = [video.resolve() for video in given.videos]
    print(machine(), flush=True)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name).resolve()
        trees = {"here": ROOT, given.commit: unpacked(given.commit, folder / "tree")}
        outs = {side: folder / f"out-{number}" for number, side in enumerate(trees)}
        works = {side: partial(make, tree, known(tree), videos, outs[side]) for side, tree in trees.items()}
        took = by_turns(works, given.repeats, given.warm)
        for side, one in took.items():
            print(told(f"d2m generate, {side}", one))
        print(f"{given.commit} takes {ratios(took[given.commit], took['here'])}", flush=True)
        score = [*D2M, "eval", str(outs["here"]), "--name", "here", "--system", f"{given.commit}={outs[given.commit]}"]
        beats = ["--beats", str(EXAMPLES), "--clips", str(ROOT / "examples" / "clips.csv"), "--full"]
        # All systems must have all clips: those without true beats are left out, which it says.
        subprocess.run([*score, *beats], cwd=ROOT, env={**os.environ, "PYTHONPATH": str(ROOT)}, check=True)


if __name__ == "__main__":
    main()

"""Where the CPU time of ``d2m generate`` goes, by part, as a table and a picture.

::

    python benchmarks/cpu_profile.py docs/cpu-profile.svg               # the eight examples, from nothing kept
    python benchmarks/cpu_profile.py out.svg examples/videos/lock_112.mp4

In d2m's process and in those that it starts a thread wakes 20 times a second, reads from Linux how much CPU time each
thread has taken since (``/proc/self/task/*/schedstat``), and puts it down to the part in whose functions that thread
stands. Unlike a profiler that counts samples this does not take a thread that waits for a core for one that works, and
sees threads that have no Python in them, such as a decoder's. What its own thread takes is told and left out.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import tempfile
import threading
import time
from collections import Counter
from functools import cache
from pathlib import Path
from types import CodeType, FrameType

INTERVAL = 0.05
WHOLE = {
    # Wherever such a function is at work, whatever it calls.
    "importing": ["<frozen importlib._bootstrap>:_find_and_load"],
    "finding people": ["pose/movenet.py:detect", "pose/estimator.py:_detect"],
}
PARTS = {
    # Else the innermost frame that tells wins.
    "the UNet": ["diffusers/models/unets/"],
    "autoencoder and text": ["diffusers/models/autoencoders/", "transformers/models/clip/", "backbones/reads_text"],
    "sound from spectrograms": ["backbones/spectrogram"],
    "judging takes": ["generation/candidates", "generation/alignment", "generation/music_beats"],
    "joining and bending": ["generation/stitch", "generation/bend", "generation/snap", "generation/finish",
                            "generation/shelf"],
    "joints": ["onnxruntime/", "pose/session", "movenet.py", "pose/heads", "pose/hrnet"],
    "cutting crops": ["pose/geometry", "pose/scenes", "pose/opencv"],
    "the camera's motion": ["pose/camera"],
    "rhythm": ["d2m_cli/rhythm/"],
    "decoding": ["media/worker", "media/pictures", "media/video", "media/decoded", "media/process", "media/timeline"],
    "writing": ["media/", "generation/artefacts", "generation/record", "generation/generated", "report"],
}  # fmt: skip
NATIVE, OTHER, OWN = "threads without Python", "other", "the profile itself"


def part_of(frame: FrameType | None) -> str:
    """The part in whose functions a thread stands."""
    inner = None
    while frame is not None:
        whole, part = _told_by(frame.f_code)
        if whole:
            return whole
        inner, frame = inner or part, frame.f_back
    return inner or OTHER


@cache
def _told_by(code: CodeType) -> tuple[str | None, str | None]:
    """The parts of `WHOLE` and of `PARTS` that a function tells of."""
    place = f"{code.co_filename}:{code.co_name}"
    whole, part = (
        next((part for part, signs in table.items() if any(sign in place for sign in signs)), None)
        for table in (WHOLE, PARTS)
    )
    return whole, part


def watch(into: Path) -> None:
    """Take notes of this process from now on, in a file of its own that is written once a second."""
    took: Counter[str] = Counter()
    known: dict[int, int] = {}
    own: list[int] = []
    is_decoder = "-P" in sys.orig_argv

    def run() -> None:
        own.append(threading.get_native_id())
        written = time.monotonic()
        while True:
            time.sleep(INTERVAL)
            frames = sys._current_frames()
            idents = {one.native_id: one.ident for one in threading.enumerate()}
            for number in map(int, os.listdir("/proc/self/task")):
                try:
                    spent = int(_read(f"/proc/self/task/{number}/schedstat").split()[0])
                except OSError:  # it has ended
                    continue
                new, known[number] = spent - known.get(number, 0), spent
                if not new:
                    continue
                frame = frames.get(idents.get(number) or 0)
                part = OWN if number in own else NATIVE if frame is None else part_of(frame)
                took["decoding" if is_decoder and part in (NATIVE, OTHER) else part] += new
            if time.monotonic() - written > 1:
                written = time.monotonic()
                save()

    saving = threading.Lock()

    def save() -> None:
        # Its process may be ended at any moment: under its name is what is whole.
        begun = into / f"{os.getpid()}.part"
        with saving:
            begun.write_text(json.dumps(took))
            begun.replace(into / f"{os.getpid()}.json")

    import atexit

    atexit.register(save)
    threading.Thread(target=run, daemon=True, name="profile").start()


def _read(path: str) -> bytes:
    handle = os.open(path, os.O_RDONLY)
    try:
        return os.read(handle, 100)
    finally:
        os.close(handle)


def measure(videos: list[Path]) -> tuple[Counter[str], float]:
    """CPU seconds of each part, and those of the whole run by the system's count."""
    from side_by_side import D2M, cpu_seconds, run

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        begin = f"import sys; sys.path.append({str(Path(__file__).parent)!r})\n"
        (folder / "site").mkdir()
        (folder / "site" / "sitecustomize.py").write_text(
            f"{begin}from pathlib import Path; import cpu_profile; cpu_profile.watch(Path({name!r}))\n"
        )
        places = [str(folder / "site"), *filter(None, [os.environ.get("PYTHONPATH")])]
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places)}
        options = ["--genre", "lock", "--prompt", "funky guitar", "--no-cache", "--out", str(folder / "out")]
        before = cpu_seconds()
        run(*D2M, "generate", *map(str, videos), *options, env=environment)
        spent = cpu_seconds() - before
        took: Counter[str] = Counter()
        for one in folder.glob("*.json"):
            took.update(json.loads(one.read_text()))
    return Counter({part: nanoseconds / 1e9 for part, nanoseconds in took.items()}), spent


def draw(took: Counter[str], path: Path, title: str, below: str) -> None:
    """Bars, the longest first, in the colours of d2m's other pictures."""
    import matplotlib

    matplotlib.use("agg")
    # Text as text: a tenth of the size of outlines.
    matplotlib.rcParams |= {"svg.hashsalt": "d2m", "svg.fonttype": "none"}
    from matplotlib.figure import Figure

    ink, muted, line = "#1f2933", "#6b7785", "#d8dee5"
    colours = {"music": "#d1603d", "dance": "#1f5f99", "around": "#9bb8d3"}
    sides = {
        **dict.fromkeys(("the UNet", "autoencoder and text", "sound from spectrograms", "judging takes",
                         "joining and bending"), "music"),
        **dict.fromkeys(("finding people", "joints", "cutting crops", "the camera's motion", "rhythm", "decoding"),
                        "dance"),
    }  # fmt: skip
    parts = sorted(took, key=lambda part: took[part])
    whole = sum(took.values())
    figure = Figure(figsize=(8.0, 1.3 + 0.32 * len(parts)))
    axes = figure.add_axes((0.25, 0.75 / figure.get_figheight(), 0.68, 1 - 1.45 / figure.get_figheight()))
    seconds = [took[part] for part in parts]
    axes.barh(parts, seconds, color=[colours[sides.get(part, "around")] for part in parts], height=0.72)
    for at, value in enumerate(seconds):
        axes.text(value, at, f" {value:.1f} s, {100 * value / whole:.0f} %", va="center", color=ink, size=9)
    axes.set_xlim(0, 1.2 * max(seconds))
    axes.tick_params(axis="y", length=0, colors=ink, labelsize=9.5)
    axes.tick_params(axis="x", colors=muted, labelsize=8.5)
    axes.set_xlabel("CPU seconds", color=muted, size=9)
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.spines["bottom"].set_color(line)
    figure.text(0.03, 1 - 0.18 / figure.get_figheight(), title, va="top", color=ink, size=13, weight="bold")
    words = {"dance": "seeing the dance", "music": "making music", "around": "all else"}
    for at, (side, word) in enumerate(words.items()):
        figure.text(0.72, (1.5 - 0.22 * at) / figure.get_figheight(), f"■ {word}", color=colours[side], size=9.5)
    figure.text(0.97, 0.12 / figure.get_figheight(), below, ha="right", va="bottom", color=muted, size=8)
    figure.savefig(path, facecolor="#ffffff", metadata={"Date": None} if path.suffix == ".svg" else None)


def main() -> None:
    """Measure, print the table and draw the picture."""
    from side_by_side import EXAMPLES, machine

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("picture", type=Path, help="an .svg or .png")
    parser.add_argument("videos", type=Path, nargs="*", default=[EXAMPLES])
    given = parser.parse_args()
    print(machine(), flush=True)
    took, spent = measure(given.videos)
    own = took.pop(OWN)
    whole = sum(took.values())
    for part, seconds in took.most_common():
        print(f"{part}: {seconds:.1f} s, {100 * seconds / whole:.1f} %")
    print(f"all: {whole:.1f} s, of {spent:.1f} s by the system's count; the profile itself {own:.1f} s")
    names = "the eight examples" if given.videos == [EXAMPLES] else ", ".join(video.stem for video in given.videos)
    draw(took, given.picture, f"Where the CPU time of d2m generate goes: {names}", machine())


if __name__ == "__main__":
    main()

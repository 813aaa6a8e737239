"""Measure everything that hangs on the device, and write it down.

``python -m tests.gpu.measure OUT`` builds the models at full size with random weights, measures them on the GPU and
writes ``OUT/figures.json`` and ``OUT/figures.md`` after each part, so that what was found stays when time runs out. It
needs no network, no pytest, and of d2m's requirements only torch, diffusers, transformers, accelerate, SciPy and ONNX
Runtime. The exit code is 1 where a bound did not hold or a part broke.
"""

from __future__ import annotations

import argparse
import contextlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from d2m_cli.ground.devices import check_device_name, names_gpu
from tests.gpu.bare import without_librosa

PARTS = ("ceilings", "collection", "musicgen", "riffusion", "hrnet")
OPTIONAL = ("ace-step", "stable-audio")
"""Measured where they are asked for."""


@dataclass(frozen=True)
class Work:
    """One measurement.

    Attributes
    ----------
    part, name
        What it belongs to, and what it is called.
    seconds
        It is not begun where less time is left.
    run
        Does it.
    """

    part: str
    name: str
    seconds: float
    run: Callable[[], object]


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, print the table, and give the exit code."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path, help="folder for figures.json and figures.md")
    parser.add_argument("--device", default="cuda", help="cpu, cuda, or cuda:1 of several")
    parser.add_argument("--size", default="full", choices=("full", "tiny"))
    parser.add_argument("--only", default=",".join(PARTS), help=f"parts; also {', '.join(OPTIONAL)}")
    parser.add_argument("--minutes", type=float, default=6, help="begin nothing that would not end by then")
    parser.add_argument("--models", type=Path, help="keep the models here, and use those that are there")
    parser.add_argument("--no-compile", action="store_true", help="leave out what compiles")
    given = parser.parse_args(arguments)
    if given.device == "auto":
        parser.error("--device: say which, cpu or cuda")
    check_device_name(given.device)
    only = given.only.split(",")
    unknown = sorted(set(only) - {*PARTS, *OPTIONAL})
    if unknown:
        parser.error(f"--only {','.join(unknown)}: say {', '.join((*PARTS, *OPTIONAL))}")
    note = without_librosa()

    import torch

    from tests.gpu.report import FULL_EFFORT, SMALL_EFFORT, Place, Report, describe, run_part

    if names_gpu(given.device) and not torch.cuda.is_available():
        parser.error("no CUDA device is visible to PyTorch; --device cpu --size tiny tries the script itself")
    until = time.monotonic() + 60 * given.minutes
    place = Place(given.device)
    report = Report(describe(place))
    if note is not None:
        report.machine["librosa"] = note
    report.machine["models"] = f"{given.size} size, random weights"
    effort = FULL_EFFORT if given.size == "full" else SMALL_EFFORT
    with contextlib.ExitStack() as stack:
        models = given.models or Path(stack.enter_context(tempfile.TemporaryDirectory()))
        for work in planned(report, place, models, given.size, effort, compiled=not given.no_compile):
            if work.part not in only:
                continue
            left = until - time.monotonic()
            if left < (work.seconds if given.size == "full" else 0):
                report.absent.append((work.part, f"{work.name}: {left:.0f} s were left, it takes {work.seconds:.0f}"))
            else:
                run_part(report, f"{work.part}: {work.name}", work.run)
            report.save(given.out)
    print(report.text())
    for line in report.broken:
        print(f"BROKEN {line}", file=sys.stderr)
    return 1 if report.broken else 0


def planned(report: Any, place: Any, models: Path, size: str, effort: Any, compiled: bool) -> list[Work]:
    """All measurements, those first that say most."""
    from tests.gpu import full_size, measure_hrnet, measure_latent_audio, measure_musicgen, measure_riffusion
    from tests.gpu.measure_collection import measure_collection
    from tests.gpu.measure_rtmlib import measure_rtmlib
    from tests.gpu.report import measure_ceilings

    full = size == "full"
    shape = full_size.W32 if full else full_size.TINY_HRNET
    folders = {part: models / part for part in PARTS if part not in ("ceilings", "collection")}
    saves = {
        "musicgen": lambda folder: full_size.save_full_musicgen(folder, size, place.device),
        "riffusion": lambda folder: full_size.save_full_riffusion(folder, size, place.device),
        "hrnet": lambda path: full_size.save_hrnet(path, shape),
    }
    modules = {"musicgen": measure_musicgen, "riffusion": measure_riffusion, "hrnet": measure_hrnet}

    def build(part: str) -> None:
        if not folders[part].exists():
            models.mkdir(parents=True, exist_ok=True)
            saves[part](folders[part])

    def building(part: str, seconds: float) -> Work:
        return Work(part, "building", seconds, lambda: build(part))

    def measuring(part: str, name: str, seconds: float, function: str, *more: object) -> Work:
        work = getattr(modules[part], function)
        return Work(part, name, seconds, lambda: work(report, folders[part], place, effort, *more))

    def latent_audio(part: str, model: str, seconds: float) -> list[Work]:
        folder = models / model

        def build_it() -> None:
            if not folder.exists():
                measure_latent_audio.save(folder, model, size, place.device)

        def measure_it() -> None:
            measure_latent_audio.measure(report, folder, place, effort, model, size)

        return [Work(part, f"building {model}", 15, build_it), Work(part, model, seconds, measure_it)]

    works = [
        # First what no GPU has said yet.
        Work("collection", "the examples", 75, lambda: measure_collection(report, place, effort, size)),
        building("hrnet", 10),
        Work("hrnet", "against rtmlib", 20, lambda: measure_rtmlib(report, folders["hrnet"], place, effort)),
        measuring("hrnet", "MoveNet", 20, "measure_movenet"),
        Work("ceilings", "rates", 5, lambda: measure_ceilings(report, place, 8192 if full else 64)),
        building("riffusion", 15),
        measuring("riffusion", "floor", 3, "measure_floor", size),
        measuring("riffusion", "ten windows", 55, "measure_ten"),
        building("musicgen", 10),
        measuring("musicgen", "floor", 2, "measure_floor", size),
        measuring("musicgen", "windows", 40, "measure_windows"),
        measuring("musicgen", "compiled", 45, "measure_compiled", 1),
        measuring("hrnet", "providers", 20, "measure_providers"),
        # Up to here some five minutes; what follows was measured before, and finds room with more --minutes.
        measuring("riffusion", "waiting", 8, "measure_waiting"),
        measuring("musicgen", "transformers", 25, "measure_transformers"),
        measuring("riffusion", "windows", 60, "measure_windows"),
        measuring("hrnet", "agreement", 10, "measure_agreement", shape),
        measuring("hrnet", "half precision", 10, "measure_half", shape),
        measuring("musicgen", "same tokens", 20, "measure_same_tokens"),
        measuring("musicgen", "training", 25, "measure_steps"),
        measuring("riffusion", "training", 25, "measure_steps"),
        measuring("musicgen", "agreement", 20, "measure_agreement"),
        measuring("riffusion", "agreement", 25, "measure_agreement"),
        measuring("musicgen", "compiled, same tokens", 70, "measure_compiled_tokens"),
        measuring("musicgen", "compiled, many", 60, "measure_compiled", effort.batches[-1]),
        *latent_audio("ace-step", "ace-step", 40),
        *latent_audio("stable-audio", "stable-audio", 30),
        *latent_audio("stable-audio", "stable-audio-3", 30),
    ]
    return [work for work in works if compiled or not work.name.startswith("compiled")]


if __name__ == "__main__":
    sys.exit(main())

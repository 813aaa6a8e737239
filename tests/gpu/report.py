"""What a measurement leaves behind: figures, checks that can fail, and what could not be measured, in one report."""

from __future__ import annotations

import gc
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from d2m_cli.ground.devices import names_gpu
from d2m_cli.ground.files import atomic_path

PACKAGES = ("torch", "triton", "diffusers", "transformers", "accelerate", "onnxruntime", "onnxruntime-gpu", "numpy")
GIB = 2**30


@dataclass(frozen=True)
class Place:
    """The device on which something is measured.

    Attributes
    ----------
    device
        "cpu", "cuda", or "cuda:1" of several.
    """

    device: str

    @property
    def is_gpu(self) -> bool:
        """Whether this is a CUDA device."""
        return names_gpu(self.device)

    @property
    def formats(self) -> tuple[str, ...]:
        """Number formats that are measured here; the first is what d2m takes where nothing is said."""
        return ("fp16", "bf16", "fp32") if self.is_gpu else ("fp32", "bf16")

    def wait(self) -> None:
        """Until the device has done what it was told."""
        if self.is_gpu:
            torch.cuda.synchronize(self.device)

    def forget(self) -> None:
        """Give back memory that nothing uses, and begin to look for the peak anew."""
        # A backbone's cache of tokenised prompts points back at it, so that only the collector frees it.
        gc.collect()
        if self.is_gpu:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats(self.device)

    def peak(self) -> float | None:
        """GiB held by tensors at most since `forget`; None on a CPU, where torch does not count."""
        return torch.cuda.max_memory_allocated(self.device) / GIB if self.is_gpu else None


@dataclass(frozen=True)
class Effort:
    """How much is measured.

    Attributes
    ----------
    repeats
        Times that a figure is the median of, after one that warms up.
    updates
        Training updates a figure is the median of.
    batches
        Windows drawn at once.
    training_batch
        Windows of an update.
    denoising
        Numbers of denoising steps.
    crops
        Pictures of people that poses are found in at once.
    """

    repeats: int = 2
    updates: int = 8
    batches: tuple[int, ...] = (1, 8)
    training_batch: int = 8
    denoising: tuple[int, ...] = (20, 50)
    crops: tuple[int, ...] = (8, 64)


FULL_EFFORT = Effort()
TEST_EFFORT = Effort(updates=4, denoising=(20,))
SMALL_EFFORT = Effort(repeats=1, updates=2, batches=(1, 2), training_batch=2, denoising=(2,), crops=(2,))


@dataclass(frozen=True)
class Figure:
    """One number that was measured.

    Attributes
    ----------
    part
        What it belongs to, as in "musicgen".
    name, value, unit
        What was measured.
    note
        Under which circumstances.
    """

    part: str
    name: str
    value: float
    unit: str
    note: str = ""


@dataclass(frozen=True)
class Check:
    """A bound that must hold, and whether it did."""

    part: str
    name: str
    passed: bool
    detail: str


@dataclass
class Report:
    """Everything that was found.

    Attributes
    ----------
    machine
        Names and versions.
    figures, checks
        What was measured, and what had to hold.
    absent
        (part, reason) of what could not be measured here.
    failures
        (part, error) of what broke.
    """

    machine: dict[str, str]
    figures: list[Figure] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)
    absent: list[tuple[str, str]] = field(default_factory=list)
    failures: list[tuple[str, str]] = field(default_factory=list)

    def add(self, part: str, name: str, value: float | None, unit: str, note: str = "") -> None:
        """One figure; None is passed over."""
        if value is not None:
            self.figures.append(Figure(part, name, float(value), unit, note))

    def check(self, part: str, name: str, passed: bool, detail: str) -> None:
        """Whether something held."""
        self.checks.append(Check(part, name, bool(passed), detail))

    def value(self, part: str, name: str) -> float:
        """The figure of a name; KeyError where there is none."""
        for figure in self.figures:
            if (figure.part, figure.name) == (part, name):
                return figure.value
        raise KeyError(f"{part}: {name}")

    @property
    def broken(self) -> list[str]:
        """What did not hold or did not run, for people."""
        return [f"{one.part}: {one.name}: {one.detail}" for one in self.checks if not one.passed] + [
            f"{part}: {_last_line(error)}" for part, error in self.failures
        ]

    def save(self, folder: Path) -> None:
        """Write ``figures.json`` and ``figures.md``."""
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in (("figures.json", json.dumps(asdict(self), indent=2) + "\n"), ("figures.md", self.text())):
            with atomic_path(folder / name) as part:
                part.write_text(text, encoding="utf-8")

    def text(self) -> str:
        """The report as Markdown."""
        lines = [f"# Measured on {self.machine.get('device', 'an unknown device')}", ""]
        lines += [f"- {name}: {told}" for name, told in self.machine.items()]
        for part in dict.fromkeys(figure.part for figure in self.figures):
            lines += ["", f"## {part}", "", "| figure | value | unit | circumstances |", "|---|---|---|---|"]
            lines += [
                f"| {one.name} | {_short(one.value)} | {one.unit} | {one.note} |"
                for one in self.figures
                if one.part == part
            ]
        if self.checks:
            lines += ["", "## Checks", "", "| part | check | held | detail |", "|---|---|---|---|"]
            lines += [
                f"| {one.part} | {one.name} | {'yes' if one.passed else 'NO'} | {one.detail} |" for one in self.checks
            ]
        if self.absent:
            lines += ["", "## Not measured", ""] + [f"- {part}: {reason}" for part, reason in self.absent]
        if self.failures:
            lines += ["", "## Broken", ""]
            lines += [f"- {part}: `{_last_line(error)}`" for part, error in self.failures]
        return "\n".join(lines) + "\n"


def _last_line(error: str) -> str:
    return error.strip().splitlines()[-1]


def _short(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 1000 else f"{value:.4g}"


@dataclass(frozen=True)
class Times:
    """Seconds of something done again and again: the first, which warms up, and the median of the others."""

    first: float
    median: float


def timed(place: Place, work: Callable[[], object], repeats: int) -> Times:
    """Do something once to warm up, and then a few times more."""
    spent = []
    for _ in range(1 + repeats):
        place.wait()
        begun = time.perf_counter()
        work()
        place.wait()
        spent.append(time.perf_counter() - begun)
    return Times(spent[0], statistics.median(spent[1:]))


def distance(out: torch.Tensor, reference: torch.Tensor) -> float:
    """Norm of the difference over the norm of the reference, in float64; infinite where something is no number."""
    found, wanted = out.detach().double().cpu(), reference.detach().double().cpu()
    if not bool(found.isfinite().all()):
        return float("inf")
    return float((found - wanted).norm() / wanted.norm())


def describe(place: Place) -> dict[str, str]:
    """Device, driver and versions."""
    told = {"device": platform.processor() or platform.machine(), "python": sys.version.split()[0]}
    if place.is_gpu:
        told["device"] = torch.cuda.get_device_name(place.device)
        told["memory"] = f"{torch.cuda.get_device_properties(place.device).total_memory / GIB:.0f} GiB"
        told["driver"] = _driver()
        told["CUDA of torch"] = str(torch.version.cuda)
        told["cuDNN"] = str(torch.backends.cudnn.version())
    told["CPU cores"] = str(os.cpu_count())
    for name in PACKAGES:
        try:
            told[name] = version(name)
        except PackageNotFoundError:
            told[name] = "not here"
    return told


def _driver() -> str:
    try:
        asked = ["nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader"]
        return subprocess.run(asked, capture_output=True, text=True, check=True, timeout=30).stdout.strip()
    except (OSError, subprocess.SubprocessError) as error:
        return f"not known ({error})"


def measure_ceilings(report: Report, place: Place, side: int = 8192) -> None:
    """What the device does at best: a matrix product and a copy through PyTorch, on random data."""
    kind = torch.bfloat16 if place.is_gpu else torch.float32
    left, right = (torch.randn(side, side, device=place.device).to(kind) for _ in range(2))
    product = timed(place, lambda: [left @ right for _ in range(5)], 5).median / 5
    report.add("ceilings", "matrix product", 2 * side**3 / product / 1e12, "TFLOP/s", f"{kind}, {side} x {side}")
    source = torch.randn(side, side * (8 if place.is_gpu else 1), device=place.device)
    target = torch.empty_like(source)
    copy = timed(place, lambda: [target.copy_(source) for _ in range(5)], 5).median / 5
    moved = 2 * source.numel() * source.element_size()
    report.add("ceilings", "copy", moved / copy / 1e12, "TB/s", f"read and written, {moved / 1e9:.1f} GB")


def ceilings(report: Report) -> tuple[float, float] | None:
    """Operations and bytes a second at best, or None where `measure_ceilings` did not run."""
    try:
        return report.value("ceilings", "matrix product") * 1e12, report.value("ceilings", "copy") * 1e12
    except KeyError:
        return None


def run_part(report: Report, name: str, work: Callable[[], Any]) -> None:
    """Measure one part; where it breaks, the error is kept and the others go on."""
    import traceback

    begun = time.perf_counter()
    try:
        work()
    except Exception:  # whatever it was stands in the report, which then counts as broken
        report.failures.append((name, traceback.format_exc()))
        print(f"{name}: broke\n{traceback.format_exc()}", file=sys.stderr, flush=True)
    print(f"{name}: {time.perf_counter() - begun:.0f} s", file=sys.stderr, flush=True)

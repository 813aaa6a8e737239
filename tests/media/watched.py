"""Programs under watch: what they say and when, and the most memory that they and their children took."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Watched:
    """How a program ran.

    Attributes
    ----------
    code
        Its exit code; below 0 the signal that ended it.
    lines
        What it wrote to stdout, line by line.
    errors
        What it wrote to stderr.
    longest_silence
        Seconds between two lines of either, at most.
    peak
        Bytes of memory that it and its children held at a time, at most.
    """

    code: int
    lines: list[str]
    errors: str
    longest_silence: float
    peak: int


def watch(arguments: Sequence[str], timeout: float) -> Watched:
    """Run Python with the given arguments, from the folder of the package; ended after `timeout` seconds."""
    root = Path(__file__).parents[2]
    environment = {**os.environ, "PYTHONPATH": str(root), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(
        [sys.executable, *arguments],
        cwd=root,
        env=environment,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    said: dict[str, list[str]] = {"stdout": [], "stderr": []}
    heard = [time.monotonic()]

    def listen(name: str) -> None:
        for line in getattr(process, name):
            said[name].append(line)
            heard.append(time.monotonic())

    listeners = [threading.Thread(target=listen, args=(name,), daemon=True) for name in said]
    for listener in listeners:
        listener.start()
    peak, end = 0, time.monotonic() + timeout
    while process.poll() is None:
        peak = max(peak, _memory(process.pid))
        if time.monotonic() > end:
            _end(process.pid)
        time.sleep(0.1)
    for listener in listeners:
        listener.join()
    heard.append(time.monotonic())
    silence = max(later - earlier for earlier, later in itertools.pairwise(heard))
    return Watched(process.returncode, said["stdout"], "".join(said["stderr"]), silence, peak)


def _family(number: int) -> list[psutil.Process]:
    try:
        process = psutil.Process(number)
        return [process, *process.children(recursive=True)]
    except psutil.NoSuchProcess:
        return []


def _memory(number: int) -> int:
    total = 0
    for process in _family(number):
        try:
            total += process.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _end(number: int) -> None:
    for process in _family(number):
        try:
            process.kill()
        except psutil.NoSuchProcess:
            continue

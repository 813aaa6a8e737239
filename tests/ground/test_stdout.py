"""Commands whose stdout is full, closed, or read by nobody any more."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no device that is always full")


def shell(words: str, ending: str) -> tuple[str, list[str]]:
    """What came to stdout, and the lines of stderr, the last of which is the command's exit code."""
    line = f"{{ {shlex.quote(sys.executable)} -m d2m_cli {words} {ending}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False, timeout=120)
    return done.stdout, done.stderr.splitlines()


@pytest.mark.parametrize(
    "words", ["--version", "pose --help", "weights list", "weights list --json", "weights path listener"]
)
def test_what_can_not_be_printed_is_told_in_one_line(words: str) -> None:
    assert shell(words, ">/dev/full; echo $? >&2; }") == (
        "", ["d2m: error: can't print to stdout: No space left on device", "1"]
    )  # fmt: skip
    assert shell(words, ">&-; echo $? >&2; }") == ("", ["d2m: error: can't print to stdout: it is closed", "1"])


def test_a_reader_that_has_enough_is_no_error() -> None:
    assert shell("weights list", "; echo $? >&2; } | true") == ("", ["0"])
    out, told = shell("generate --help", "; echo $? >&2; } | head -n 2")
    assert ("Usage: d2m generate" in out, told) == (True, ["0"])


def test_the_exit_code_of_an_error_stays(tmp_path: Path) -> None:
    out, told = shell(f"eval {tmp_path / 'none'}", ">/dev/full; echo $? >&2; }")
    assert (out, told[-1]) == ("", "2")


@pytest.mark.slow
def test_a_training_that_can_not_be_listed(tmp_path: Path) -> None:
    manifest = Path(__file__).parents[2] / "examples" / "paired" / "manifest.csv"
    words = f"train {manifest} --out {tmp_path / 'out'} --dry-run --json"
    for ending, why in ((">/dev/full", "No space left on device"), (">&-", "it is closed")):
        out, told = shell(words, f"{ending}; echo $? >&2; }}")
        assert (out, told[-2:]) == ("", [f"d2m: error: can't print to stdout: {why}", "1"])
        assert not any("Traceback" in line or "Exception ignored" in line for line in told)


def test_a_batch_goes_on(tmp_path: Path) -> None:
    (tmp_path / "a.mp4").touch()
    words = f"pose {tmp_path / 'a.mp4'} --out {tmp_path / 'out'} --dry-run"
    out, told = shell(words, ">/dev/full; echo $? >&2; }")
    assert (out, told[-1]) == ("", "1")
    assert told[0] == "d2m: results can't be listed on stdout (No space left on device); the work goes on"
    assert not any("can't print" in line for line in told)
    assert shell(words, ">&-; echo $? >&2; }")[1][-1] == "0"
    assert shell(words, "; echo $? >&2; } | cat")[0] == f"would make {tmp_path / 'out' / 'a.pose.npz'}\n"


STDERR = """
import os, sys
from d2m_cli.ground.stdout import guard_stderr
guard_stderr()
there, full = os.dup(2), os.open("/dev/full", os.O_WRONLY)
for where in (there, full, there):
    os.dup2(where, 2)
    print(f"to {'full' if where == full else 'there'}", file=sys.stderr)
os.kill(os.getpid(), 9)
"""


@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_stderr_loses_what_there_is_no_room_for_alone(unbuffered: str) -> None:
    around = {**os.environ, "PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run([sys.executable, "-c", STDERR], env=around, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines() == ["to there", "to there"]

"""``d2m demo``: music for a dance video that ships with d2m."""

from __future__ import annotations

import shlex
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

_PROMPT = "energetic, organ"


def demo(
    context: typer.Context,
    out: Annotated[Path, typer.Argument(metavar="OUT", help="Folder of the results.")] = Path("d2m_demo"),
) -> None:
    """Make music for a dance video that ships with d2m, and say how to watch it: about a minute without a GPU."""
    from d2m_cli.batch.voice import say
    from d2m_cli.ground.example_clip import CLIP_GENRE, example_clip
    from d2m_cli.ground.interrupts import EXIT_CODE

    clip = example_clip()
    words = ["generate", str(clip), "--genre", CLIP_GENRE, "--prompt", _PROMPT, "--out", str(out)]
    say(f"d2m demo: this is d2m {shlex.join(words)}")
    code = _run(context, words)
    if code:
        if code != EXIT_CODE:
            say("d2m demo: that did not work; 'd2m doctor' looks for the cause")
        raise typer.Exit(code)
    for line in _story(out, clip.stem):
        say(line)


def _run(context: typer.Context, words: list[str]) -> int:
    """Run a command line as if it had been typed in place of this one; its exit code."""
    root = context.find_root()
    command = root.command.get_command(root, words[0])  # type: ignore[attr-defined]
    try:
        with command.make_context(words[0], words[1:], parent=root) as inner:
            command.invoke(inner)
    except typer.Exit as ended:
        return ended.exit_code
    return 0


def _story(out: Path, stem: str) -> list[str]:
    """What was made, how to watch it, and what to try next."""
    film, page = out / f"{stem}.mp4", out / "report.html"
    first = page if page.is_file() else film
    opener = "open" if sys.platform == "darwin" else "xdg-open"
    # Where there is no desktop, there is none.
    how = f"{opener} {shlex.quote(str(first))}" if shutil.which(opener) else f"open {first} in a browser"
    return [
        "",
        "The dance has music now, made by the model in the package:",
        f"  {film} (the dance with its music)",
        f"  {out / f'{stem}.wav'} (the music alone)",
        f"  {out / f'{stem}.json'} (how it was made)",
        *([f"  {page} (a page that shows music and dance together)"] if page.is_file() else []),
        "",
        f"See and hear it: {how}",
        'A video of yours: d2m generate VIDEO --genre lock --prompt "funky guitar"',
        "Other models, for a GPU: d2m weights list",
    ]

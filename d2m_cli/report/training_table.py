"""What a training says of its data, its settings and its result."""

from __future__ import annotations

from dataclasses import fields
from typing import TYPE_CHECKING

from rich.table import Table
from rich.text import Text

from d2m_cli.ground.options import option

if TYPE_CHECKING:
    from d2m_cli.training.data.clips import Summary
    from d2m_cli.training.options import TrainOptions
    from d2m_cli.training.record import TrainRecord


def dances_table(summary: Summary, seconds: float) -> Table:
    """Songs, clips, windows and genres of each split, what was passed over and why, and what the reader decided."""
    table = Table(title=f"{summary.kind}: windows of {seconds:.2f} s", title_justify="left")
    for head in ("", "songs", "clips", "windows", "genres"):
        table.add_column(head, justify="left" if head in ("", "genres") else "right")
    for split in summary.splits:
        genres = " ".join(f"{genre} {count}" for genre, count in split.genres)
        table.add_row(split.split, str(split.songs), str(split.clips), str(split.segments), genres)
    for skipped in summary.skipped:
        # Names and what files say are no markup.
        table.add_row("skipped", "", str(skipped.count), "", Text(f"{skipped.cause} (first: {skipped.example})"))
    if summary.notes:
        table.caption = Text("\n".join(summary.notes))
        table.caption_justify = "left"
    return table


def skipped_lines(summary: Summary) -> list[str]:
    """What was passed over, file by file and line by line, the first few of each cause."""
    lines = []
    for skipped in summary.skipped:
        lines += [f"  skipped: {reason}" for reason in skipped.reasons]
        if skipped.untold:
            lines.append(f"  and {skipped.untold} more: {skipped.cause}")
    return lines


def options_table(options: TrainOptions, preset: str) -> Table:
    """Every value of the settings."""
    table = Table(title=f"settings, from preset {preset}", title_justify="left", show_header=False)
    rows = [(option(field.name), _words(getattr(options, field.name))) for field in fields(options)]
    half = (len(rows) + 1) // 2
    for left, right in zip(rows[:half], [*rows[half:], ("", "")], strict=False):
        table.add_row(*left, *right)
    return table


def _words(value: object) -> str:
    if value is None:
        return "one window"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


def result_lines(record: TrainRecord) -> list[str]:
    """What a training reached, in words."""
    course, validation = record.course, record.validation
    lines = [
        f"d2m train: {course.updates} updates in {course.seconds / 60:.1f} minutes, encoders of epoch "
        f"{course.best_epoch}"
        + (" (it stopped early: the validation loss had stopped falling)" if course.stopped_early else "")
    ]
    if validation is None:
        return lines
    lines.append(f"validation loss {validation.loss:.4f}")
    difference = validation.difference
    if difference is None:
        return [*lines, "all validation windows are of one song: whether the dance matters can't be told"]
    lines[-1] += f"; {validation.loss_with_other_dances:.4f} with another song's dance"
    low, high = difference.low, difference.high
    told = "the encoders use the dance" if low > 0 else "no difference shown: the encoders do not use the dance yet"
    return [*lines, f"difference {difference.mean:.4f}, 95 % interval by song {low:.4f} to {high:.4f}: {told}"]

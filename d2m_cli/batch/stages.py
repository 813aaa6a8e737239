"""The stages of one file in a batch: read, looked up, claimed, made, moved to its place, noted."""

from __future__ import annotations

import os
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from d2m_cli.batch.display import Display
from d2m_cli.batch.failures import DISK, bug, short, unreadable
from d2m_cli.batch.naming import place
from d2m_cli.batch.options import BatchOptions
from d2m_cli.batch.outcome import DeathsError, ElsewhereError, Job, Outcome, State, Work
from d2m_cli.batch.pieces import Piece, in_hand
from d2m_cli.batch.publish import publish, refuse_folders
from d2m_cli.batch.report_drawing import drawing_path
from d2m_cli.batch.runs import Run, bury, has_died, is_alive, who
from d2m_cli.batch.voice import say
from d2m_cli.errors import D2MError, InputError, OutputError, ResultError, UsageError
from d2m_cli.ground.files import output_error
from d2m_cli.ground.ledger import INPUT, Artefact, Entry, Ledger, Status
from d2m_cli.ground.ledger_entries import LASTING, Kind
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import StageReport
from d2m_cli.ground.search import Found
from d2m_cli.ground.stamp import Stamp, read_digest
from d2m_cli.media.shortage import is_shortage

DEATHS = 3
"""So often in a row may d2m itself die over a file before that is left out."""

POLL_SECONDS = 0.5
"""Between two looks at what other runs have in hand."""


@dataclass
class Batch:
    """Takes the files of a batch from input to results, several threads one file each; see
    `d2m_cli.batch.runner.run_batch`."""

    label: str
    items: Sequence[Found]
    work: Work
    settings: str
    settings_of: Callable[[Found], str]
    own_settings: bool
    artefacts: tuple[str, ...]
    ledger: Ledger
    options: BatchOptions
    drawn: bool = False
    run: Run | None = field(default=None, init=False)
    began: float = field(default_factory=time.time, init=False)
    _claiming: threading.Lock = field(default_factory=threading.Lock, init=False)
    _pieces: Counter[Path] = field(init=False)

    def __post_init__(self) -> None:
        self._pieces = Counter(item.path for item in self.items)

    def order(self) -> tuple[Sequence[int], Sequence[int]]:
        """Numbers of the items: those that may be worked on side by side, and those over which d2m died, most last.

        When it died, it had several in hand; which of them it died over shows once each is tried alone.
        """
        if not self.options.dry_run:
            bury(self.ledger)
        # Processes that work for this one end for themselves: that it ended says nothing of a file.
        if not self.ledger.deadly or self.options.engine != "local":
            return range(len(self.items)), ()
        died = [self.ledger.died_over(self._targets(item)) for item in self.items]
        numbers = sorted(range(len(self.items)), key=died.__getitem__)
        fine = died.count(0)
        return numbers[:fine], numbers[fine:]

    def left_by_others(self, outcomes: Mapping[int, Outcome], shown: Display) -> Iterator[int]:
        """Numbers of the items that other runs had in hand, once they are free."""
        waited: object = None
        while not self.options.dry_run:
            left = [number for number, outcome in sorted(outcomes.items()) if outcome.state == "being made"]
            if not left:
                return
            self.ledger.refresh()
            holders = {number: self._holder(self._targets(self.items[number])) for number in left}
            if free := [number for number, holder in holders.items() if holder is None]:
                yield from free
            elif (left, holder := holders[left[0]]) != waited:
                waited = left, holder
                item = self.items[left[0]]
                report = shown.start(left[0], in_hand(item), str(item.path))
                report.wait(f"waiting for {who(self.ledger, holder.run if holder else '')} to make it")
            else:
                time.sleep(POLL_SECONDS)

    def one(self, item: Found, report: StageReport) -> Outcome:
        """Bring one item to its end; only OutputError, UsageError and KeyboardInterrupt come out as exceptions."""
        begun = time.monotonic()
        outcome = self.outcome(item, "failed")
        try:
            report("reading")
            settings = self.settings_of(item)
            content, stamp = self._content(item)
        except InputError as error:
            return replace(outcome, error=str(error))
        except OSError as error:
            return replace(outcome, error=f"{item.path} can't be read: {error.strerror or error}")
        drawing = drawing_path(self.ledger.folder, item.stem.as_posix()) if self.drawn else None
        job = Job(item.path, item.stem, content, self._targets(item), settings, item, drawing=drawing)
        paths = {suffix: self.ledger.store.name(path) for suffix, path in job.artefacts.items()}
        if not self.options.overwrite and self._is_done(job, stamp):
            return self._already(job, outcome)
        if (failed := self._failed_before(job, outcome)) is not None:
            return failed
        try:
            self._refuse_strangers(job)
        except ResultError as error:
            return replace(outcome, error=str(error))
        if self.options.dry_run:
            return self._held(job, outcome) or replace(outcome, state="planned", artefacts=paths)
        if (other := self._claim(job, stamp, outcome)) is not None:
            return other
        outcome = self._make(job, stamp, outcome, report, begun)
        return replace(outcome, artefacts=paths) if outcome.state == "done" else outcome

    def outcome(self, item: Found, state: State) -> Outcome:
        """What is known of an item whatever becomes of it."""
        piece = str(item.stem) if self._pieces[item.path] > 1 else ""
        return Outcome(str(item.path), state, piece=piece, line=item.line if isinstance(item, Piece) else "")

    def end(self) -> None:
        """Give the results free that this run had claimed."""
        if self.run is not None:
            self.run.end()

    def _targets(self, item: Found) -> dict[str, Path]:
        return targets(item, self.artefacts, self.ledger.folder)

    def _content(self, item: Found) -> tuple[str, Stamp]:
        """Digest of an input, from the ledger where its stamp vouches for it."""
        entry = self.ledger.entry_of(self._targets(item))
        now = Stamp.of(item.path)
        if entry is not None and not self.options.verify and entry.place == place(item.path, self.ledger.folder):
            known = entry.stamps.get(INPUT)
            if known is not None and known.vouches_for(now):
                return entry.content, known
        return read_digest(item.path)

    def _is_done(self, job: Job, stamp: Stamp) -> bool:
        fresh = self.ledger.checked(job.content, job.settings, job.artefacts, verify=self.options.verify)
        if fresh is None:
            return False
        entry = self.ledger.entry_of(job.artefacts)
        if entry is not None and entry.stamps.get(INPUT) != stamp:
            fresh[INPUT] = stamp
        if fresh and not self.options.dry_run:
            self._remember(job, fresh)
        return True

    def _remember(self, job: Job, fresh: Mapping[str, Stamp]) -> None:
        """Note that files were read and are what they were, so that the next run need not read them."""
        names = [self.ledger.relative(path) for path in job.artefacts.values()]
        before = [self.ledger.owner(name) for name in names]
        with suppress(OutputError), self.ledger.locked():  # where it can't be noted they are read again
            owners = [entry for entry in map(self.ledger.owner, names) if entry is not None]
            if len(owners) < len(names) or any(now is not then for now, then in zip(owners, before, strict=True)):
                return
            stamps = {INPUT: owners[0].stamps[INPUT]} if INPUT in owners[0].stamps else {}
            made = []
            for name, entry in zip(names, owners, strict=True):
                made += [artefact for artefact in entry.artefacts if artefact.path == name]
                if name in entry.stamps:
                    stamps[name] = entry.stamps[name]
            rest = {"seconds": owners[0].seconds, "details": owners[0].details}
            self._write(job, "checked", artefacts=tuple(made), stamps={**stamps, **fresh}, **rest)

    def _already(self, job: Job, outcome: Outcome) -> Outcome:
        entry = self.ledger.entry_of(job.artefacts)
        paths = {suffix: self.ledger.store.name(path) for suffix, path in job.artefacts.items()}
        return replace(outcome, state="already done", artefacts=paths, details=entry.details if entry else {})

    def _failed_before(self, job: Job, outcome: Outcome) -> Outcome | None:
        """What is known of a file that failed and would fail again; None where it is to be tried."""
        entry = self.ledger.entry_of(job.artefacts)
        if entry is None or entry.status != "failed" or entry.kind not in LASTING or self.options.overwrite:
            return None
        names = {self.ledger.relative(path) for path in job.artefacts.values()}
        if (entry.content, entry.settings) != (job.content, job.settings):
            return None
        if {artefact.path for artefact in entry.artefacts} != names:
            return None
        if self.options.retry_failed and entry.at < self.began:
            return None  # failed since, where another run tried it again too, is enough
        error = entry.error or "it failed before"
        # The file may have been named otherwise then.
        error = f"{job.path}{error.removeprefix(entry.input)}" if error.startswith(entry.input) else error
        return replace(outcome, error=error, bug=entry.kind == "bug", traceback=entry.traceback, failed_before=True)

    def _refuse_strangers(self, job: Job) -> None:
        """Raise ResultError where something of the user's lies in the place of a result, and may not be replaced."""
        refuse_folders(job.artefacts, self.ledger.store)
        for path in job.artefacts.values():
            if self.options.overwrite or not self.ledger.store.exists(path) or self.ledger.is_own(path):
                continue
            # Another run may have put it there since the ledger was read.
            self.ledger.refresh()
            if not self.ledger.is_own(path):
                known = self.ledger.knows(self.ledger.relative(path))
                what = "was changed since d2m made it" if known else "is in the way and d2m did not make it"
                called = self.ledger.store.name(path)
                raise ResultError(
                    f"{called} {what}: move it, choose another folder with {option('out')}, or add "
                    f"{option('overwrite', True)}"
                )

    def _claim(self, job: Job, stamp: Stamp, outcome: Outcome) -> Outcome | None:
        """Take the results of a job in hand; an outcome where they are not to be made here and now."""
        with self._claiming:
            run = self._claimed()
        names = [self.ledger.relative(path) for path in job.artefacts.values()]
        if (other := run.refuses(names, self.settings, self.artefacts)) is not None:
            return replace(
                outcome,
                error=f"another run ({other.who}) makes its results with other settings: wait for that run, or choose "
                f"another folder with {option('out')}",
            )
        with self.ledger.locked():
            if not self.options.overwrite and self._is_done(job, stamp):
                return self._already(job, outcome)
            if (failed := self._failed_before(job, outcome)) is not None:
                return failed
            if (held := self._held(job, outcome)) is not None:
                if held.state == "failed":
                    self._write(job, "failed", stamps={INPUT: stamp}, error=held.error, kind="deaths")
                return held
            self._write(job, "started", stamps={INPUT: stamp})
        return None

    def _claimed(self) -> Run:
        if self.run is None:
            every = (self.ledger.relative(path) for item in self.items for path in self._targets(item).values())
            again = ["done", "checked", "failed"] if self.options.overwrite else []
            again += ["failed"] if self.options.retry_failed else []
            how = again, self.own_settings, self.options.engine != "local"
            self.run = Run(self.ledger, self.settings, self.artefacts, every, self.label, *how)
        return self.run

    def _holder(self, artefacts: Mapping[str, Path]) -> Entry | None:
        """What another run that is at work has in hand of these artefacts."""
        return next((entry for entry in self._in_hand(artefacts) if is_alive(self.ledger, entry.run)), None)

    def _in_hand(self, artefacts: Mapping[str, Path]) -> list[Entry]:
        """What runs began of these artefacts and did not end, whether they live or not."""
        entries = map(self.ledger.owner, map(self.ledger.relative, artefacts.values()))
        return [entry for entry in entries if entry is not None and self.ledger.is_in_hand(entry)]

    def _held(self, job: Job, outcome: Outcome) -> Outcome | None:
        """What becomes of a file that is not to be made now: another run makes it, or d2m died over it too often."""
        if self._holder(job.artefacts) is not None:
            return replace(outcome, state="being made")
        left = self._in_hand(job.artefacts)
        if left and not self.options.dry_run:
            bury(self.ledger)
        deaths = self.ledger.deaths(job.content, job.settings, job.artefacts)
        if self.options.dry_run:
            same = [entry for entry in left if (entry.content, entry.settings) == (job.content, job.settings)]
            deaths += any(has_died(self.ledger, entry.run) for entry in same)
        if self.options.overwrite or self.options.retry_failed or deaths < DEATHS:
            return None
        return replace(
            outcome,
            error=f"d2m itself ended {deaths} times in a row while it worked on this file (killed, crashed or out of "
            f"memory), so it is left out; {option('retry_failed', True)} tries it once more",
        )

    def _make(self, job: Job, stamp: Stamp, outcome: Outcome, report: StageReport, begun: float) -> Outcome:
        assert self.run is not None

        def told(error: BaseException) -> str:
            # Results are named as they will be called, not where they are made.
            return str(error).replace(f"{workshop}{os.sep}", f"{next(iter(job.artefacts.values())).parent}{os.sep}")

        kind: Kind = "input"
        with self.run.workshop() as workshop:
            try:
                staged = {suffix: workshop / path.name for suffix, path in job.artefacts.items()}
                beside = self.ledger.beside(self.label, job.stem.as_posix(), job.content, job.settings, job.artefacts)
                result = self.work(replace(job, artefacts=staged, beside=beside), report)
                if not stamp.same_file(Stamp.of(job.path)):
                    kind = "gone"
                    raise InputError(f"{job.path} changed while d2m worked on it: run the same command again")
                self._refuse_strangers(job)  # the user had time
                self.run.check()
                made = tuple(self._measured(job.artefacts[suffix], path) for suffix, path in staged.items())
                self._write(job, "placing", artefacts=made, stamps={INPUT: stamp})
                self._remove_stale(job)
                publish(staged, job.artefacts, self.ledger.store)
            except UsageError as error:
                self._end(job, "interrupted", stamp, begun, str(error))
                raise
            except OutputError as error:
                self._end(job, "failed", stamp, begun, told(error), "output")
                # Where nothing can be written to the folder itself, no other result can be either.
                if not isinstance(error, ResultError) or not os.access(self.ledger.folder, os.W_OK):
                    raise OutputError(told(error)) from error
                outcome, kind = replace(outcome, error=told(error)), "output"
            except D2MError as error:
                outcome = replace(outcome, error=told(error))
                kind = "deaths" if isinstance(error, DeathsError) else "resources" if is_shortage(error) else kind
            except OSError as error:
                if error.errno in DISK:
                    full = output_error(Path(error.filename or self.ledger.folder), error)
                    self._end(job, "failed", stamp, begun, told(full), "output")
                    raise OutputError(told(full)) from error
                gone = unreadable(outcome, job, error)
                outcome, kind = (gone, "gone") if gone is not None else (bug(outcome, error), "bug")
            except Exception as error:
                lack = error.shortage if isinstance(error, ElsewhereError) else is_shortage(error)
                outcome, kind = (short(outcome, error), "resources") if lack else (bug(outcome, error), "bug")
            except BaseException:
                self._end(job, "interrupted", stamp, begun, None)
                raise
            else:
                placed = {
                    self.ledger.relative(path): self.ledger.store.settled(path) for path in job.artefacts.values()
                }
                stamps = {INPUT: stamp, **placed}
                seconds, details = time.monotonic() - begun, result.details
                self._write(job, "done", artefacts=made, stamps=stamps, seconds=seconds, details=details)
                return replace(outcome, state="done", summary=result.summary, details=details, seconds=seconds)
        outcome = replace(outcome, seconds=time.monotonic() - begun)
        self._write(
            job,
            "failed",
            stamps={INPUT: stamp},
            error=outcome.error,
            seconds=outcome.seconds,
            traceback=outcome.traceback,
            kind=kind,
        )
        return outcome

    def _measured(self, place: Path, made: Path) -> Artefact:
        """What is to be noted of a result, at its place, from the file as it was made."""
        digest, stamp = read_digest(made)
        return Artefact(self.ledger.relative(place), stamp.size, digest)

    def _remove_stale(self, job: Job) -> None:
        """Remove what was made for the same name with other settings and is not made again: it fits no longer."""
        for name in self.ledger.siblings(self.label, job.stem.as_posix()):
            entry, path = self.ledger.owner(name), self.ledger.folder / name
            called = self.ledger.store.name(path)
            if path in job.artefacts.values() or entry is None or not entry.made:
                continue
            if (entry.content, entry.settings) == (job.content, job.settings) or not self.ledger.store.exists(path):
                continue
            if self.ledger.is_done(entry.content, entry.settings, {"": path}, verify=True):
                self.ledger.store.remove(path)
                self._write(job, "removed", artefacts=(Artefact(name, -1, ""),))
                say(f"d2m: removed {called}: it was made with other settings than the results beside it")
            else:
                say(f"d2m: {called} was changed since d2m made it; it is of other settings than the results beside it")

    def _end(
        self, job: Job, status: Status, stamp: Stamp, begun: float, error: str | None, kind: Kind | str = ""
    ) -> None:
        # Where the disk is full this may fail too; the run still ends in order, which is told by its claim.
        with suppress(OutputError):
            self._write(job, status, stamps={INPUT: stamp}, error=error, seconds=time.monotonic() - begun, kind=kind)

    def _write(self, job: Job, status: Status, *, artefacts: tuple[Artefact, ...] | None = None, **rest: Any) -> None:
        if artefacts is None:
            artefacts = tuple(Artefact(self.ledger.relative(path), -1, "") for path in job.artefacts.values())
        self.ledger.add(
            Entry(
                str(job.path),
                job.content,
                job.settings,
                status,
                artefacts,
                run=self.run.name if self.run is not None else "",
                command=self.label,
                stem=job.stem.as_posix(),
                place=place(job.path, self.ledger.folder),
                at=time.time(),
                **rest,
            )
        )


def targets(item: Found, artefacts: Sequence[str], out_dir: Path) -> dict[str, Path]:
    """Suffix to path of the results of an item."""
    return {suffix: out_dir / item.stem.with_name(item.stem.name + suffix) for suffix in artefacts}

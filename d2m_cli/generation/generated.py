"""The music of one video with all that made it, and the files that it is written to."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m_cli import __version__
from d2m_cli.errors import UsageError
from d2m_cli.generation.artefacts import FILMS, FORMATS, RECORD, SOUNDS, suffixes, take_number, take_suffix
from d2m_cli.generation.record import describe
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.genres import GENRE_WORDS

if TYPE_CHECKING:
    from d2m_cli.generation.compose import Take
    from d2m_cli.generation.models import ModelsUsed
    from d2m_cli.generation.music import Music
    from d2m_cli.generation.options import GenerateOptions
    from d2m_cli.ground.strip import Samples, Strip
    from d2m_cli.media.timeline import Timeline
    from d2m_cli.pose.track import PoseSource
    from d2m_cli.rhythm.sequence import Rhythm

SUFFIXES = suffixes(FORMATS)


@dataclass(frozen=True, repr=False, eq=False)
class Generated:
    """The music of one video.

    Attributes
    ----------
    video
        The file.
    content
        Digest of its content, which the random seeds hang on.
    timeline
        Of the video.
    options
        What music was asked for.
    models
        The networks that made it.
    pose_source
        What estimated the poses.
    rhythm
        Of the dance.
    music
        Samples, sample rate and beats.
    takes
        What each window of the music was made from, in order.
    notes
        What is particular about it, in words.
    """

    video: Path
    content: str
    timeline: Timeline
    options: GenerateOptions
    models: ModelsUsed
    pose_source: PoseSource | None
    rhythm: Rhythm
    music: Music
    takes: tuple[Take, ...]
    notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"Generated({self.video.name}, {self.music}, windows={len(self.takes)})"

    @cached_property
    def record(self) -> Mapping[str, object]:
        """All that made the music, as the .json holds it: settings, hashes of models, versions, prompts, seeds."""
        return describe(self)

    def save(self, path: str | Path) -> None:
        """Write the music to one file, whole or not at all.

        Parameters
        ----------
        path
            Its ending says what: the music alone (".wav" and ".flac" with 16 bits, ".mp3", ".m4a"), the video with the
            music in place of its sound, or above it with `GenerateOptions.mix` (".mp4", or ".mkv" with lossless
            sound), or the record (".json"), which names the files of the same name that were saved before. Folders are
            made; a file of that name is replaced.

        Raises
        ------
        UsageError
            Another ending; or the video itself, the track or the sound example that the music was made from.
        VideoError
            The video can't be read any more.
        AudioError
            Its sound, which is to be mixed in, can't be decoded.
        OutputError
            The file can't be written.
        """
        path = Path(path)
        if path.suffix not in SUFFIXES:
            raise UsageError(f"{path}: music is saved as {', '.join(SUFFIXES)}; choose one of these endings")
        self._refuse_what_was_read(path)
        place = path.resolve()
        self.write({path.suffix: path}, [suffix for suffix, saved in self._saved if saved == place.with_suffix("")])
        self._saved.append((path.suffix, place.with_suffix("")))

    def save_takes(self, path: str | Path) -> tuple[Path, ...]:
        """Write the piece as it would be with each window's first take, with its second, and so on.

        Parameters
        ----------
        path
            Such as "music/dance.wav": the files are called "music/dance.take-1.wav" and so on.

        Returns
        -------
        The files.

        Raises
        ------
        UsageError
            The takes were not kept.
        OutputError
            A file can't be written.
        """
        if not self.music.candidates:
            raise UsageError(
                "no takes were kept: make the music with GenerateOptions(keep_candidates=True), and more than one "
                "candidate"
            )
        numbers = range(1, len(self.music.candidates) + 1)
        paths = {take_suffix(number): Path(path).with_suffix(take_suffix(number)) for number in numbers}
        for one in paths.values():
            self._refuse_what_was_read(one)
        self.write(paths)
        self._saved.extend((suffix, Path(path).resolve().with_suffix("")) for suffix in paths)
        return tuple(paths.values())

    @cached_property
    def _saved(self) -> list[tuple[str, Path]]:
        """Suffixes of what was saved, each with the path that it stands behind."""
        return []

    def _refuse_what_was_read(self, path: Path) -> None:
        read = {
            "video that the music was made for": self.video,
            "track that the music was made from": self.options.music,
            "sound example that the music was made from": self.options.genre_audio,
        }
        for what, input_path in read.items():
            if input_path is not None and path.resolve() == Path(input_path).resolve():
                raise UsageError(f"{path} would replace the {what}: choose another name")

    def write(self, artefacts: Mapping[str, Path], beside: Sequence[str] = ()) -> dict[str, str]:
        """Write several files, and say in the record what they are and what became of the picture.

        Parameters
        ----------
        artefacts
            Of the suffixes that `d2m_cli.generation.artefacts.suffixes` gives those that are wanted, each with the path
            of the file.
        beside
            Suffixes of what was written before of the same music and lies beside the record, for the record to tell.

        Returns
        -------
        {"mp4": whether the picture was copied or encoded} where an .mp4 was written, the same for an .mkv, and "mix"
        where the video's own sound was to be mixed in.

        Raises
        ------
        VideoError, AudioError, OutputError
            As in `save`.
        """
        from d2m_cli.media.audio import save_wav
        from d2m_cli.media.sound_files import save_sound

        samples, rate = self.music.samples, self.music.sample_rate
        tags = self._tags
        for suffix in (f".{name}" for name in SOUNDS):
            if suffix in artefacts:
                save_sound(artefacts[suffix], samples, rate, tags)
        for suffix, path in artefacts.items():
            number = take_number(suffix)
            if number is not None:
                save_wav(path, self.music.candidates[number - 1].samples, rate)
        notes = self._write_films({name: artefacts[f".{name}"] for name in FILMS if f".{name}" in artefacts})
        if RECORD in artefacts:
            document = self._document((*artefacts, *beside), artefacts[RECORD].name.removesuffix(RECORD))
            with atomic_path(artefacts[RECORD]) as part:
                text = json.dumps({**document, **notes}, indent=1, allow_nan=False)
                part.write_text(text + "\n", encoding="utf-8")
        return notes

    def _write_films(self, films: Mapping[str, Path]) -> dict[str, str]:
        from d2m_cli.media.mix import mix_under
        from d2m_cli.media.mux import mux

        samples: Samples | Strip = self.music.samples
        rate, notes = self.music.sample_rate, {}
        if films and self.options.mix is not None:
            mixed = mix_under(self.music.samples, rate, self.timeline, self.options.mix, self.options.loudness)
            samples, rate, notes["mix"] = mixed.samples, mixed.rate, mixed.note
        for name, path in films.items():
            made = mux(self.video, samples, rate, path, timeline=self.timeline, comment=self._tags["comment"])
            notes[name] = made.note
        return notes

    def _document(self, written: Sequence[str], name: str) -> dict[str, Any]:
        """The record with the files beside it."""
        present = set(written)
        numbers = sorted(number for number in map(take_number, present) if number is not None)
        takes = [
            {
                "number": number,
                "file": name + take_suffix(number),
                "windows": [take.window.index for take in self.takes if take.kept == number - 1],
            }
            for number in numbers
        ]
        document: dict[str, Any] = dict(self.record)
        document["files"] = [name + suffix for suffix in suffixes(FORMATS) if suffix in present and suffix != RECORD]
        if takes:
            document["music"] = {**document["music"], "takes": takes}
        return document

    @cached_property
    def _tags(self) -> dict[str, str]:
        """What files of the music tell of themselves."""
        used, options = self.models, self.options
        tags = {
            "title": self.video.stem,
            "comment": f"music by d2m {__version__} with {used.backbone}; licence of its weights: {used.licence}",
        }
        if options.music is not None:
            return {**tags, "comment": f"laid under a dance by d2m {__version__}"}
        words = options.genre_words or GENRE_WORDS.get(options.genre or "", "")
        return {**tags, "genre": words.partition(",")[0]} if words else tags

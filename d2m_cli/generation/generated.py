"""The music of one video with all that made it, and the files that it is written to."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from d2m_cli.errors import UsageError
from d2m_cli.generation.record import describe
from d2m_cli.ground.files import atomic_path

if TYPE_CHECKING:
    from d2m_cli.generation.compose import Take
    from d2m_cli.generation.models import ModelsUsed
    from d2m_cli.generation.music import Music
    from d2m_cli.generation.options import GenerateOptions
    from d2m_cli.media.timeline import Timeline
    from d2m_cli.pose.track import PoseSource
    from d2m_cli.rhythm.sequence import Rhythm

SUFFIXES = (".wav", ".mp4", ".json")


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
            Ends in ".wav" (the music alone, 16 bits), ".mp4" (the video with the music in place of its sound) or
            ".json" (the record). Folders are made; a file of that name is replaced.

        Raises
        ------
        UsageError
            Another suffix; or the video itself, the track or the sound example that the music was made from.
        VideoError
            The video can't be read any more.
        OutputError
            The file can't be written.
        """
        path = Path(path)
        if path.suffix not in SUFFIXES:
            raise UsageError(f"{path}: music is saved as {', '.join(SUFFIXES)}; choose one of these endings")
        read = {
            "video that the music was made for": self.video,
            "track that the music was made from": self.options.music,
            "sound example that the music was made from": self.options.genre_audio,
        }
        for what, input_path in read.items():
            if input_path is not None and path.resolve() == Path(input_path).resolve():
                raise UsageError(f"{path} would replace the {what}: choose another name")
        self.write({path.suffix: path})

    def write(self, artefacts: Mapping[str, Path]) -> dict[str, str]:
        """Write several files, and say in the record what became of the picture.

        Parameters
        ----------
        artefacts
            Of ".wav", ".mp4" and ".json" those that are wanted, each with the path of the file.

        Returns
        -------
        {"mp4": whether the picture was copied or encoded} where an .mp4 was written, else {}.

        Raises
        ------
        VideoError, OutputError
            As in `save`.
        """
        from d2m_cli.media.audio import save_wav
        from d2m_cli.media.mux import mux

        notes: dict[str, str] = {}
        samples, rate = self.music.samples, self.music.sample_rate
        if ".wav" in artefacts:
            save_wav(artefacts[".wav"], samples, rate)
        if ".mp4" in artefacts:
            notes["mp4"] = mux(self.video, samples, rate, artefacts[".mp4"], timeline=self.timeline).note
        if ".json" in artefacts:
            with atomic_path(artefacts[".json"]) as part:
                text = json.dumps({**self.record, **notes}, indent=1, allow_nan=False)
                part.write_text(text + "\n", encoding="utf-8")
        return notes

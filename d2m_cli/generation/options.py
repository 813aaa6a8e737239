"""What music to make: the options of `d2m_cli.generate` and ``d2m generate``."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any, Literal

from d2m_cli.backbones.base import Sampling
from d2m_cli.errors import UsageError
from d2m_cli.generation.video_genre import AUTO, genre_of_video, read_genre_table
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.genres import genre_code
from d2m_cli.ground.options import option
from d2m_cli.hub.known import files_stamp
from d2m_cli.hub.store import named_path
from d2m_cli.inversion.prompt import GENRE_WORD, RHYTHM_WORD
from d2m_cli.media.passage import Passage

SNAPS = ("auto", "on", "off")
ENDINGS = ("fade", "hit", "none")
QUIETEST = -70.0
"""LUFS of the gate of BS.1770, below which nothing counts."""
QUIETEST_MIX, LOUDEST_MIX = -60.0, 20.0
"""LU beside the music, between which the own sound of a video can be mixed in."""
FOR_A_BACKBONE = (
    "genre", "genre_table", "genre_words", "genre_audio", "clap", "prompt", "negative_prompt", "rhythm", "precision",
    "seed", "candidates", "overlap_seconds", "sampling", "keep_candidates",
)  # fmt: skip
"""Options without effect where a track takes the place of a backbone."""


@dataclass(frozen=True)
class GenerateOptions:
    """What music to make.

    Attributes
    ----------
    genre
        Name, common name or two-letter code of a dance genre (held as its code); "auto" for that of each video, from
        `genre_table` or from a name as AIST gives its dances; or None: the prompt then goes without "@".
    prompt
        The user's words, or a whole prompt with "@" and "*" of its own.
    negative_prompt
        What to steer away from.
    rhythm
        "encoder": "*" is the vector that the trained encoder makes of the dance; "words": tempo in plain words.
    sampling
        How music is drawn from the backbone; what is left open there is what its family takes.
    precision
        In what number format the backbone computes: "auto", "fp32", "bf16" or "fp16".
    seed
        The random seed, of 64 bits with a sign; see `window_seed`.
    candidates
        How many takes of each window are drawn; the one that keeps time best with the dance is kept.
    overlap_seconds
        How much of the last window each window continues.
    allow_no_dancer
        Whether a video without a dancer gets music by the prompt alone; else it can't be used.
    dancers, decoder
        As in `PoseOptions`.
    snap
        Whether music is bent so that its beats fall on the dance's: "auto" where the dance has a steady beat, "on" also
        where its beat is doubtful, "off" never. See `d2m_cli.generation.snap`.
    music, music_start
        A track to lay under the dance in place of music from a backbone, and the moment of it in seconds to begin at;
        None begins where the track need be bent least.
    genre_words
        What a genre is called for a backbone that reads it in plain words, as in `d2m_cli.ground.genres.GENRE_WORDS`;
        None takes those.
    ending
        "fade": the music fades on its last beats; "hit": it ends on its last beat, which rings out; "none": it stops
        where the video does.
    breaks
        Whether the music is silent where the dance holds for more than two beats.
    loudness
        Integrated loudness in LUFS; where it would lift the true peak above -1 dBTP, the peak decides.
    genre_audio, clap
        A sound example to take "@" from in place of a genre, and the folder of the CLAP model that listens to it, or
        "clap" for the one that ``d2m weights pull clap`` fetched. It also listens to the takes: those count for more
        that are like the example, and like the words of genre and prompt.
    genre_table
        Table (.csv) with the columns name and genre, for the genre "auto"; see
        `d2m_cli.generation.video_genre.read_genre_table`.
    start, duration
        The passage of the video that music is made for, in seconds: where it begins and how long it lasts, None to the
        end. The dance is looked at there alone, and the video with the music shows that passage.
    mix
        By how many LU the video's own sound lies above the music in the films that are made of both, such as -12; None
        leaves it out. Files of sound hold the music alone.
    keep_candidates
        Whether the piece is kept as well as it would be with the first take of each window, with the second, and so
        on: `Music.candidates`. Long ones lie in the folder of temporary files.

    Raises
    ------
    UsageError
        A value is out of its range, two options do not go together, or a file is not there.
    MissingWeightsError
        "clap" was asked for and not fetched.
    """

    genre: str | None = None
    prompt: str | None = None
    negative_prompt: str = ""
    rhythm: Literal["encoder", "words"] = "encoder"
    sampling: Sampling = field(default_factory=Sampling)
    precision: str = "auto"
    seed: int = 0
    candidates: int = 3
    overlap_seconds: float = 1.28
    dancers: str | int = "largest"
    decoder: str = "auto"
    snap: Literal["auto", "on", "off"] = "auto"
    music: Path | None = None
    music_start: float | None = None
    genre_words: str | None = None
    ending: Literal["fade", "hit", "none"] = "fade"
    breaks: bool = False
    allow_no_dancer: bool = False
    loudness: float = -14.0
    genre_audio: Path | None = None
    clap: Path | None = None
    genre_table: Path | None = None
    start: float = 0.0
    duration: float | None = None
    mix: float | None = None
    keep_candidates: bool = False

    def __post_init__(self) -> None:
        _ = self.passage
        if self.genre not in (None, AUTO):
            try:
                object.__setattr__(self, "genre", genre_code(self.genre))
            except UsageError as error:
                raise UsageError(f"{option('genre')}: {error}") from None
        if self.genre_table is not None:
            object.__setattr__(self, "genre_table", Path(self.genre_table))
            if self.genre != AUTO:
                raise UsageError(
                    f"{option('genre_table')} gives each video a genre of its own: say {option('genre', AUTO)} with it"
                )
            _ = self._genres  # read before the work, not in the middle of it
        if self.rhythm not in ("encoder", "words"):
            raise UsageError(f"{option('rhythm')} must be 'encoder' or 'words', not {self.rhythm!r}")
        if self.candidates < 1:
            raise UsageError(f"{option('candidates')} must be at least 1, not {self.candidates}")
        check_seed(self.seed)
        if self.genre_words is not None and self.genre in (None, AUTO):
            raise UsageError(f"{option('genre_words')} puts one genre in words: name it with {option('genre')}")
        if self.ending not in ENDINGS:
            raise UsageError(f"{option('ending')} must be one of {', '.join(ENDINGS)}, not {self.ending!r}")
        if not QUIETEST <= self.loudness <= 0.0:
            raise UsageError(f"{option('loudness')} must lie between {QUIETEST:g} and 0 LUFS, not at {self.loudness}")
        if self.mix is not None and not QUIETEST_MIX <= self.mix <= LOUDEST_MIX:
            raise UsageError(
                f"{option('mix')} must lie between {QUIETEST_MIX:g} and {LOUDEST_MIX:g} LU beside the music, not at "
                f"{self.mix}"
            )
        if self.snap not in SNAPS:
            raise UsageError(f"{option('snap')} must be one of {', '.join(SNAPS)}, not {self.snap!r}")
        self._check_track()
        self._check_sound_example()

    def _check_track(self) -> None:
        if self.music_start is not None and self.music is None:
            raise UsageError(f"{option('music_start')} is a moment of a track: give one with {option('music')}")
        if self.music_start is not None and not 0.0 <= self.music_start < math.inf:
            raise UsageError(f"{option('music_start')} must be 0 s or later, not {self.music_start}")
        if self.music is None:
            return
        object.__setattr__(self, "music", Path(self.music))
        if not self.music.is_file():
            raise UsageError(f"{option('music')} {self.music}: no such file")

    def _check_sound_example(self) -> None:
        genre, audio, clap = option("genre"), option("genre_audio"), option("clap")
        if self.genre is not None and self.genre_audio is not None:
            raise UsageError(f"'@' stands for a genre or for a sound example: give {genre} or {audio}, not both")
        if self.genre_audio is not None and self.clap is None:
            raise UsageError(f"{audio} needs a CLAP model that listens to it: give its folder with {clap}")
        if self.clap is None:
            return
        object.__setattr__(self, "clap", named_path(self.clap))
        if self.genre_audio is not None:
            object.__setattr__(self, "genre_audio", Path(self.genre_audio))
            if not self.genre_audio.is_file():
                raise UsageError(f"{audio} {self.genre_audio}: no such file")
        if not self.clap.is_dir():
            raise UsageError(f"{clap} {self.clap}: no such folder")

    def check_listening(self) -> None:
        """See that CLAP has something to listen for; apart, as pieces of music may have words of their own.

        Raises
        ------
        UsageError
            There is neither a sound example nor a word.
        """
        if self.clap is None or self.music is not None or self.genre_audio is not None or self.genre or self.prompt:
            return
        raise UsageError(
            f"{option('clap')} listens for a sound example or for words, and there are none: give one with "
            f"{option('genre_audio')}, or words with {option('prompt')}"
        )

    @property
    def passage(self) -> Passage:
        """The part of the video that music is made for."""
        return Passage(self.start, self.duration)

    def of_video(self, video: Path) -> GenerateOptions:
        """The same with the genre of a video in place of "auto".

        Raises
        ------
        InputError
            Its genre can't be told.
        """
        # A track has no genre to be told of.
        if self.genre == AUTO and self.music is not None:
            return replace(self, genre=None, genre_table=None)
        if self.genre != AUTO:
            return self
        return replace(self, genre=genre_of_video(video, self._genres, self.genre_table), genre_table=None)

    @cached_property
    def _genres(self) -> Mapping[str, str]:
        table = self.genre_table
        if table is None:
            return {}
        try:
            state = table.stat()
        except OSError:
            return read_genre_table(table)  # which says what is wrong
        return _genres_in(table, state.st_mtime_ns, state.st_size)

    @property
    def kept_candidates(self) -> int:
        """How many takes are kept as whole pieces: none where there is nothing to choose from."""
        return self.candidates if self.keep_candidates and self.candidates > 1 and self.music is None else 0

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All of it that changes the music, as values that JSON can hold; files by name and content, CLAP by its files.

        What is kept beside the music is not among it.
        """
        values = asdict(self)
        for name in ("start", "duration"):
            # Whole videos are told of as they were before passages could be, and music alone as before mixes could.
            del values[name]
        if self.mix is None:
            del values["mix"]
        values |= self.passage.settings
        values.pop("keep_candidates")
        track = values.pop("music")
        if track is not None:
            made = {name: value for name, value in values.items() if name not in FOR_A_BACKBONE}
            return {**made, "music": {"file": track.name, "content": content_digest(track)}}
        table, audio, clap = values.pop("genre_table"), values.pop("genre_audio"), values.pop("clap")
        if table is not None:
            values["genre_table"] = {"file": table.name, "content": content_digest(table)}
        if audio is not None:
            values["genre_audio"] = {"file": audio.name, "content": content_digest(audio)}
        if clap is not None:
            values["clap"] = files_stamp(clap)
        return values

    @property
    def doubts(self) -> tuple[str, ...]:
        """What of it will have no effect, in words."""
        if self.music is not None:
            usual = GenerateOptions()
            given = {one.name for one in fields(self) if getattr(self, one.name) != getattr(usual, one.name)}
            # Sampling is several options, and who reads them off the command line knows which were given.
            idle = [name for name in FOR_A_BACKBONE if name in given and name != "sampling"]
            return tuple(f"{option(name)} has no effect with {option('music')}" for name in idle)
        if self.keep_candidates and not self.kept_candidates:
            return (f"{option('keep_candidates', True)} has no effect with {option('candidates', self.candidates)}",)
        text = self.prompt or ""
        named = option("genre") if self.genre else option("genre_audio") if self.genre_audio else None
        if GENRE_WORD in text and RHYTHM_WORD not in text:
            return ("the prompt holds '@' but no '*': the music will not follow the dance",)
        if named and RHYTHM_WORD in text and GENRE_WORD not in text:
            return (f"the prompt holds '*' but no '@': {named} has no effect",)
        return ()


@lru_cache(maxsize=2)
def _genres_in(table: Path, *state: int) -> Mapping[str, str]:
    """`read_genre_table`, once for the options of many pieces; `state` tells whether the file changed."""
    return read_genre_table(table)


def check_seed(seed: int) -> None:
    """Raise UsageError where a seed has more than 64 bits."""
    if not -(2**63) <= seed < 2**63:
        raise UsageError(f"{option('seed')} must be a whole number of 64 bits, {-(2**63)} to {2**63 - 1}, not {seed}")

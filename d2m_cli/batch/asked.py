"""What is asked of each piece of music of a run, and the settings that its results are told by."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

from d2m_cli.api.music import Generator
from d2m_cli.backbones.registry import known_sampling
from d2m_cli.batch.pieces import Piece
from d2m_cli.generation.genre import check_genre, check_genre_words
from d2m_cli.generation.models import Models
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.generation.own import NOTHING_OWN, OwnOptions
from d2m_cli.generation.video_genre import AUTO
from d2m_cli.ground.digests import settings_digest
from d2m_cli.ground.search import Found
from d2m_cli.hub.known import files_stamp, known_sha256
from d2m_cli.pose.options import PoseOptions
from d2m_cli.pose.settings import network_hashes, takes_gpu


class Asked:
    """What is asked of each piece of a run, told before a network is loaded.

    Parameters
    ----------
    items
        Videos and `Piece`s.
    generator, options
        The networks, and what is asked of all.
    verify
        Whether to read all models.

    Attributes
    ----------
    of_most
        What the networks that all share are loaded for: with a text to steer away from where any piece has one, and the
        first piece's track where all have one.
    settings
        Those of the run, values that JSON can hold: what is asked of all, and a digest of what each piece has of its
        own.

    Raises
    ------
    MissingWeightsError, UsageError
        As `music_settings` does.
    """

    def __init__(
        self, items: Sequence[Found], generator: Generator, options: GenerateOptions, *, verify: bool = False
    ) -> None:
        self._options, self._generator, self._verify = options, generator, verify
        owns = [_own(item) for item in items]
        for own in dict.fromkeys(OwnOptions(own.genre, own.prompt, music=own.music) for own in owns):
            own.of(options).check_listening()
        self.tracks = tuple(dict.fromkeys((options.music, *(own.music for own in owns))))
        drawn = [own for own in owns if own.music is None] if options.music is None else []
        self._genres = tuple(dict.fromkeys(own.genre for own in drawn))
        self.of_most = options if drawn or not owns else owns[0].of(options)
        against = next((own.negative_prompt for own in drawn if own.negative_prompt), "")
        if against and not options.negative_prompt:
            self.of_most = replace(options, negative_prompt=against)
        self._counts = Counter(item.path for item in items)
        self.settings = music_settings(generator, self.of_most, verify=verify)
        if drawn:
            self.settings["negative_prompt"] = options.negative_prompt
        given = [own.given for own in owns]
        self.differs = any(given) or (options.genre == AUTO and options.music is None)
        if any(given):
            told = [(item.stem.as_posix(), _told(own)) for item, own in zip(items, given, strict=True)]
            self.settings["pieces"] = settings_digest("pieces", {"all": told})
        self._bases: dict[tuple[Path | None, float | None], dict[str, Any]] = {}

    def of(self, item: Found) -> GenerateOptions:
        """What is asked of one piece; its genre may be "auto"."""
        return _own(item).of(self._options)

    def is_alone(self, item: Found) -> bool:
        """Whether it is the only piece for its video."""
        return self._counts[item.path] < 2

    def settings_of(self, item: Found) -> dict[str, Any]:
        """All that changes the music of one piece, as if it had been asked of all.

        Raises
        ------
        InputError
            Its genre can't be told.
        """
        # As if its genre had been named: a line more in a table makes no other video's music again.
        wanted = self.of(item).of_video(item.path)
        settings = {**self._base(wanted), **wanted.passage.settings}
        if wanted.music is None:
            settings |= {name: getattr(wanted, name) for name in _MAY_BE_OWN}
        return settings

    def check(self, models: Models) -> None:
        """Raise EncoderMismatchError where the genre of a piece does not fit the networks."""
        for genre in self._genres:
            check_genre(models.encoders, OwnOptions(genre).of(self._options))

    def _base(self, wanted: GenerateOptions) -> dict[str, Any]:
        """The settings of pieces that are made like this one, without what may be theirs alone."""
        track, of_most = (wanted.music, wanted.music_start), (self.of_most.music, self.of_most.music_start)
        if track not in self._bases:
            common = self.settings
            if track != of_most:
                common = music_settings(self._generator, wanted, verify=self._verify)
            left_out = ("genre_table", "pieces", "start", "duration")
            self._bases[track] = {name: value for name, value in common.items() if name not in left_out}
        return self._bases[track]


_MAY_BE_OWN = ("genre", "genre_words", "prompt", "negative_prompt", "seed")


def _own(item: Found) -> OwnOptions:
    return item.own if isinstance(item, Piece) else NOTHING_OWN


def _told(given: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value.name if isinstance(value, Path) else value for name, value in given.items()}


def music_settings(generator: Generator, options: GenerateOptions, *, verify: bool = False) -> dict[str, Any]:
    """All that changes the music of a given video, told without loading a network; values that JSON can hold.

    Raises
    ------
    MissingWeightsError
        A network is not there.
    UsageError
        The options need encoders, and there are none; or they do not fit those that there are.
    """
    settings = {
        **options.settings,
        "gpu": takes_gpu(generator.device),
        "poses": network_hashes(PoseOptions(dancers=options.dancers), verify=verify),
    }
    if options.music is not None:
        return settings
    encoders = generator.encoders_for(options)
    check_genre_words(encoders, options)
    settings |= {
        # A default that changes makes other music, as the same value does where it is given.
        "sampling": asdict(known_sampling(generator.choice_for(options), options.sampling)),
        "backbone": generator.choice_for(options).name,
        "backbone_files": files_stamp(generator.choice_for(options).folder, verify=verify),
        "encoders": known_sha256(encoders, verify=verify) if encoders is not None else None,
        "compiled": generator.compile,
    }
    if verify and options.clap is not None:
        settings["clap"] = files_stamp(options.clap, verify=True)
    return settings

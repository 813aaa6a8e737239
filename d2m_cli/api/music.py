"""`generate`: a dance video in, its music out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

from d2m_cli.api import loaders
from d2m_cli.backbones.registry import check_able, choose
from d2m_cli.errors import UsageError
from d2m_cli.generation.options import GenerateOptions
from d2m_cli.ground.background import Background
from d2m_cli.ground.file_cache import FileCache, as_cache
from d2m_cli.ground.kept import kept
from d2m_cli.ground.options import option
from d2m_cli.ground.progress import silent
from d2m_cli.ground.turns import Turns

if TYPE_CHECKING:
    from d2m_cli.backbones.registry import Choice
    from d2m_cli.generation.generated import Generated
    from d2m_cli.generation.models import Models, Seeing, TrackModels
    from d2m_cli.ground.progress import Report
    from d2m_cli.rhythm.cache import DanceCache


def generate(
    video: str | Path,
    *,
    genre: str | None = None,
    prompt: str | None = None,
    negative_prompt: str | None = None,
    seed: int | None = None,
    options: GenerateOptions | None = None,
    generator: Generator | None = None,
    cache: str | PathLike[str] | None = None,
) -> Generated:
    """Make music that moves with the dancers of one video.

    Parameters
    ----------
    video
        The file.
    genre, prompt, negative_prompt, seed
        As in `GenerateOptions`; what is given here goes before `options`.
    options
        All that can be asked of the music.
    generator
        Holds loaded networks; make one where there are several videos. None loads the default ones for this call.
    cache
        Folder in which poses and rhythm of the video are kept, and looked for first, where no generator says so: other
        music for the same dance then costs music alone. None makes them anew.

    Returns
    -------
    The music, as ``d2m generate`` makes it with the same options, and all that made it. Nothing is written before
    `Generated.save`.

    Raises
    ------
    VideoError, NoPersonError
        The video can't be used.
    InputError
        The genre is "auto", and that of the video can't be told.
    UsageError
        An option is out of range, or does not fit the networks; both a generator and a cache are given.
    MissingWeightsError
        A network is not on this machine.
    """
    if generator is not None and cache is not None:
        raise UsageError("a generator has a cache of its own, or none: give the cache to it")
    given: dict[str, Any] = {"genre": genre, "prompt": prompt, "negative_prompt": negative_prompt, "seed": seed}
    wanted = {name: value for name, value in given.items() if value is not None}
    return (generator or Generator(cache=cache)).generate(video, replace(options or GenerateOptions(), **wanted))


class Generator:
    """Networks for any number of videos: each is loaded when it is first needed, and kept while options need it.

    Parameters
    ----------
    backbone
        "auto", a family, or "FAMILY:FOLDER_OR_HUB_ID"; see `d2m_cli.backbones.registry.choose`.
    encoders
        An ``encoders.safetensors`` to use in place of the backbone's own.
    device
        "auto" (CUDA where there is one), "cpu", "cuda", or "cuda:1" of several.
    compile
        Compile what runs again and again, for backbones that can.
    offload
        Keep networks in main memory until they compute, for backbones that can: for a GPU that is too small.
    cache
        Folder in which poses and rhythms of videos are kept and looked for, or such a cache; None makes all anew.
    tell
        Told what a user should know while the work goes on: words of a prompt that the backbone does not read, how
        long music takes where that is long, that less is drawn at once for want of memory, and with a cache, the pose
        networks that the first video needs.

    Attributes
    ----------
    backbone
        The backbone as it was asked for; see `choice_for`.

    Raises
    ------
    UsageError
        There is no such file.
    """

    def __init__(
        self,
        backbone: str = "auto",
        encoders: str | Path | None = None,
        device: str = "auto",
        *,
        compile: bool = False,
        offload: bool = False,
        cache: str | PathLike[str] | FileCache | None = None,
        tell: Callable[[str], None] | None = None,
    ) -> None:
        self.backbone = backbone
        self.device = device
        self.compile = compile
        self.offload = offload
        self._tell = tell
        self._cache = as_cache(cache)
        self._encoders = Path(encoders) if encoders is not None else None
        if self._encoders is not None and not self._encoders.is_file():
            raise UsageError(
                f"{option('encoders')} {encoders}: no such file; give the encoders.safetensors that 'd2m train' wrote"
            )
        # Not methods: a cache that holds its owner would keep the networks until garbage is collected.
        self._choice = kept(_choose)
        self._desk_in = kept(partial(loaders.open_desk, tell=tell))
        self._turns = Turns()
        self._encoders_of = kept(loaders.load_encoders)
        self._estimator = kept(partial(loaders.load_estimator, on_demand=self._cache is not None, tell=tell or silent))
        self._track_in = kept(loaders.load_track)
        self._listener = kept(loaders.load_listener)

    def __reduce__(self) -> tuple[Any, ...]:
        # Another process loads networks of its own.
        where = self.backbone, self._encoders, self.device
        again = partial(
            Generator, *where, compile=self.compile, offload=self.offload, cache=self._cache, tell=self._tell
        )
        return again, ()

    def choice_for(self, options: GenerateOptions) -> Choice:
        """The backbone's name and where its weights lie, as these options need it where it is left to d2m.

        Raises
        ------
        UsageError
            There is no such backbone, or it is to be compiled or offloaded and can't be.
        MissingWeightsError
            It is not on this machine.
        """
        given, encoders = loaders.given(options), self._encoders
        choice = self._choice(self.backbone, self.device, options.precision, self.offload, given, encoders)
        check_able(choice, self.compile, self.offload)
        return choice

    @property
    def given(self) -> tuple[str, ...]:
        """Those of its options that only a backbone goes by, and that are not as they are by default."""
        told = {
            "backbone": self.backbone != "auto",
            "encoders": self._encoders is not None,
            "compile": self.compile,
            "offload": self.offload,
        }
        return tuple(name for name, is_given in told.items() if is_given)

    def generate(
        self, video: str | Path, options: GenerateOptions | None = None, report: Report | None = None
    ) -> Generated:
        """Make the music of one video.

        Parameters
        ----------
        video
            The file.
        options
            What music to make.
        report
            Told where the work is.

        Raises
        ------
        D2MError
            As in `d2m_cli.generate`.
        """
        from d2m_cli.generation.pipeline import halves, music_for, see_dance
        from d2m_cli.ground.digests import content_digest
        from d2m_cli.media.container import check_file

        video, options = Path(video), options or GenerateOptions()
        check_file(video)
        options.check_listening()
        options = options.of_video(video)
        looking, composing = halves(report or silent)
        # There may be no room for two backbones: who needs another one waits.
        with self._turns.of(self._networks_of(options)), self.loading(options) as models:

            def seeing(step: str, fraction: float = 0.0) -> None:
                models.check()
                looking(step, fraction)

            networks = self.seeing(options) if options.music is None else models.value()
            dance = see_dance(video, content_digest(video), networks, options, seeing)
            return music_for(dance, models.value(), options, composing, self._tell)

    def _networks_of(self, options: GenerateOptions) -> tuple[Any, ...]:
        """What has to be let go before other options can be served."""
        if options.music is not None:
            return options.music, options.dancers, options.decoder
        choice = self.choice_for(options)
        return choice, options.precision, self.encoders_for(options), options.clap, options.dancers, options.decoder

    def loading(self, options: GenerateOptions) -> Background[Models | TrackModels]:
        """The networks that these options need, as `models` or `track_models` give them; they are being loaded."""
        load = self.models if options.music is None else self.track_models
        models: Background[Models | TrackModels] = Background(lambda: load(options))
        models.begin()
        return models

    def seeing(self, options: GenerateOptions) -> Seeing:
        """The networks that see the dance, loaded.

        Raises
        ------
        UsageError
            One is missing, or CUDA was asked for and is not to be had.
        """
        from d2m_cli.generation.models import Seeing

        poses = self._estimator(options.dancers, self.device, options.decoder)
        return Seeing(poses, known=self._known(options))

    def encoders_for(self, options: GenerateOptions) -> Path | None:
        """File of the encoders that these options need, or None where they need none.

        Raises
        ------
        UsageError
            They need encoders, and the backbone has none.
        """
        if self._encoders is not None:
            return self._encoders
        if options.rhythm == "words":
            # Words need no encoders, and those that were found may be another model's.
            return None
        choice = self.choice_for(options)
        if choice.needs_encoders:
            raise UsageError(
                f"{choice.name} has no encoders for '*' and '@' on this machine: make them with 'd2m train', name "
                f"a file with {option('encoders')}, or put the rhythm in plain words with {option('rhythm', 'words')}"
            )
        return choice.encoders

    def models(self, options: GenerateOptions) -> Models:
        """The networks that these options need, loaded.

        Raises
        ------
        UsageError
            A network is missing, does not fit the others, or CUDA was asked for and is not to be had.
        """
        from d2m_cli.generation.genre import check_genre, check_listener, check_reading, hear
        from d2m_cli.generation.models import Models

        path = self.encoders_for(options)
        choice = self.choice_for(options)
        desk = self._desk_in(choice, self.device, self.compile, self.offload, options.precision)
        backbone = desk.backbone
        loaders.refuse(backbone, options)
        encoders = self._encoders_of(path) if path is not None else None
        if encoders is not None:
            encoders.check(backbone)
        check_genre(encoders, options)
        sound = listener = None
        if options.clap is not None:
            listener = self._listener(options.clap)
        if listener is not None and options.genre_audio is None:
            check_reading(listener)
        elif listener is not None and options.genre_audio is not None and encoders is not None:
            check_listener(listener, encoders.config.clap, path)
            sound = hear(options.genre_audio, listener)
        poses = self._estimator(options.dancers, self.device, options.decoder)
        sha256 = encoders.sha256 if encoders is not None else ""
        return Models(poses, backbone, encoders, sha256, sound, listener, desk, known=self._known(options))

    def remarks(self, options: GenerateOptions) -> tuple[str, ...]:
        """What a user should know of the choice of the backbone, and of how the rhythm reaches it."""
        told, choice = [], self.choice_for(options)
        if choice.why:
            told.append(f"auto takes {choice.name}: {choice.why}")
        if options.rhythm == "encoder" and self.encoders_for(options) is None:
            told.append(f"{choice.name} has no encoders for '*' and '@' here: it is told the tempo and the genre")
        return tuple(told)

    def track_models(self, options: GenerateOptions) -> TrackModels:
        """What a track in place of a backbone needs, loaded: no backbone and no encoders.

        Raises
        ------
        UsageError
            The options name no track or one that can't be read, it is over before it shall begin, a network is missing,
            or CUDA was asked for and is not to be had.
        """
        from d2m_cli.generation.models import TrackModels
        from d2m_cli.ground.digests import content_digest

        if options.music is None:
            raise UsageError(f"there is no track: give one with {option('music')}")
        track = self._track_in(options.music, content_digest(options.music))
        track.check_start(options.music_start)
        poses = self._estimator(options.dancers, self.device, options.decoder)
        return TrackModels(poses, track, known=self._known(options))

    def knows_poses(self, content: str, options: GenerateOptions) -> bool:
        """Whether the poses of a video, told by its `content_digest`, are kept, so that no network need look at it."""
        known = self._known(options)
        return known is not None and known.has_poses(content, options.passage)

    def _known(self, options: GenerateOptions) -> DanceCache | None:
        from d2m_cli.pose.options import PoseOptions
        from d2m_cli.rhythm.cache import DanceCache

        seen = PoseOptions(dancers=options.dancers, device=self.device, decoder=options.decoder)
        return DanceCache(self._cache, seen) if self._cache is not None else None


def _choose(*wanted: Any) -> Choice:
    return choose(*wanted)

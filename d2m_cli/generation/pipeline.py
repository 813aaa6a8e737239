"""From one video to its music: poses, rhythm, conditions, windows, and the files that come out."""

from __future__ import annotations

import json
import platform
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cache, cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np

from d2m_cli import __version__
from d2m_cli.backbones.base import Condition, Draw, Sampling, unread_words
from d2m_cli.batch.runner import ItemResult, Job
from d2m_cli.errors import AudioError, EncoderMismatchError, UsageError
from d2m_cli.generation.candidates import choose_take
from d2m_cli.generation.music import Music
from d2m_cli.generation.stitch import stitch
from d2m_cli.generation.windows import Window, candidate_seed, plan_windows
from d2m_cli.ground.audio_beats import BEAT_TRACKER, track_beats
from d2m_cli.ground.digests import content_digest
from d2m_cli.ground.files import atomic_path
from d2m_cli.ground.genres import GENRE_CODES
from d2m_cli.ground.progress import Report
from d2m_cli.hub.known import files_stamp, known_sha256
from d2m_cli.inversion.prompt import GENRE_WORD, RHYTHM_WORD, Prompt, compose_prompt, in_caption_octave, rhythm_words
from d2m_cli.media.audio import load_audio, save_wav
from d2m_cli.rhythm.sequence import Rhythm, RhythmGrid, Tempo

if TYPE_CHECKING:
    from torch import Tensor

    from d2m_cli.backbones.base import Backbone
    from d2m_cli.backbones.registry import Choice
    from d2m_cli.inversion.checkpoint import Encoders
    from d2m_cli.media.timeline import Timeline
    from d2m_cli.pose.track import Poses, PoseSource

FORMAT = "d2m-music"
FORMAT_VERSION = 1
TOGETHER = 4
"""Takes of a window that a backbone makes at once."""

_VERSIONED = (
    "torch",
    "diffusers",
    "transformers",
    "onnxruntime-gpu",
    "onnxruntime",
    "librosa",
    "numpy",
    "av",
    "decord",
)


@dataclass(frozen=True)
class GenerateOptions:
    """What music to make.

    Attributes
    ----------
    genre
        Two-letter code of a dance genre, or None: the prompt then goes without "@".
    prompt
        The user's words, or a whole prompt with "@" and "*" of its own.
    negative_prompt
        What to steer away from.
    rhythm
        "encoder": "*" is the vector that the trained encoder makes of the dance; "words": tempo in plain words.
    sampling
        How music is drawn from the backbone.
    precision
        In what number format the backbone computes.
    seed
        The user's, of 64 bits with a sign; see `window_seed`.
    candidates
        How many takes of each window are drawn; the one that keeps time best with the dance is kept.
    overlap_seconds
        How much of the last window each window continues.
    dancers, decoder
        As in `PoseOptions`.
    genre_audio, clap
        A sound example to take "@" from in place of a genre, and the folder of the CLAP model that listens to it.
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
    genre_audio: Path | None = None
    clap: Path | None = None

    def __post_init__(self) -> None:
        if self.genre is not None and self.genre not in GENRE_CODES:
            raise UsageError(f"unknown genre code {self.genre!r}; choose one of {', '.join(GENRE_CODES)}")
        if self.candidates < 1:
            raise UsageError(f"--candidates must be at least 1, not {self.candidates}")
        if not -(2**63) <= self.seed < 2**63:
            raise UsageError(f"--seed must be a whole number of 64 bits, {-(2**63)} to {2**63 - 1}, not {self.seed}")
        if self.genre is not None and self.genre_audio is not None:
            raise UsageError("'@' stands for a genre or for a sound example: give --genre or --genre-audio, not both")
        if self.genre_audio is not None and self.clap is None:
            raise UsageError("--genre-audio needs a CLAP model that listens to it: give its folder with --clap")
        if self.clap is not None and self.genre_audio is None:
            raise UsageError("--clap listens to a sound example, and there is none: give one with --genre-audio")

    @cached_property
    def settings(self) -> dict[str, Any]:
        """All of it as values that JSON can hold; a sound example by its name and content, CLAP by its files."""
        values = asdict(self)
        audio, clap = values.pop("genre_audio"), values.pop("clap")
        if audio is not None:
            values["genre_audio"] = {"file": audio.name, "content": content_digest(audio)}
            values["clap"] = files_stamp(clap)
        return values


class RhythmEncoders(Protocol):
    """What generation needs of `d2m_cli.inversion.checkpoint.Encoders`."""

    @property
    def grid(self) -> RhythmGrid: ...

    @property
    def genre_kind(self) -> str | None: ...

    @property
    def note(self) -> str: ...

    def pseudo_words(self, sequences: Tensor, genres: str | Sequence[str] | Tensor | None) -> dict[str, Tensor]: ...


class DancerEstimator(Protocol):
    """What generation needs of `d2m_cli.pose.estimator.PoseEstimator`."""

    @property
    def model_hashes(self) -> dict[str, str]: ...

    @property
    def description(self) -> str: ...

    def estimate(self, video: Path, report: Report | None = None, timeline: Timeline | None = None) -> Poses: ...


@dataclass(frozen=True)
class Models:
    """All networks of one run, loaded.

    Attributes
    ----------
    poses
        Finds the dancers.
    backbone
        Makes the music.
    encoders
        Of "*" and "@", or None for a run with ``--rhythm words``.
    encoders_sha256
        Hash of the encoders' file, "" without one.
    sound
        (1, 512) embedding of the sound example that "@" stands for, or None.
    clap_sha256
        Hash of the CLAP model that heard it, "" without one.
    """

    poses: DancerEstimator
    backbone: Backbone
    encoders: RhythmEncoders | None
    encoders_sha256: str = ""
    sound: Tensor | None = None
    clap_sha256: str = ""

    @property
    def description(self) -> str:
        """One line that says what runs where."""
        note = f"; {self.encoders.note}" if self.encoders is not None and self.encoders.note else ""
        return f"music: {self.backbone.description}; poses: {self.poses.description}{note}"


@dataclass(frozen=True)
class Take:
    """What one window was made from.

    Attributes
    ----------
    window
        Where it lies.
    prompt
        As it was given to the text encoder.
    seed
        Of its noise.
    unread
        The end of the prompt that the text encoder did not read, "" where it read all.
    """

    window: Window
    prompt: str
    seed: int
    unread: str = ""


def load_models(
    choice: Choice, encoders: Path | None, device: str, options: GenerateOptions, *, compiled: bool = False
) -> Models:
    """Load what a run needs.

    Parameters
    ----------
    choice
        From `d2m_cli.backbones.registry.choose`.
    encoders
        File of the encoders, or None.
    device
        "auto", "cpu" or "cuda".
    options
        What music to make.
    compiled
        Compile the backbone's decoder first.

    Raises
    ------
    UsageError
        A network is missing, does not fit the others, or CUDA was asked for and is not to be had.
    """
    from d2m_cli.backbones.registry import open_backbone
    from d2m_cli.ground.progress import quiet_libraries
    from d2m_cli.inversion.checkpoint import Encoders
    from d2m_cli.pose.estimator import PoseEstimator, PoseOptions

    quiet_libraries()
    backbone = open_backbone(choice, device, options.precision, compiled)
    loaded = None
    if encoders is not None:
        loaded = Encoders.load(encoders)
        loaded.check(backbone)
    check_genre(loaded, options)
    sound, clap_sha256 = hear(loaded, options)
    poses = PoseEstimator(PoseOptions(dancers=options.dancers, device=device, decoder=options.decoder))
    return Models(poses, backbone, loaded, loaded.sha256 if loaded else "", sound, clap_sha256)


def check_genre(encoders: RhythmEncoders | None, options: GenerateOptions) -> None:
    """Raise EncoderMismatchError where "@" can't stand for what was asked for."""
    kind = encoders.genre_kind if encoders is not None else "words"
    if options.genre_audio is not None and kind != "clap":
        raise EncoderMismatchError(
            f"--genre-audio needs encoders whose '@' listens to sounds, and {_GENRE_KINDS[kind]}. Leave --genre-audio "
            "and --clap out, or train such encoders with 'd2m train --genre-encoder clap'."
        )
    if options.genre is not None and kind not in ("label", "words"):
        other = "give a sound example with --genre-audio FILE --clap FOLDER" if kind == "clap" else "leave --genre out"
        raise EncoderMismatchError(
            f"--genre {options.genre} needs encoders whose '@' knows genres by name, and {_GENRE_KINDS[kind]}: {other}."
        )


_GENRE_KINDS = {
    "label": "the '@' of these knows genres by name",
    "clap": "the '@' of these listens to a sound example",
    "constant": "the '@' of these is one learned constant",
    None: "these were made without '@'",
    "words": "this run has no encoders",
}


def hear(encoders: Encoders | None, options: GenerateOptions) -> tuple[Tensor | None, str]:
    """Embedding (1, 512) of the sound example, and the hash of the model that heard it; (None, "") without one.

    Raises
    ------
    UsageError
        The sound or the model can't be used, or "@" was trained with another model.
    """
    from d2m_cli.inversion.clap import ClapAudio

    if options.genre_audio is None or options.clap is None or encoders is None:
        return None, ""
    listener = ClapAudio(options.clap)
    if encoders.config.clap and encoders.config.clap != listener.fingerprint:
        raise EncoderMismatchError(
            f"--clap {options.clap}: the '@' of {encoders.path} was trained with another CLAP model; give the folder "
            "of that one"
        )
    try:
        samples, rate = load_audio(options.genre_audio, mono=True)
    except AudioError as error:
        raise UsageError(f"--genre-audio {error}") from error
    return listener.embed(samples[0], rate)[None], listener.fingerprint


def weights_stamp(choice: Choice, encoders: Path | None, *, verify: bool = False) -> dict[str, Any]:
    """What tells one set of weights from another without loading it: their content.

    Raises
    ------
    MissingWeightsError
        A file can't be read.
    """
    return {
        "backbone": choice.name,
        "backbone_files": files_stamp(choice.folder, verify=verify),
        "encoders": known_sha256(encoders, verify=verify) if encoders is not None else None,
    }


def generate_for_video(job: Job, models: Models, options: GenerateOptions, report: Report) -> ItemResult:
    """Make the music of one video and write the artefacts that were asked for.

    Parameters
    ----------
    job
        The video; its artefacts may be ".wav", ".mp4" and ".json".
    models
        From `load_models`.
    options
        What music to make.
    report
        Told where the work is.

    Raises
    ------
    InputError
        The video can't be used.
    OutputError
        A result can't be written.
    """
    from d2m_cli.media.video import probe
    from d2m_cli.rhythm.extract import RhythmOptions, extract_rhythm

    def looking(step: str, fraction: float = 0.0) -> None:
        report(step, 0.3 * fraction)

    def playing(step: str, fraction: float = 0.0) -> None:
        report(step, 0.3 + 0.65 * fraction)

    timeline = probe(job.path)
    poses = models.poses.estimate(job.path, looking, timeline)
    grid = models.encoders.grid if models.encoders is not None else RhythmGrid()
    rhythm = extract_rhythm(poses, RhythmOptions(mode=grid.mode))
    music, takes = compose(rhythm, timeline.duration, models, options, job.content, playing)
    report("writing", 0.96)
    notes = write_artefacts(job, music, timeline)
    if timeline.notes:
        notes["video"] = "; ".join(timeline.notes)
    if ".json" in job.artefacts:
        document = describe(job, models, options, poses.source, rhythm, music, takes, notes)
        with atomic_path(job.artefacts[".json"]) as part:
            part.write_text(json.dumps(document, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    tempo = f"{rhythm.tempo.bpm:.1f} bpm" if rhythm.tempo is not None else "no steady tempo"
    return ItemResult(
        summary=f"{music.seconds:.2f} s, {tempo}, {len(takes)} {'window' if len(takes) == 1 else 'windows'}",
        details={
            "seconds": round(music.seconds, 6),
            "bpm": rhythm.tempo.bpm if rhythm.tempo is not None else None,
            "peaks": len(rhythm.peaks),
            "beats": len(music.beats),
            "windows": len(takes),
            "prompt": takes[0].prompt,
            **({"unread": takes[0].unread} if takes[0].unread else {}),
            **notes,
        },
    )


def compose(
    rhythm: Rhythm, duration: float, models: Models, options: GenerateOptions, content: str, report: Report
) -> tuple[Music, tuple[Take, ...]]:
    """Music in the rhythm of a dance.

    Windows are made one after the other: each begins with the end of the one before, so that one piece goes on and its
    beats stay on one grid.

    Parameters
    ----------
    rhythm
        Of the whole video.
    duration
        Length of the video in seconds.
    models
        Backbone, and encoders where the rhythm is not put in words.
    options
        What music to make.
    content
        Digest of the video's content, for the seeds.
    report
        Told where the work is.
    """
    import torch

    backbone = models.backbone
    windows = plan_windows(duration, backbone.window_seconds, options.overlap_seconds, backbone.quantum_seconds)
    takes: list[Take] = []
    draws: list[Draw] = []
    with torch.inference_mode():
        negative = backbone.embed([options.negative_prompt], {})
        tell_unread("negative prompt", unread_words(backbone, options.negative_prompt, {}))
        for window in windows:
            report(f"music, window {window.index + 1} of {len(windows)}", window.index / len(windows))
            prompt = window_prompt(rhythm, window, models, options).text
            words = pseudo_words(prompt, rhythm, window, models, options)
            condition = backbone.embed([prompt], words)
            unread = unread_words(backbone, prompt, words)
            tell_unread("prompt", unread)
            before = window.start - windows[window.index - 1].start
            context = draws[-1].end(before) if draws else None
            seeds = [candidate_seed(options.seed, content, window.index, n) for n in range(options.candidates)]
            made = _takes(backbone, condition, negative, seeds, context, options.sampling)
            best = choose_take([take.audio[0].numpy() for take in made], backbone.sample_rate, rhythm, window)
            draws.append(made[best])
            takes.append(Take(window, prompt, seeds[best], unread))
    report("joining windows", 1.0)
    samples = stitch([draw.audio[0].numpy() for draw in draws], windows, backbone.sample_rate, duration)
    bpm = rhythm.tempo.bpm if rhythm.tempo is not None else None
    return Music(samples, backbone.sample_rate, track_beats(samples, backbone.sample_rate, bpm)), tuple(takes)


@cache
def tell_unread(what: str, unread: str) -> None:
    """Say on stderr, once in a run, which words of a prompt are not read; nothing where all are."""
    if unread:
        print(f"d2m: the {what} is longer than the model reads: not read is {unread!r}", file=sys.stderr, flush=True)


def _takes(
    backbone: Backbone,
    condition: Condition,
    negative: Condition,
    seeds: Sequence[int],
    context: Draw | None,
    sampling: Sampling,
) -> list[Draw]:
    """One take a seed, a few in one call: what a call costs is mostly shared."""
    takes: list[Draw] = []
    for at in range(0, len(seeds), TOGETHER):
        some = seeds[at : at + TOGETHER]
        known = context.repeated(len(some)) if context is not None else None
        made = backbone.generate(condition.repeated(len(some)), negative, some, known, sampling)
        takes += [made.row(number) for number in range(len(some))]
    return takes


def window_prompt(rhythm: Rhythm, window: Window, models: Models, options: GenerateOptions) -> Prompt:
    """The prompt of one window; it holds "*" and "@" only where an encoder gives them a vector."""
    prompt = compose_prompt(genre_meant(models, options), options.prompt)
    if options.rhythm == "words":
        tempo = window_tempo(rhythm.tempo, window.start, in_octave=models.backbone.speaks_tempo)
        prompt = prompt.with_rhythm(rhythm_words(tempo, models.backbone.speaks_tempo))
    if models.encoders is None and options.genre is not None:
        prompt = Prompt(prompt.text.replace(GENRE_WORD, GENRE_CODES[options.genre]))
    return prompt


def genre_meant(models: Models, options: GenerateOptions) -> str | None:
    """What "@" stands for in this run, in a word; None where it has to be left out."""
    if options.genre is not None:
        return options.genre
    if models.sound is not None:
        return "sound"
    return "constant" if models.encoders is not None and models.encoders.genre_kind == "constant" else None


def pseudo_words(
    prompt: str, rhythm: Rhythm, window: Window, models: Models, options: GenerateOptions
) -> Mapping[str, Tensor]:
    """Vectors of the placeholders that stand in a prompt: (1, layers, vectors, text_width) each."""
    import torch

    encoders = models.encoders
    if encoders is None:
        if RHYTHM_WORD in prompt:
            raise UsageError('the prompt holds "*", but no encoders are loaded: train them, or say --rhythm words')
        return {}
    sequence = torch.from_numpy(rhythm.window(window.start, encoders.grid))[None]
    words = encoders.pseudo_words(sequence, models.sound if models.sound is not None else genre_meant(models, options))
    return {word: vectors for word, vectors in words.items() if word in prompt}


def window_tempo(tempo: Tempo | None, start: float, *, in_octave: bool) -> Tempo | None:
    """A tempo as seen from the start of a window.

    Parameters
    ----------
    tempo
        Of the whole video.
    start
        Of the window, in seconds.
    in_octave
        Bring it between 71.5 and 143.5 bpm first. That has to come before the first beat is counted from the window's
        start: of a halved tempo every second beat is one, and all windows must mean the same ones.
    """
    if tempo is None:
        return None
    return (in_caption_octave(tempo) if in_octave else tempo).seen_from(start)


def write_artefacts(job: Job, music: Music, timeline: Timeline) -> dict[str, Any]:
    """Write the sound and the video; returns what is to be said about them."""
    from d2m_cli.media.mux import mux

    notes: dict[str, Any] = {}
    if ".wav" in job.artefacts:
        save_wav(job.artefacts[".wav"], music.samples, music.sample_rate)
    if ".mp4" in job.artefacts:
        made = mux(job.path, music.samples, music.sample_rate, job.artefacts[".mp4"], timeline=timeline)
        notes["mp4"] = made.note
    return notes


def describe(
    job: Job,
    models: Models,
    options: GenerateOptions,
    source: PoseSource | None,
    rhythm: Rhythm,
    music: Music,
    takes: Sequence[Take],
    notes: Mapping[str, Any],
) -> dict[str, Any]:
    """All that made one piece of music, as values that JSON can hold; times in seconds."""
    backbone = models.backbone
    return {
        "format": FORMAT,
        "format_version": FORMAT_VERSION,
        "video": {"file": job.path.name, "content": job.content, "seconds": music.seconds},
        "settings": options.settings,
        "models": {
            "backbone": {"name": backbone.name, "sha256": backbone.fingerprint, "licence": backbone.licence},
            "encoders": {"sha256": models.encoders_sha256} if models.encoders is not None else None,
            "clap": {"sha256": models.clap_sha256} if models.clap_sha256 else None,
            "poses": dict(models.poses.model_hashes),
        },
        "licences": {"music": backbone.licence},
        "run": {
            "models": models.description,
            "provider": source.provider if source is not None else None,
            "decoder": source.decoder if source is not None else None,
            "threads": _threads(),
        },
        "versions": _versions(),
        "rhythm": {
            "mode": rhythm.mode,
            "tempo": asdict(rhythm.tempo) if rhythm.tempo is not None else None,
            "peaks": [round(float(peak), 6) for peak in rhythm.peaks],
        },
        "music": {
            "seconds": music.seconds,
            "sample_rate": music.sample_rate,
            "channels": len(music.samples),
            "peak": round(float(np.abs(music.samples).max(initial=0.0)), 6),
            "beats": [round(float(beat), 6) for beat in music.beats],
            "beat_tracker": BEAT_TRACKER,
        },
        "windows": [
            {
                "start": take.window.start,
                "seconds": take.window.seconds,
                "prompt": take.prompt,
                "unread": take.unread,
                "seed": take.seed,
            }
            for take in takes
        ],
        **notes,
    }


def _threads() -> int:
    """Threads of torch on the CPU: sums that are shared out otherwise are rounded otherwise."""
    import torch

    return int(torch.get_num_threads())


def _versions() -> dict[str, str]:
    found = {"d2m": __version__, "python": platform.python_version()}
    for name in _VERSIONED:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

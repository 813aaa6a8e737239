"""How to train: one value that holds every choice, and the named sets of choices (presets)."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

from d2m_cli.errors import UsageError

RHYTHM_ENCODERS = ("mlp", "attn-pos", "sequence", "constant")
GENRE_ENCODERS = ("label", "clap", "constant", "none")
SCHEDULES = ("constant", "cosine")
PRECISIONS = ("fp32", "bf16", "fp16")
LEAST_HOP, MOST_JITTER = 0.01, 5.0
"""Seconds: of less hop there is no end of windows, and peaks that move farther are of another window."""
_WHOLE = {
    "hidden": (4, 1 << 16), "rhythm_vectors": (1, 1024), "genre_vectors": (1, 1024), "epochs": (1, 1_000_000),
    "batch_size": (1, 1 << 16), "accumulate": (1, 1 << 16), "warmup": (0, 10**9), "patience": (0, 10**9),
    "warm_updates": (0, 10**9), "validation_draws": (1, 10_000), "samples": (0, 10_000), "seed": (0, 2**63 - 1),
}  # fmt: skip
"""Least and most of each whole number: what networks, memory and random number generators take."""


@dataclass(frozen=True)
class TrainOptions:
    """What to train, on what, and how.

    Attributes
    ----------
    rhythm_encoder
        Network of "*": "mlp" or "attn-pos" (the paper's two projectors), "sequence" (`rhythm_vectors` tokens, each of
        its own stretch of time) or "constant" (one learned vector for every dance: classical textual inversion).
    genre_encoder
        Network of "@": "label" (one-hot genre), "clap" (CLAP embedding of another part of the song), "constant", or
        "none" (the prompt then goes without "@").
    rhythm_mode
        How peaks are found: "stable", "paper" or "published".
    hidden
        Inner width of the rhythm encoders "mlp" and "sequence".
    rhythm_vectors, genre_vectors
        Vectors, and so tokens, of each pseudo-word.
    per_layer
        One set of vectors for every layer of the network that reads text (P+).
    genre_dropout
        Share of the prompts that go without "@", so that "*" does not learn genre.
    drop_peaks, jitter
        Share of a rhythm's peaks left out, and standard deviation in seconds of what each of the others is moved by,
        anew at every step.
    hop
        Seconds from one training window to the next within a clip; None is the length of a window.
    tail
        Whether half a window or more that is left over at a clip's end gives one more window, which ends with the clip:
        so the paper's 36 validation and 36 test windows of AIST++ come about.
    warm_updates
        Updates of `d2m_cli.training.loop.warm_start`, which brings first vectors near plain words; 0 leaves them
        random.
    epochs, batch_size, accumulate
        Passes over the data, windows a step and process, and steps whose gradients are added up to one update.
    learning_rate, warmup, schedule
        Of AdamW: its peak, updates until it is reached, and what follows ("constant" or "cosine", which falls to 0).
    beta1, beta2, weight_decay
        Of AdamW.
    clip
        Largest norm of the gradient; 0 for no limit.
    ema
        Decay of a moving average of the weights, which is then what is validated and saved; 0 for none.
    focus
        Share by which noise levels are drawn from the noisy end, where the beat is decided; 0 is Eq. 2. See
        `d2m_cli.backbones.base.Backbone.loss`. Validation always uses 0.
    precision
        "fp32", "bf16" or "fp16".
    patience
        Epochs without a better validation loss after which training stops; 0 never stops early.
    validation_draws
        Noise levels a validation window is measured at, the same ones every time.
    samples
        Validation windows for which music is made after each epoch.
    seed
        Of first weights, order, noise and dropout; 0 to 2^63 - 1.
    """

    rhythm_encoder: str = "mlp"
    genre_encoder: str = "label"
    rhythm_mode: str = "stable"
    hidden: int = 512
    rhythm_vectors: int = 1
    genre_vectors: int = 1
    per_layer: bool = False
    genre_dropout: float = 0.0
    drop_peaks: float = 0.0
    jitter: float = 0.0
    hop: float | None = None
    tail: bool = False
    warm_updates: int = 0
    epochs: int = 50
    batch_size: int = 1
    accumulate: int = 1
    learning_rate: float = 5e-4
    warmup: int = 0
    schedule: str = "constant"
    beta1: float = 0.9
    beta2: float = 0.999
    weight_decay: float = 0.01
    clip: float = 0.0
    ema: float = 0.0
    focus: float = 0.0
    precision: str = "fp32"
    patience: int = 0
    validation_draws: int = 4
    samples: int = 2
    seed: int = 0

    def __post_init__(self) -> None:
        for name, allowed in (
            ("rhythm_encoder", RHYTHM_ENCODERS),
            ("genre_encoder", GENRE_ENCODERS),
            ("rhythm_mode", ("stable", "paper", "published")),
            ("schedule", SCHEDULES),
            ("precision", PRECISIONS),
        ):
            if getattr(self, name) not in allowed:
                raise UsageError(f"{option(name)} {getattr(self, name)}: say {', '.join(allowed)}")
        for name, (least, most) in _WHOLE.items():
            if not least <= getattr(self, name) <= most:
                raise UsageError(f"{option(name)} must lie between {least} and {most}, not at {getattr(self, name)}")
        for name in ("genre_dropout", "drop_peaks", "ema", "beta1", "beta2"):
            if not 0.0 <= getattr(self, name) < 1.0:
                raise UsageError(f"{option(name)} must be 0 or more and below 1, not {getattr(self, name)}")
        for name in ("learning_rate", "weight_decay", "clip", "focus", "jitter"):
            value = getattr(self, name)
            if not (0.0 <= value < math.inf) or (name == "learning_rate" and value == 0.0):
                range_of_it = "above 0" if name == "learning_rate" else "0 or more"
                raise UsageError(f"{option(name)} must be {range_of_it}, not {value}")
        if self.rhythm_encoder == "sequence" and self.rhythm_vectors == 1:
            raise UsageError("--rhythm-encoder sequence: say how many vectors with --rhythm-vectors, for example 8")
        if self.jitter > MOST_JITTER:
            raise UsageError(f"--jitter must be at most {MOST_JITTER:g} seconds, not {self.jitter}")
        if self.hop is not None and not LEAST_HOP <= self.hop < math.inf:
            raise UsageError(f"--hop must be at least {LEAST_HOP:g} seconds, not {self.hop}")

    def table(self) -> list[tuple[str, str]]:
        """Every choice by the name of its option, for people."""
        return [(option(field.name), _words(getattr(self, field.name))) for field in fields(self)]


def option(name: str) -> str:
    """The command line's name of a choice."""
    return "--" + name.replace("_", "-")


def _words(value: object) -> str:
    if value is None:
        return "one window"
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:g}" if isinstance(value, float) else str(value)


PRESETS: dict[str, TrainOptions] = {
    "paper-riffusion": TrainOptions(
        rhythm_encoder="mlp", genre_encoder="label", rhythm_mode="paper", tail=True, epochs=50, batch_size=1,
        learning_rate=5e-4, schedule="constant",
    ),
    "paper-musicgen": TrainOptions(
        rhythm_encoder="attn-pos", genre_encoder="label", rhythm_mode="paper", tail=True, epochs=20, batch_size=1,
        learning_rate=1e-4, warmup=6000, schedule="constant", beta2=0.95, clip=1.0,
    ),
    "published-musicgen": TrainOptions(
        rhythm_encoder="attn-pos", genre_encoder="label", rhythm_mode="published", tail=True, epochs=20,
        batch_size=1,
        learning_rate=1e-4, warmup=3000, schedule="cosine", beta2=0.95, clip=1.0,
    ),
    "recommended": TrainOptions(
        hidden=256, epochs=5, batch_size=32, learning_rate=5e-4, warmup=100, schedule="cosine", beta2=0.98, clip=1.0,
        genre_dropout=0.3, drop_peaks=0.05, jitter=0.01, hop=1.28, warm_updates=20_000, focus=1.0, precision="bf16",
        patience=4,
    ),
    "quick": TrainOptions(
        hidden=256, epochs=20, batch_size=16, learning_rate=5e-4, warmup=30, schedule="cosine", beta2=0.98, clip=1.0,
        genre_dropout=0.3, drop_peaks=0.05, jitter=0.01, hop=1.28, warm_updates=5_000, focus=1.0, precision="bf16",
        samples=1,
    ),
}  # fmt: skip
"""Named sets of choices.

"paper-riffusion" and "paper-musicgen" are Sec. 4.1 as worded; "published-musicgen" is what the authors' code sets;
"recommended" made the encoders that ship; "quick" shows on two cores that the encoders learn.
"""

"""How to train: one value that holds every choice, and the named sets of choices (presets)."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace
from types import UnionType
from typing import Any, Literal, get_args, get_origin, get_type_hints

from d2m_cli.errors import UsageError
from d2m_cli.ground.options import option

DATA, ENCODERS, TRAINING = "What to learn on", "Encoders", "Training"
"""What options are sorted by where they are listed."""


@dataclass(frozen=True)
class OptionSpec:
    """What one option may be, and what is said of it; kept in the metadata of its field, under "spec".

    Attributes
    ----------
    help
        What it does.
    panel
        Heading that it is listed under.
    least, above
        Smallest value, itself allowed or not; None for no such bound.
    most, below
        Largest value, likewise.
    off
        For yes or no: the name of "no" on the command line; "" is the option's own with "no" before it.
    """

    help: str
    panel: str
    least: float | None = None
    above: float | None = None
    most: float | None = None
    below: float | None = None
    off: str = ""

    def allows(self, value: float) -> bool:
        """Whether a number lies within all bounds; what is not a number does not."""
        return (
            not math.isnan(value)
            and (self.least is None or value >= self.least)
            and (self.above is None or value > self.above)
            and (self.most is None or value <= self.most)
            and (self.below is None or value < self.below)
        )

    @property
    def range(self) -> str:
        """The bounds in words."""
        if self.least is not None and self.most is not None:
            return f"from {self.least} to {self.most}"
        low = f"above {self.above:g}" if self.least is None else f"{self.least:g} or more"
        return low if self.below in (None, math.inf) else f"{low} and below {self.below:g}"


def _choice(default: Any, panel: str, help: str, **bounds: Any) -> Any:
    return field(default=default, metadata={"spec": OptionSpec(help, panel, **bounds)})


@dataclass(frozen=True)
class TrainOptions:
    """What to train, on what, and how."""

    rhythm_encoder: Literal["mlp", "attn-pos", "sequence", "constant"] = _choice(
        "mlp", ENCODERS,
        "Network of '*': mlp or attn-pos (the paper's two), sequence (several vectors, each of its own stretch of "
        "time), or constant (one learned vector for every dance: classical textual inversion).",
    )  # fmt: skip
    genre_encoder: Literal["label", "clap", "constant", "none"] = _choice(
        "label", ENCODERS,
        "Network of '@': label (the genre's name), clap (CLAP embedding of another part of the song), constant, or "
        "none (prompts go without '@').",
    )  # fmt: skip
    rhythm_mode: Literal["beats", "stable", "paper", "published"] = _choice(
        "beats", DATA,
        "Rhythm of '*': beats (learned from real dances, with half beats that are danced), stable (accents alone), or "
        "the paper's, as worded or as published.",
    )  # fmt: skip
    hidden: int = _choice(
        512, ENCODERS, "Inner width of the rhythm encoders mlp and sequence.", least=4, most=1 << 16
    )  # fmt: skip
    rhythm_vectors: int = _choice(1, ENCODERS, "Vectors, and so tokens, of '*'.", least=1, most=1024)
    genre_vectors: int = _choice(1, ENCODERS, "Vectors, and so tokens, of '@'.", least=1, most=1024)
    per_layer: bool = _choice(
        False, ENCODERS, "Vectors of their own for every layer that reads text (P+).", off="one-for-all"
    )  # fmt: skip
    genre_dropout: float = _choice(
        0.0, ENCODERS, "Share of prompts that go without '@', so that '*' does not learn genre.", least=0, below=1
    )  # fmt: skip
    drop_peaks: float = _choice(
        0.0, TRAINING, "Share of the rhythm's peaks left out at random, again at every step.", least=0, below=1
    )  # fmt: skip
    jitter: float = _choice(
        0.0, TRAINING, "Standard deviation in seconds of what peaks are moved by at random, again at every step.",
        least=0, most=5,  # Peaks that move farther are of another window.
    )  # fmt: skip
    hop: float | None = _choice(
        None, DATA, "Seconds between the starts of training windows; the paper's presets take a window's length.",
        least=0.01, below=math.inf,  # None is a window's length; of less than this there is no end.
    )  # fmt: skip
    tail: bool = _choice(
        False, DATA,
        "Half a window or more left over at a clip's end gives one more window, which ends with the clip: so the "
        "paper's 36 validation and 36 test windows of AIST++ come about.",
    )  # fmt: skip
    warm_updates: int = _choice(
        0, TRAINING, "Updates that first bring the vectors near plain words (tempo, genre); 0 leaves them random.",
        least=0, most=10**9,
    )  # fmt: skip
    epochs: int = _choice(50, TRAINING, "Passes over the data.", least=1, most=1_000_000)
    batch_size: int = _choice(1, TRAINING, "Windows per step and process.", least=1, most=1 << 16)
    accumulate: int = _choice(1, TRAINING, "Steps whose gradients add up to one update.", least=1, most=1 << 16)
    learning_rate: float = _choice(5e-4, TRAINING, "Peak learning rate of AdamW.", above=0, below=math.inf)
    warmup: int = _choice(0, TRAINING, "Updates until the learning rate reaches its peak.", least=0, most=10**9)
    schedule: Literal["constant", "cosine"] = _choice(
        "constant", TRAINING, "Learning rate after that: constant, or falling to 0 along a cosine."
    )  # fmt: skip
    beta1: float = _choice(0.9, TRAINING, "AdamW's decay of the mean of gradients.", least=0, below=1)
    beta2: float = _choice(0.999, TRAINING, "AdamW's decay of the mean of squared gradients.", least=0, below=1)
    weight_decay: float = _choice(0.01, TRAINING, "AdamW's weight decay.", least=0, below=math.inf)
    clip: float = _choice(
        0.0, TRAINING, "Largest norm of the gradient; 0 for no limit.", least=0, below=math.inf
    )  # fmt: skip
    ema: float = _choice(
        0.0, TRAINING, "Decay of a moving average of the weights, which is then validated and saved; 0 for none.",
        least=0, below=1,
    )  # fmt: skip
    focus: float = _choice(
        0.0, TRAINING,
        "Draw noise levels more from the noisy end, where the beat is decided; 0 is Eq. 2. Validation always uses 0.",
        least=0, below=math.inf,
    )  # fmt: skip
    precision: Literal["fp32", "bf16", "fp16"] = _choice(
        "fp32", TRAINING, "Number format of the forward and backward pass; fp16 needs CUDA."
    )  # fmt: skip
    patience: int = _choice(
        0, TRAINING, "Epochs without a better validation loss before training stops; 0 never stops early.",
        least=0, most=10**9,
    )  # fmt: skip
    validation_draws: int = _choice(
        4, TRAINING, "Noise levels that each validation window is measured at, the same every time.",
        least=1, most=10_000,
    )  # fmt: skip
    samples: int = _choice(
        2, TRAINING, "Validation windows for which music is made after each epoch.", least=0, most=10_000
    )  # fmt: skip
    seed: int = _choice(
        0, TRAINING, "Random seed of first weights, order, noise and dropout.", least=0, most=2**63 - 1
    )  # fmt: skip

    def __post_init__(self) -> None:
        for name, spec in specs().items():
            value, kind, allowed = getattr(self, name), _HINTS[name], choices(name)
            if allowed:
                if value not in allowed:
                    raise UsageError(f"{option(name, value)}: choose {', '.join(allowed)}")
            elif kind is not bool and not (value is None and isinstance(kind, UnionType)):
                whole = kind is int
                right = isinstance(value, int if whole else int | float) and not isinstance(value, bool)
                if not right or not spec.allows(value):
                    number = "a whole number " if whole else ""
                    raise UsageError(f"{option(name)} must be {number}{spec.range}, not {value}")
        if self.rhythm_encoder == "sequence" and self.rhythm_vectors == 1:
            raise UsageError(
                f"{option('rhythm_encoder', 'sequence')} takes several vectors: give their number, such as "
                f"{option('rhythm_vectors', 8)}"
            )

    @classmethod
    def preset(cls, name: str, **changes: Any) -> TrainOptions:
        """A named set of choices (`PRESETS`), with some of them changed.

        Raises
        ------
        UsageError
            There is no such set, or a choice is out of its range.
        """
        if name not in PRESETS:
            raise UsageError(f"{option('preset', name)}: choose {', '.join(PRESETS)}")
        return replace(PRESETS[name], **changes)


def specs() -> dict[str, OptionSpec]:
    """What is said of every choice, by the name of its field."""
    return {field.name: field.metadata["spec"] for field in fields(TrainOptions)}


_HINTS = get_type_hints(TrainOptions)

TrainOptions.__doc__ = "\n".join(
    [
        f"{TrainOptions.__doc__}\n\n    Attributes\n    ----------",
        *(f"    {name}\n        {spec.help}" for name, spec in specs().items()),
        "\n    Raises\n    ------\n    UsageError\n        A choice is out of its range, or two do not go together.",
    ]
)


def choices(name: str) -> tuple[str, ...]:
    """The words that a choice may be; none for numbers, and for yes or no."""
    return get_args(_HINTS[name]) if get_origin(_HINTS[name]) is Literal else ()


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
"recommended" made the encoders that ship, from accents of mode "stable", which in rendered dances are the beats;
"quick" shows on two cores that the encoders learn.
"""

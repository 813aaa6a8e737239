"""MusicGen in musicgen-small's full layout: time, memory, number formats; recorded, plain and compiled; training."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from d2m_cli.backbones.base import Condition, Draw, Identity, Sampling, number_format
from d2m_cli.backbones.codebooks import delayed, guided
from d2m_cli.backbones.codec_language import side_by_side
from d2m_cli.backbones.musicgen import MusicgenBackbone
from d2m_cli.backbones.repeatable import repeatable
from tests.gpu.full_size import musicgen_decoder, parameters
from tests.gpu.measure_training import measure_training
from tests.gpu.report import Effort, Place, Report, Times, ceilings, distance, timed

PART = "musicgen"
FRAMES_A_SECOND = 50
PROMPT = "a funky guitar music with drum as the rhythm"
AGREEMENT = {"fp32": 1e-4, "fp16": 1e-2, "bf16": 4e-2}
"""Largest distance of logits, relative to their norm, from those of fp32 on the CPU."""
GREEDY = Sampling(temperature=0.0)
GOALS = {1: 0.15, 16: 0.02}
"""Real-time factor that so many windows at once may have by recorded steps on a GPU."""
TIE = 1e-3
"""Two tokens whose logits lie this close, seen against the spread of all, may change places by rounding."""


def opened(
    folder: Path, place: Place, precision: str, compiled: bool = False, recorded: bool = True
) -> MusicgenBackbone:
    """The backbone as `d2m generate` opens it on a GPU, or one that reads step by step where not `recorded`."""
    identity = Identity("musicgen:random", "none")
    return MusicgenBackbone(folder, identity, place.device, precision, compiled, recorded)


def draw(backbone: MusicgenBackbone, batch: int, sampling: Sampling, context: Draw | None = None) -> Draw:
    """Windows as `d2m generate` draws them."""
    with torch.inference_mode():
        condition: Condition = backbone.embed([PROMPT] * batch, {})
        return backbone.generate(condition, backbone.embed([""], {}), list(range(batch)), context, sampling)


def measure_windows(report: Report, folder: Path, place: Place, effort: Effort) -> None:
    """Seconds a window by recorded steps, in every number format, and step by step in the first."""
    many = effort.batches[-1]
    for precision in place.formats:
        place.forget()
        begun = time.perf_counter()
        backbone = opened(folder, place, precision)
        place.wait()
        report.add(PART, f"loading, {precision}", time.perf_counter() - begun, "s", "weights in the disk's cache")
        # One window is bound by launches in every format; many are what half precision pays for.
        for batch in (*effort.batches, 2 * many) if precision == place.formats[0] else (many,):
            _measure_batch(report, backbone, place, effort.repeats, precision, batch, "recorded")
        if precision == place.formats[0]:
            _measure_parts(report, backbone, place, effort, precision)
            backbone.recorded = False
            _measure_batch(report, backbone, place, 1, precision, 1, "plain")
            names = (f"window, {how}, {precision}, batch 1" for how in ("recorded", "plain"))
            recorded, plain = (report.value(PART, name) for name in names)
            if place.is_gpu:
                told = f"{recorded:.2f} s against {plain:.2f} s"
                report.check(PART, f"recording pays, {precision}, batch 1", recorded < plain, told)


@torch.no_grad()
def _measure_parts(report: Report, backbone: MusicgenBackbone, place: Place, effort: Effort, precision: str) -> None:
    """What is not the steps: the codec; and whether each network says the same twice."""
    layout, many = backbone.layout, effort.batches[-1]
    random = torch.Generator().manual_seed(0)
    shape = (many, len(layout.delays), backbone.frames)
    codes = torch.randint(0, layout.cardinality, shape, generator=random).to(backbone.device)
    condition = backbone.embed([PROMPT] * many, {})
    with repeatable(backbone.device):
        heard = [backbone._decode(codes) for _ in range(2)]
        times = timed(place, lambda: backbone._decode(codes), effort.repeats)
        logits = [backbone._logits(codes[..., :64], condition) for _ in range(2)]
    report.add(PART, f"codec's decoder, batch {many}", times.median, "s", "part of a window's time, fp32")
    report.check(PART, f"the same tokens, the same sound, batch {many}", torch.equal(*heard), "decoded twice")
    told = "64 frames read twice"
    report.check(PART, f"the same tokens, the same logits, {precision}, batch {many}", torch.equal(*logits), told)


def _measure_batch(
    report: Report, backbone: MusicgenBackbone, place: Place, repeats: int, precision: str, batch: int, how: str
) -> None:
    place.forget()
    made: list[Draw] = []
    times = timed(place, lambda: made.append(draw(backbone, batch, Sampling())), repeats)
    _told(report, place, precision, batch, times, how)
    first, others = made[0], made[1:]
    drawn = f"{len(made)} draws"
    name = f"{how}, {precision}, batch {batch}"
    whole = all(bool(one.audio.isfinite().all()) for one in made)
    report.check(PART, f"audio is finite, {name}", whole, drawn)
    same = all(_equal(first.codes, one.codes) for one in others)
    report.check(PART, f"one seed, the same tokens, {name}", same, f"{drawn}{_apart(first, others)}")
    same = all(torch.equal(first.audio, one.audio) for one in others)
    report.check(PART, f"one seed, the same bytes, {name}", same, drawn)
    if place.is_gpu and how == "recorded" and precision == place.formats[0] and batch in GOALS:
        factor, most = report.value(PART, f"real-time factor, {name}"), GOALS[batch]
        report.check(PART, f"fast enough, {name}", factor <= most, f"{factor:.3f} of the time it plays, at most {most}")


def _apart(first: Draw, others: Sequence[Draw]) -> str:
    """Where draws that should be one begin to differ."""
    told = ""
    for number, one in enumerate(others, 2):
        assert first.codes is not None
        assert one.codes is not None
        other = (first.codes != one.codes).any(1)
        if bool(other.any()):
            rows = int(other.any(1).sum())
            told += f"; draw {number} differs in {rows} rows, from frame {int(other.any(0).nonzero()[0])} on"
    return told


def _equal(one: Tensor | None, other: Tensor | None) -> bool:
    return one is not None and other is not None and torch.equal(one, other)


def _told(report: Report, place: Place, precision: str, batch: int, times: Times, how: str) -> None:
    music = batch * MusicgenBackbone.window_seconds
    name = f"{how}, {precision}, batch {batch}"
    report.add(PART, f"window, {name}", times.median, "s", f"{music:.2f} s of music, guidance 3, top-k 250")
    report.add(PART, f"first window, {name}", times.first, "s", "with all that happens once")
    report.add(PART, f"real-time factor, {name}", times.median / music, "s/s", "below 1 is faster than it plays")
    report.add(PART, f"peak, {name}", place.peak(), "GiB", "all tensors")


def measure_floor(report: Report, folder: Path, place: Place, effort: Effort, size: str = "full") -> None:
    """The least time a window can take: every step reads the decoder's weights once."""
    best = ceilings(report)
    if best is None:
        return
    with torch.device("meta"):
        decoder = musicgen_decoder(size)
    precision = place.formats[0]
    held = parameters(decoder) * number_format(place.device, precision).itemsize
    steps = round(MusicgenBackbone.window_seconds * FRAMES_A_SECOND) + decoder.config.num_codebooks - 1
    note = f"{held / 1e9:.2f} GB of weights read {steps} times"
    report.add(PART, f"floor of a window, {precision}", held * steps / best[1], "s", note)


def measure_transformers(report: Report, folder: Path, place: Place, effort: Effort) -> None:
    """The obvious way: transformers' own `generate` on the same weights.

    Without cuDNN's attention, which would prepare itself anew for each of the lengths of its growing cache: the first
    windows would take several times as long.
    """
    from transformers import AutoTokenizer, MusicgenForConditionalGeneration

    # In fp16 T5 overflows, and no token can be drawn from what is no number.
    precision = "bf16" if place.is_gpu else place.formats[0]
    kind = number_format(place.device, precision)
    place.forget()
    loaded: Any = MusicgenForConditionalGeneration
    model = loaded.from_pretrained(folder, local_files_only=True, dtype=kind).to(place.device).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
    for batch in effort.batches:
        place.forget()
        text = tokenizer([PROMPT] * batch, return_tensors="pt").to(place.device)
        work = partial(model.generate, **text, do_sample=True, top_k=250, guidance_scale=3.0, max_length=_length(model))
        with repeatable(torch.device(place.device)):
            times = timed(place, work, 1)
        _told(report, place, precision, batch, times, "transformers' generate")


def _length(model: Any) -> int:
    """Tokens that transformers counts for a window: the frames, the delay, and the one before the first."""
    frames = round(MusicgenBackbone.window_seconds * FRAMES_A_SECOND)
    return 1 + frames + int(model.config.decoder.num_codebooks) - 1


def measure_compiled(report: Report, folder: Path, place: Place, effort: Effort, batch: int) -> None:
    """Seconds a window with `--compile`, and how long the first takes, which compiles."""
    precision = place.formats[0]
    torch._dynamo.reset()
    place.forget()
    backbone = opened(folder, place, precision, compiled=True)
    times = timed(place, lambda: draw(backbone, batch, Sampling()), effort.repeats)
    _told(report, place, precision, batch, times, "compiled")
    torch._dynamo.reset()
    if place.is_gpu:
        name = f"real-time factor, compiled, {precision}, batch {batch}"
        factor = report.value(PART, name)
        report.check(PART, f"faster than it plays: {name}", factor < 1, f"{factor:.3f}")
        recorded = report.value(PART, f"window, recorded, {precision}, batch {batch}")
        told = f"{times.median:.2f} s against {recorded:.2f} s"
        report.check(PART, f"compiling pays, {precision}, batch {batch}", times.median < recorded, told)


def measure_same_tokens(report: Report, folder: Path, place: Place, effort: Effort) -> None:
    """The likeliest tokens in fp32: plain, by recorded steps, going on from a context, and by transformers."""
    plain, tokens = _likeliest(folder, place)
    model = plain.model
    heard: list[Tensor] = []

    def decode(codes: Tensor, *given: Any, **named: Any) -> Any:
        heard.append(codes[0])
        return undisturbed(codes, *given, **named)

    undisturbed: Callable[..., Any] = plain.codec.decode
    plain.codec.decode = decode
    text = plain.tokenizer([PROMPT], return_tensors="pt").to(place.device)
    with torch.inference_mode():
        model.generate(**text, do_sample=False, guidance_scale=3.0, max_length=_length(model))
    plain.codec.decode = undisturbed
    _compare(report, plain, "transformers' likeliest tokens are d2m's, fp32", tokens, heard[0].cpu())
    recorded = opened(folder, place, "fp32")
    again = draw(recorded, 1, GREEDY).codes
    assert again is not None
    _compare(report, plain, "by recorded steps, the same likeliest tokens, fp32", tokens, again)
    half = Draw(torch.zeros(1, 1, 1), plain.sample_rate, tokens[..., : plain.frames // 2], plain.layout.frame_rate)
    on = draw(recorded, 1, GREEDY, half).codes
    assert on is not None
    _compare(report, plain, "going on from half a window gives the same window, fp32", tokens, on)


def measure_compiled_tokens(report: Report, folder: Path, place: Place, effort: Effort) -> None:
    """The likeliest tokens in fp32: plain and compiled."""
    plain, tokens = _likeliest(folder, place)
    torch._dynamo.reset()
    fast = draw(opened(folder, place, "fp32", compiled=True), 1, GREEDY).codes
    torch._dynamo.reset()
    assert fast is not None
    _compare(report, plain, "compiled, the same likeliest tokens, fp32", tokens, fast)


def _likeliest(folder: Path, place: Place) -> tuple[MusicgenBackbone, Tensor]:
    """A backbone that draws step by step, and the tokens that it finds likeliest."""
    plain = opened(folder, place, "fp32", recorded=False)
    tokens = draw(plain, 1, GREEDY).codes
    assert tokens is not None
    return plain, tokens


def _compare(report: Report, backbone: MusicgenBackbone, name: str, tokens: Tensor, other: Tensor) -> None:
    """Equal, or different first where two tokens are equally likely but for rounding."""
    if torch.equal(tokens, other):
        report.check(PART, name, True, f"all {tokens.numel()} tokens")
        return
    if tokens.shape != other.shape:
        report.check(PART, name, False, f"{tuple(other.shape)} and not {tuple(tokens.shape)}")
        return
    first = int((tokens != other).any(1)[0].nonzero()[0])
    gap = _gap(backbone, tokens, other, first)
    report.check(PART, name, gap < TIE, f"differ from frame {first} on, where logits lie {gap:.1e} spreads apart")


@torch.no_grad()
def _gap(backbone: MusicgenBackbone, tokens: Tensor, other: Tensor, frame: int) -> float:
    """Largest distance between the logits of tokens that differ in a frame, over the spread of all logits."""
    delays, filler = backbone.layout.delays, backbone.layout.cardinality
    # Codebooks of one frame are drawn at different steps: all but the first that differs may follow from it.
    book = int((tokens != other)[0, :, frame].nonzero()[0])
    given = delayed(tokens.to(backbone.device), delays, filler)
    before = torch.cat([torch.full_like(given[..., :1], filler), given[..., :-1]], -1).repeat(2, 1, 1)
    both = side_by_side(backbone.embed([PROMPT], {}), backbone.embed([""], {}))
    logits = guided(backbone._logits(before, both), 3.0)[0, book, frame + delays[book]].float()
    one, two = int(tokens[0, book, frame]), int(other[0, book, frame])
    return float((logits[one] - logits[two]).abs() / logits.std())


@torch.no_grad()
def measure_agreement(report: Report, folder: Path, place: Place, effort: Effort) -> None:
    """Logits here in every number format against those of fp32 on the CPU."""
    reference = opened(folder, Place("cpu"), "fp32")
    books, filler = len(reference.layout.delays), reference.layout.cardinality
    frames = min(64, reference.frames)
    tokens = torch.randint(0, filler, (2, books, frames), generator=torch.Generator().manual_seed(0))
    prompts = [PROMPT, "a drum"]
    wanted = reference._logits(tokens, reference.embed(prompts, {}))
    lost = reference.loss(tokens, reference.embed(prompts, {}))
    for precision in place.formats:
        backbone = opened(folder, place, precision)
        condition = backbone.embed(prompts, {})
        found = distance(backbone._logits(tokens.to(backbone.device), condition), wanted)
        loss = float((backbone.loss(tokens, condition).cpu() - lost).abs().max())
        report.add(PART, f"distance of logits from fp32 on the CPU, {precision}", found, "of their norm")
        report.add(PART, f"distance of Eq. 3 from fp32 on the CPU, {precision}", loss, "nats")
        limit = AGREEMENT[precision]
        report.check(PART, f"logits agree with fp32 on the CPU, {precision}", found < limit, f"{found:.1e} < {limit}")


def measure_steps(report: Report, folder: Path, place: Place, effort: Effort, precisions: Sequence[str] = ()) -> None:
    """Training updates with Eq. 3."""
    for precision in precisions or (("bf16", "fp16") if place.is_gpu else ("fp32",)):
        measure_training(report, PART, opened(folder, place, "auto"), place, effort, precision)

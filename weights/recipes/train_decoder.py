"""Train the embedded MusicGen's language model (MusicgenForCausalLM) on the codec's tokens and their captions.

``python train_decoder.py CODES MUSIC TEXT OUT --minutes 65`` takes CODES/part-*.npy and CODES/codec from
``train_codec.py``, the pieces' JSON lines in MUSIC, and TEXT/text_encoder from ``train_t5.py``, which goes on learning
at a lower rate. The loss is Eq. 3 on delayed codes; checkpoints every few minutes, and goes on from the last one.

Once a few frames are known, what comes next says little about the caption: a beat tells where the next one falls. So
that the words' tempo and phase are learned, most windows are short at first, some are blind (all tokens withheld, so
that only the words and the place in time are left), and a throw-away head in the middle draws the beats.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from captions import Caption, Facts, caption
from shared import Ema, save_state
from torch import Tensor, nn
from train_codec import CODEBOOKS, ENTRIES
from train_t5 import FRAME_RATE, FRAMES, POSITION_WIDTH, Texts, grids
from train_vae import first_beat
from transformers import AutoTokenizer, MusicgenDecoderConfig, MusicgenForCausalLM, T5EncoderModel
from transformers.cache_utils import DynamicCache, EncoderDecoderCache

PAD = ENTRIES
"""Stands before the first and behind the last code of every codebook; MusicGen's start token too."""
AUX_LAYER = 3
KEYS = ("genre", "mood", "lead", "comp", "bpm")


def new_decoder(layers: int = 5) -> MusicgenForCausalLM:
    config = MusicgenDecoderConfig(
        vocab_size=ENTRIES, hidden_size=POSITION_WIDTH, num_hidden_layers=layers, ffn_dim=3 * POSITION_WIDTH,
        num_attention_heads=4, dropout=0.0, num_codebooks=CODEBOOKS, max_position_embeddings=1024, pad_token_id=PAD,
        bos_token_id=PAD, eos_token_id=None, attn_implementation="eager",
    )  # fmt: skip
    return MusicgenForCausalLM(config)


def initialise(decoder: MusicgenForCausalLM, books: Tensor) -> None:
    """Scales for this width; tokens start as their codebook vectors, so that codes that sound alike are alike."""
    width = POSITION_WIDTH
    for name, value in decoder.named_parameters():
        if name.endswith(("out_proj.weight", "fc2.weight")):
            value.data.normal_(std=0.5 * value.shape[1] ** -0.5 / len(decoder.model.decoder.layers) ** 0.5)
        elif name.endswith(("q_proj.weight", "k_proj.weight", "v_proj.weight", "fc1.weight")):
            value.data.normal_(std=width**-0.5)
    for level, book in enumerate(books):
        # The later codebooks are corrections: they start quieter, as they sound.
        vectors = (book - book.mean(0)) / books[0].std()
        turn = torch.randn(book.shape[1], width) / book.shape[1] ** 0.5
        table = decoder.model.decoder.embed_tokens[level].weight.data
        table[:ENTRIES] = 0.6 * vectors @ turn
        table[ENTRIES] = 0.0
        scale = vectors.pow(2).sum(1).mean().sqrt()
        decoder.lm_heads[level].weight.data = 0.3 * (vectors / scale) @ torch.randn(book.shape[1], width) / width**0.5


def delayed(codes: Tensor) -> tuple[Tensor, Tensor]:
    """(batch, codebooks, frames) -> what goes in and what is wanted, both (batch, codebooks, frames + codebooks - 1).

    Codebook k is k steps late; what is wanted is -100 where no code stands.
    """
    batch, books, frames = codes.shape
    wanted = codes.new_full((batch, books, frames + books - 1), -100)
    for level in range(books):
        wanted[:, level, level : level + frames] = codes[:, level]
    given = torch.full_like(wanted, PAD)
    given[..., 1:] = wanted[..., :-1]
    return given.masked_fill(given == -100, PAD), wanted


class Musicgen(nn.Module):
    """Text encoder, projection and language model, as MusicgenForConditionalGeneration wires them."""

    def __init__(self, text: T5EncoderModel, decoder: MusicgenForCausalLM, tokenizer) -> None:
        super().__init__()
        self.text, self.decoder = text, decoder
        self.enc_to_dec_proj = nn.Linear(text.config.d_model, decoder.config.hidden_size)
        self.aux = nn.Linear(decoder.config.hidden_size, 2)
        nn.init.zeros_(self.aux.weight)
        self.texts = Texts(tokenizer, text)
        self.middle: list[Tensor] = []
        decoder.model.decoder.layers[AUX_LAYER - 1].register_forward_hook(lambda *a: self.middle.append(a[2]))

    def states(self, captions: list[Caption], dropped: Tensor | None = None) -> tuple[Tensor, Tensor]:
        states, mask = self.texts(captions)
        if dropped is not None:
            mask = mask * ~dropped[:, None]
        return self.enc_to_dec_proj(states) * mask[..., None], mask

    def forward(self, given: Tensor, states: Tensor, mask: Tensor, cache=None) -> Tensor:
        """(batch, codebooks, steps) -> logits (batch, codebooks, steps, entries)."""
        self.middle.clear()
        hidden = self.decoder.model.decoder(
            input_ids=given.reshape(-1, given.shape[-1]), encoder_hidden_states=states, encoder_attention_mask=mask,
            past_key_values=cache, use_cache=cache is not None,
        ).last_hidden_state  # fmt: skip
        return torch.stack([head(hidden) for head in self.decoder.lm_heads], 1)


def token_losses(logits: Tensor, wanted: Tensor) -> Tensor:
    """(batch, codebooks, steps) cross entropy, nan where no code stands."""
    flat = nn.functional.cross_entropy(
        logits.float().reshape(-1, ENTRIES), wanted.reshape(-1), ignore_index=-100, reduction="none"
    )
    return flat.reshape(wanted.shape).masked_fill(wanted == -100, float("nan"))


@torch.no_grad()
def generate(
    model: Musicgen, captions: list[Caption], seed: int, frames: int = FRAMES, guidance: float = 3.0, top_k: int = 250, temperature: float = 1.0
) -> Tensor:  # fmt: skip
    """(batch, codebooks, frames) codes, by MusicGen's own sampling: guidance against empty states, then top-k."""
    generator = torch.Generator().manual_seed(seed)
    count = len(captions)
    states, mask = model.states(captions)
    states, mask = torch.cat([states, torch.zeros_like(states)]), torch.cat([mask, torch.zeros_like(mask)])
    config = model.decoder.config
    cache = EncoderDecoderCache(DynamicCache(config=config), DynamicCache(config=config))
    row = torch.full((count, CODEBOOKS, 1), PAD)
    rows = []
    for step in range(frames + CODEBOOKS - 1):
        told, blank = model(row.repeat(2, 1, 1), states, mask, cache)[:, :, -1].float().chunk(2)
        logits = (blank + guidance * (told - blank)) / temperature
        best, index = logits.topk(min(top_k, ENTRIES))
        drawn = torch.multinomial(best.softmax(-1).reshape(-1, best.shape[-1]), 1, generator=generator)
        row = index.gather(-1, drawn.reshape(count, CODEBOOKS, 1))
        late = torch.arange(CODEBOOKS)
        row = row.masked_fill(((step < late) | (step - late >= frames))[None, :, None], PAD)
        rows.append(row)
    delay = torch.cat(rows, -1)
    return torch.stack([delay[:, level, level : level + frames] for level in range(CODEBOOKS)], 1)


def load(codes: Path, music: Path, pattern: str) -> tuple[np.ndarray, list[dict]]:
    arrays, records = [], []
    for path in sorted(codes.glob(pattern)):
        arrays.append(np.load(path))
        records += [json.loads(line) for line in (music / f"{path.stem}.jsonl").read_text().splitlines()]
    return np.concatenate(arrays), records


def facts_of(record: dict, start: int) -> Facts:
    beat, count = first_beat(record["bpm"], start / FRAME_RATE)
    return Facts(**{key: record[key] for key in KEYS}, first_beat=beat, count=count)


def blinded(given: Tensor, rng: np.random.Generator, all_share: float, part_share: float) -> tuple[Tensor, Tensor]:
    """Withhold tokens: everything in some windows (second value), a stretch to the end of the sight in others."""
    given, blind = given.clone(), torch.zeros(len(given), dtype=torch.bool)
    for row in range(len(given)):
        draw = rng.random()
        if draw < all_share:
            given[row], blind[row] = PAD, True
        elif draw < all_share + part_share:
            first = int(rng.integers(0, given.shape[-1]))
            given[row, :, first : first + int(rng.integers(8, 60))] = PAD
    return given, blind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("codes", "music", "text", "out"):
        parser.add_argument(name, type=Path)
    parser.add_argument("--held", type=Path, help="folder of held-out pieces' codes; their lines lie in --held-music")
    parser.add_argument("--held-music", type=Path)
    parser.add_argument("--minutes", type=float, default=65)
    parser.add_argument("--tokens", type=int, default=4096, help="frames a step")
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--muon", type=float, default=0.015, help="rate of the hidden matrices")
    parser.add_argument("--layers", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    tokenizer = AutoTokenizer.from_pretrained(arguments.text / "tokenizer", local_files_only=True)
    text = T5EncoderModel.from_pretrained(arguments.text / "text_encoder")
    decoder = new_decoder(arguments.layers)
    from transformers import EncodecModel

    layers = EncodecModel.from_pretrained(arguments.codes / "codec").quantizer.layers
    initialise(decoder, torch.stack([layer.codebook.embed for layer in layers]))
    model = Musicgen(text, decoder, tokenizer)
    hidden = [p for n, p in model.decoder.model.decoder.layers.named_parameters() if p.ndim == 2]
    chosen_ids = {id(p) for p in hidden} | {id(p) for p in text.parameters()}
    rest = [p for p in model.parameters() if id(p) not in chosen_ids]
    muon = torch.optim.Muon(hidden, lr=arguments.muon, weight_decay=0.01)
    adam = torch.optim.AdamW(
        [
            dict(params=rest, lr=arguments.rate, share=1.0),
            dict(params=list(text.parameters()), lr=arguments.rate, share=0.3),
        ],
        betas=(0.9, 0.98), weight_decay=0.01,
    )  # fmt: skip
    ema = Ema(model, decay=0.997)
    step, spent, state = 0, 0.0, arguments.out / "state.pt"
    if state.is_file():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"]), muon.load_state_dict(saved["muon"]), adam.load_state_dict(saved["adam"])
        ema.shadow, step, spent = saved["shadow"], saved["step"], saved["spent"]
        rng = np.random.default_rng(step)
    codes, records = load(arguments.codes, arguments.music, "part-*.npy")
    held_rows = None
    if arguments.held:
        held, held_records = load(arguments.held, arguments.held_music, "part-*.npy")
        held_rng = np.random.default_rng(5)
        starts = held_rng.integers(0, held.shape[-1] - FRAMES, 48)
        held_x = torch.from_numpy(np.stack([held[i, :, s : s + FRAMES] for i, s in enumerate(starts)])).long()
        held_facts = [facts_of(held_records[i], int(s)) for i, s in enumerate(starts)]
        told = [f for f in held_facts]
        late = [
            Facts(f.genre, f.mood, f.lead, f.comp, f.bpm, (f.first_beat + 30 / f.bpm) % (60 / f.bpm), f.count)
            for f in told
        ]
        words = [
            [
                Caption(
                    f"{f.mood} {f.lead or ''} music at {f.bpm} bpm and first beat at {f.first_beat:.2f} seconds",
                    frozenset(),
                )
                for f in group
            ]
            for group in (told, late)
        ]
        held_rows = (held_x, words)

    def save() -> None:
        payload = dict(model=model.state_dict(), muon=muon.state_dict(), adam=adam.state_dict(), shadow=ema.shadow)
        save_state(state, payload | dict(step=step, spent=elapsed))
        save_state(arguments.out / "ema.pt", ema.shadow)
        if held_rows is None:
            return
        now = {name: value.clone() for name, value in model.state_dict().items()}
        model.load_state_dict(ema.shadow)
        model.eval()
        x, (right, wrong) = held_rows
        found = {}
        with torch.no_grad(), torch.autocast("cpu", torch.bfloat16):
            given, wanted = delayed(x)
            for name, group, dropped in (
                ("captions", right, False),
                ("half a beat off", wrong, False),
                ("none", right, True),
            ):
                parts = []
                for first in range(0, len(x), 16):
                    rows = slice(first, first + 16)
                    out = torch.full((len(group[rows]),), dropped)
                    parts.append(token_losses(model(given[rows], *model.states(group[rows], out)), wanted[rows]))
                found[name] = torch.cat(parts)
        model.load_state_dict(now)
        model.train()
        for name, value in found.items():
            levels = " ".join(f"{v:.3f}" for v in value.nanmean((0, 2)))
            print(
                f"  held out, {name}: {levels}, first second {value[:, :, :50].nanmean((0, 2))[0]:.3f} of the first",
                flush=True,
            )

    start = saved_at = time.time()
    elapsed, shown = spent, {}
    while elapsed < arguments.minutes:
        elapsed = spent + (time.time() - start) / 60
        part = min(1.0, elapsed / arguments.minutes)
        # Warm up, stay, then fall in the second half.
        factor = min(1, (step + 1) / 100) * (1.0 if part < 0.35 else 0.01 + 0.99 * (1 - part) / 0.65)
        for group in muon.param_groups:
            group["lr"] = arguments.muon * factor
        for group in adam.param_groups:
            group["lr"] = arguments.rate * factor * group["share"]
        chances = (0.6, 0.25, 0.15) if part < 0.2 else (0.3, 0.25, 0.45) if part < 0.6 else (0.15, 0.15, 0.7)
        length = int(rng.choice((64, 128, FRAMES), p=chances))
        batch = arguments.tokens // length
        chosen = rng.integers(0, len(codes), batch)
        starts = rng.integers(0, codes.shape[-1] - FRAMES, batch)
        x = np.stack([codes[i, :, s : s + length] for i, s in zip(chosen, starts, strict=True)])
        facts = [facts_of(records[i], int(s)) for i, s in zip(chosen, starts, strict=True)]
        captions = [caption(item, rng) for item in facts]
        given, wanted = delayed(torch.from_numpy(x).long())
        given, blind = blinded(given, rng, *((0.25, 0.15) if part < 0.3 else (0.12, 0.1)))
        dropped = torch.from_numpy(rng.random(batch) < 0.12) & ~blind
        with torch.autocast("cpu", torch.bfloat16):
            logits = model(given, *model.states(captions, dropped))
            drawn = model.aux(model.middle[0][0] if isinstance(model.middle[0], tuple) else model.middle[0])
        losses = token_losses(logits, wanted)
        weight = torch.where(blind, 0.5, 1.0)[:, None, None]
        per_book = (losses * weight).nanmean((0, 2))
        loss = (per_book * torch.tensor([1.6, 1.0, 0.8, 0.6])).sum() / CODEBOOKS
        times = ((torch.arange(given.shape[-1]) + 0.5) / FRAME_RATE).expand(batch, -1)
        knows = torch.tensor([[("phase" in c.tells) * 1.0, ("count" in c.tells) * 1.0] for c in captions])
        knows = knows * ~dropped[:, None]
        error = ((drawn.float() - grids(facts, times)) ** 2).mean(1)
        beat = (error * knows).sum(0) / knows.sum(0).clamp(min=1)
        total = loss + 4 * beat[0] + 2 * beat[1]
        muon.zero_grad(set_to_none=True), adam.zero_grad(set_to_none=True)
        total.backward()
        norm = nn.utils.clip_grad_norm_([p for g in (*muon.param_groups, *adam.param_groups) for p in g["params"]], 1.0)
        muon.step(), adam.step()
        step += 1
        ema.update(model, step)
        with torch.no_grad():
            seen = losses[~blind & ~dropped].nanmean((0, 2))
            values = {f"book{level}": v for level, v in enumerate(seen)} | {"norm": norm, "bar": beat[1]}
            values["beat blind" if blind.any() else "beat"] = (
                (error[:, 0] * knows[:, 0] * blind).sum() / (knows[:, 0] * blind).sum().clamp(min=1)
                if blind.any()
                else beat[0]
            )
            if blind.any():
                values["blind0"] = losses[blind][:, 0].nanmean()
        for name, value in values.items():
            number = float(value.detach())
            shown[name] = 0.97 * shown.get(name, number) + 0.03 * number
        if step % 50 == 0:
            line = " ".join(f"{name} {value:.4f}" for name, value in shown.items())
            print(f"{elapsed:.1f} min step {step} {line}", flush=True)
        if step % 100 == 0 and len(list(arguments.codes.glob("part-*.npy"))) * 250 > len(codes):
            # More music has been turned into tokens.
            codes, records = load(arguments.codes, arguments.music, "part-*.npy")
        if time.time() - saved_at > 300:
            saved_at = time.time()
            save()
    save()


if __name__ == "__main__":
    main()

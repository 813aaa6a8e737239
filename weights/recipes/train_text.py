"""Pre-train the embedded text encoder (CLIP layout) to know what its captions say.

A CLIP text encoder learns from pictures; this one learns from what is known of each rendered piece: a throw-away
probe, which reads the text states through cross-attention from fixed positions in time as a UNet would, must draw the
beats and downbeats of the window, and name genre, mood, lead, accompaniment and tempo. The probe is then dropped.

``python train_text.py OUT --minutes 12``
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from arrange import COMPS, GENRES, LEADS, MOODS, TEMPO_RANGE
from captions import COUNTS, MAX_TOKENS, Caption, Facts, build_tokenizer, caption, number_features
from make_music import CONFIG
from shared import learning_rate
from torch import Tensor, nn
from transformers import CLIPTextConfig, CLIPTextModel

from d2m_cli.backbones.spectrogram import position_channels

WIDTH = 160
COLUMNS = 64
SUB = 2
BINS = COLUMNS * SUB
TAGS = {"genre": list(GENRES), "mood": list(MOODS), "lead": list(LEADS), "comp": list(COMPS)}


def new_text_encoder(tokenizer) -> CLIPTextModel:
    """A small CLIP text model whose number words start smooth."""
    config = CLIPTextConfig(
        vocab_size=len(tokenizer), hidden_size=WIDTH, intermediate_size=4 * WIDTH, num_hidden_layers=3,
        num_attention_heads=5, max_position_embeddings=MAX_TOKENS, projection_dim=WIDTH,
        bos_token_id=tokenizer.bos_token_id, eos_token_id=tokenizer.eos_token_id, pad_token_id=tokenizer.pad_token_id,
    )  # fmt: skip
    model = CLIPTextModel(config)
    table = embedding_of(model).weight.data
    table.normal_(std=0.08)
    for word, vector in number_features(WIDTH).items():
        table[tokenizer.convert_tokens_to_ids(word)] = torch.from_numpy(vector).float() * 0.25
    return model


def embedding_of(model: CLIPTextModel) -> nn.Embedding:
    return model.get_input_embeddings()


class Texts:
    """Captions to text states, with pooled rhythm words put in place of "*"."""

    def __init__(self, tokenizer, model: CLIPTextModel) -> None:
        self.tokenizer, self.model = tokenizer, model
        self.star = tokenizer.convert_tokens_to_ids("*</w>")
        self.ids = {word: tokenizer.convert_tokens_to_ids(word) for word in tokenizer.get_added_vocab()}
        self.ids |= {count: tokenizer.convert_tokens_to_ids(count + "</w>") for count in COUNTS}

    def __call__(self, captions: list[Caption], pad: bool = True) -> Tensor:
        tokens = self.tokenizer(
            [c.text for c in captions], padding="max_length" if pad else True, truncation=True, return_tensors="pt"
        )
        ids = tokens["input_ids"]
        places, rows, sources = [], [], []
        for row, item in enumerate(captions):
            if item.pooled:
                place = (ids[row] == self.star).nonzero()[0, 0]
                for word in item.pooled:
                    places.append(int(place)), rows.append(row), sources.append(self.ids[word])

        def pool(_module, _inputs, output: Tensor) -> Tensor:
            if not rows:
                return output
            output = output.clone()
            output[rows, places] = 0.0
            values = embedding_of(self.model).weight[sources]
            return output.index_put((torch.tensor(rows), torch.tensor(places)), values, accumulate=True)

        handle = embedding_of(self.model).register_forward_hook(pool)
        try:
            return self.model(ids).last_hidden_state
        finally:
            handle.remove()


class Probe(nn.Module):
    """Reads text states from fixed positions in time, as the UNet's cross-attention does."""

    def __init__(self) -> None:
        super().__init__()
        features = position_channels(1, COLUMNS, 5.12, CONFIG)[1:, 0].T
        self.register_buffer("features", features.contiguous())
        self.enter = nn.Linear(features.shape[1], WIDTH)
        self.attend = nn.ModuleList(nn.MultiheadAttention(WIDTH, 5, batch_first=True) for _ in range(1))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2))
        self.wide = nn.ModuleList(nn.Linear(WIDTH, 4 * WIDTH) for _ in range(1))
        self.narrow = nn.ModuleList(nn.Linear(2 * WIDTH, WIDTH) for _ in range(1))
        self.curves = nn.Linear(WIDTH, 2 * SUB)
        self.query = nn.Parameter(torch.randn(1, 5, WIDTH) * 0.3)
        self.read = nn.MultiheadAttention(WIDTH, 5, batch_first=True)
        self.heads = nn.ModuleList(
            [nn.Linear(WIDTH, len(names)) for names in TAGS.values()]
            + [nn.Linear(WIDTH, TEMPO_RANGE[1] - TEMPO_RANGE[0] + 1)]
        )

    def forward(self, states: Tensor) -> tuple[Tensor, list[Tensor]]:
        x = self.enter(self.features).expand(len(states), -1, -1)
        for layer in range(len(self.attend)):
            x = x + self.attend[layer](self.norms[2 * layer](x), states, states, need_weights=False)[0]
            value, gate = self.wide[layer](self.norms[2 * layer + 1](x)).chunk(2, -1)
            x = x + self.narrow[layer](value * nn.functional.gelu(gate))
        tags = self.read(self.query.expand(len(states), -1, -1), states, states, need_weights=False)[0]
        return self.curves(x).reshape(len(x), BINS, 2), [head(tags[:, index]) for index, head in enumerate(self.heads)]


def curves(facts: Facts) -> np.ndarray:
    """(BINS, 2) bumps (25 ms) at the beats and at the downbeats."""
    times = (np.arange(BINS) + 0.5) * 5.12 / BINS
    period = 60 / facts.bpm
    out = []
    for length, first in ((period, facts.first_beat), (4 * period, facts.first_beat - facts.count * period)):
        away = (times - first + length / 2) % length - length / 2
        out.append(np.exp(-0.5 * (away / 0.035) ** 2))
    return np.stack(out, -1).astype(np.float32)


def draw_facts(rng: np.random.Generator) -> Facts:
    bpm = int(rng.integers(*TEMPO_RANGE))
    names = [str(rng.choice(values)) for values in TAGS.values()]
    return Facts(
        names[0],
        names[1],
        names[2],
        names[3] if rng.random() < 0.8 else None,
        bpm,
        round(rng.random() * 60 / bpm, 2),
        int(rng.integers(4)),
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    tokenizer = build_tokenizer(arguments.out / "tokenizer")
    model, probe = new_text_encoder(tokenizer), Probe()
    texts = Texts(tokenizer, model)
    parameters = [*model.parameters(), *probe.parameters()]
    optimizer = torch.optim.AdamW(parameters, lr=2e-3, betas=(0.9, 0.98), weight_decay=0.01)
    start, step, shown = time.time(), 0, {}
    batch = 48
    while (elapsed := (time.time() - start) / 60) < arguments.minutes:
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(1.5e-3, step, elapsed / arguments.minutes, warm=200)
        facts = [draw_facts(rng) for _ in range(batch)]
        captions = [caption(item, rng, rhythm_only=bool(rng.random() < 0.4)) for item in facts]
        drawn, tags = probe(texts(captions, pad=step % 16 == 0))
        wanted = torch.from_numpy(np.stack([curves(item) for item in facts]))
        knows = torch.tensor([[("phase" in c.tells) * 1.0, ("count" in c.tells) * 1.0] for c in captions])
        error = ((drawn - wanted) ** 2).mean(1)
        losses = {
            "beat": (error * knows).sum(0)[0] / knows.sum(0)[0],
            "bar": (error * knows).sum(0)[1] / knows.sum(0)[1].clamp(min=1),
        }
        for index, (name, values) in enumerate(TAGS.items()):
            target = torch.tensor(
                [
                    values.index(getattr(f, name)) if name in c.tells else -100
                    for f, c in zip(facts, captions, strict=True)
                ]
            )
            losses[name] = nn.functional.cross_entropy(tags[index], target)
        target = torch.tensor(
            [f.bpm - TEMPO_RANGE[0] if "tempo" in c.tells else -100 for f, c in zip(facts, captions, strict=True)]
        )
        losses["tempo"] = nn.functional.cross_entropy(tags[4], target)
        loss = 20 * losses["beat"] + 10 * losses["bar"] + 0.1 * sum(losses[name] for name in (*TAGS, "tempo"))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        for name, value in losses.items():
            shown[name] = 0.98 * shown.get(name, value.item()) + 0.02 * value.item()
        step += 1
        if step % 100 == 0:
            print(
                f"{elapsed:.1f} min step {step} " + " ".join(f"{name} {value:.4f}" for name, value in shown.items()),
                flush=True,
            )
        if step % 500 == 0:
            model.save_pretrained(arguments.out / "text_encoder")
    model.save_pretrained(arguments.out / "text_encoder")
    torch.save(probe.state_dict(), arguments.out / "probe.pt")


if __name__ == "__main__":
    main()

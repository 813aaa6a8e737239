"""Pre-train the embedded MusicGen's text encoder (T5 layout) to know what its captions say.

As ``train_text.py``, with a T5 encoder, a T5-like tokenizer, and a probe that reads the text states as MusicGen's
decoder does: by plain attention from the sinusoids of MusicGen's own positions, fifty a second.

``python train_t5.py OUT --minutes 15``
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np
import torch
from arrange import COMPS, GENRES, LEADS, MOODS, TEMPO_RANGE
from captions import COUNTS, MAX_TOKENS, OTHER_WORDS, PHASES, TEMPI, Caption, Facts, caption, number_features
from shared import learning_rate, save_state
from torch import Tensor, nn
from train_text import TAGS, draw_facts
from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel
from transformers.models.musicgen.modeling_musicgen import MusicgenSinusoidalPositionalEmbedding

WIDTH = 160
FRAMES = 256
FRAME_RATE = 50
POSITION_WIDTH = 256
"""The decoder's width, which fixes the frequencies of its positions."""


def build_tokenizer(folder: Path) -> PreTrainedTokenizerFast:
    """Unigram pieces with T5's marks: the captions' words and numbers whole, anything else by letters."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from tokenizers.decoders import Metaspace

    frame = "a music with as the rhythm bpm and first beat at seconds on count , . - * @"
    names = " ".join((frame, *GENRES, *LEADS, *COMPS, *MOODS, *COUNTS, *OTHER_WORDS)).split()
    pieces: dict[str, float] = {"<pad>": 0.0, "</s>": 0.0, "<unk>": -30.0}
    for word in dict.fromkeys((*names, *TEMPI, *PHASES)):
        pieces.setdefault("\u2581" + word, -5.0)
    for mark in ",.-":
        pieces[mark] = -5.0
    for letter in ["\u2581", *(chr(code) for code in range(33, 127) if not chr(code).isupper())]:
        pieces.setdefault(letter, -12.0)
    raw = Tokenizer(models.Unigram(list(pieces.items()), unk_id=2))
    raw.normalizer = normalizers.Lowercase()
    raw.pre_tokenizer = pre_tokenizers.Metaspace(replacement="\u2581", prepend_scheme="always")
    raw.decoder = Metaspace(replacement="\u2581", prepend_scheme="always")
    raw.post_processor = processors.TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 1)])
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=raw, eos_token="</s>", pad_token="<pad>", unk_token="<unk>", model_max_length=MAX_TOKENS
    )
    tokenizer.save_pretrained(folder)
    return tokenizer


def new_text_encoder(tokenizer) -> T5EncoderModel:
    """A small T5 encoder whose number words start smooth."""
    config = T5Config(
        vocab_size=len(tokenizer), d_model=WIDTH, d_kv=32, num_heads=5, d_ff=384, num_layers=3, dropout_rate=0.0,
        feed_forward_proj="gated-gelu", pad_token_id=tokenizer.pad_token_id, eos_token_id=tokenizer.eos_token_id,
    )  # fmt: skip
    model = T5EncoderModel(config)
    table = model.get_input_embeddings().weight.data
    table.normal_(std=0.4)
    for word, vector in number_features(WIDTH).items():
        table[tokenizer.convert_tokens_to_ids("\u2581" + word)] = torch.from_numpy(vector).float()
    return model


class Texts:
    """Captions to text states and their mask, with pooled rhythm words put in place of "*"."""

    def __init__(self, tokenizer, model: T5EncoderModel) -> None:
        self.tokenizer, self.model = tokenizer, model
        self.star = tokenizer.convert_tokens_to_ids("\u2581*")

    def __call__(self, captions: list[Caption]) -> tuple[Tensor, Tensor]:
        tokens = self.tokenizer([c.text for c in captions], padding=True, truncation=True, return_tensors="pt")
        ids, table = tokens["input_ids"], self.model.get_input_embeddings().weight
        vectors = nn.functional.embedding(ids, table)
        rows, places, sources = [], [], []
        for row, item in enumerate(captions):
            if item.pooled:
                place = int((ids[row] == self.star).nonzero()[0, 0])
                for word in item.pooled:
                    rows.append(row), places.append(place)
                    sources.append(self.tokenizer.convert_tokens_to_ids("\u2581" + word))
        if rows:
            keep = torch.ones(*ids.shape, 1)
            keep[rows, places] = 0.0
            vectors = (vectors * keep).index_put((torch.tensor(rows), torch.tensor(places)), table[sources], True)
        mask = tokens["attention_mask"]
        return self.model(inputs_embeds=vectors, attention_mask=mask).last_hidden_state, mask


def grids(facts: list[Facts], times: Tensor, width: float = 0.035) -> Tensor:
    """(batch, times, 2) bumps at the beats and at the downbeats; ``times`` in seconds, (batch, times)."""
    period = torch.tensor([60 / item.bpm for item in facts])[:, None]
    first = torch.tensor([item.first_beat for item in facts])[:, None]
    count = torch.tensor([float(item.count) for item in facts])[:, None]
    out = []
    for length, start in ((period, first), (4 * period, first - count * period)):
        away = (times - start + length / 2) % length - length / 2
        out.append(torch.exp(-0.5 * (away / width) ** 2))
    return torch.stack(out, -1)


class Probe(nn.Module):
    """Two small decoder layers without self-attention, at given positions."""

    def __init__(self, layers: int = 2) -> None:
        super().__init__()
        places = MusicgenSinusoidalPositionalEmbedding.get_embedding(FRAMES + 4, POSITION_WIDTH)
        self.register_buffer("places", places)
        self.enter = nn.Linear(POSITION_WIDTH, WIDTH)
        self.attend = nn.ModuleList(nn.MultiheadAttention(WIDTH, 5, batch_first=True) for _ in range(layers))
        self.norms = nn.ModuleList(nn.LayerNorm(WIDTH) for _ in range(2 * layers))
        self.wide = nn.ModuleList(nn.Linear(WIDTH, 3 * WIDTH) for _ in range(layers))
        self.narrow = nn.ModuleList(nn.Linear(3 * WIDTH, WIDTH) for _ in range(layers))
        self.grid = nn.Linear(WIDTH, 2)
        self.query = nn.Parameter(torch.randn(1, 5, WIDTH) * 0.3)
        self.read = nn.MultiheadAttention(WIDTH, 5, batch_first=True)
        sizes = [*(len(names) for names in TAGS.values()), TEMPO_RANGE[1] - TEMPO_RANGE[0] + 1]
        self.heads = nn.ModuleList(nn.Linear(WIDTH, size) for size in sizes)

    def forward(self, states: Tensor, mask: Tensor, positions: Tensor) -> tuple[Tensor, list[Tensor]]:
        blank = mask == 0
        x = self.enter(self.places[positions])
        for layer, attend in enumerate(self.attend):
            x = x + attend(self.norms[2 * layer](x), states, states, key_padding_mask=blank, need_weights=False)[0]
            wide = nn.functional.gelu(self.wide[layer](self.norms[2 * layer + 1](x)))
            x = x + self.narrow[layer](wide)
        query = self.query.expand(len(states), -1, -1)
        tags = self.read(query, states, states, key_padding_mask=blank, need_weights=False)[0]
        return self.grid(x), [head(tags[:, index]) for index, head in enumerate(self.heads)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    rng = np.random.default_rng(0)
    tokenizer = build_tokenizer(arguments.out / "tokenizer")
    model, probe = new_text_encoder(tokenizer), Probe()
    parameters, state = [*model.parameters(), *probe.parameters()], arguments.out / "state.pt"
    optimizer = torch.optim.AdamW(parameters, lr=1e-3, betas=(0.9, 0.98), weight_decay=0.01)
    step, spent, batch, places = 0, 0.0, 48, 40
    if state.is_file():
        saved = torch.load(state, weights_only=True)
        model.load_state_dict(saved["model"]), probe.load_state_dict(saved["probe"])
        optimizer.load_state_dict(saved["optimizer"])
        step, spent = saved["step"], saved["spent"]
        rng = np.random.default_rng(step)
    texts, start, shown, elapsed = Texts(tokenizer, model), time.time(), {}, spent

    def save() -> None:
        payload = dict(model=model.state_dict(), probe=probe.state_dict(), optimizer=optimizer.state_dict())
        save_state(state, payload | dict(step=step, spent=elapsed))
        model.save_pretrained(arguments.out / "text_encoder")

    while elapsed < arguments.minutes:
        elapsed = spent + (time.time() - start) / 60
        for group in optimizer.param_groups:
            group["lr"] = learning_rate(1.5e-3, step, elapsed / arguments.minutes, warm=200)
        facts = [draw_facts(rng) for _ in range(batch)]
        captions = [caption(item, rng, rhythm_only=bool(rng.random() < 0.4)) for item in facts]
        positions = torch.from_numpy(rng.integers(0, FRAMES, (batch, places)))
        drawn, tags = probe(*texts(captions), positions)
        wanted = grids(facts, positions / FRAME_RATE)
        knows = torch.tensor([[("phase" in c.tells) * 1.0, ("count" in c.tells) * 1.0] for c in captions])
        error = ((drawn - wanted) ** 2).mean(1)
        told = (error * knows).sum(0) / knows.sum(0).clamp(min=1)
        losses = {"beat": told[0], "bar": told[1]}
        pairs = list(zip(facts, captions, strict=True))
        for index, (name, values) in enumerate(TAGS.items()):
            target = torch.tensor([values.index(getattr(f, name)) if name in c.tells else -100 for f, c in pairs])
            losses[name] = nn.functional.cross_entropy(tags[index], target)
        target = torch.tensor([f.bpm - TEMPO_RANGE[0] if "tempo" in c.tells else -100 for f, c in pairs])
        losses["tempo"] = nn.functional.cross_entropy(tags[4], target)
        loss = 20 * losses["beat"] + 10 * losses["bar"] + 0.1 * sum(losses[name] for name in (*TAGS, "tempo"))
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1.0)
        optimizer.step()
        step += 1
        for name, value in losses.items():
            shown[name] = 0.98 * shown.get(name, value.item()) + 0.02 * value.item()
        if step % 100 == 0:
            line = " ".join(f"{name} {value:.4f}" for name, value in shown.items())
            print(f"{elapsed:.1f} min step {step} {line}", flush=True)
        if step % 500 == 0:
            save()
    save()


if __name__ == "__main__":
    main()

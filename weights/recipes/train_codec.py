"""Train the embedded MusicGen's codec (EncodecModel layout) on rendered music, and turn the music into tokens.

``python train_codec.py MUSIC AUDIO --do render`` plays every piece that MUSIC's JSON lines name (see
``make_music.py``) and writes ``AUDIO/part-*.npy`` (pieces, samples) int16. Then, with ``AUDIO OUT``:

``--do encoder`` trains encoder and codebooks alone, against what a small throw-away network reads out of the quantized
frames: the sound's mel and semitone pictures and its lowest band. ``--do tokenise`` writes ``OUT/part-*.npy`` (pieces,
codebooks, frames) int16. ``--do decoder`` trains the decoder on frozen codes, for as long as one likes, while a
language model already learns the tokens. Each goes on from where it was when started again and leaves ``OUT/codec``.

Trained all at once instead, encoder and codebooks collapsed to one code before the decoder had learned to use them. All
is in fp32: on a CPU, torch's bf16 backward pass through transposed convolutions gave wrong gradients.
"""

from __future__ import annotations

import argparse
import json
import time
from pathlib import Path

import numpy as np
import torch
from shared import learning_rate, save_array, save_state
from torch import Tensor, nn
from transformers import EncodecConfig, EncodecModel

RATE = 24000
HOP = 480
SAMPLES = 22 * RATE
CODEBOOKS = 4
ENTRIES = 512


def new_codec(filters: int = 12, ratios: tuple[int, ...] = (5, 4, 4, 6)) -> EncodecModel:
    """The largest stride lies next to the waveform, so that little is computed at the full rate."""
    config = EncodecConfig(
        sampling_rate=RATE, target_bandwidths=[CODEBOOKS * 9 * RATE / HOP / 1000], codebook_size=ENTRIES, hidden_size=64,
        use_causal_conv=False, num_lstm_layers=1, num_filters=filters, upsampling_ratios=list(ratios),
    )  # fmt: skip
    return EncodecModel(config)


def render(music: Path, out: Path) -> None:
    from arrange import arrange
    from render import Player

    player = Player(RATE)
    for path in sorted(music.glob("part-*.jsonl")):
        target = out / f"{path.stem}.npy"
        if target.is_file():
            continue
        seeds = [json.loads(line)["seed"] for line in path.read_text().splitlines()]
        pieces = np.stack([player.play(arrange(seed, seconds=SAMPLES / RATE + 0.1))[:SAMPLES] for seed in seeds])
        save_array(target, (pieces * 32767).round().astype(np.int16))
        print(path.stem, flush=True)


class Quantizer(nn.Module):
    """Residual vector quantization that learns: codebooks by running means, gradients straight through.

    EncodecModel's own quantizer has no gradient; :meth:`copy_to` puts the codebooks into it.
    """

    def __init__(self, width: int, decay: float = 0.97) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("books", torch.zeros(CODEBOOKS, ENTRIES, width))
        self.register_buffer("sums", torch.zeros(CODEBOOKS, ENTRIES, width))
        self.register_buffer("counts", torch.zeros(CODEBOOKS, ENTRIES))

    @torch.no_grad()
    def start(self, frames: Tensor, rounds: int = 12) -> None:
        """k-means, one codebook after the other, on (frames, width)."""
        residual = frames.clone()
        for level in range(CODEBOOKS):
            book = residual[torch.randperm(len(residual))[:ENTRIES]].clone()
            for _ in range(rounds):
                index = torch.cdist(residual, book).argmin(1)
                counts = torch.bincount(index, minlength=ENTRIES).float()
                sums = torch.zeros_like(book).index_add_(0, index, residual)
                filled = counts > 0
                book[filled] = sums[filled] / counts[filled, None]
                book[~filled] = residual[torch.randint(len(residual), (int((~filled).sum()),))]
            self.books[level] = book
            self.counts[level] = 1.0
            self.sums[level] = book
            residual = residual - book[torch.cdist(residual, book).argmin(1)]

    def forward(self, z: Tensor, learn: bool) -> tuple[Tensor, Tensor, list[float]]:
        """(batch, width, frames) -> the same quantized, commitment loss, share of each codebook in use (perplexity)."""
        flat = z.transpose(1, 2).reshape(-1, z.shape[1])
        # In a part of the pieces the last codebooks stay out, so that the first ones carry the most.
        levels = torch.full((len(z),), CODEBOOKS)
        if learn:
            some = torch.rand(len(z)) < 0.2
            levels[some] = torch.randint(1, CODEBOOKS, (int(some.sum()),))
        depth = levels.repeat_interleave(z.shape[2])
        total, residual, commit, used = torch.zeros_like(flat), flat, flat.new_zeros(()), []
        for level in range(CODEBOOKS):
            on = depth > level
            with torch.no_grad():
                index = torch.cdist(residual, self.books[level]).argmin(1)
                if learn:
                    self.update(level, residual[on], index[on])
            chosen = self.books[level][index] * on[:, None]
            commit = commit + (((residual - chosen.detach()) ** 2).mean(1) * on).mean()
            total = total + chosen
            residual = residual - chosen
            share = torch.bincount(index, minlength=ENTRIES).float() / len(index)
            used.append(float(torch.exp(-(share * (share + 1e-9).log()).sum())))
        quantized = flat + (total - flat).detach()
        return quantized.reshape(len(z), -1, z.shape[1]).transpose(1, 2), commit, used

    def update(self, level: int, frames: Tensor, index: Tensor) -> None:
        counts = torch.bincount(index, minlength=ENTRIES).float()
        sums = torch.zeros_like(self.sums[level]).index_add_(0, index, frames)
        self.counts[level].mul_(self.decay).add_(counts, alpha=1 - self.decay)
        self.sums[level].mul_(self.decay).add_(sums, alpha=1 - self.decay)
        dead = self.counts[level] < 0.03 * len(frames) / ENTRIES
        self.books[level] = self.sums[level] / self.counts[level].clamp(min=1e-5)[:, None]
        if dead.any():
            fresh = frames[torch.randint(len(frames), (int(dead.sum()),))]
            self.books[level][dead], self.sums[level][dead] = fresh, fresh * 0.5
            self.counts[level][dead] = 0.5

    def copy_to(self, codec: EncodecModel) -> None:
        for level, layer in enumerate(codec.quantizer.layers):
            layer.codebook.embed.copy_(self.books[level])
            layer.codebook.embed_avg.copy_(self.books[level])
            layer.codebook.cluster_size.fill_(1.0)


class Spectra(nn.Module):
    """Distance of two waveforms in log mel, and in compressed magnitude of single bins, which tells pitches apart."""

    SCALES = ((4096, 0), (2048, 96), (1024, 80), (512, 48), (256, 24), (128, 12))

    def __init__(self) -> None:
        super().__init__()
        import librosa

        for size, mels in self.SCALES:
            if mels:
                filters = librosa.filters.mel(sr=RATE, n_fft=size, n_mels=mels, norm=None, htk=True)
                self.register_buffer(f"filters{size}", torch.from_numpy(filters).float())
            self.register_buffer(f"window{size}", torch.hann_window(size))

    def forward(self, x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
        both, log, linear = torch.cat([x, y]), [], []
        for size, mels in self.SCALES:
            window = getattr(self, f"window{size}")
            spectrum = torch.stft(both, size, size // 4, window=window, return_complex=True)
            magnitude = (spectrum.real**2 + spectrum.imag**2 + 1e-9).sqrt() * (2 / window.sum())
            if mels:
                a, b = (getattr(self, f"filters{size}") @ magnitude).chunk(2)
                log.append(((a + 1e-3).log() - (b + 1e-3).log()).abs().mean())
            if size >= 512:
                a, b = (magnitude[:, : size // 3] + 3e-4).sqrt().chunk(2)
                linear.append((a - b).abs().mean())
        return torch.stack(log).mean(), torch.stack(linear).mean()


class Features(nn.Module):
    """What the codes must tell of every frame: mels at four times in it, mels and semitones once, the lowest band's samples.

    Without the semitones the codes hardly told one pitch from the next.
    """

    FAST, SLOW, PITCH, LOW = (512, 64, 120), (2048, 96, 480), (4096, 66, 480), 8
    SHARES = (0.3, 0.3, 0.4, 0.25)

    def __init__(self) -> None:
        super().__init__()
        import librosa
        from scipy.signal import firwin

        for name, (size, bands, _) in (("fast", self.FAST), ("slow", self.SLOW), ("pitch", self.PITCH)):
            if name == "pitch":
                centres = 110 * 2 ** (np.arange(-1, bands + 1) / 12)
                line = np.arange(size // 2 + 1) * RATE / size
                rise, fall = (line - centres[:-2, None]), (centres[2:, None] - line)
                filters = np.minimum(rise / np.diff(centres)[:-1, None], fall / np.diff(centres)[1:, None]).clip(0)
            else:
                filters = librosa.filters.mel(sr=RATE, n_fft=size, n_mels=bands, norm=None, htk=True)
            self.register_buffer(name, torch.from_numpy(filters).float())
            self.register_buffer(name + "_window", torch.hann_window(size))
        taps = firwin(961, 170, fs=RATE)
        self.register_buffer("taps", torch.from_numpy(taps).float()[None, None])
        self.sizes = (self.FAST[1] * 4, self.SLOW[1], self.PITCH[1], self.LOW)
        width = sum(self.sizes)
        weights = [torch.full((size, 1), share / size) for size, share in zip(self.sizes, self.SHARES, strict=True)]
        self.register_buffer("weights", torch.cat(weights))
        self.register_buffer("middle", torch.zeros(width))
        self.register_buffer("spread", torch.ones(width))

    def forward(self, x: Tensor) -> Tensor:
        """(batch, samples) -> (batch, features, frames), each feature with mean 0 and variance 1."""
        out, frames = [], x.shape[1] // HOP
        for name, (size, bands, hop) in (("fast", self.FAST), ("slow", self.SLOW), ("pitch", self.PITCH)):
            window = getattr(self, name + "_window")
            # Centred on the middle of each hop.
            padded = nn.functional.pad(x[:, None], (size // 2 - hop // 2, size // 2), mode="reflect")[:, 0]
            spectrum = torch.stft(padded, size, hop, window=window, center=False, return_complex=True)
            mel = getattr(self, name) @ (spectrum.abs() * (2 / window.sum()))
            log = (mel + 1e-3).log()[..., : frames * HOP // hop]
            out.append(log.reshape(len(x), bands, frames, -1).transpose(2, 3).reshape(len(x), -1, frames))
        low = nn.functional.conv1d(x[:, None], self.taps, stride=HOP // self.LOW, padding=480)
        low = low[..., : frames * self.LOW].reshape(len(x), frames, self.LOW).transpose(1, 2)
        y = torch.cat([*out, low], 1)
        return (y - self.middle[:, None]) / self.spread[:, None]

    def standardise(self, x: Tensor) -> None:
        y = self(x).transpose(1, 2).reshape(-1, len(self.middle))
        self.middle.copy_(y.mean(0))
        self.spread.copy_(y.std(0))


class Reader(nn.Module):
    """Quantized frames to features, thrown away when the encoder has learned."""

    def __init__(self, width: int, features: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.Conv1d(width, 256, 3, padding=1), nn.GELU(), nn.Conv1d(256, 256, 3, padding=1), nn.GELU(), nn.Conv1d(256, features, 1)
        )  # fmt: skip

    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)


class Audio:
    """Random crops of rendered pieces; finds new parts as they are written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.paths, self.parts = folder, [], []

    def refresh(self, paths: list[Path] | None = None) -> None:
        found = sorted(self.folder.glob("part-*.npy"))
        self.paths = found if paths is None else paths
        self.parts = [np.load(path, mmap_mode="r") for path in self.paths]

    def pairs(
        self, codes: list[np.ndarray], rng: np.random.Generator, count: int, frames: int
    ) -> tuple[Tensor, Tensor]:
        """(count, samples) sound and (codebooks, count, frames) its codes, ``codes`` being parallel to the parts."""
        sound, tokens = [], []
        for _ in range(count):
            part = int(rng.integers(len(codes)))
            row, start = int(rng.integers(len(codes[part]))), int(rng.integers(0, codes[part].shape[2] - frames))
            tokens.append(codes[part][row, :, start : start + frames])
            sound.append(self.parts[part][row, start * HOP : (start + frames) * HOP].astype(np.float32) / 32768)
        return torch.from_numpy(np.stack(sound)), torch.from_numpy(np.stack(tokens, 1)).long()

    def crops(self, rng: np.random.Generator, count: int, samples: int) -> Tensor:
        out = np.empty((count, samples), np.float32)
        for row in range(count):
            part = self.parts[rng.integers(len(self.parts))]
            start = int(rng.integers(0, part.shape[1] - samples))
            out[row] = part[rng.integers(len(part)), start : start + samples]
        return torch.from_numpy(out / 32768)


def onset_f1(before: np.ndarray, after: np.ndarray, tolerance: float = 0.05) -> float:
    import librosa
    import mir_eval

    times = [librosa.onset.onset_detect(y=y, sr=RATE, hop_length=240, units="time") for y in (before, after)]
    return float(mir_eval.onset.f_measure(*times, window=tolerance)[0])


@torch.no_grad()
def check(codec: EncodecModel, spectra: Spectra, held: np.ndarray, count: int = 12) -> str:
    """Figures of EncodecModel's own encode and decode, so that the copied codebooks are checked too."""
    codec.eval()
    x = torch.from_numpy(np.asarray(held[:count, 5 * RATE : 5 * RATE + 122880])).float() / 32768
    codes = codec.encode(x[:, None]).audio_codes
    y = codec.decode(codes, [None]).audio_values[:, 0]
    log, linear = spectra(x, y)
    wave = 10 * torch.log10((x**2).sum(1) / ((x - y) ** 2).sum(1)).mean()
    f1 = [np.mean([onset_f1(a.numpy(), b.numpy(), t) for a, b in zip(x, y, strict=True)]) for t in (0.05, 0.025)]
    codec.train()
    return (
        f"log mel {log:.4f} linear {linear:.4f} SNR {wave:.2f} dB onsets F1 {f1[0]:.3f} at 50 ms {f1[1]:.3f} at 25 ms"
    )


@torch.no_grad()
def tokenise(codec: EncodecModel, audio: Path, out: Path, parts: list[str]) -> None:
    codec.eval()
    for path in sorted(audio.glob("part-*.npy")):
        target = out / path.name
        if target.is_file() or (parts and path.stem not in parts):
            continue
        pieces, codes = np.load(path, mmap_mode="r"), []
        for first in range(len(pieces)):
            x = torch.from_numpy(np.asarray(pieces[first : first + 1])).float()[:, None] / 32768
            codes.append(codec.quantizer.encode(codec.encoder(x)).transpose(0, 1).to(torch.int16).numpy())
        save_array(target, np.concatenate(codes))
        print(path.stem, np.concatenate(codes).shape, flush=True)


@torch.no_grad()
def unit_variance(network: nn.Module, x: Tensor) -> None:
    """Give every convolution outputs of mean 0 and variance 1 on ``x``, from the first to the last.

    Music is so quiet that with the usual start every ELU sees its straight part, and nothing tells loud from soft.
    """

    def scale(module: nn.Module, _inputs: tuple, output: Tensor) -> Tensor:
        axes = (0, 2)
        mean, std = output.mean(axes), output.std(axes).clamp(min=1e-4)
        weight = module.parametrizations.weight.original0
        weight.data = weight.data / (std[:, None, None] if isinstance(module, nn.Conv1d) else std.mean())
        if isinstance(module, nn.Conv1d):
            module.bias.data = (module.bias.data - mean) / std
        return module.__class__.forward(module, _inputs[0])

    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv1d | nn.ConvTranspose1d)]
    handles = [module.register_forward_hook(scale) for module in convolutions]
    network(x)
    for handle in handles:
        handle.remove()


def oscillators(codec: EncodecModel, gain: float = 1.2) -> None:
    """Make most of the decoder's LSTM cells a bank of oscillators, two for each semitone, that never change.

    A network that treats all frames alike turns a held note into something that repeats with every frame: multiples of
    50 Hz, whatever the note. These cells turn on by themselves, by a semitone's phase from frame to frame.
    """
    lstm = codec.decoder.layers[1].lstm
    width, pitches = lstm.hidden_size, Features.PITCH[1]
    turning = torch.zeros(width, width)
    for pitch in range(pitches):
        angle = torch.tensor(2 * np.pi * 110 * 2 ** (pitch / 12) * HOP / RATE)
        cos, sin = gain * torch.cos(angle), gain * torch.sin(angle)
        first = 2 * pitch
        turning[first : first + 2, first : first + 2] = torch.tensor([[cos, -sin], [sin, cos]])
    own = torch.arange(2 * pitches)
    with torch.no_grad():
        for gate, bias in enumerate((8.0, -8.0, 0.0, 8.0)):
            rows = gate * width + own
            lstm.weight_ih_l0[rows], lstm.bias_hh_l0[rows], lstm.bias_ih_l0[rows] = 0.0, 0.0, bias
            lstm.weight_hh_l0[rows] = turning[own] if gate == 2 else 0.0
        # A push that starts them.
        lstm.bias_ih_l0[2 * width + own[::2]] = 0.2


def hold_oscillators(codec: EncodecModel) -> None:
    """Let no gradient reach them."""
    lstm = codec.decoder.layers[1].lstm
    free = torch.ones(4, lstm.hidden_size)
    free[:, : 2 * Features.PITCH[1]] = 0.0
    for parameter in lstm.parameters():
        keep = free.reshape(-1, *[1] * (parameter.ndim - 1))
        parameter.register_hook(lambda gradient, keep=keep: gradient * keep)


@torch.no_grad()
def gate_by_pitch(codec: EncodecModel, features: Features, sound: Tensor, tokens: Tensor) -> None:
    """Start the decoder's first layer so that each oscillator is heard as loud as the codes say its semitone is."""
    first, pitches = codec.decoder.layers[0].conv, Features.PITCH[1]
    wanted = features(sound)[:, -pitches - features.LOW : -features.LOW]
    z = codec.quantizer.decode(tokens)
    reach = first.kernel_size[0]
    seen = z.unfold(2, reach, 1).permute(0, 2, 1, 3).flatten(2).flatten(0, 1)
    seen = torch.cat([seen, torch.ones(len(seen), 1)], 1)
    middle = wanted[..., reach // 2 : -(reach // 2)].transpose(1, 2).flatten(0, 1)
    solved = torch.linalg.solve(seen.T @ seen + 1e-3 * len(seen) * z.var() * torch.eye(seen.shape[1]), seen.T @ middle)
    print(f"  semitones from codes: {((seen @ solved - middle) ** 2).mean():.3f} of their variance is missing")
    kernel = 1.5 * solved[:-1].T.reshape(pitches, -1, reach).repeat_interleave(2, 0)
    first.parametrizations.weight.original1[: 2 * pitches] = kernel
    first.parametrizations.weight.original0[: 2 * pitches] = kernel.flatten(1).norm(dim=1)[:, None, None]
    first.bias[: 2 * pitches] = 1.5 * solved[-1].repeat_interleave(2) - 0.5


class ConvMuon:
    """Muon (momentum whose matrix is made orthogonal) for kernels of any shape, beside an AdamW for the rest."""

    def __init__(self, parameters: list, rate: float, rest: list, rest_rate: float) -> None:
        self.parameters, self.rate = parameters, rate
        self.momentum = [torch.zeros_like(p) for p in parameters]
        self.rest = torch.optim.AdamW(rest, lr=rest_rate, betas=(0.9, 0.98), weight_decay=1e-4)
        self.base, self.param_groups = rest_rate, self.rest.param_groups

    def zero_grad(self, set_to_none: bool = True) -> None:
        self.rest.zero_grad(set_to_none)
        for parameter in self.parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        self.rest.step()
        factor = self.param_groups[0]["lr"] / self.base
        for parameter, momentum in zip(self.parameters, self.momentum, strict=True):
            if parameter.grad is None:
                continue
            momentum.mul_(0.95).add_(parameter.grad)
            update = parameter.grad.add(momentum, alpha=0.95).flatten(1)
            tall = update.shape[0] > update.shape[1]
            matrix = update.T if tall else update
            matrix = matrix / (matrix.norm() + 1e-12)
            for _ in range(5):
                square = matrix @ matrix.T
                matrix = 3.4445 * matrix + (-4.7750 * square + 2.0315 * square @ square) @ matrix
            update = (matrix.T if tall else matrix).reshape(parameter.shape)
            parameter.add_(update, alpha=-self.rate * factor * max(1, update.shape[0] / update[0].numel()) ** 0.5)

    def state_dict(self) -> dict:
        return dict(rest=self.rest.state_dict(), momentum=self.momentum)

    def load_state_dict(self, saved: dict) -> None:
        self.rest.load_state_dict(saved["rest"])
        self.momentum = saved["momentum"]


class Run:
    """One training: learning rate by the clock, checkpoints, progress lines."""

    def __init__(self, arguments: argparse.Namespace, modules: dict[str, nn.Module], trained: list) -> None:
        self.arguments, self.modules, self.trained = arguments, modules, trained
        matrices = [p for p in trained if p.ndim > 1 and p[0].numel() > 1]
        chosen = {id(p) for p in matrices}
        rest = [p for p in trained if id(p) not in chosen]
        self.optimizer = ConvMuon(matrices, arguments.muon, rest, arguments.rate)
        self.state = arguments.out / f"{arguments.do}.pt"
        self.step, self.spent, self.shown = 0, 0.0, {}
        if self.state.is_file():
            saved = torch.load(self.state, weights_only=True)
            self.optimizer.load_state_dict(saved["optimizer"])
            self.step, self.spent = saved["step"], saved["spent"]
            for name, module in modules.items():
                module.load_state_dict(saved[name])
        self.elapsed, self.start, self.saved_at = self.spent, time.time(), time.time()

    def going(self) -> bool:
        self.elapsed = self.spent + (time.time() - self.start) / 60
        rate = learning_rate(self.arguments.rate, self.step, self.elapsed / self.arguments.minutes, warm=150)
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        return self.elapsed < self.arguments.minutes

    def learn(self, loss: Tensor, values: dict) -> None:
        self.optimizer.zero_grad(set_to_none=True)
        loss.backward()
        norm = nn.utils.clip_grad_norm_(self.trained, 1.0)
        self.optimizer.step()
        self.step += 1
        for name, value in (values | {"norm": norm}).items():
            number = float(value.detach()) if isinstance(value, Tensor) else value
            self.shown[name] = 0.97 * self.shown.get(name, number) + 0.03 * number
        if self.step % 50 == 0:
            line = " ".join(f"{name} {value:.4g}" for name, value in self.shown.items())
            print(f"{self.elapsed:.1f} min step {self.step} {line}", flush=True)

    def due(self, seconds: float = 240) -> bool:
        return time.time() - self.saved_at > seconds

    def save(self) -> None:
        self.saved_at = time.time()
        payload = {name: module.state_dict() for name, module in self.modules.items()}
        payload |= dict(optimizer=self.optimizer.state_dict(), step=self.step, spent=self.elapsed)
        save_state(self.state, payload)


def train_encoder(arguments: argparse.Namespace, audio: Audio, rng: np.random.Generator) -> None:
    codec, features = new_codec(arguments.filters, arguments.ratios), Features()
    quantizer = Quantizer(codec.config.hidden_size)
    features.standardise(audio.crops(rng, 400, RATE))
    reader = Reader(codec.config.hidden_size, len(features.middle))
    unit_variance(codec.encoder, audio.crops(rng, 24, RATE)[:, None])
    modules = dict(codec=codec, features=features, quantizer=quantizer, reader=reader)
    trained = [*codec.encoder.parameters(), *reader.parameters()]
    run, warm, pool = Run(arguments, modules, trained), 250, []
    while run.going():
        x = audio.crops(rng, arguments.batch, RATE)
        with torch.no_grad():
            wanted = features(x)
        z = codec.encoder(x[:, None])
        if run.step == warm and not quantizer.counts.any():
            quantizer.start(torch.cat(pool))
            pool = []
        if run.step < warm:
            # Codebooks start from what the encoder says after it has learned a little.
            quantized, commit, used = z, z.new_zeros(()), [0.0] * CODEBOOKS
            if run.step >= warm - 30:
                pool.append(z.detach().transpose(1, 2).reshape(-1, z.shape[1]))
        else:
            quantized, commit, used = quantizer(z, True)
            commit = commit / z.detach().var()
        away = (reader(quantized) - wanted) ** 2
        error = (away * features.weights).sum(1).mean()
        parts = [float(part.mean()) for part in away.detach().mean((0, 2)).split(features.sizes)]
        values = dict(error=error, commit=commit, std=z.std())
        values |= dict(zip(("fast", "slow", "pitch", "low"), parts, strict=True))
        run.learn(error + 0.1 * commit, values | {f"used{level}": share for level, share in enumerate(used)})
        if run.due() and run.step > warm:
            run.save()
            quantizer.copy_to(codec)
            codec.save_pretrained(arguments.out / "codec")
            audio.refresh()
    run.save()
    quantizer.copy_to(codec)
    codec.save_pretrained(arguments.out / "codec")


def train_decoder(arguments: argparse.Namespace, audio: Audio, rng: np.random.Generator) -> None:
    codec, spectra = EncodecModel.from_pretrained(arguments.out / "codec"), Spectra()
    codec.encoder.requires_grad_(False)
    both = [path for path in audio.paths if (arguments.out / path.name).is_file()]
    audio.refresh(both)
    codes = [np.load(arguments.out / path.name) for path in both]
    held = np.load(arguments.held, mmap_mode="r") if arguments.held else audio.parts[-1]
    if arguments.warm:
        codec.decoder.load_state_dict(EncodecModel.from_pretrained(arguments.warm).decoder.state_dict())
    elif not (arguments.out / "decoder.pt").is_file():
        x, tokens = audio.pairs(codes, rng, 16, RATE // HOP)
        features = Features()
        features.load_state_dict(torch.load(arguments.out / "encoder.pt", weights_only=True)["features"])
        with torch.no_grad():
            unit_variance(codec.decoder.layers[0], codec.quantizer.decode(tokens))
            oscillators(codec)
            gate_by_pitch(codec, features, *audio.pairs(codes, rng, 200, 64))
            inside = codec.decoder.layers[1](codec.decoder.layers[0](codec.quantizer.decode(tokens)))
            unit_variance(nn.Sequential(*codec.decoder.layers[2:]), inside)
            codec.decoder.layers[-1].conv.parametrizations.weight.original0.data *= 0.5 * x.std()
            codec.decoder.layers[-1].conv.bias.data.zero_()
    hold_oscillators(codec)
    run = Run(arguments, dict(codec=codec), list(codec.decoder.parameters()))

    def save() -> None:
        run.save()
        codec.save_pretrained(arguments.out / "codec")
        print(f"  held out: {check(codec, spectra, held)}", flush=True)

    while run.going():
        x, tokens = audio.pairs(codes, rng, arguments.batch, RATE // HOP)
        y = codec.decoder(codec.quantizer.decode(tokens))[:, 0]
        log, linear = spectra(x, y)
        wave = (x - y).abs().mean()
        offset = y.mean(1).abs().mean()
        values = dict(log=log, linear=linear, wave=wave, offset=offset)
        run.learn(log + 20 * linear + 3 * wave + 3 * offset, values)
        if run.due():
            save()
    save()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("audio", type=Path)
    parser.add_argument("out", type=Path)
    parser.add_argument("--do", choices=("render", "encoder", "tokenise", "decoder"), required=True)
    parser.add_argument("--minutes", type=float, default=12)
    parser.add_argument("--batch", type=int, default=12)
    parser.add_argument("--rate", type=float, help="of biases and gains: 1e-3 for the encoder, 3e-4 for the decoder")
    parser.add_argument("--muon", type=float, help="rate of the kernels: 0.02 for the encoder, 0.006 for the decoder")
    parser.add_argument("--filters", type=int, default=12)
    parser.add_argument("--ratios", type=int, nargs="+", default=(5, 4, 4, 6))
    parser.add_argument("--held", type=Path, help="rendered pieces to check on: AUDIO/part-10000000.npy")
    parser.add_argument("--warm", type=Path, help="a codec folder whose decoder is a start for --do decoder")
    parser.add_argument("--parts", nargs="*", default=[], help="tokenise only these, so that processes share the work")
    parser.add_argument("--codec", type=Path, help="codec folder to tokenise with, in place of OUT/codec")
    parser.add_argument("--threads", type=int, default=1)
    arguments = parser.parse_args()
    arguments.rate = arguments.rate or {"encoder": 1e-3}.get(arguments.do, 3e-4)
    arguments.muon = arguments.muon or {"encoder": 0.02}.get(arguments.do, 0.006)
    arguments.out.mkdir(parents=True, exist_ok=True)
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    if arguments.do == "render":
        render(arguments.audio, arguments.out)
    elif arguments.do == "tokenise":
        codec = EncodecModel.from_pretrained(arguments.codec or arguments.out / "codec")
        tokenise(codec, arguments.audio, arguments.out, arguments.parts)
    else:
        audio = Audio(arguments.audio)
        audio.refresh()
        rng = np.random.default_rng(time.time_ns() if (arguments.out / f"{arguments.do}.pt").is_file() else 0)
        {"encoder": train_encoder, "decoder": train_decoder}[arguments.do](arguments, audio, rng)


if __name__ == "__main__":
    main()

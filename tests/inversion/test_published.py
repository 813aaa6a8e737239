"""Published checkpoints: the layout of the authors' MusicGen variant, with random values."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor
from torch.nn import functional
from typer.testing import CliRunner

from d2m_cli.app import app
from d2m_cli.errors import OutputError, UsageError
from d2m_cli.inversion.checkpoint import Encoders
from d2m_cli.inversion.published import import_encoders

PREFIX = "condition_provider.conditioners.description.embedding_manager."
RHYTHM = {
    "pos_emb.weight": (303, 1),
    "input_projection.0.weight": (303,),
    "input_projection.0.bias": (303,),
    "input_projection.1.weight": (768, 303),
    "input_projection.1.bias": (768,),
    "input_projection.4.weight": (768, 768),
    "input_projection.4.bias": (768,),
    **{
        f"rembed.{attention}.{name}": shape
        for attention in ("attn1", "attn2")
        for name, shape in {
            "to_q.weight": (512, 768),
            "to_k.weight": (512, 768),
            "to_v.weight": (512, 768),
            "to_out.0.weight": (768, 512),
            "to_out.0.bias": (768,),
        }.items()
    },
    "rembed.net.1.weight": (768, 768),
    "rembed.net.1.bias": (768,),
}
GENRE = {
    "0.weight": (10,),
    "0.bias": (10,),
    "1.weight": (768, 10),
    "1.bias": (768,),
    "3.weight": (768, 768),
    "3.bias": (768,),
}


def some(shapes: dict[str, tuple[int, ...]], prefix: str, seed: int) -> dict[str, Tensor]:
    """Random tensors of about the size of trained ones, exact in half precision."""
    random = torch.Generator().manual_seed(seed)
    return {
        prefix + name: (torch.randn(shape, generator=random) / shape[-1] ** 0.5).half().float()
        for name, shape in shapes.items()
    }


@pytest.fixture(scope="module")
def saved() -> dict[str, dict[str, Tensor]]:
    return {
        "poseEncoder": some(RHYTHM, PREFIX + "poseEncoder.", 0),
        "audioEncoderP": some(GENRE, PREFIX + "audioEncoder.projector.", 1),
    }


def write(path: Path, saved: Any) -> Path:
    torch.save(saved, path)
    return path


def rhythm_by_hand(sequence: Tensor, saved: dict[str, Tensor]) -> Tensor:
    """What the published encoder of "*" makes of (batch, 303) peaks, dropout off: (batch, 768)."""
    w = {name.removeprefix(PREFIX + "poseEncoder."): value for name, value in saved.items()}

    def attention(which: str, asking: Tensor, asked: Tensor) -> Tensor:
        q, k, v = (
            torch.einsum("btw,ow->bto", given, w[f"rembed.{which}.to_{letter}.weight"]).reshape(-1, 1, 8, 64)
            for letter, given in (("q", asking), ("k", asked), ("v", asked))
        )
        weights = torch.softmax(torch.einsum("bihd,bjhd->bhij", q, k) * 64**-0.5, -1)
        mixed = torch.einsum("bhij,bjhd->bihd", weights, v).reshape(-1, 1, 512)
        return mixed @ w[f"rembed.{which}.to_out.0.weight"].T + w[f"rembed.{which}.to_out.0.bias"]

    x = sequence[:, None] + w["pos_emb.weight"].T[None]
    x = functional.layer_norm(x, (303,), w["input_projection.0.weight"], w["input_projection.0.bias"])
    x = functional.silu(x @ w["input_projection.1.weight"].T + w["input_projection.1.bias"])
    x = x @ w["input_projection.4.weight"].T + w["input_projection.4.bias"]
    first = attention("attn1", x, x) + x
    second = attention("attn2", first, x) + first
    return (second @ w["rembed.net.1.weight"].T + w["rembed.net.1.bias"])[:, 0]


def genre_by_hand(number: int, saved: dict[str, Tensor]) -> Tensor:
    w = {name.removeprefix(PREFIX + "audioEncoder.projector."): value for name, value in saved.items()}
    x = functional.layer_norm(torch.eye(10)[number], (10,), w["0.weight"], w["0.bias"])
    x = functional.silu(x @ w["1.weight"].T + w["1.bias"])
    return x @ w["3.weight"].T + w["3.bias"]


def test_imported_encoders_say_what_the_published_ones_say(saved, tmp_path: Path) -> None:
    assert sum(value.numel() for value in saved["poseEncoder"].values()) == 4_562_829
    assert sum(value.numel() for value in saved["audioEncoderP"].values()) == 599_060
    source = write(tmp_path / "checkpoint.th", saved)
    import_encoders(source, tmp_path / "encoders.safetensors")
    encoders = Encoders.load(tmp_path / "encoders.safetensors")
    config = encoders.config
    assert (config.backbone, config.fingerprint, config.width) == ("musicgen", "", 768)
    assert (config.projector, config.genre, config.layers) == ("attn-pos", "label", 1)
    assert (config.grid.mode, config.grid.rate, config.grid.steps) == ("published", 60.0, 303)
    peaks = (torch.rand(5, 303, generator=torch.Generator().manual_seed(2)) > 0.9).float()
    expected = rhythm_by_hand(peaks, saved["poseEncoder"])
    assert expected.std() > 0.1
    assert torch.allclose(encoders.rhythm(peaks)[:, 0, 0], expected, atol=1e-4)
    # Sorted codes: BR HO JB JS KR LH LO MH PO WA.
    for code, number in (("BR", 0), ("LO", 6), ("WA", 9)):
        assert torch.allclose(encoders.genre([code])[0, 0, 0], genre_by_hand(number, saved["audioEncoderP"]), atol=1e-4)
    musicgen: Any = SimpleNamespace(
        name="musicgen:facebook/musicgen-small",
        text_width=768,
        fingerprint="x",
        window_seconds=5.12,
        condition_layers=1,
    )
    encoders.check(musicgen)


def test_names_without_their_place_in_the_model_are_read_too(saved, tmp_path: Path) -> None:
    short = {
        "string_to_token": {"*": torch.tensor(1429)},
        "poseEncoder": {name.rpartition("poseEncoder.")[2]: v for name, v in saved["poseEncoder"].items()},
        "audioEncoderP": {name.rpartition("projector.")[2]: v for name, v in saved["audioEncoderP"].items()},
    }
    made = import_encoders(write(tmp_path / "a.th", short), tmp_path / "a.safetensors")
    same = import_encoders(write(tmp_path / "b.th", saved), tmp_path / "b.safetensors")
    assert all(torch.equal(value, same.state_dict()[name]) for name, value in made.state_dict().items())


def changed(saved: dict[str, dict[str, Tensor]], section: str, name: str, value: Tensor | None) -> Any:
    full = PREFIX + {"poseEncoder": "poseEncoder.", "audioEncoderP": "audioEncoder.projector."}[section] + name
    kept = {key: tensor for key, tensor in saved[section].items() if key != full}
    return {**saved, section: kept if value is None else {**kept, full: value}}


@pytest.mark.parametrize(
    ("section", "name", "value", "text"),
    [
        ("poseEncoder", "rembed.attn2.to_v.weight", None, r"rembed\.attn2\.to_v\.weight: missing"),
        (
            "poseEncoder",
            "pos_emb.weight",
            torch.zeros(306, 1),
            r"pos_emb\.weight: of shape \(306, 1\), where \(303, 1\)",
        ),
        ("poseEncoder", "rembed.net.3.bias", torch.zeros(8), r"rembed\.net\.3\.bias: not a part"),
        (
            "poseEncoder",
            "input_projection.1.bias",
            torch.full((768,), torch.inf),
            r"input_projection\.1\.bias: .*finite",
        ),
        ("audioEncoderP", "3.bias", None, r"audioEncoderP: 3\.bias: missing"),
        ("audioEncoderP", "1.weight", torch.zeros(768, 12), r"1\.weight: of shape \(768, 12\), where \(768, 10\)"),
    ],
)
def test_what_is_wrong_is_named_as_the_file_names_it(
    saved, tmp_path: Path, section: str, name: str, value: Tensor | None, text: str
) -> None:
    source = write(tmp_path / "checkpoint.th", changed(saved, section, name, value))
    with pytest.raises(UsageError, match=rf"checkpoint\.th: {section}: {text}" if section not in text else text):
        import_encoders(source, tmp_path / "encoders.safetensors")
    assert not (tmp_path / "encoders.safetensors").exists()


def test_other_files_are_refused(saved, tmp_path: Path) -> None:
    out = tmp_path / "encoders.safetensors"
    with pytest.raises(UsageError, match=r"no 'audioEncoderP' in it.*there is: poseEncoder"):
        import_encoders(write(tmp_path / "half.th", {"poseEncoder": saved["poseEncoder"]}), out)
    with pytest.raises(UsageError, match=r"no 'poseEncoder' in it.*best_state"):
        import_encoders(write(tmp_path / "model.th", {"best_state": {}}), out)
    with pytest.raises(UsageError, match="holds a list, not a dictionary"):
        import_encoders(write(tmp_path / "list.th", [torch.zeros(1)]), out)
    with pytest.raises(UsageError, match="'poseEncoder' holds no state dict"):
        import_encoders(write(tmp_path / "odd.th", {"poseEncoder": 3}), out)
    whole = {"poseEncoder": torch.nn.Linear(2, 2), "audioEncoderP": torch.nn.Linear(2, 2)}
    with pytest.raises(UsageError, match=r"whole modules.*state_dict\(\)"):
        import_encoders(write(tmp_path / "modules.th", whole), out)
    for junk in (b"", b"junk", b"PK\x03\x04 broken"):
        (tmp_path / "junk.th").write_bytes(junk)
        with pytest.raises(UsageError, match=r"junk\.th"):
            import_encoders(tmp_path / "junk.th", out)
    with pytest.raises(UsageError, match=r"absent\.th"):
        import_encoders(tmp_path / "absent.th", out)
    with pytest.raises(UsageError, match=r"backbone='riffusion'.*musicgen only"):
        import_encoders(tmp_path / "absent.th", out, "riffusion")


def test_the_command(saved, tmp_path: Path) -> None:
    source, out = write(tmp_path / "checkpoint.th", saved), tmp_path / "encoders.safetensors"
    run = CliRunner()
    result = run.invoke(app, ["weights", "import-encoders", str(source), str(out)])
    assert result.exit_code == 0, result.output
    assert "5161889 parameters, rhythm mode published, 303 steps" in result.output
    assert "not bound to one set of weights" in result.output
    result = run.invoke(app, ["weights", "import-encoders", str(source), str(out)])
    assert result.exit_code == 1
    with pytest.raises(OutputError, match="--overwrite"):
        import_encoders(source, out)
    assert run.invoke(app, ["weights", "import-encoders", str(source), str(out), "--overwrite"]).exit_code == 0

"""Write the entries of the embedded model into ``weights/manifest.json``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

WEIGHTS = Path(__file__).resolve().parents[1]
PURPOSES = {
    "encoders.safetensors": 'rhythm encoder of "*" (MLP) and genre encoder of "@" for the embedded backbone',
    "text_encoder/model.safetensors": "text encoder of the embedded backbone (CLIP layout)",
    "unet/diffusion_pytorch_model.safetensors": "denoiser of the embedded backbone",
    "vae/diffusion_pytorch_model.safetensors": "spectrogram autoencoder of the embedded backbone",
}


def main() -> None:
    path = WEIGHTS / "manifest.json"
    manifest = json.loads(path.read_text())
    kept = [entry for entry in manifest["weights"] if not entry["file"].startswith("embedded/")]
    for name, purpose in PURPOSES.items():
        file = f"embedded/{name}"
        kept.append(
            {
                "name": "embedded-" + name.split("/")[0].removesuffix(".safetensors").replace("_", "-"),
                "file": file,
                "purpose": purpose,
                "origin": "trained from scratch by weights/recipe on rendered music (docs/embedded.md)",
                "licence": "MIT",
                "sha256": hashlib.sha256((WEIGHTS / file).read_bytes()).hexdigest(),
            }
        )
    path.write_text(json.dumps({"weights": kept}, indent=2) + "\n")


if __name__ == "__main__":
    main()

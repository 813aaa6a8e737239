"""Write the entries of the embedded model and of the listener into ``weights/manifest.json``."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

WEIGHTS = Path(__file__).resolve().parents[1]
PURPOSES = {
    "embedded/encoders.safetensors": 'rhythm encoder of "*" (MLP) and genre encoder of "@" for the embedded backbone',
    "embedded/text_encoder/model.safetensors": "text encoder of the embedded backbone (CLIP layout)",
    "embedded/unet/diffusion_pytorch_model.safetensors": "denoiser of the embedded backbone",
    "embedded/vae/diffusion_pytorch_model.safetensors": "spectrogram autoencoder of the embedded backbone",
    "listener/listener.safetensors": "embedding and genre classifier of d2m eval",
}
DOCUMENTS = {"embedded": "docs/embedded.md", "listener": "docs/listener.md"}


def main() -> None:
    path = WEIGHTS / "manifest.json"
    manifest = json.loads(path.read_text())
    kept = [entry for entry in manifest["weights"] if entry["file"].split("/")[0] not in DOCUMENTS]
    for file, purpose in PURPOSES.items():
        folder, part = file.split("/")[:2]
        part = part.removesuffix(".safetensors").replace("_", "-")
        kept.append(
            {
                "name": folder if part == folder else f"{folder}-{part}",
                "file": file,
                "purpose": purpose,
                "origin": f"trained from scratch by weights/recipes on rendered music ({DOCUMENTS[folder]})",
                "licence": "MIT",
                "sha256": hashlib.sha256((WEIGHTS / file).read_bytes()).hexdigest(),
            }
        )
    path.write_text(json.dumps({"weights": kept}, indent=2) + "\n")


if __name__ == "__main__":
    main()

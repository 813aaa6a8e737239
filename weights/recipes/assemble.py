"""Put the trained parts together as ``weights/embedded``, in Stable Diffusion's folder layout and half precision.

``python assemble.py DATA TEXT UNET OUT``: DATA/vae, TEXT/tokenizer, TEXT/text_encoder and UNET/unet as the training
scripts wrote them.
"""

from __future__ import annotations

import argparse
import json
import shutil
from pathlib import Path

import torch
from diffusers import AutoencoderKL, DDPMScheduler, UNet2DConditionModel
from make_music import CONFIG
from train_unet import SCHEDULE
from transformers import CLIPTextModel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("data", "text", "unet", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    out = arguments.out
    out.mkdir(parents=True, exist_ok=True)
    UNet2DConditionModel.from_pretrained(arguments.unet / "unet").to(torch.float16).save_pretrained(out / "unet")
    AutoencoderKL.from_pretrained(arguments.data / "vae", torch_dtype=torch.float16).save_pretrained(out / "vae")
    CLIPTextModel.from_pretrained(arguments.text / "text_encoder").to(torch.float16).save_pretrained(
        out / "text_encoder"
    )
    shutil.copytree(arguments.text / "tokenizer", out / "tokenizer", dirs_exist_ok=True)
    DDPMScheduler(**SCHEDULE).save_pretrained(out / "scheduler")
    CONFIG.save(out / "spectrogram.json")
    for config in (out / "unet" / "config.json", out / "vae" / "config.json"):
        values = json.loads(config.read_text())
        # Where it lay while it was trained is nobody's business.
        values.pop("_name_or_path", None)
        config.write_text(json.dumps(values, indent=2) + "\n")
    index = {
        "_class_name": "StableDiffusionPipeline",
        "unet": ["diffusers", "UNet2DConditionModel"],
        "vae": ["diffusers", "AutoencoderKL"],
        "text_encoder": ["transformers", "CLIPTextModel"],
        "tokenizer": ["transformers", "CLIPTokenizer"],
        "scheduler": ["diffusers", "DDPMScheduler"],
    }
    (out / "model_index.json").write_text(json.dumps(index, indent=2) + "\n")


if __name__ == "__main__":
    main()

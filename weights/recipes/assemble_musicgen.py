"""Put codec, text encoder and language model together as one folder in MusicGen's layout, in half precision.

``python assemble_musicgen.py CODES TEXT DECODER OUT``: CODES/codec, TEXT/tokenizer, TEXT/text_encoder's configuration
and DECODER/ema.pt (text encoder and language model) as the training scripts wrote them.
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import torch
from train_decoder import PAD, new_decoder
from transformers import (
    AutoTokenizer,
    EncodecModel,
    GenerationConfig,
    MusicgenConfig,
    MusicgenForConditionalGeneration,
    T5EncoderModel,
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    for name in ("codes", "text", "decoder", "out"):
        parser.add_argument(name, type=Path)
    arguments = parser.parse_args()
    out = arguments.out
    saved = torch.load(arguments.decoder / "ema.pt", weights_only=True)
    layers = 1 + max(int(name.split(".")[4]) for name in saved if name.startswith("decoder.model.decoder.layers."))
    codec = EncodecModel.from_pretrained(arguments.codes / "codec")
    text = T5EncoderModel.from_pretrained(arguments.text / "text_encoder")
    decoder = new_decoder(layers)
    parts = {prefix: {} for prefix in ("text", "decoder", "enc_to_dec_proj")}
    for name, value in saved.items():
        prefix, _, rest = name.partition(".")
        if prefix in parts:
            parts[prefix][rest] = value
    text.load_state_dict(parts["text"])
    decoder.load_state_dict(parts["decoder"])
    config = MusicgenConfig(
        text_encoder=text.config.to_dict(), audio_encoder=codec.config.to_dict(), decoder=decoder.config.to_dict()
    )
    model = MusicgenForConditionalGeneration(config)
    model.text_encoder.load_state_dict(text.state_dict())
    model.audio_encoder.load_state_dict(codec.state_dict())
    model.decoder.load_state_dict(decoder.state_dict())
    model.enc_to_dec_proj.load_state_dict(parts["enc_to_dec_proj"])
    model.config.decoder.decoder_start_token_id = PAD
    model.config.decoder_start_token_id = PAD
    model.generation_config = GenerationConfig(
        decoder_start_token_id=PAD, bos_token_id=PAD, pad_token_id=PAD, do_sample=True, guidance_scale=3.0, max_length=260
    )  # fmt: skip
    model.to(torch.float16).save_pretrained(out)
    AutoTokenizer.from_pretrained(arguments.text / "tokenizer", local_files_only=True).save_pretrained(out)
    path = out / "config.json"
    values = json.loads(path.read_text())
    for part in (values, values["text_encoder"], values["audio_encoder"], values["decoder"]):
        # Where it lay while it was trained is nobody's business.
        part.pop("_name_or_path", None)
    path.write_text(json.dumps(values, indent=2) + "\n")
    (out / "d2m.json").write_text(json.dumps({"licence": "MIT", "speaks_tempo": True}, indent=2) + "\n")


if __name__ == "__main__":
    main()

"""A tiny untrained CLAP model, made and saved as transformers saves one."""

from __future__ import annotations

from pathlib import Path


def save_tiny_clap(folder: Path, width: int = 512, seed: int = 0) -> Path:
    """Fill a folder with a CLAP model that hears 1 s at a time and answers with ``width`` numbers."""
    import torch
    from transformers import ClapConfig, ClapFeatureExtractor, ClapModel

    torch.manual_seed(seed)
    text = dict(
        vocab_size=20, hidden_size=8, num_hidden_layers=1, num_attention_heads=2, intermediate_size=8,
        max_position_embeddings=10,
    )  # fmt: skip
    audio = dict(
        window_size=4, num_mel_bins=32, spec_size=128, patch_size=4, patch_stride=[4, 4], hidden_size=32,
        patch_embeds_hidden_size=16, depths=[1, 1], num_attention_heads=[2, 2], num_hidden_layers=2,
    )  # fmt: skip
    ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=width)).save_pretrained(folder)
    ClapFeatureExtractor(feature_size=32, max_length_s=1, truncation="rand_trunc").save_pretrained(folder)
    return folder


def teach_to_read(folder: Path) -> Path:
    """Put a tokenizer of eight words beside a model."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    words = ["<s>", "<pad>", "</s>", "<unk>", "funky", "guitar", "slow", "piano"]
    tokenizer = Tokenizer(models.WordLevel({word: i for i, word in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, bos_token="<s>", eos_token="</s>", pad_token="<pad>", unk_token="<unk>",
        model_max_length=8,
    ).save_pretrained(folder)  # fmt: skip
    return folder

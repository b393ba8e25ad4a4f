"""Random llamas and mistrals with real vocabularies, for tests of what carries tokenizers and row orders along."""

from __future__ import annotations

import json
import struct
from pathlib import Path
from typing import Any

from starcoder import TEXTS

from workbench.nano.tokenizer import save_tokenizer, train_tokenizer

SPACE = "\u2581"
SPECIAL = ["<unk>", "<s>", "</s>"]
RUN_SCORE = -1e9  # of runs of spaces in the models of the Llama family: they are joined last
LLAMA3_RULE = (
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+"
)
LLAMA3_ROPE = {
    "rope_type": "llama3", "rope_theta": 500000.0, "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
    "original_max_position_embeddings": 64,
}  # fmt: skip


def make_llama(
    folder: Path, kind: str = "llama", dtype: str = "float16", tokenizer: bool = True, **config: Any
) -> Path:
    """Write a random checkpoint; ``config`` changes a small default. The tokenizer is StarCoder's, as DeciCoder's."""
    import torch
    from transformers import AutoModelForCausalLM, LlamaConfig, MistralConfig

    sizes = {
        "vocab_size": 512, "max_position_embeddings": 256, "hidden_size": 256, "num_hidden_layers": 2,
        "num_attention_heads": 4, "num_key_value_heads": 2, "intermediate_size": 512, "initializer_range": 0.08,
        "bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0,
    }  # fmt: skip
    torch.manual_seed(0)
    made = {"llama": LlamaConfig, "mistral": MistralConfig}[kind](**{**sizes, **config})
    model = AutoModelForCausalLM.from_config(made)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter.data += torch.randn_like(parameter) * 0.02  # biases start at zero and would hide a swap
    if tokenizer:
        learned = train_tokenizer(TEXTS, 512)
        head = model.get_output_embeddings().weight.data
        for i in range(min(len(head), 512)):
            # Parts of a character and ids without a token have a small logit: llama.cpp tells none behind such.
            if "\ufffd" in learned.decode([i], skip_special_tokens=False) or learned.id_to_token(i) is None:
                head[i] *= 0.01
        save_tokenizer(learned, folder)
    model.to(getattr(torch, dtype)).save_pretrained(folder)
    return folder


def sentencepiece_vocabulary(size: int = 420) -> list[tuple[str, float, int]]:
    """Text, score and kind of each piece, as SentencePiece would learn them; runs of spaces are joined last."""
    from tokenizers import Tokenizer, models, pre_tokenizers, trainers

    learner = Tokenizer(models.BPE())
    learner.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="always", split=True)
    learner.train_from_iterator(TEXTS, trainers.BpeTrainer(vocab_size=size, show_progress=False))
    learned = [text for text, _ in sorted(learner.get_vocab().items(), key=lambda item: item[1])]
    pieces = [(text, 0.0, 2 if text == "<unk>" else 3) for text in SPECIAL]
    pieces += [(f"<0x{byte:02X}>", 0.0, 6) for byte in range(256)]
    runs = [SPACE * 2, SPACE * 4]
    whole = [text for text in learned if len(text) > 1 and text not in runs]
    letters = [text for text in learned if len(text) == 1]
    pieces += [(text, RUN_SCORE, 1) for text in runs]
    return pieces + [(text, -float(rank), 1) for rank, text in enumerate([*whole, *letters], 1)]


def sentencepiece_merges(pieces: list[tuple[str, float, int]]) -> list[list[str]]:
    """All ways to make each piece of two others, best score first, as converters to ``tokenizer.json`` list them."""
    known = {text: place for place, (text, _, _) in enumerate(pieces)}
    ways = []
    for text, score, _ in pieces:
        cuts = [(text[:i], text[i:]) for i in range(1, len(text)) if text[:i] in known and text[i:] in known]
        ways += [(score, list(pair)) for pair in sorted(cuts, key=lambda pair: (known[pair[0]], known[pair[1]]))]
    return [pair for _, pair in sorted(ways, key=lambda way: -way[0])]


def write_tokenizer_json(folder: Path, pieces: list[tuple[str, float, int]], **changes: Any) -> None:
    """The ``tokenizer.json`` that the Llama family's repositories hold beside their ``tokenizer.model``."""
    flags = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
    start = {"SpecialToken": {"id": "<s>", "type_id": 0}}
    text = {"Sequence": {"id": "A", "type_id": 0}}
    normalizers = [
        {"type": "Prepend", "prepend": SPACE},
        {"type": "Replace", "pattern": {"String": " "}, "content": SPACE},
    ]
    decoders = [
        {"type": "Replace", "pattern": {"String": SPACE}, "content": " "}, {"type": "ByteFallback"}, {"type": "Fuse"},
        {"type": "Strip", "content": " ", "start": 1, "stop": 0},
    ]  # fmt: skip
    model = {
        "type": "BPE", "dropout": None, "unk_token": "<unk>", "fuse_unk": True, "byte_fallback": True,
        "vocab": {piece: place for place, (piece, _, _) in enumerate(pieces)}, "merges": sentencepiece_merges(pieces),
    }  # fmt: skip
    document = {
        "version": "1.0",
        "added_tokens": [{"id": place, "content": token, **flags} for place, token in enumerate(SPECIAL)],
        "normalizer": {"type": "Sequence", "normalizers": normalizers},
        "pre_tokenizer": None,
        "post_processor": {
            "type": "TemplateProcessing", "single": [start, text], "pair": [start, text, start, text],
            "special_tokens": {"<s>": {"id": "<s>", "ids": [1], "tokens": ["<s>"]}},
        },
        "decoder": {"type": "Sequence", "decoders": decoders},
        "model": model,
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps({**document, **changes}), encoding="utf-8")


def write_tokenizer_model(
    folder: Path, pieces: list[tuple[str, float, int]], kind: int = 2, normalizer: bytes = b"\x20\x00"
) -> None:
    """A SentencePiece ``ModelProto``: pieces, a trainer's model type, a normalizer that leaves spaces alone."""
    message = b""
    for text, score, piece_kind in pieces:
        data = text.encode("utf-8")
        piece = b"\x0a" + bytes([len(data)]) + data + b"\x15" + struct.pack("<f", score) + b"\x18" + bytes([piece_kind])
        message += b"\x0a" + bytes([len(piece)]) + piece
    trainer = b"\x18" + bytes([kind]) + b"\x98\x02\x01"  # byte_fallback
    message += b"\x12" + bytes([len(trainer)]) + trainer + b"\x1a" + bytes([len(normalizer)]) + normalizer
    (folder / "tokenizer.model").write_bytes(message)


def write_tokenizer_config(folder: Path, **config: Any) -> None:
    """``tokenizer_config.json`` with the Llama family's three special tokens."""
    roles = {"bos_token": "<s>", "eos_token": "</s>", "unk_token": "<unk>"}
    (folder / "tokenizer_config.json").write_text(json.dumps({**roles, **config}), encoding="utf-8")


def write_llama3_tokenizer(folder: Path) -> None:
    """A byte-level vocabulary under Llama 3's rules: its cuts, whole words unmerged, a token before each text."""
    from tokenizers import AddedToken, Regex, Tokenizer, models, pre_tokenizers, processors, trainers
    from tokenizers.decoders import ByteLevel

    tokenizer = Tokenizer(models.BPE(ignore_merges=True))
    split = pre_tokenizers.Split(Regex(LLAMA3_RULE), behavior="isolated", invert=False)
    byte_level = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([split, byte_level])
    tokenizer.decoder = ByteLevel()
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    trainer = trainers.BpeTrainer(vocab_size=500, initial_alphabet=alphabet, show_progress=False)
    tokenizer.train_from_iterator(TEXTS, trainer)
    tokenizer.add_special_tokens([AddedToken(token) for token in ("<|begin_of_text|>", "<|end_of_text|>")])
    start = tokenizer.token_to_id("<|begin_of_text|>")
    template = processors.TemplateProcessing(
        single="<|begin_of_text|> $A", pair="<|begin_of_text|> $A $B", special_tokens=[("<|begin_of_text|>", start)]
    )
    tokenizer.post_processor = processors.Sequence([processors.ByteLevel(trim_offsets=False), template])
    tokenizer.save(str(folder / "tokenizer.json"))
    config = {"bos_token": "<|begin_of_text|>", "eos_token": "<|end_of_text|>", "chat_template": "{{ messages }}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(config), encoding="utf-8")

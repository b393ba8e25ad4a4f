"""The tokenizer of sqlcoder-nano: StarCoder's rules with a vocabulary of its own.

StarCoder cuts text into single digits first and then into GPT-2's pieces (a word with the space
before it, a run of punctuation, a run of white space), writes every byte as one printable symbol
and merges frequent pairs of symbols inside a piece (byte-level BPE). Only the list of merges is
learned here; the rules are those of ``bigcode/starcoder``'s ``tokenizer.json``, which llama.cpp
knows under the name ``starcoder``. All 256 bytes are in the vocabulary, so every text can be
written and read back unchanged, whatever its language.

Example::

    tokenizer = train_tokenizer(["SELECT 1;", "### Schema ..."])
    save_tokenizer(tokenizer, Path("/tmp/model"))
    AutoTokenizer.from_pretrained("/tmp/model")
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tokenizers import Tokenizer

END = "<|endoftext|>"
END_ID = 0
VOCABULARY = 2048


def starcoder_rules() -> Tokenizer:
    """An untrained tokenizer with StarCoder's pre-tokenizer and decoder."""
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers

    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Digits(individual_digits=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, trim_offsets=True, use_regex=True),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


def train_tokenizer(texts: Iterable[str], vocabulary: int = VOCABULARY) -> Tokenizer:
    """Learn the merges.

    Args:
        texts: what the model will read and write; the same texts give the same tokenizer.
        vocabulary: tokens in all, the 256 bytes and ``<|endoftext|>`` (id 0) among them.
    """
    from tokenizers import pre_tokenizers, trainers

    tokenizer = starcoder_rules()
    trainer = trainers.BpeTrainer(
        vocab_size=vocabulary,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator(texts, trainer)
    return tokenizer


def save_tokenizer(tokenizer: Tokenizer, folder: Path) -> None:
    """Write the three files ``AutoTokenizer`` reads, with StarCoder's one token in all four roles."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    roles = {f"{role}_token": END for role in ("bos", "eos", "unk", "pad")}
    config = {
        "add_prefix_space": False,
        "clean_up_tokenization_spaces": False,
        "model_max_length": 1024,
        "tokenizer_class": "PreTrainedTokenizerFast",
        **roles,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")
    (folder / "special_tokens_map.json").write_text(json.dumps(roles, indent=2) + "\n", encoding="utf-8")

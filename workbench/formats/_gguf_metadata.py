"""The key-value part of a GGUF file: what llama.cpp must know beside the weights.

In the order llama.cpp's converter writes them: what the file is, the model's sizes (``_gguf_model.py``), the tokenizer
(``_gguf_vocabulary.py``) with the chat template, without which llama-server and others would take a chat for ChatML,
which the model never saw; last the quantization version and the file type, as ``llama-quantize`` leaves them.
Keys: github.com/ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import sys

from workbench.chat_template import chat_template
from workbench.checkpoint import Checkpoint
from workbench.formats._gguf_header import Value
from workbench.formats._gguf_model import model_pairs
from workbench.formats._gguf_names import names_of
from workbench.formats._gguf_types import FileType
from workbench.formats._gguf_vocabulary import vocabulary_pairs

QUANTIZATION_VERSION = 2  # GGML_QNT_VERSION
# Bytes of a token with its kind, and its score or merges, up to vocabularies of so many: SentencePiece of 32,000 tokens
# (published files of Llama 2, CodeLlama and Mistral), byte-level BPE of about 50,000, and Llama 3's, which lists
# more than two merges for each.
_BYTES_PER_TOKEN = ((40_000, 23), (100_000, 34), (sys.maxsize, 61))


def metadata(checkpoint: Checkpoint, file_type: FileType, vocabulary: bool = True) -> dict[str, Value]:
    """All pairs, in the order they are written; int is u32, float is f32, a list of int is i32, of float f32.

    Args:
        checkpoint: the source.
        file_type: of the file.
        vocabulary: whether with the tokenizer's; without them the pairs only serve to estimate a size.

    Raises:
        CheckpointError: no tokenizer, or a tokenizer or model that llama.cpp would compute differently.
    """
    return {
        "general.architecture": names_of(checkpoint).gguf,
        "general.type": "model",
        "general.name": checkpoint.model_name,
        **model_pairs(checkpoint),
        **(vocabulary_pairs(checkpoint) if vocabulary else {}),
        "tokenizer.chat_template": chat_template(checkpoint.prompt),
        "general.quantization_version": QUANTIZATION_VERSION,
        "general.file_type": file_type.number,
    }


def estimated_vocabulary_bytes(vocabulary: int) -> int:
    """What the tokenizer's pairs will take when it is not at hand yet, by the number of tokens."""
    return vocabulary * next(each for most, each in _BYTES_PER_TOKEN if vocabulary <= most)

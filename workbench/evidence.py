"""What an engine says of an artifact, for the comparison with its source: tokens, logits, a few answers."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from workbench.runtimes.base import Session

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

GOLDEN_TOKENS = 24


@dataclass(frozen=True)
class Evidence:
    """Gathered in the engine's own process; plain values, so that it travels and is kept as JSON.

    Attributes:
        texts: what was tokenized.
        tokens: ids of each text.
        texts_back: what each text's ids say.
        golden: prompts.
        logits: of the first token after each prompt, as ``encode_logits`` writes them.
        golden_tokens: ids of the beginning of each answer.
    """

    texts: list[str]
    tokens: list[list[int]]
    texts_back: list[str]
    golden: list[str]
    logits: list[str]
    golden_tokens: list[list[int]]


def gather(session: Session, texts: Sequence[str], golden: Sequence[str]) -> Evidence:
    """Ask an engine.

    Args:
        session: the loaded artifact.
        texts: to tokenize.
        golden: prompts to answer.
    """
    tokens = [session.tokenize(text) for text in texts]
    return Evidence(
        texts=list(texts),
        tokens=tokens,
        texts_back=[session.detokenize(ids) for ids in tokens],
        golden=list(golden),
        logits=[encode_logits(values) for values in session.logits(golden)],
        golden_tokens=session.greedy(golden, GOLDEN_TOKENS),
    )


def encode_logits(values: NDArray[np.float32]) -> str:
    """float32 values as text, bit by bit."""
    return base64.b64encode(values.astype("<f4").tobytes()).decode("ascii")


def decode_logits(text: str) -> NDArray[np.float32]:
    """The values of ``encode_logits``."""
    import numpy as np

    return np.frombuffer(base64.b64decode(text), "<f4")

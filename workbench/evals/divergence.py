"""How far an artifact's next-token distributions lie from its reference's, and how surely that is known.

Accuracy needs hundreds of questions to show a loss; the distributions show one at once, because every token of every
text is a measurement of its own. Both models read the same right answers (teacher forcing), so nothing depends on
what either would have written. For a token with reference distribution P and artifact distribution Q:

* divergence ``KL(P || Q) = sum_i P_i ln(P_i / Q_i)`` in nats: how many more nats of surprise the artifact has on
  average, if the reference is right. 0 for equal distributions, never negative.
* same top: whether the artifact puts the reference's most probable token first, as greedy decoding asks.
* surprise ``-ln Q_t`` of the token ``t`` that is there; ``exp`` of its mean is the perplexity.

Tokens of one question have a schema and a query in common, so they are not independent samples, but questions are. A
mean over tokens is then a ratio ``m = sum_q s_q / N`` of sums over questions, whose variance is estimated by
``Q / (Q - 1) * sum_q (s_q - m n_q)^2 / N^2`` (``s_q``: the question's sum, ``n_q``: its tokens, ``Q``: questions).
As if all tokens were independent, the standard error would come out far too small. Where questions are drawn from
several sets, each in proportion to its size, the spread is taken within the sets: how sets differ is no chance.

Sources: S. Kullback and R. A. Leibler, Annals of Mathematical Statistics 22 (1951) 79; W. G. Cochran, Sampling
Techniques, 3rd ed. (1977), chapter 6 (ratio estimators; for several sets the combined one, section 6.11); E. Miller,
"Adding Error Bars to Evals", arXiv 2411.00640, section 2.2 (clusters). The figures are those that llama.cpp's
``perplexity --kl-divergence`` prints; its standard errors are those of independent tokens.

Example::

    one = compare_rows(reference_rows, artifact_rows, tokens)
    summarize([one, another]).kl_nats
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

from workbench.errors import EvaluationError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Floats: TypeAlias = NDArray[np.float64]

# What a float32 sum of probabilities may lack of 1: no more is known of what is left to tokens nothing was told of.
LEAST_REST = 1e-7
HIGH_SHARE = 0.99


@dataclass(frozen=True)
class TokenFigures:
    """The tokens of one question; all arrays are ``[tokens]``.

    Attributes:
        kl_nats: divergence of the artifact from the reference.
        same_top: whether the artifact's most probable token is the reference's.
        surprise: the artifact's, of the token that is there, in nats.
        reference_surprise: the reference's.
    """

    kl_nats: Floats
    same_top: NDArray[np.bool_]
    surprise: Floats
    reference_surprise: Floats


@dataclass(frozen=True)
class Mean:
    """A mean over tokens and its standard error over questions, ``None`` for fewer than two."""

    value: float
    se: float | None


@dataclass(frozen=True)
class Figures:
    """An artifact beside its reference on the same tokens.

    Attributes:
        questions: how many there were.
        tokens: of all of them.
        kl_nats: mean divergence.
        kl_nats_p99: divergence that one token in a hundred exceeds.
        kl_nats_max: largest divergence.
        same_top: share of tokens with the reference's most probable token.
        log_perplexity_ratio: mean surprise less the reference's: ``ln`` of the ratio of both perplexities; ``None``
            where the tokens themselves do not matter.
        perplexity: ``exp`` of the mean surprise, likewise.
        reference_perplexity: likewise.
    """

    questions: int
    tokens: int
    kl_nats: Mean
    kl_nats_p99: float
    kl_nats_max: float
    same_top: Mean
    log_perplexity_ratio: Mean | None = None
    perplexity: float | None = None
    reference_perplexity: float | None = None


def compare_rows(expected: NDArray[Any], found: NDArray[Any], tokens: Sequence[int]) -> TokenFigures:
    """Figures of each token of a text.

    Args:
        expected: the reference's logits, ``[tokens, vocabulary]``, up to a constant added to a row.
        found: the artifact's, likewise; what one has of vocabulary beyond the other is left out. A token nothing was
            told of has ``-inf``; its row then holds log-probabilities, and all such tokens count as one together. That
            can only lower the divergence, and only by what both models say differently of these tokens among
            themselves (the log-sum inequality).
        tokens: ids that are there.

    Raises:
        EvaluationError: NaN or infinity was computed.
    """
    import numpy as np

    size = min(expected.shape[-1], found.shape[-1])
    expected, found = (rows[:, :size].astype(np.float64) for rows in (expected, found))
    if not all(np.isfinite(rows.max(axis=-1)).all() for rows in (expected, found)):
        raise EvaluationError("some of its logits are no numbers (NaN or infinite); do not use it, and build it again")
    # Stored in 16 bits, two tokens of the reference can be equally probable: either is its top then.
    tops = expected.max(axis=-1)
    same_top = np.take_along_axis(expected, found.argmax(axis=-1)[:, None], axis=-1)[:, 0] == tops
    rows, ids = np.arange(len(tokens)), np.asarray(tokens)
    p, q = log_softmax(expected), log_softmax(found)
    partly = np.isneginf(found).any(axis=-1)
    kl = _divergence(p, q)
    surprise = -q[rows, ids]
    for row in np.flatnonzero(partly):
        told = np.isfinite(found[row])
        few_p, few_q = _with_rest(p[row], told, 0.0), _with_rest(found[row], told, LEAST_REST)
        kl[row] = _divergence(few_p, few_q)
        surprise[row] = -few_q[told[: ids[row]].sum() if told[ids[row]] else -1]
    return TokenFigures(np.maximum(kl, 0.0), same_top, surprise, -p[rows, ids])


def kl_nats(expected: NDArray[Any], found: NDArray[Any]) -> float:
    """``KL(expected || found)`` of two vectors of logits, in nats."""
    import numpy as np

    return max(0.0, float(_divergence(*(log_softmax(values.astype(np.float64)) for values in (expected, found)))))


def summarize(questions: Sequence[TokenFigures], sets: Sequence[str] = (), surprise: bool = True) -> Figures:
    """Figures of all tokens.

    Args:
        questions: one entry per question, each of at least one token: the standard errors are over questions.
        sets: which set each question is from; empty for one set.
        surprise: whether the tokens that are there matter.

    Raises:
        EvaluationError: there is no question.
    """
    import numpy as np

    if not questions:
        raise EvaluationError("there is no text to compare; ask at least one question that fits the context")
    kl = np.concatenate([one.kl_nats for one in questions])
    figures = Figures(
        questions=len(questions),
        tokens=len(kl),
        kl_nats=mean_over_questions([one.kl_nats for one in questions], sets),
        kl_nats_p99=float(np.quantile(kl, HIGH_SHARE)),
        kl_nats_max=float(kl.max()),
        same_top=mean_over_questions([one.same_top.astype(np.float64) for one in questions], sets),
    )
    if not surprise:
        return figures
    reference = mean_over_questions([one.reference_surprise for one in questions]).value
    more = mean_over_questions([one.surprise - one.reference_surprise for one in questions], sets)
    return replace(
        figures,
        log_perplexity_ratio=more,
        perplexity=float(np.exp(reference + more.value)),
        reference_perplexity=float(np.exp(reference)),
    )


def mean_over_questions(values: Sequence[Floats], sets: Sequence[str] = ()) -> Mean:
    """Mean over all tokens with the standard error that questions of correlated tokens give it.

    Args:
        values: ``[tokens]`` for each question.
        sets: which set each question is from; sets of one question are taken together with the others.
    """
    import numpy as np

    sums, counts = (np.array([function(one) for one in values], np.float64) for function in (np.sum, len))
    mean, total = sums.sum() / counts.sum(), counts.sum()
    if len(values) < 2:
        return Mean(float(mean), None)
    rests = sums - mean * counts
    groups = [rests[[name == one for name in sets]] for one in dict.fromkeys(sets)] or [rests]
    if min(map(len, groups)) < 2:
        groups = [rests]
    spread = sum(len(group) * group.var(ddof=1) for group in groups)
    return Mean(float(mean), float(np.sqrt(spread) / total))


def _with_rest(log_probabilities: Floats, told: NDArray[np.bool_], least: float) -> Floats:
    """Told tokens' log-probabilities, and last that of all others together, which is at least ``least``."""
    import numpy as np

    kept = log_probabilities[told]
    rest = max(1.0 - float(np.exp(kept).sum()), least) if least else float(np.exp(log_probabilities[~told]).sum())
    with np.errstate(divide="ignore"):
        return log_softmax(np.append(kept, np.log(rest)))


def _divergence(p: Floats, q: Floats) -> Floats:
    """``sum P ln(P / Q)`` over the last axis of log-probabilities; a token of P = 0 adds nothing."""
    import numpy as np

    with np.errstate(invalid="ignore"):
        result: Floats = np.where(np.isneginf(p), 0.0, np.exp(p) * (p - q)).sum(axis=-1)
    return result


def log_softmax(logits: Floats) -> Floats:
    """Log-probabilities over the last axis."""
    import numpy as np

    shifted = logits - logits.max(axis=-1, keepdims=True)
    result: Floats = shifted - np.log(np.exp(shifted).sum(axis=-1, keepdims=True))
    return result

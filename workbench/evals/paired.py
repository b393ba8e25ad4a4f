"""Arithmetic of two variants that answered the same questions: what a table of pairs proves.

Every question falls into one of four cells: ``both`` right, ``lost`` (right before, wrong now), ``gained`` (wrong
before, right now), ``neither``. Questions on which the two agree say nothing about which is better, so McNemar's exact
test asks only whether the split of the rest could be a coin's. How large the difference may be, Newcombe's interval
tells: Wilson's limits of the two proportions, combined with their correlation.

A gate asks a one-sided question, "is the loss at most so much?", and answers it with one-sided bounds: a confidence of
95% is that of each bound by itself, so the two together are a 90% interval. That is the usual non-inferiority test. Its
bounds are Tango's, which invert the score test of a given loss: with the few flips of a good artifact they err as
seldom as they say, where Newcombe's claim a proof up to three times as often (200 questions of which half are right,
a limit of one point: 13 false proofs in 100 instead of 5).

Example::

    mcnemar_exact(16, 6)                            # 0.0525, as R's binom.test(6, 22)
    newcombe_interval(59, 16, 6, 80)                # (-0.1186, -0.0046)
    tango_interval(59, 16, 6, 80)                   # (-0.1240, -0.0054)
    loss_gate(Pairs(59, 16, 6, 80), 0.02)           # "not enough questions"
    questions_needed(0.06, 0.02)                    # 964

Sources: Q. McNemar, Psychometrika 12 (1947) 153; E. B. Wilson, JASA 22 (1927) 209; R. G. Newcombe, Statistics in
Medicine 17 (1998) 2635, method 10; T. Tango, Statistics in Medicine 17 (1998) 891; J. Nam, Biometrics 53 (1997) 1422,
for numbers of questions.
"""

from __future__ import annotations

import math
from statistics import NormalDist
from typing import Literal, NamedTuple

from workbench.measure import wilson_interval

INTERVAL_METHOD = "Newcombe 1998, paired, method 10"
GATE_METHOD = "Tango 1998, score, each bound one-sided"
GateAnswer = Literal["proved", "refuted", "not enough questions"]


class Pairs(NamedTuple):
    """Numbers of questions in the four cells, the variant beside its reference."""

    both: int
    lost: int
    gained: int
    neither: int

    @property
    def total(self) -> int:
        """Questions in all."""
        return sum(self)

    @property
    def difference(self) -> float:
        """Accuracy of the variant minus that of the reference, -1 to 1; 0 without questions."""
        return (self.gained - self.lost) / self.total if self.total else 0.0


NOTHING_SEEN = Pairs(0, 0, 0, 0)


def mcnemar_exact(lost: int, gained: int) -> float:
    """Two-sided exact binomial p that ``lost`` and ``gained`` are one coin's heads and tails; 1 without flips."""
    total = lost + gained
    ways = tail = 1
    for count in range(min(lost, gained)):
        ways = ways * (total - count) // (count + 1)
        tail += ways
    return float(min(1.0, 2 * tail / 2**total))  # of whole numbers of any size, so nothing overflows


def newcombe_interval(both: int, lost: int, gained: int, neither: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the paired difference variant - reference (Newcombe 1998, method 10).

    Wilson's limits of the two proportions are combined with their correlation phi, whose numerator is corrected for
    continuity.

    Args:
        both: questions both answered right.
        lost: right in the reference, wrong in the variant.
        gained: wrong in the reference, right in the variant.
        neither: questions both answered wrong.
        confidence: two-sided, e.g. 0.95.

    Returns:
        (low, high), within -1 to 1; (-1, 1) without questions.
    """
    total = both + lost + gained + neither
    if total == 0:
        return -1.0, 1.0
    z = _z((1 + confidence) / 2)
    share, base = (both + gained) / total, (both + lost) / total
    low, high = wilson_interval(both + gained, total, z)
    base_low, base_high = wilson_interval(both + lost, total, z)
    phi = _phi(both, lost, gained, neither)
    down = _combined(share - low, base_high - base, phi)
    up = _combined(high - share, base - base_low, phi)
    return max(-1.0, share - base - down), min(1.0, share - base + up)


def _combined(own: float, other: float, phi: float) -> float:
    return math.sqrt(max(0.0, own**2 - 2 * phi * own * other + other**2))


def _phi(both: int, lost: int, gained: int, neither: int) -> float:
    total = both + lost + gained + neither
    margins = (both + lost) * (gained + neither) * (both + gained) * (lost + neither)
    product: float = both * neither - lost * gained
    if product > 0:
        product = max(0.0, product - total / 2)
    return product / math.sqrt(margins) if margins else 0.0


def tango_interval(both: int, lost: int, gained: int, neither: int, confidence: float = 0.95) -> tuple[float, float]:
    """Interval of the paired difference variant - reference (Tango 1998): all differences a score test does not reject.

    The arguments are those of ``newcombe_interval``; of questions on which the two agree only the number counts.

    Returns:
        (low, high), within -1 to 1; (-1, 1) without questions.
    """
    total = both + lost + gained + neither
    if total == 0:
        return -1.0, 1.0
    z = _z((1 + confidence) / 2)
    return -_greatest_difference(lost, gained, total, z), _greatest_difference(gained, lost, total, z)


def _greatest_difference(more: int, fewer: int, total: int, z: float) -> float:
    """The largest ``p_more - p_fewer`` whose score test is not beyond ``-z``; the score falls as it grows."""
    low, high = (more - fewer) / total, 1.0
    for _ in range(60):  # halves the interval below the spacing of doubles
        middle = (low + high) / 2
        low, high = (middle, high) if _score(more, fewer, total, middle) > -z else (low, middle)
    return high


def _score(more: float, fewer: float, total: int, difference: float) -> float:
    """Tango's statistic: standard normal if the true difference is this one."""
    # The probability of ``fewer`` that is likeliest under this difference solves a quadratic equation.
    linear = (2 * total - more + fewer) * difference - more - fewer
    constant = -fewer * difference * (1 - difference)
    likeliest = (math.sqrt(linear**2 - 8 * total * constant) - linear) / (4 * total)
    variance = total * (2 * likeliest + difference * (1 - difference))
    excess = more - fewer - total * difference
    return excess / math.sqrt(variance) if variance > 0 else math.copysign(math.inf, excess)


def loss_interval(pairs: Pairs, confidence: float = 0.95) -> tuple[float, float]:
    """The least and the greatest loss of accuracy that the pairs leave open, each with this one-sided confidence.

    Returns:
        (least, greatest) as shares: 0.02 is a loss of two points, a negative loss is a gain.
    """
    low, high = tango_interval(*pairs, confidence=2 * confidence - 1)
    return -high, -low


def loss_gate(pairs: Pairs, max_loss: float, confidence: float = 0.95) -> GateAnswer:
    """Whether the variant loses at most ``max_loss`` of its accuracy.

    Args:
        pairs: the variant beside its reference.
        max_loss: as a share: 0.02 is two points.
        confidence: one-sided, of either answer.
    """
    least, greatest = loss_interval(pairs, confidence)
    if greatest <= max_loss:
        return "proved"
    return "refuted" if least > max_loss else "not enough questions"


def detectable_difference(questions: int, discordance: float, confidence: float = 0.95, power: float = 0.8) -> float:
    """Smallest true difference that a two-sided McNemar test finds, by its normal approximation.

    The variance is that of no difference, ``discordance / questions``. A difference cannot exceed the discordance:
    where the figure would, the one is given at which all flips go one way.

    Args:
        questions: number of questions both answer.
        discordance: share of them on which the two differ, e.g. 0.06.
        confidence: of the test: 0.95 tests at 5%.
        power: probability of finding it.

    Returns:
        A share: 0.052 is 5.2 points; at most 1.
    """
    if questions == 0:
        return 1.0
    spread = _z((1 + confidence) / 2) + _z(power)
    return min(1.0, max(spread * math.sqrt(discordance / questions), spread**2 / questions))


def questions_needed(
    discordance: float,
    max_loss: float,
    confidence: float = 0.95,
    power: float = 0.8,
    seen: Pairs = NOTHING_SEEN,
) -> int:
    """Questions in all with which the gate proves a variant that truly loses nothing.

    The gate's own score, at the flips to be expected: what was seen so far stays, further questions flip as often, one
    way as the other but for as much bad luck as the power covers. Near to Nam's formula (1997), which knows no data.

    Args:
        discordance: share of questions on which the two differ, e.g. 0.06.
        max_loss: the limit, as a share: 0.02 is two points.
        confidence: one-sided, as the gate's.
        power: probability that so many questions bring the proof.
        seen: the questions so far, with which the gate could not tell.
    """
    z_gate, z_power = _z(confidence), _z(power)

    def proves(total: int) -> bool:
        further = discordance * (total - seen.total)
        flips = seen.lost + seen.gained + further
        net = min(flips, seen.lost - seen.gained + z_power * math.sqrt(further))
        return _score((flips + net) / 2, (flips - net) / 2, total, max_loss) <= -z_gate

    low, high = seen.total, seen.total + 1
    while not proves(high):
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if proves(middle) else (middle, high)
    return high


def _z(share: float) -> float:
    """Quantile of the standard normal distribution."""
    return NormalDist().inv_cdf(share)

"""Which tensors are made again, and what it means that they were right: a sample without replacement.

Who altered ``n`` of ``N`` tensors is caught unless none of them is among the ``K`` that are drawn. All draws of ``K``
are equally likely, so that happens with probability C(N - n, K) / C(N, K): the hypergeometric distribution at zero
(Feller, An Introduction to Probability Theory, vol. 1, II.6). Of a large file 59 tensors find an alteration of 5% with
95%, for 0.95^59 < 0.05; of a small one fewer do.

The draw is of a seed that the auditor's machine makes once the package is finished, so nobody can know it before.
Tensors go by the sha256 of seed and name, and the first ``K`` are taken: anyone can repeat that, in any language.

Example::

    chance_found(units=325, drawn=59, altered=17)      # 0.97
    draw(["a", "b", "c"], count=2, seed=7)
"""

from __future__ import annotations

import hashlib
import math
import secrets
from collections.abc import Sequence

SHARE = 0.05  # of the tensors, and the probability below which it may be missed
SEED_BITS = 64


def new_seed() -> int:
    """One that nobody can guess."""
    return secrets.randbits(SEED_BITS)


def draw(names: Sequence[str], count: int, seed: int) -> list[str]:
    """Some of the names, each set of so many with the same probability, in the order in which they were given.

    Args:
        names: all different.
        count: how many; all of them where there are no more.
        seed: the same seed draws the same names.
    """
    lots = sorted(names, key=lambda name: hashlib.sha256(f"{seed}\n{name}".encode()).digest())
    chosen = set(lots[:count])
    return [name for name in names if name in chosen]


def chance_found(units: int, drawn: int, altered: int) -> float:
    """Probability that at least one altered unit is among those drawn.

    Args:
        units: in all.
        drawn: of them, without replacement.
        altered: of them.

    Raises:
        ValueError: more are drawn or altered than there are.
    """
    if not 0 <= drawn <= units or not 0 <= altered <= units:
        raise ValueError(f"{drawn} drawn and {altered} altered of {units}")
    return 1 - math.comb(units - altered, drawn) / math.comb(units, drawn)


def least_found(units: int, drawn: int) -> int:
    """The fewest altered units that are found with 95%; of ``drawn`` at least 1."""
    return next(altered for altered in range(1, units + 1) if chance_found(units, drawn, altered) >= 1 - SHARE)


def statement(units: int, drawn: int) -> str:
    """What a sample without a fault says of the whole, as the end of a sentence."""
    if drawn >= units:
        return "all were made again, so none was altered"
    altered = math.ceil(SHARE * units)
    chance, fewest = chance_found(units, drawn, altered), least_found(units, drawn)
    return (
        f"had {altered} of the {units} ({altered / units:.1%}) been altered, this would have been found with a "
        f"probability of {math.floor(chance * 1000) / 10:.1f}%, and {fewest} or more ({fewest / units:.1%}) with 95%"
    )

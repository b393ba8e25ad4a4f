"""The figures of the fidelity benchmark as a table, and whether one tool's divergence is truly lower than another's.

Each tool's tokens are kept (``Tokens``), so tools are compared pairwise: on the same tokens the difference of two
divergences varies far less from text to text than either of them, and its standard error over texts says whether a
lead is more than chance. Two scopes are told apart: ``answer``, the tokens of the SQL, which is what a model of this
family is for, and ``all``, the schema and the question as well. The bundled model never learned to predict these.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.fidelity_texts import Texts
from workbench.evals.divergence import Figures, Mean, TokenFigures, mean_over_questions, summarize

SCOPES = ("answer", "all")
PARTS = tuple(field.name for field in fields(TokenFigures))


@dataclass(frozen=True)
class Row:
    """A tool in the table.

    Attributes:
        tool: name and version.
        seconds: it took.
        cpu_s: of the processors, all threads together.
        settings: it was at.
        tokens: figures of each text's tokens by ``set, scope``.
    """

    tool: str
    seconds: float
    cpu_s: float
    settings: dict[str, Any]
    tokens: dict[str, list[TokenFigures]]


def scoped(found: dict[str, list[TokenFigures]], heldout: dict[str, Texts]) -> dict[str, list[TokenFigures]]:
    """Figures by set, as ``set, scope``."""
    result = {}
    for name, texts in found.items():
        result[f"{name}, answer"] = [
            _after(one, start - 1) for one, start in zip(texts, heldout[name].answers, strict=True)
        ]
        result[f"{name}, all"] = texts
    return result


def _after(one: TokenFigures, first: int) -> TokenFigures:
    return TokenFigures(*(getattr(one, part)[first:] for part in PARTS))


def save_tokens(path: Path, found: dict[str, list[TokenFigures]]) -> None:
    """Keep figures of tokens, to judge once only."""
    arrays = {
        f"{name}/{part}": np.concatenate([getattr(o, part) for o in texts])
        for name, texts in found.items()
        for part in PARTS
    }
    lengths = {f"{name}/lengths": np.array([len(one.kl_nats) for one in texts]) for name, texts in found.items()}
    np.savez_compressed(path, **arrays, **lengths)


def load_tokens(path: Path) -> dict[str, list[TokenFigures]]:
    """What ``save_tokens`` kept."""
    with np.load(path) as kept:
        names = dict.fromkeys(key.split("/")[0] for key in kept)
        return {name: [TokenFigures(*parts) for parts in _texts(kept, name)] for name in names}


def _texts(kept: Any, name: str) -> Any:
    ends = np.cumsum(kept[f"{name}/lengths"])[:-1]
    return zip(*(np.split(kept[f"{name}/{part}"], ends) for part in PARTS), strict=True)


def lead(one: Sequence[TokenFigures], other: Sequence[TokenFigures]) -> Mean:
    """How much lower the first's mean divergence is, in nats, with the standard error of the paired difference."""
    return mean_over_questions([b.kl_nats - a.kl_nats for a, b in zip(one, other, strict=True)])


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Everything but the single tokens."""
    return [
        {**{key: getattr(row, key) for key in ("tool", "seconds", "cpu_s", "settings")},
         "figures": {name: asdict(summarize(texts)) for name, texts in row.tokens.items()}}
        for row in rows
    ]  # fmt: skip


def table(rows: Sequence[Row]) -> str:
    """Markdown: a row per tool, then the first tool's lead over each other."""
    names = list(rows[0].tokens)
    head = [
        "tool",
        *(f"KL {name}" for name in names),
        f"same top {names[0]}",
        f"perplexity {names[0]}",
        "seconds (CPU)",
    ]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        by = {name: summarize(texts) for name, texts in row.tokens.items()}
        cells = [mean_cell(by[name].kl_nats) for name in names]
        lines.append([row.tool, *cells, *_others(by[names[0]]), f"{row.seconds:.0f} ({row.cpu_s:.0f})"])
    float_row = summarize(rows[0].tokens[names[0]]).reference_perplexity
    lines.append(["unquantized", *["0"] * len(names), "1", f"{float_row:.4f}", ""])
    text = "\n".join(f"| {' | '.join(cells)} |" for cells in lines)
    return "\n".join([text, "", *leads(rows)])


def _others(figures: Figures) -> tuple[str, str]:
    return f"{figures.same_top.value:.4f}", f"{figures.perplexity:.4f}"


def leads(rows: Sequence[Row]) -> list[str]:
    """The first tool beside each other one: difference of the divergences, and their ratio."""
    ours, *peers = rows
    lines = []
    for peer in peers:
        for name in ours.tokens:
            low, high = (summarize(row.tokens[name]).kl_nats.value for row in (ours, peer))
            found = lead(ours.tokens[name], peer.tokens[name])
            lines.append(f"- {ours.tool} under {peer.tool}, {name}: {mean_cell(found)} nats, {low / high:.3f} of it")
    return lines


def mean_cell(mean: Mean) -> str:
    """``0.00191 ± 6.1e-05``."""
    return f"{mean.value:.3g} ± {mean.se:.2g}" if mean.se is not None else f"{mean.value:.3g}"

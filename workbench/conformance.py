"""Does a package compute what its source computes? Checked in its own engine, beside the source in float32.

The engine tokenizes SQL texts, tells the logits of the first token after a few golden prompts, and answers them. The
source is run block by block (``workbench/streamed_model.py``), so its size does not matter, over each prompt with the
answer behind it: one pass tells the logits that should have come and, for every token of the answer, whether the
source would have chosen it too (teacher forcing). Compared are

* token ids, which must be the source's, and the text they give back;
* logits, as the relative error ``|a - b| / |b|`` of the centred vectors, against the format's stated tolerance;
  centred, because a number added to all logits changes nothing;
* answers, token by token. A token counts as the source's when the source itself puts it within the tolerance of its
  best: where two tokens are as good as equal, either is right.

And, for servers that would load the package, which of their kernels can (``Format.server_kernels``).
"""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from workbench.artifact import Artifact, sha256_json, write_manifest
from workbench.asking import prompts
from workbench.catalog import get_format
from workbench.checkpoint import Checkpoint
from workbench.evals.divergence import kl_nats
from workbench.evidence import Evidence, decode_logits
from workbench.nano import DATA_DIR
from workbench.processors import available_processors
from workbench.questions import load_question_set

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
GOLDEN_PROMPTS = 4
# What a tokenizer of SQL can get wrong: digits, tabs, runs of spaces, quotes, identifiers beyond ASCII, operators.
TEXTS = (
    "SELECT count(*) FROM orders WHERE total > 1234567.89 AND day = '2024-01-31';",
    "\tSELECT\t\tname,\n\n\n        city   FROM \"customers\" c -- it's the customers' list, don't\n",
    'SELECT "Straße", "naïve_größe", größe_2, "東京" FROM "Zürich" WHERE "été" <> \'déjà vu\'',
    "x1y22z333 _a__b___ 0x1F 1e-9 a.b.c::text->>'k' != <> || 100000000000 007 3.14159",
    "CASE WHEN a IS NULL THEN 0 ELSE CAST(SUM(b) AS float) / NULLIF(COUNT(DISTINCT c), 0) END AS ratio",
    "E'\\n\\t\\\\' || $$dollar 'quoted' $$ || U&'\\0041' LIKE '%50\\%%' ESCAPE '\\'",
)
# A logit errs by up to about four times the root mean square error, and two logits are compared.
_TIE = 2 * 4.0


@dataclass(frozen=True)
class Subject:
    """An artifact and what its engine said; ``engine`` is its name and version."""

    artifact: Artifact
    engine: str
    evidence: Evidence

    @property
    def key(self) -> str:
        """Digest of all that decides the outcome."""
        return conformance_key(self.artifact, self.engine)


def conformance_key(artifact: Artifact, engine: str) -> str:
    """Digest of all that decides an artifact's conformance in an engine: equal keys need no second look."""
    return sha256_json([VERSION, artifact.manifest.build_key, engine])


def is_checked(artifact: Artifact, engine: str) -> bool:
    """Whether the manifest holds the outcome for this engine already."""
    return artifact.manifest.conformance.get("key") == conformance_key(artifact, engine)


def golden_prompts(checkpoint: Checkpoint) -> list[str]:
    """The shortest question of each of the first few bundled databases, in the model's own prompt."""
    asked = load_question_set(DATA_DIR / "heldout.csv")
    shortest: dict[str, str] = {}
    for question, text in zip(asked.questions, prompts(checkpoint, asked), strict=True):
        shortest[question.db_name] = min(shortest.get(question.db_name, text), text, key=len)
    return sorted(shortest.values(), key=len)[:GOLDEN_PROMPTS]


def check(checkpoint: Checkpoint, subjects: Sequence[Subject]) -> list[Artifact]:
    """Compare artifacts with their source and write the outcome into their manifests.

    Args:
        checkpoint: the source of all of them.
        subjects: with the evidence of their engines.

    Returns:
        The artifacts with the new manifests, in the same order.
    """
    reference = _Reference(checkpoint, [subject.evidence for subject in subjects])
    checked = []
    for subject in subjects:
        record = {
            "key": subject.key,
            "version": VERSION,
            "engine": subject.engine,
            **_record(checkpoint, subject, reference),
        }
        manifest = dataclasses.replace(subject.artifact.manifest, conformance=record)
        write_manifest(subject.artifact.path, manifest)
        checked.append(Artifact(subject.artifact.path, manifest))
    return checked


def summary(record: Mapping[str, Any]) -> str:
    """One line for people."""
    if not record:
        return "not checked"
    tokens, logits, greedy = record["tokenizer"], record["logits"], record["greedy"]
    verdict = "conforms" if record["passed"] else "DOES NOT CONFORM"
    return (
        f"{verdict}: tokenizer {tokens['equal']}/{tokens['texts']}, logits within {logits['relative_error']:.2g} "
        f"(allowed {logits['tolerance']:.2g}), answers {greedy['equal']}/{greedy['tokens']} tokens the source's own"
    )


class _Reference:
    """The source's tokens, logits and choices, computed in one pass for all artifacts."""

    def __init__(self, checkpoint: Checkpoint, evidence: Sequence[Evidence]) -> None:
        from transformers import AutoTokenizer

        from workbench.quiet import quiet_libraries
        from workbench.streamed_model import StreamedModel
        from workbench.workers import Workers

        with quiet_libraries():
            self._tokenizer = AutoTokenizer.from_pretrained(checkpoint.path, local_files_only=True)
        pairs = sorted({pair for one in evidence for pair in _answers(one)})
        encoded: list[list[int]] = [self._tokenizer.encode(prompt) for prompt, _ in pairs]
        sequences = [ids + list(tokens[:-1]) for ids, (_, tokens) in zip(encoded, pairs, strict=True)]
        wanted = [list(range(len(ids) - 1, len(row))) for ids, row in zip(encoded, sequences, strict=True)]
        with Workers(available_processors()) as workers:
            rows = StreamedModel(checkpoint, workers).run(sequences, wanted)
        self._rows = {pair: row.numpy() for pair, row in zip(pairs, rows, strict=True)}

    def tokens(self, text: str) -> list[int]:
        """Ids of a text by itself."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False)
        return ids

    def before(self, prompt: str, tokens: tuple[int, ...]) -> NDArray[np.float32]:
        """Logits before each token of an answer, ``[tokens, vocabulary]``."""
        return self._rows[prompt, tokens]


def _answers(evidence: Evidence) -> list[tuple[str, tuple[int, ...]]]:
    """Golden prompts with the tokens of their answers."""
    return [(prompt, tuple(ids)) for prompt, ids in zip(evidence.golden, evidence.golden_tokens, strict=True)]


def _record(checkpoint: Checkpoint, subject: Subject, reference: _Reference) -> dict[str, Any]:
    manifest, evidence = subject.artifact.manifest, subject.evidence
    weights = get_format(manifest.format)
    options = weights.options_model.model_validate(manifest.recipe["options"])
    tolerance = weights.tolerance(options)
    tokenizer = _tokenizer_record(evidence, reference)
    logits = _logits_record(evidence, reference, tolerance)
    greedy = _greedy_record(evidence, reference, tolerance)
    passed = (
        tokenizer["equal"] == tokenizer["texts"]
        and logits["relative_error"] <= tolerance
        and greedy["within_tolerance"] == greedy["tokens"]
    )
    kernels = weights.server_kernels(checkpoint, options)
    return {"passed": passed, "tokenizer": tokenizer, "logits": logits, "greedy": greedy, "kernels": kernels}


def _tokenizer_record(evidence: Evidence, reference: _Reference) -> dict[str, Any]:
    """How many texts become the source's tokens and come back as they were."""
    differing = [
        text
        for text, ids, back in zip(evidence.texts, evidence.tokens, evidence.texts_back, strict=True)
        # A SentencePiece vocabulary puts a space before a text that begins a prompt.
        if ids != reference.tokens(text) or back.removeprefix(" ") != text.removeprefix(" ")
    ]
    return {"texts": len(evidence.texts), "equal": len(evidence.texts) - len(differing), "differing": differing}


def _logits_record(evidence: Evidence, reference: _Reference, tolerance: float) -> dict[str, Any]:
    """Relative error, divergence and agreement of the first token's logits."""
    errors, divergences, same = [], [], 0
    for answer, told in zip(_answers(evidence), evidence.logits, strict=True):
        expected, found = reference.before(*answer)[0], decode_logits(told)
        shared = min(len(expected), len(found))
        expected, found = expected[:shared], found[:shared]
        errors.append(relative_error(found, expected))
        divergences.append(kl_nats(expected, found))
        same += int(found.argmax() == expected.argmax())
    return {
        "prompts": len(errors),
        "relative_error": _rounded(max(errors, default=math.inf)),
        "tolerance": tolerance,
        "kl_nats": _rounded(max(divergences, default=math.inf)),
        "same_first_token": same,
    }


def _greedy_record(evidence: Evidence, reference: _Reference, tolerance: float) -> dict[str, Any]:
    """How many of the answers' tokens are the source's choice, strictly and within the tolerance."""
    tokens = equal = within = 0
    for prompt, ids in _answers(evidence):
        for row, token in zip(reference.before(prompt, ids), ids, strict=True):
            spread = float(row.std())
            tokens += 1
            equal += int(row.argmax() == token)
            within += int(row.max() - row[token] <= _TIE * tolerance * spread)
    return {"tokens": tokens, "equal": equal, "within_tolerance": within}


def relative_error(found: NDArray[np.float32], expected: NDArray[np.float32]) -> float:
    """``|a - b| / |b|`` of two vectors of logits, each centred."""
    import numpy as np

    a, b = (values.astype(np.float64) - values.astype(np.float64).mean() for values in (found, expected))
    return float(np.linalg.norm(a - b) / max(float(np.linalg.norm(b)), 1e-12))


def _rounded(value: float) -> float:
    """Three digits: later ones change with the number of threads."""
    return float(f"{value:.3g}")

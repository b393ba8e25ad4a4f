"""``generation_config.json``: how a model is asked when nobody says how.

transformers, vLLM and mlx-lm read it beside the weights. A package's says: greedy (nothing drawn at random), 300 new
tokens at most, as many beams as below, and where an answer ends. The ids of the source's file are kept,
settings of sampling are not.

*Stop.* ``stop_strings`` would say it best, but then ``model.generate(**inputs)`` fails unless it is also given the
tokenizer. So the stop texts of the prompt are added to ``eos_token_id`` as tokens: those that hold the whole stop
text and nothing else but white space, as defog's own ``inference.py`` does with the token of the fence. A stop text
that no token holds is left to the request (``stop``).

*Beams.* As many as the package's figures were measured with, so that who loads the model gets what the card says;
where nothing was measured, 4 for the models that defog evaluates with 4 or 5, else 1. Four beams take up to four
times the time, and transformers cannot stream with them.

Example::

    generation_settings(manifest, folder)  # {"do_sample": False, "num_beams": 1, "eos_token_id": [0, 264], ...}
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from workbench.artifact import Manifest
from workbench.ollama_files import NEW_TOKENS
from workbench.prompt import PROMPTS
from workbench.tokenizer_facts import read_record, stop_ids
from workbench.usual_beams import beams_by_name

GENERATION_CONFIG = "generation_config.json"
KEPT = ("bos_token_id", "eos_token_id", "pad_token_id")


def generation_settings(manifest: Manifest, folder: Path) -> dict[str, Any]:
    """The file's record.

    Args:
        manifest: of the artifact; ``results`` tell the number of beams.
        folder: holds its configs and tokenizer.

    Raises:
        ArtifactError: one of these files is broken.
    """
    told = read_record(folder / GENERATION_CONFIG)
    known = {**read_record(folder / "config.json"), **told}
    ends = known.get("eos_token_id")
    ends = [ends] if isinstance(ends, int) else list(ends or [])
    extra = [one for one in stop_ids(folder, PROMPTS[manifest.prompt].stop) if one not in ends]
    return {
        **{key: known[key] for key in KEPT if known.get(key) is not None},
        "do_sample": False,
        "num_beams": beams_of(manifest)[0],
        "max_new_tokens": NEW_TOKENS,
        **({"eos_token_id": ends + extra} if ends or extra else {}),
    }


def beams_of(manifest: Manifest) -> tuple[int, str]:
    """Number of beams and where it comes from."""
    measured = [report["beams"] for report in manifest.results.get("reports", ())]
    if measured:
        return measured[0], "as its figures were measured"
    return beams_by_name(manifest.model)

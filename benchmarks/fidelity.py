"""How far quantizers move a model, beside one another: KL divergence at the same bits, groups and calibration texts.

    python -m benchmarks.fidelity --model nano --bits 4 --group 128 --out fidelity
    python -m benchmarks.fidelity --model smollm2 --tokens 256 --bits 3 --group 64 --out fidelity

In one run each tool quantizes the same checkpoint from the same token ids: recipes of the workbench by their names
(their bits and groups replaced), and gptqmodel, llmcompressor and auto-round at their defaults, each in its own
environment (``fidelity_peers.py``). Then one judge puts each tool's weights, as they would be stored, into the same
float32 model and reads held-out questions (``fidelity_judge.py``, ``fidelity_texts.py``, ``fidelity_table.py``).
``smollm2.py`` makes the second model.

A tool's figures are kept in ``--out`` and used again by a later run with the same model, texts, bits and groups, so an
interrupted run goes on; ``--again`` names tools to be run anew (a changed recipe is not noticed), or says ``all``.
All tools are symmetric by default; ``--asymmetric`` asks all of them for the other.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
from dataclasses import asdict
from pathlib import Path

from benchmarks.fidelity_judge import Judge, check, read_weights
from benchmarks.fidelity_peers import PEERS, Asked, Made, check_tools, quantize
from benchmarks.fidelity_table import Row, as_json, load_tokens, save_tokens, scoped, table
from benchmarks.fidelity_texts import FidelityTexts, texts_for
from workbench.artifact import sha256_json
from workbench.checkpoint import Checkpoint, open_checkpoint
from workbench.errors import WorkbenchError
from workbench.nano import MODEL_NAME

RECIPES = ("gptq-4bit-fitted", "gptq-4bit")


class Run:
    """Tools on one model with the same bits.

    Args:
        checkpoint: the model.
        texts: to calibrate and to judge on.
        asked: of all tools alike.
        out: folder for what is kept.
    """

    def __init__(self, checkpoint: Checkpoint, texts: FidelityTexts, asked: Asked, out: Path) -> None:
        self._checkpoint, self._texts, self._asked = checkpoint, texts, asked
        self.key = sha256_json([checkpoint.identity, texts.digest, asdict(asked)])
        self._folder = out / self.key[:12]
        self._judge: Judge | None = None

    def row(self, tool: str, again: bool) -> Row:
        """A tool's figures, kept or made."""
        made = self._made(tool, again)
        tokens = self._folder / f"{tool}.npz"
        if not tokens.is_file():
            weights = read_weights(self._folder / tool)
            check(self._checkpoint, weights, self._asked.bits, self._asked.group_size)
            self._judge = self._judge or Judge(self._checkpoint, self._texts.heldout)
            save_tokens(tokens, scoped(self._judge.figures(weights), self._texts.heldout))
            shutil.rmtree(self._folder / tool)
        return Row(**asdict(made), tokens=load_tokens(tokens))

    def _made(self, tool: str, again: bool) -> Made:
        note = self._folder / f"{tool}.json"
        if again or not note.is_file():
            (self._folder / f"{tool}.npz").unlink(missing_ok=True)
            made = quantize(tool, self._checkpoint, self._texts.calibration, self._asked, self._folder / tool)
            note.write_text(json.dumps(asdict(made), indent=2), encoding="utf-8")
        return Made(**json.loads(note.read_text(encoding="utf-8")))


def main(arguments: argparse.Namespace) -> None:
    """Run the tools, print the table, and write it beside what was kept."""
    tools, again = (str(value).split(",") for value in (arguments.tools, arguments.again))
    check_tools(tools)
    checkpoint = open_checkpoint(MODEL_NAME if arguments.model == "nano" else arguments.model)
    texts = texts_for(checkpoint, arguments.tokens)
    asked = Asked(arguments.bits, arguments.group, not arguments.asymmetric)
    run = Run(checkpoint, texts, asked, arguments.out)
    rows = []
    for tool in tools:
        print(f"{tool} ...", flush=True)
        rows.append(run.row(tool, tool in again or "all" in again))
    calibrated = sum(map(len, texts.calibration.ids))
    told = f"{checkpoint.id}, {asked}: {len(texts.calibration.ids)} calibration texts of {calibrated} tokens"
    name = f"{Path(checkpoint.id).name}-{asked.bits}bit-{run.key[:12]}"
    (arguments.out / f"{name}.md").write_text(f"{told}\n\n{table(rows)}\n", encoding="utf-8")
    record = {"model": checkpoint.id, "texts": texts.digest, **asdict(asked), "tools": as_json(rows)}
    (arguments.out / f"{name}.json").write_text(json.dumps(record, indent=2), encoding="utf-8")
    print(f"\n{told}\n\n{table(rows)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", default="nano", help="nano, or a checkpoint folder")
    parser.add_argument("--bits", type=int, choices=(2, 3, 4, 8), default=4)
    parser.add_argument("--group", type=int, default=128, help="inputs that share a scale")
    parser.add_argument("--asymmetric", action="store_true", help="zeros are stored too")
    parser.add_argument("--tokens", type=int, help="keep the last tokens of each text only")
    parser.add_argument("--tools", default=",".join([*RECIPES, *PEERS]), help="recipes and peers, by comma")
    parser.add_argument("--again", default="", help="tools to run anew, or all")
    parser.add_argument("--out", type=Path, required=True)
    try:
        main(parser.parse_args())
    except WorkbenchError as error:
        print(error, file=sys.stderr)
        sys.exit(2)

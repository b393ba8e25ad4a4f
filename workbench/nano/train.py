"""Train sqlcoder-nano, a StarCoder of 5 million parameters that writes PostgreSQL.

SQLCoder's recipe in small: a StarCoder sees a schema and a question and learns to continue with
the SQL, with loss on the answer only. Like SQLCoder it is tuned in two stages: easy and medium
questions first (that checkpoint's scores are kept: the analogue of ``defog-easy``), then the hard
and extra hard ones mixed in. The questions are generated as training goes on, so none need be seen
twice and there is nothing to overfit: no dropout. AdamW, a short warm-up, then a cosine down to 5%.
The number of steps is fixed, not the time, so that a seed gives the same weights on the same
machine. The bundled weights took 80 minutes on two cores with bfloat16 units, shared with other
work (368,000 questions; ``training.json``); ``--minutes`` ends a slower run early.

The schemas are the eight of the training databases throughout, so the model knows those and no
others: it learns the wordings, not to read a schema it has never met.

Example::

    python -m workbench.nano.train --out sqlcoder-nano          # the real thing
    python -m workbench.nano.train --out /tmp/nano --steps 200  # a look at the machinery
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import time
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from workbench.nano import DATA_DIR, MODEL_DIR, MODEL_NAME
from workbench.nano.greedy import Scores, exact_match
from workbench.nano.learn import STAGES, Material, Optimizer, Plan, fit_tokenizer, packs, step
from workbench.nano.network import Network, Shape
from workbench.nano.tokenizer import save_tokenizer

if TYPE_CHECKING:
    from workbench.questions import Question


@dataclass
class Record:
    """What happened; becomes ``training.json``."""

    loss: list[tuple[int, float]] = field(default_factory=list)
    checks: list[dict[str, Any]] = field(default_factory=list)
    scores: dict[str, Scores] = field(default_factory=dict)
    tokens: int = 0
    questions: int = 0
    seconds: float = 0.0


def bundled_material() -> Material:
    """The generator, schemas and held-out questions that ship with the package."""
    from workbench.nano.generate import generate, schema_text, stream_database_names
    from workbench.questions import load_question_set

    schemas = {name: schema_text(name) for name in stream_database_names("train")}
    heldout = load_question_set(DATA_DIR / "heldout.csv", DATA_DIR / "databases")
    return Material(schemas, generate, heldout.questions)


class Trainer:
    """One run: the state that every step changes, and what is reported about it."""

    def __init__(self, material: Material, plan: Plan, shape: Shape, device: str = "cpu") -> None:
        torch.manual_seed(plan.seed)
        self.material, self.plan = material, plan
        self.tokenizer = fit_tokenizer(material, plan.seed)
        self.network = Network(shape).to(device)
        self.optimizer = Optimizer(self.network, plan)
        self.record = Record()
        self.losses: list[float] = []
        self.workers = torch.get_num_threads() if device == "cpu" else 1
        self.pool = ThreadPoolExecutor(self.workers, initializer=torch.set_num_threads, initargs=(1,))

    @property
    def done(self) -> int:
        """Steps taken."""
        return len(self.losses)

    def run(self, minutes: float, save: Callable[[Trainer], None], every: int = 400) -> None:
        """Train both stages; ``save`` is called at checkpoints, at the end of each stage and at the end."""
        start, plan = time.monotonic(), self.plan
        streams = [packs(self.material, self.tokenizer, plan, STAGES[i][1], i * 100_000) for i in range(2)]
        for number in range(plan.steps):
            if self.record.seconds > minutes * 60:
                print(f"stopped after {minutes:g} minutes, before the learning rate came down", flush=True)
                break
            if number and plan.stage(number) != plan.stage(number - 1):
                self._score("stage 1", save)
            batch = [next(streams[plan.stage(number)]) for _ in range(plan.packs)]
            loss = step(self.network, self.optimizer, batch, plan.rate_at(number), self.pool)
            self.losses.append(loss)
            self.record.tokens += sum(part.tokens for part in batch)
            self.record.questions += sum(len(part.rows) for part in batch)
            self.record.seconds = time.monotonic() - start
            if self.done % 25 == 0:
                self._progress(loss)
            if self.done % every == 0 and self.done < plan.steps:
                self._check(save)
        self._score("final", save)

    def _progress(self, loss: float) -> None:
        self.record.loss.append((self.done, round(loss, 4)))
        seconds = self.record.seconds
        left = seconds / self.done * (self.plan.steps - self.done) / 60
        name = STAGES[self.plan.stage(self.done - 1)][0]
        speed = f"{self.record.tokens / seconds:,.0f} tokens/s {self.record.questions / seconds:.0f} questions/s"
        print(f"{name}  step {self.done}/{self.plan.steps}  loss {loss:.4f}  {speed}  {left:.0f} min left", flush=True)

    def _check(self, save: Callable[[Trainer], None]) -> None:
        sample = self.material.heldout[:: max(1, len(self.material.heldout) // 150)]
        scores = self.exact(sample)
        self.record.checks.append({"step": self.done, "exact_match": scores})
        save(self)

    def _score(self, name: str, save: Callable[[Trainer], None]) -> None:
        print(f"{name}: all held-out questions", flush=True)
        self.record.scores[name] = self.exact(self.material.heldout)
        save(self)

    def exact(self, questions: Iterable[Question]) -> Scores:
        """Exact matches of the weights as they will be stored, printed and returned."""
        stored = Network(self.network.shape).to(self.network.device)
        stored.load_state_dict({k: v.half().float() for k, v in self.network.state_dict().items()})
        job = self.pool.submit(exact_match, stored, self.tokenizer, self.material.schemas, questions)
        scores = job.result()
        parts = [f"{key} {v['correct']}/{v['total']} ({v['correct'] / v['total']:.1%})" for key, v in scores.items()]
        print("  exact match: " + "  ".join(sorted(parts)), flush=True)
        return scores


def write_model(trainer: Trainer, folder: Path) -> None:
    """Write a complete model folder; it appears all at once."""
    from safetensors.torch import save_file
    from transformers import GenerationConfig

    new = folder.with_name(f".{folder.name}.new")
    shutil.rmtree(new, ignore_errors=True)
    save_tokenizer(trainer.tokenizer, new)
    config = trainer.network.shape.config()
    config.dtype = "float16"
    config.save_pretrained(new)
    ends = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
    GenerationConfig(do_sample=False, max_new_tokens=300, **ends).save_pretrained(new)
    tensors = {name: value.detach().cpu().half().contiguous() for name, value in trainer.network.state_dict().items()}
    save_file(tensors, str(new / "model.safetensors"), metadata={"format": "pt"})
    (new / "model.safetensors").chmod(0o644)
    old = folder.with_name(f".{folder.name}.old")
    shutil.rmtree(old, ignore_errors=True)
    if folder.exists():
        folder.rename(old)
    new.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def write_record(trainer: Trainer, path: Path) -> None:
    """Write what happened, with nothing about the machine but the time it took."""
    record = trainer.record
    text = {
        "version": 1,
        "model": MODEL_NAME,
        "parameters": sum(p.numel() for p in trainer.network.parameters()),
        "shape": asdict(trainer.network.shape),
        "plan": asdict(trainer.plan),
        "stages": [{"name": name, "hardness": sorted(levels)} for name, levels in STAGES],
        "torch": torch.__version__,
        "threads": trainer.workers,
        "steps": trainer.done,
        "seconds": round(record.seconds, 1),
        "tokens": record.tokens,
        "questions": record.questions,
        "exact_match": record.scores,
        "checks": record.checks,
        "loss": record.loss[:: max(1, len(record.loss) // 100)],
    }
    path.write_text(json.dumps(text, indent=1) + "\n", encoding="utf-8")


def main(arguments: list[str] | None = None) -> None:
    """Command line; see the module's docstring."""
    parser = argparse.ArgumentParser(prog="python -m workbench.nano.train", description=__doc__.split("\n")[0])
    parser.add_argument("--out", type=Path, default=Path(MODEL_NAME), help="folder of the model (%(default)s)")
    parser.add_argument("--install", action="store_true", help="also replace the model bundled with the package")
    parser.add_argument("--steps", type=int, default=Plan.steps, help="optimizer steps (%(default)s)")
    parser.add_argument("--minutes", type=float, default=90, help="stop early after this long (%(default)s)")
    parser.add_argument("--layers", type=int, default=Shape.layers, help="depth (%(default)s)")
    parser.add_argument("--rate", type=float, default=Plan.rate, help="peak learning rate (%(default)s)")
    parser.add_argument("--device", default="auto", help="auto, cpu or cuda (%(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--threads", type=int, help="CPU threads (all)")
    options = parser.parse_args(arguments)
    # Packs have hundreds of shapes; with oneDNN's usual 1024 kernels they would be compiled over and over.
    os.environ.setdefault("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "16384")
    if options.threads:
        torch.set_num_threads(options.threads)
    device = "cuda" if options.device == "auto" and torch.cuda.is_available() else options.device.replace("auto", "cpu")
    plan = Plan(steps=options.steps, rate=options.rate, seed=options.seed)
    trainer = Trainer(bundled_material(), plan, Shape(layers=options.layers), device)

    def save(trainer: Trainer) -> None:
        places = [(options.out, options.out / "training.json")]
        places += [(MODEL_DIR, MODEL_DIR.parent / "training.json")] if options.install else []
        for folder, record in places:
            folder.parent.mkdir(parents=True, exist_ok=True)
            write_model(trainer, folder)
            write_record(trainer, record)

    trainer.run(options.minutes, save)


if __name__ == "__main__":
    main()

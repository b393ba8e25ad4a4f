"""Reports with everything in them, for tests of the page: many artifacts and questions, measured or predicted."""

from dataclasses import replace

from reports import artifact, divergence, report

from workbench.measure import Measurement, Score
from workbench.report import SetScores

MIB = 1024**2
CATEGORIES = ("date_functions", "group_by", "instruct", "order_by", "ratio", "table_join", "where")
LEVELS = ("easy", "medium", "hard", "extra")
RECIPES = ("fp16", "int8", "gptq-4bit", "gguf-q8_0", "gguf-q6_k", "gguf-q4_k_m", "gguf-q3_k_m", "gguf-q2_k")


def recipe(at):
    return RECIPES[at] if at < len(RECIPES) else f"{RECIPES[at % len(RECIPES)]}-group{32 * (at // len(RECIPES))}"


def figures(at, kind):
    """Memory, decode rate and times that grow and shrink with the place."""
    told = {"kind": kind, "source": "a machine" if kind == "measured" else "a model"}
    values = {
        "peak_memory_bytes": ((900 - 31 * at) * MIB, "bytes"),
        "ttft_s": (0.2 + 0.013 * (at * 7 % 11), "s"),
        "prefill_tokens_per_s": (1200.0 + 40 * at, "tokens/s"),
        "decode_tokens_per_s": (40.0 + 3 * (at * 5 % 13), "tokens/s"),
        "question_s": (1.4 + 0.09 * (at * 3 % 7), "s"),
    }
    return tuple(
        Measurement(
            name, value, unit, samples=7 if kind == "measured" else 0, p95=value * 1.1 if kind == "measured" else None,
            interval=(value * 0.8, value * 1.3) if kind == "predicted" else None,
            conditions={"prompt_tokens": 256, "new_tokens": 48, "batch": 1, "beams": 1}, **told,
        )
        for name, (value, unit) in values.items()
    )  # fmt: skip


def scores(at, questions, name):
    right = questions - questions * (5 + at * 5 % 9) // 100
    groups = [(f"category/{one}", CATEGORIES) for one in CATEGORIES] + [(f"hardness/{one}", LEVELS) for one in LEVELS]
    parts = [
        Score(f"sql_accuracy/{group}", (questions // len(all_)) * (9 - (at + place) % 4) // 9, questions // len(all_))
        for place, (group, all_) in enumerate(groups)
    ]
    return SetScores(
        name, (Score("sql_accuracy", right, questions), *parts), {"correct": right, "incorrect": questions - right}
    )


def sql(question, at=0):
    where = f"WHERE d.opened >= '2023-0{1 + at % 9}-01'" if at % 3 else "WHERE d.opened IS NOT NULL"
    limit = f"\nLIMIT {1 + at % 4}" if at % 2 else ""
    return (
        f"SELECT d.name, COUNT(s.id) AS sales_{question}\nFROM dealership d\nJOIN sales s ON d.id = s.dealer_id\n"
        f"{where}\nGROUP BY d.name\nORDER BY sales_{question} DESC NULLS LAST{limit};"
    )


def flips(at, questions):
    """Of one artifact: some questions lost, some gained."""
    lost = [one for one in range(0, questions, 2) if one % 29 == at % 29]
    gained = [one for one in range(1, questions, 2) if one % 41 == (at + 7) % 41]  # the reference was wrong
    told = [
        {
            "question_id": str(one), "reference": "correct" if one in lost else "incorrect",
            "variant": "incorrect" if one in lost else "correct",
            "sql": sql(one, 1 + at % 5), "reason": "2 rows instead of 5" if one in lost else "",
        }
        for one in sorted((*lost, *gained))
    ]  # fmt: skip
    groups = {
        f"{kind}/{name}": {"questions": 20, "right_to_wrong": at % 3, "wrong_to_right": 1, "mcnemar_p": 0.5}
        for kind, names in (("category", CATEGORIES), ("hardness", LEVELS))
        for name in names
    }
    difference = (len(gained) - len(lost)) / questions
    return {
        "questions": questions, "right_to_wrong": len(lost), "wrong_to_right": len(gained), "mcnemar_p": 0.25,
        "difference": difference, "interval": [difference - 0.02, difference + 0.02], "detectable": 0.02,
        "method": "test", "groups": groups, "flipped": told,
    }  # fmt: skip


def asked(questions):
    return {
        str(one): {
            "question": f"Which dealerships sold most cars in month {one}?", "database": "car_dealership",
            "category": CATEGORIES[one % 7], "hardness": LEVELS[one % 4], "gold": sql(one, 3), "sql": sql(one),
            "verdict": "incorrect" if one % 2 else "correct", "reason": "",
        }
        for one in range(questions)
    }  # fmt: skip


def big_report(artifacts=8, questions=200, kind="measured", sets=("heldout",), **changes):
    """A report with figures, flips, gates, divergences, predictions and noise."""
    made = []
    for at in range(artifacts):
        own = [scores(at, questions, name) for name in sets]
        own = [replace(one, flips=flips(at, questions) if at else None) for one in own]
        gate = {"verdict": ("proved", "refuted", "not enough questions")[at % 3], "loss_max_points": 2.0,
                "confidence": 0.95, "reason": "because", "questions": questions, "questions_needed": 928}  # fmt: skip
        size = Measurement("weight_bytes", float((500 - 17 * at) * MIB), "bytes", "measured", "file sizes", samples=1)
        made.append(
            artifact(
                recipe(at),
                weight_bytes=(500 - 17 * at) * MIB,
                bits_per_weight=16 - 0.5 * at,
                sets=tuple(own),
                measurements=(size, *figures(at, kind)),
                predictions=(replace(size, kind="predicted", samples=0), *figures(at + 1, "predicted")),
                notes=(),
                acceptance=gate if at else {},
                runtime="llama.cpp 1.2",
                divergence=divergence(kl=0.001 * (at + 1)),
                conformance={"passed": True, "logits": {"relative_error": 0.01}},
            )
        )
    values = {
        "profile": "cpu" if kind == "measured" else "rtx4090",
        "profile_is_here": kind == "measured",
        "question_sets": tuple({"name": name, "questions": questions, "digest": "q" * 64} for name in sets),
        "reference": {"name": "fp16", "kind": "artifact", "digest": "d" * 64},
        "flipped": {name: asked(questions) for name in sets},
        "noise": {
            "artifact": "fp16", "question_set": sets[0], "questions": questions, "texts_differing": 1,
            "right_to_wrong": 0, "wrong_to_right": 0, "rows": 24,
        },
        "recommended": recipe(min(5, artifacts - 1)),
        "reason": "94.0% of 200 questions right (95% interval 89.8% to 96.5%), and it answers soonest: 1.40 s",
        "made_at": "2026-11-23T12:00:00+00:00",
        "command": "python -m workbench build --profile cpu",
        "tool_versions": {"torch": "2.9.0", "numpy": "2.3.1"},
    }  # fmt: skip
    return report(*made, **{**values, **changes})

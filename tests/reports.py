"""A small report for tests of everything that reads one."""

from workbench.measure import Measurement, Score
from workbench.report import ArtifactReport, BuildReport, SetScores

CATEGORIES = (Score("sql_accuracy/category/date", 10, 20), Score("sql_accuracy/hardness/easy", 15, 20))


def set_scores(correct=90, total=100, flips=None, name="heldout"):
    scores = (Score("sql_accuracy", correct, total), *CATEGORIES)
    return SetScores(name, scores, {"correct": correct, "incorrect": total - correct}, flips)


def flips(wrong, right, p):
    group = {"questions": 20, "right_to_wrong": wrong, "wrong_to_right": right, "mcnemar_p": p}
    return {
        "questions": 100,
        "right_to_wrong": wrong,
        "wrong_to_right": right,
        "mcnemar_p": p,
        "difference": (right - wrong) / 100,
        "interval": [-0.1, 0.1],
        "detectable": 0.08,
        "method": "test",
        "groups": {"category/date": group, "hardness/easy": group},
        "flipped": [{"question_id": str(at), "reference": "correct", "variant": "error"} for at in range(wrong)],
    }


def artifact(recipe="fp16", correct=90, question_s=1.0, kind="measured", **changes):
    timed = Measurement("question_s", question_s, "s", kind, "a machine", p95=question_s, samples=5)
    values = {
        "recipe": recipe,
        "path": f"artifacts/m/{recipe}",
        "runtime": "mock none",
        "device": "cpu",
        "reused": False,
        "convert_s": 1.0,
        "build_key": "k",
        "weight_bytes": 1000,
        "bits_per_weight": 16.0,
        "measurements": (timed,),
        "sets": (set_scores(correct),),
        "notes": ("a note",),
    }
    return ArtifactReport(**{**values, **changes})


def report(*artifacts, **changes):
    values = {
        "model": "org/model",
        "profile": "cpu",
        "profile_is_here": True,
        "machine": "a machine",
        "context": 1024,
        "prompt": "nano",
        "source": {"id": "org/model", "revision": None, "digest": "d" * 64, "parameters": 500},
        "question_sets": ({"name": "heldout", "questions": 100, "digest": "q" * 64},),
        "plan": {"recipes": [{"recipe": "fp16", "build": True, "reason": "fits"}]},
        "artifacts": artifacts or (artifact(),),
        "recommended": "fp16",
        "reason": "it is the only one",
        "seconds": 12.5,
    }
    return BuildReport(**{**values, **changes})


def divergence(kl=0.002, reference="fp16"):
    def figures(tokens):
        return {
            "questions": 8, "tokens": tokens, "kl_nats": {"value": kl, "se": kl / 7}, "kl_nats_p99": 0.1,
            "kl_nats_max": 0.4, "same_top": {"value": 0.9821, "se": 0.0035},
            "log_perplexity_ratio": {"value": 0.01, "se": None}, "perplexity": 1.2345678, "reference_perplexity": 1.2,
        }  # fmt: skip

    prompts = figures(40) | dict.fromkeys(("log_perplexity_ratio", "perplexity", "reference_perplexity"))
    return {"reference": reference, "answers": figures(80), "answers/heldout": figures(80), "prompts": prompts}

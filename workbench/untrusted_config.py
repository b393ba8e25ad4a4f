"""Configs from strangers: settings that would have a library run code, of the package or from elsewhere, are refused.

transformers loads classes from Python files that ``auto_map`` names, and with a ``--`` in it from another repository;
``custom_generate`` and ``custom_pipelines`` do the same for generation and pipelines. mlx-lm runs the file that
``model_file`` names. An attention implementation with a slash in its name is a compiled kernel that transformers
fetches from the Hub. Whoever loads a package must say yes to some of these first, but a package has no need to ask.
The settings are looked for at every depth::

    check_config({"auto_map": {"AutoModel": "evil.Model"}}, "config.json")   # ArtifactError
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from workbench.errors import ArtifactError
from workbench.untrusted_template import check_template

RUNS_CODE = frozenset(
    {
        "auto_map", "trust_remote_code", "custom_generate", "custom_pipelines", "model_file", "custom_code",
        "custom_object", "remote_code", "code_revision",
    }
)  # fmt: skip
_KERNELS = ("attn_implementation", "_attn_implementation", "_attn_implementation_internal", "experts_implementation")
MOST_NEW_TOKENS = 1 << 24
MOST_BEAMS = 256
LONGEST_STOP, MOST_STOPS = 1000, 64
_CLASSES = ("tokenizer_class", "processor_class", "image_processor_type", "feature_extractor_type")


def check_config(config: Any, where: str) -> None:
    """See that a config of any library asks for no code.

    Args:
        config: values of the JSON file.
        where: the file, for the message.

    Raises:
        ArtifactError: it does, or is no JSON object.
    """
    if not isinstance(config, dict):
        raise ArtifactError(f"{where} holds no settings")
    for key, value in _settings(config):
        if key in RUNS_CODE and value not in (None, False):
            raise ArtifactError(f"{where} sets {key!r}, by which a library would run code that is not its own")
        if key in _KERNELS and "/" in str(value):
            raise ArtifactError(f"{where} sets {key!r} to a kernel from the Hub, compiled code of others")
        if key in _CLASSES and value is not None and not (isinstance(value, str) and value.isidentifier()):
            raise ArtifactError(f"{where} sets {key!r} to what is no name of a class")


def _settings(values: Any) -> Iterator[tuple[str, Any]]:
    """Every key at every depth with its value; the depth is bounded by ``untrusted_json``."""
    if isinstance(values, dict):
        yield from values.items()
    for value in values.values() if isinstance(values, dict) else values if isinstance(values, list) else ():
        yield from _settings(value)


def check_tokenizer_config(config: Any, where: str) -> None:
    """The same of a tokenizer's config, and its chat templates.

    Raises:
        ArtifactError: it asks for code, or a template does more than write a prompt.
    """
    check_config(config, where)
    templates = config.get("chat_template")
    named = templates if isinstance(templates, list) else [{"name": "default", "template": templates}]
    for one in named if templates is not None else []:
        text = one.get("template") if isinstance(one, dict) else None
        if not isinstance(text, str):
            raise ArtifactError(f"{where} holds a chat template that is no text")
        check_template(text, f"{where} (chat_template)")


def check_generation_config(config: Any, where: str) -> None:
    """A generation config: no code, and sizes that make sense.

    Raises:
        ArtifactError: it asks for code, for more beams or tokens than any model has, or for strange stops.
    """
    check_config(config, where)
    for key, most in (
        ("max_new_tokens", MOST_NEW_TOKENS), ("max_length", MOST_NEW_TOKENS), ("num_beams", MOST_BEAMS),
        ("num_return_sequences", MOST_BEAMS),
    ):  # fmt: skip
        value = config.get(key)
        if value is not None and not (type(value) is int and 0 <= value <= most):
            raise ArtifactError(f"{where} sets {key} to {str(value)[:40]}")
    stops = config.get("stop_strings") or []
    one = [stops] if isinstance(stops, str) else stops
    if not isinstance(one, list) or len(one) > MOST_STOPS or not all(_is_stop(text) for text in one):
        raise ArtifactError(f"{where} sets stop_strings to what are no short texts")


def _is_stop(text: Any) -> bool:
    return isinstance(text, str) and 0 < len(text) <= LONGEST_STOP

r"""What Ollama wants to know of a GGUF file: ``Modelfile``, and ``template`` and ``params`` for the Hub.

``ollama create NAME -f Modelfile`` makes a model of a local file. From the Hub (``ollama run hf.co/OWNER/NAME:Q4_K_M``)
Ollama takes a repository's files ``template`` and ``params`` instead. All three say the same: how the prompt is
made of the system message (the schema) and the user's (the question), and that answers are greedy and end where the
model's do. The template is one of Go's ``text/template``; what stands outside ``{{ }}`` is printed as it is. Without a
system message the user's text is the whole prompt, as in ``chat_template.py``.

``num_ctx`` is the model's context up to 8,192 tokens: Ollama cuts longer prompts silently, and keeps a cache
for the whole of it in memory (160 MiB for SQLCoder 15B, 4 GiB for a 7B of CodeLlama's kind).

Not run with Ollama itself; a test reads the files by the rules of its parser.
Sources: github.com/ollama/ollama, docs/modelfile.md, docs/template.md, parser/parser.go, template/template.go;
huggingface.co/docs/hub/ollama.

Example::

    modelfile(PROMPTS["nano"], "sqlcoder-nano.Q4_K_M.gguf", 1024)
"""

from __future__ import annotations

import json
from typing import Any

from workbench.prompt import Prompt

MOST_CONTEXT = 8192
NEW_TOKENS = 300  # as defog evaluates
_FIELDS = {"{schema}": "{{ .System }}", "{question}": "{{ .Prompt }}", "{instructions}": ""}


def go_template(prompt: Prompt) -> str:
    """Go's template of the prompt, from ``.System`` (the schema) and ``.Prompt`` (the question).

    Ollama has no place for instructions: they are left out, as ``prompt.render(schema, question)`` does.
    """
    text = prompt.template
    for field, action in _FIELDS.items():  # the values hold none of the fields
        text = text.replace(field, action)
    return "{{ if .System }}" + text + "{{ else }}{{ .Prompt }}{{ end }}"


def ollama_params(prompt: Prompt, context: int) -> dict[str, Any]:
    """Parameters under Ollama's names.

    Args:
        prompt: the model's own; its stop texts end an answer.
        context: most tokens the model takes.
    """
    return {
        "stop": list(prompt.stop),
        "temperature": 0,
        "num_predict": NEW_TOKENS,
        "num_ctx": min(context, MOST_CONTEXT),
    }


def modelfile(prompt: Prompt, weights: str, context: int) -> str:
    """The ``Modelfile`` of a GGUF file that lies beside it."""
    parameters = ollama_params(prompt, context)
    stops = [f"PARAMETER stop {_quoted(text)}" for text in parameters.pop("stop")]
    others = [f"PARAMETER {name} {value}" for name, value in parameters.items()]
    return "\n".join([f"FROM ./{weights}", f"TEMPLATE {_quoted(go_template(prompt))}", *others, *stops, ""])


def params_file(prompt: Prompt, context: int) -> str:
    """The Hub's file ``params``."""
    return json.dumps(ollama_params(prompt, context), indent=2) + "\n"


def _quoted(text: str) -> str:
    """A value of a Modelfile: nothing within the three quotes has a meaning."""
    return f'"""{text}"""'

r"""The model's prompt as a chat template: the schema is the system message, the question the user's.

Servers and libraries that speak of chats (transformers, vLLM, mlx-lm, llama-server) put messages into a model's form by
a Jinja template, ``chat_template.jinja`` in the model's folder. SQLCoder was not trained on chats but on one
prompt with two fields, so the template fills those and nothing else: the last system message is the schema, the last
user message the question, earlier turns are left out because the model never saw any. Without a system message the
user's text is the whole prompt, as it is: for those who fill ``prompt.txt`` themselves. Texts of a prompt stand in
string literals, outside which there is no character: whether an engine trims blocks or keeps the last line end then
makes no difference.

A tokenizer of the Llama family puts its begin-of-text token before each text, but not before a rendered chat: there
the template must write it, once, and for some a space after it, which the tokenizer otherwise adds itself. Which of
these it takes is tried with the model's own tokenizer (``fitting_template``). llama.cpp writes the token itself, so the
template beside a GGUF file must not.

Example::

    chat_template(PROMPTS["nano"])  # '...{{ "### Schema\n" }}{{ found.schema }}{{ "\n\n### Question\n" }}...'
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from workbench.errors import ArtifactError
from workbench.prompt import Prompt
from workbench.quiet import quiet_libraries

_STARTS = ("", "{{ bos_token }}", '{{ bos_token }}{{ " " }}')
_PROBE = ("CREATE TABLE city (\n  name text\n);", "How many cities?")

_FIELD = re.compile(r"(\{schema\}|\{question\}|\{instructions\})")
_FIND = (
    "{%- set found = namespace(schema=none, question='') -%}"
    "{%- for message in messages -%}"
    "{%- if message['role'] in ['system', 'developer'] -%}{%- set found.schema = message['content'] -%}"
    "{%- elif message['role'] == 'user' -%}{%- set found.question = message['content'] -%}{%- endif -%}"
    "{%- endfor -%}"
)
_FILLED = {
    "{schema}": "{{ found.schema }}",
    "{question}": "{{ found.question }}",
    "{instructions}": (
        "{%- if instructions is defined and instructions and instructions.strip() -%}"
        '{{ instructions.rstrip() }}{{ "\\n" }}{%- endif -%}'
    ),
}


def fitting_template(prompt: Prompt, folder: Path) -> str:
    """The template with which a chat has the token ids of the prompt as engines read it.

    Args:
        prompt: the model's own.
        folder: holds a tokenizer that transformers can load.

    Raises:
        ArtifactError: it cannot.
    """
    with quiet_libraries():
        from transformers import AutoTokenizer

        try:
            tokenizer = AutoTokenizer.from_pretrained(folder, local_files_only=True)
        except (OSError, ValueError) as error:
            raise ArtifactError(f"the tokenizer in {folder} cannot be loaded; build the artifact again") from error
        wanted = tokenizer(prompt.render(*_PROBE))["input_ids"]
        chat = [{"role": role, "content": text} for role, text in zip(("system", "user"), _PROBE, strict=True)]
        templates = [chat_template(prompt, start) for start in _STARTS]
        found = (one for one in templates if _ids(tokenizer, chat, one) == wanted)
        return next(found, templates[bool(wanted) and wanted[0] == tokenizer.bos_token_id])


def _ids(tokenizer: Any, chat: list[dict[str, str]], template: str) -> list[int]:
    return list(
        tokenizer.apply_chat_template(chat, chat_template=template, add_generation_prompt=True, return_dict=False)
    )


def chat_template(prompt: Prompt, start: str = "") -> str:
    """A Jinja template that renders messages to ``prompt.render(schema, question, instructions)``.

    Args:
        prompt: the model's own.
        start: Jinja's expressions for what comes before it.

    Returns:
        Its text. It takes ``messages`` and, where the prompt has the field, a variable ``instructions``
        (``chat_template_kwargs`` of a request).
    """
    filled = "".join(_FILLED.get(part) or _literal(part) for part in _FIELD.split(prompt.template) if part)
    return (
        f"{_FIND}{start}{{%- if found.schema is none -%}}{{{{ found.question }}}}{{%- else -%}}{filled}{{%- endif -%}}"
    )


def _literal(text: str) -> str:
    """An expression that prints a text; JSON's escapes are Jinja's as well."""
    return "{{ " + json.dumps(text) + " }}"

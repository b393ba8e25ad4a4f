"""``SERVE.md``: how a package's model is asked, and the commands that serve it.

Everything in it is made of the manifest. Code stands between ``~~~`` because stop texts may hold the usual fence.

Example::

    serve_page(artifact.manifest)
"""

from __future__ import annotations

import json

from workbench.artifact import Manifest
from workbench.generation_settings import GENERATION_CONFIG, beams_of
from workbench.ollama_files import NEW_TOKENS
from workbench.package_files import CHAT_TEMPLATE, PROMPT
from workbench.prompt import PROMPTS
from workbench.serve_commands import ServeCommand, serve_commands

FENCE = "~~~"
BEAM_FORMATS = frozenset({"fp16", "int8", "gptq"})  # of the engines that follow several answers side by side


def serve_page(manifest: Manifest) -> str:
    """The page's text, Markdown."""
    title = f"# Serving {manifest.model} ({manifest.name})"
    parts = [
        title,
        _how_it_is_asked(manifest),
        "The commands below are for this folder.",
        *map(_engine, serve_commands(manifest)),
    ]
    parts += [_loading(manifest), _model_file(manifest)]
    return "\n\n".join(part for part in parts if part) + "\n"


def _how_it_is_asked(manifest: Manifest) -> str:
    prompt = PROMPTS[manifest.prompt]
    advised = "{instructions}" in prompt.template
    stops = ", ".join(f"`` {json.dumps(text)} ``" for text in prompt.stop)
    lines = [
        f"- `{PROMPT}` is the prompt it was trained on, `{prompt.name}`: `{{schema}}` stands for the `CREATE TABLE` "
        f"statements of the database, `{{question}}` for the question{_ADVICE if advised else ''}.",
        f"- `{CHAT_TEMPLATE}` is the same as a chat: the system message is the schema, the user's message the "
        f"question{_ADVICE_OF_CHATS if advised else ''}. Earlier turns are left out. Without a system message the "
        "user's text is the whole prompt.",
        f"- An answer ends at {stops}; what follows is no part of it. It takes {NEW_TOKENS} tokens at most.",
        f"- {_how_it_is_decoded(manifest)}",
    ]
    return "The model performs with its own prompt, and with no other.\n\n" + "\n".join(lines)


_ADVICE = ", `{instructions}` for lines of advice, each ended, or for nothing"
_ADVICE_OF_CHATS = ', `"chat_template_kwargs": {"instructions": "..."}` of a request the lines of advice'


def _how_it_is_decoded(manifest: Manifest) -> str:
    beams, why = beams_of(manifest)
    if manifest.format not in BEAM_FORMATS:
        return "Nothing is drawn at random (temperature 0); one beam is followed, where defog evaluates with 4 or 5."
    return (
        f"Nothing is drawn at random. `{GENERATION_CONFIG}` asks with {beams} beam{'s' if beams > 1 else ''} ({why}), "
        "which `num_beams` of a call changes. Four take up to four times the time of one; only transformers follows "
        "them, and it cannot stream then."
    )


def _engine(one: ServeCommand) -> str:
    needs = f"Needs: {one.needs}.\n\n" if one.needs else ""
    blocks = "\n\n".join(f"{FENCE}bash\n{text}\n{FENCE}" for text in (one.install, one.command, one.request) if text)
    hub = f"\n\nFrom the Hub, in place of the second:\n\n{FENCE}bash\n{one.hub}\n{FENCE}" if one.hub else ""
    return f"## {one.engine}\n\n{needs}{blocks}{hub}"


def _loading(manifest: Manifest) -> str:
    """What transformers takes to open packed layers."""
    told = manifest.details.get("loading")
    return f"## transformers\n\nLoading: {told}." if told else ""


def _model_file(manifest: Manifest) -> str:
    """That mlx-lm computes StarCoder's activation otherwise than it was trained."""
    file = manifest.details.get("model_file")
    if not file:
        return ""
    call = f'mlx_lm.load(".", model_config={{"model_file": "{file}"}}, trust_remote_code=True)'
    return (
        "## The activation\n\nmlx-lm computes GELU exactly, this model was trained with its tanh form. The difference "
        f"is far below that of quantization; `{file}` mends it in Python: `{call}`."
    )

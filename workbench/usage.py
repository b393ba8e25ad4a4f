"""What a package holds for those who use it: the prompt, in each ecosystem's own files, and how it is served.

A model only performs with the prompt it was trained on, asked as it was evaluated. So a package says both where each
tool looks: ``prompt.txt`` for people and programs, ``chat_template.jinja`` and ``generation_config.json`` for
transformers, vLLM and mlx-lm, ``Modelfile``, ``template`` and ``params`` for Ollama, ``SERVE.md`` with the commands.
All of it is made of the manifest and the artifact's small files; weights are never touched.

Example::

    usage_files(artifact.manifest, artifact.path)["chat_template.jinja"]
"""

from __future__ import annotations

import json
from pathlib import Path

from workbench.artifact import Manifest
from workbench.chat_template import chat_template, fitting_template
from workbench.errors import ArtifactError
from workbench.generation_settings import GENERATION_CONFIG, generation_settings
from workbench.hub_layout import OLLAMA_PARAMS, OLLAMA_TEMPLATE
from workbench.ollama_files import go_template, modelfile, params_file
from workbench.package_files import CHAT_TEMPLATE, MODELFILE, PROMPT, SERVE
from workbench.prompt import PROMPTS
from workbench.serve_commands import ServeCommand, serve_commands, weights_name
from workbench.serve_page import serve_page

_CONFIG = "config.json"

__all__ = ["OLLAMA_PARAMS", "OLLAMA_TEMPLATE", "ServeCommand", "serve_commands", "usage_files"]


def usage_files(manifest: Manifest, folder: Path) -> dict[str, str]:
    """Texts of a package's files on how its model is asked and served, by name.

    Args:
        manifest: of the artifact.
        folder: the artifact's; configs, tokenizer and a GGUF file's header are read in it.

    Returns:
        ``prompt.txt``, ``chat_template.jinja`` and ``SERVE.md``; ``generation_config.json`` beside a ``config.json``;
        ``Modelfile``, ``template`` and ``params`` beside a GGUF file.

    Raises:
        ArtifactError: a file that is read is broken.
    """
    prompt = PROMPTS[manifest.prompt]
    names = {entry.path for entry in manifest.files}
    is_gguf = any(name.endswith(".gguf") for name in names)
    template = chat_template(prompt) if is_gguf else fitting_template(prompt, folder)
    files = {PROMPT: prompt.template, CHAT_TEMPLATE: template, SERVE: serve_page(manifest)}
    if _CONFIG in names:
        files[GENERATION_CONFIG] = json.dumps(generation_settings(manifest, folder), indent=2, sort_keys=True) + "\n"
    if is_gguf:
        weights = weights_name(manifest)
        context = gguf_context(folder / weights)
        files[MODELFILE] = modelfile(prompt, weights, context)
        files[OLLAMA_TEMPLATE] = go_template(prompt)
        files[OLLAMA_PARAMS] = params_file(prompt, context)
    return files


def gguf_context(file: Path) -> int:
    """Tokens of context that a GGUF file's header tells.

    Raises:
        ArtifactError: it is none, or tells none.
    """
    from gguf import GGUFReader

    try:
        fields = GGUFReader(file).fields
        architecture = fields["general.architecture"].contents()
        return int(fields[f"{architecture}.context_length"].contents())
    except (OSError, ValueError, KeyError) as error:
        raise ArtifactError(f"the header of {file} cannot be read ({error}); build the artifact again") from error

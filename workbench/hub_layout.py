"""Where a package's files lie in a repository of the Hub: at its root, or, for GGUF, side by side with others.

A model in Hugging Face layout is one repository, and its files are where its folder has them. GGUF users expect one
repository with every quantization of a model, the weights at the root: ``llama-server -hf me/nano-gguf:Q4_K_M`` and
``ollama run hf.co/me/nano-gguf:Q4_K_M`` look there and nowhere else. So the weights of GGUF packages lie at the root,
and what else a package holds in a folder of its recipe's name; what speaks of the whole repository is at the root::

    README.md  LICENSE                       of the repository: its card, its licence
    template  params                         what Ollama asks the Hub for
    .eval_results/gguf-q4_k_m.<name>.yaml    the Hub looks for these at the root
    nano.Q4_K_M.gguf  nano.Q8_0.gguf         weights, side by side
    gguf-q4_k_m/manifest.json ...            the rest of each package
    gguf-q8_0/manifest.json ...

``push`` places files by this, ``pull`` puts a package together again by it::

    place("gguf", "gguf-q4_k_m", "nano.Q4_K_M.gguf")   # "nano.Q4_K_M.gguf"
    place("gguf", "gguf-q4_k_m", "manifest.json")      # "gguf-q4_k_m/manifest.json"
    place("int8", "int8", "manifest.json")             # "manifest.json"
    packages_in(["README.md", "gguf-q8_0/manifest.json"])   # {"gguf-q8_0": "gguf-q8_0/"}
"""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import PurePosixPath

from workbench.package_files import CARD, EVAL_RESULTS, LICENCE, MANIFEST

# OWNER/NAME: it goes into addresses, file names, commands and Markdown, so nothing else passes. The Hub's own rules
# (huggingface_hub.utils.validate_repo_id) are narrower still, and asked where a repository is made.
HUB_ID = re.compile(r"[A-Za-z0-9_][\w.-]{0,95}/[A-Za-z0-9_][\w.-]{0,95}", re.ASCII)
SHARED_FORMAT = "gguf"
WEIGHTS_SUFFIX = ".gguf"
OLLAMA_TEMPLATE, OLLAMA_PARAMS = "template", "params"  # names that Ollama asks the Hub for
COPIED = (LICENCE, OLLAMA_TEMPLATE, OLLAMA_PARAMS)  # of a package, to the root of a shared repository
_RECIPE = re.compile(r"[a-z0-9][a-z0-9._-]*")  # what a recipe may be called: a listing may come from anybody
WHOLE = ""  # the package that a repository is, in packages_in


def is_shared(format: str) -> bool:
    """Whether packages of this format lie side by side in one repository."""
    return format == SHARED_FORMAT


def place(format: str, recipe: str, name: str) -> str:
    """Path in the repository of one file of a package.

    Args:
        format: the manifest's ``format``.
        recipe: the manifest's ``name``; the folder where packages lie side by side.
        name: the file's name within the package, as its manifest lists it (or of ``package_files.UNLISTED``).
    """
    if not is_shared(format) or ("/" not in name and name.endswith(WEIGHTS_SUFFIX)):
        return name
    return f"{recipe}/{name}"


def packages_in(names: Collection[str]) -> dict[str, str]:
    """The packages that a repository's listing holds.

    Args:
        names: paths of its files.

    Returns:
        Prefix of the paths by recipe; ``{"": ""}`` where the repository is one package, whose recipe its manifest
        names; empty where there is none.
    """
    if MANIFEST in names:
        return {WHOLE: ""}
    parts = [PurePosixPath(name).parts for name in names]
    recipes = sorted(one[0] for one in parts if len(one) == 2 and one[1] == MANIFEST)
    return {recipe: f"{recipe}/" for recipe in recipes if _RECIPE.fullmatch(recipe)}


def eval_result_copy(recipe: str, name: str) -> str | None:
    """Path at the root for a package's ``.eval_results/<name>``; ``None`` for any other file.

    The Hub reads evaluation results from that folder of the root only, so those of packages side by side get their
    recipe in front of their names.
    """
    path = PurePosixPath(name)
    if path.parts[:1] != (EVAL_RESULTS,) or len(path.parts) == 1:
        return None
    return f"{EVAL_RESULTS}/{recipe}.{path.relative_to(EVAL_RESULTS).as_posix().replace('/', '.')}"


def belongs_to_root(name: str) -> bool:
    """Whether a path of a shared repository speaks of all its packages, or copies a file of one to the root."""
    return name in (CARD, *COPIED) or name.startswith(f"{EVAL_RESULTS}/")

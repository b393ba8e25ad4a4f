"""The files of a package, by name: what each is called, what lists it, and which names no package may hold.

A package is an artifact's folder, completed for those who use it. Three files are not in its manifest's list: the
manifest itself; the provenance statement, whose subjects are the manifest and every listed file; the signature, which
covers all of them::

    manifest.json             lists every file below with its sha256
      *.safetensors | *.gguf, config.json, tokenizer.json ...      the model
      README.md  .eval_results/*.yaml                              what it scored, where and how
      chat_template.jinja  prompt.txt  Modelfile  SERVE.md         how it is asked and served
      LICENSE  NOTICE                                              what may be done with it
      bom.cdx.json                                                 what it is made of
    provenance.intoto.json    how it was made; names manifest.json by its sha256
    model.sig                 who says so; covers every file above

A package may come from anybody, so its names are looked at before a path is made of one: ``check_name``.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from pathlib import PurePosixPath

MANIFEST = "manifest.json"
CARD = "README.md"
EVAL_RESULTS = ".eval_results"
CHAT_TEMPLATE = "chat_template.jinja"
PROMPT = "prompt.txt"
MODELFILE = "Modelfile"
SERVE = "SERVE.md"
LICENCE = "LICENSE"
NOTICE = "NOTICE"
BOM = "bom.cdx.json"
PROVENANCE = "provenance.intoto.json"
SIGNATURE = "model.sig"

UNLISTED = (MANIFEST, PROVENANCE, SIGNATURE)  # each covers what comes before it
LONGEST_NAME = 240  # bytes of one part: file systems hold 255, and a download needs room for a suffix
MOST_PARTS = 8
_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)  # devices of Windows
_FORBIDDEN = re.compile(r'[\x00-\x1f\x7f<>:"|?*\\]')


def check_name(name: str) -> str:
    """A file's name within a package, if a path may be made of it on any system.

    Raises:
        ValueError: it leaves the folder, or is none on Linux, macOS or Windows; the message begins with the name.
    """
    path = PurePosixPath(name)
    if path.is_absolute() or ".." in path.parts:
        raise ValueError(f"{name!r} lies outside")
    if not path.parts or str(path) != name or len(path.parts) > MOST_PARTS:
        raise ValueError(f"{name!r} is no plain path")
    if _FORBIDDEN.search(name) or any(unicodedata.category(one) in ("Cf", "Cs", "Zl", "Zp") for one in name):
        raise ValueError(f"{name!r} holds characters that no file name should")
    for part in path.parts:
        if _RESERVED.fullmatch(part) or part != part.rstrip(". ") or len(part.encode()) > LONGEST_NAME:
            raise ValueError(f"{name!r} is no file name on every system")
    return name


def check_names(names: Iterable[str]) -> None:
    """See that names may stand side by side in a folder, also where case or composition of letters does not count.

    Raises:
        ValueError: one may not stand for a file, two are the same, or one is another's folder.
    """
    seen: dict[str, str] = {}
    for name in names:
        plain = unicodedata.normalize("NFC", check_name(name)).casefold()
        if plain in seen:
            raise ValueError(f"{name!r} and {seen[plain]!r} are one file on some systems")
        seen[plain] = name
    for plain, name in seen.items():
        for folder in PurePosixPath(plain).parents:
            if str(folder) in seen:
                raise ValueError(f"{name!r} lies in {seen[str(folder)]!r}, which is a file")

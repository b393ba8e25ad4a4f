"""Which workbench words a package: its version, its code and the libraries that write for it, as one digest.

A card and a bill of materials can be made again from the manifest and compared byte for byte only by the very code that
made them. A version number does not tell that: development states share one, and a YAML or JSON library of another
release may break a line elsewhere. So a package bears the digest of its maker, and who checks it with another maker
compares what does not depend on words.

    maker()    # "5d0c...": equal ones write equal packages of equal manifests
"""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path

from workbench.plugins import installed_version

KEY = "maker"  # under ``package`` of the manifest
_CODE = Path(__file__).parent
_TEXTS = (".py", ".j2", ".txt", ".yaml", ".json")
_LIBRARIES = ("cyclonedx-python-lib", "huggingface_hub", "in-toto-attestation", "jinja2", "protobuf", "pyyaml")


@cache
def maker() -> str:
    """Hex sha256 over the workbench's own texts, the bundled model left out, and the versions of what writes for it."""
    digest = hashlib.sha256()
    for file in sorted(_CODE.rglob("*")):
        name = file.relative_to(_CODE)
        if file.suffix in _TEXTS and name.parts[0] != "nano" and not name.parts[0].startswith("_"):
            digest.update(f"{name.as_posix()}\0".encode() + hashlib.sha256(file.read_bytes()).digest())
    for library in _LIBRARIES:
        digest.update(f"{library} {installed_version(library)}\0".encode())
    return digest.hexdigest()

"""Files of a package from strangers: by its name each is of a kind, and is looked at as that kind before it is used.

A list of what is forbidden is never complete, so this is one of what may be: weights, configs, tokenizers, templates
and texts. All else is refused, and the usual suspects with a reason: pickles run code when they are opened, Python
files when a library is told to trust them, archives may unpack to a thousand times their size. A name proves nothing:
what begins like an archive, a pickle or a program is refused whatever it is called. One program may be there: the one
that the workbench writes beside MLX weights, if it is that to the byte.

    check_file(folder, "config.json", sizes)     # ArtifactError: says what is wrong with it
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path, PurePosixPath

from workbench.errors import ArtifactError
from workbench.package_files import BOM, CHAT_TEMPLATE, EVAL_RESULTS, LICENCE, MODELFILE, NOTICE, PROVENANCE, SIGNATURE
from workbench.package_files import MANIFEST as MANIFEST_NAME
from workbench.untrusted_config import check_config, check_generation_config, check_tokenizer_config
from workbench.untrusted_json import SMALL_BYTES, check_json, parse_json, read_bounded
from workbench.untrusted_template import check_template
from workbench.untrusted_text import check_card, check_modelfile, check_text, check_yaml, read_text
from workbench.untrusted_weights import check_gguf_header, check_onnx, check_safetensors_header

__all__ = [
    "check_config", "check_file", "check_gguf_header", "check_json", "check_safetensors_header", "check_template",
    "parse_json",
]  # fmt: skip
Sizes = Mapping[str, int]
WEIGHTS = (".safetensors", ".gguf", ".onnx", ".onnx_data")
LARGE_JSON_BYTES = 64 << 20  # a tokenizer of 260,000 words takes 33 MB
_REASONS = (
    (("bin", "pt", "pth", "pkl", "pickle", "ckpt", "joblib", "npy", "h5", "keras", "msgpack"),
     "is of a kind that can run code when it is opened; weights belong into safetensors or GGUF"),
    (("py", "pyc", "so", "dll", "dylib", "sh", "exe", "whl", "js", "ipynb"), "is a program, which no package needs"),
    (("zip", "npz", "gz", "bz2", "xz", "zst", "tar", "tgz", "7z", "rar", "nemo"),
     "is an archive, which may hold anything and unpack to any size"),
)  # fmt: skip
_WHY = {suffix: reason for suffixes, reason in _REASONS for suffix in suffixes}
# Of workbench/kernels; which settings would have mlx-lm run it is for whoever loads the model to say.
_OWN_PROGRAMS = ("mlx_gpt_bigcode.py",)
# How files begin that are never what a package holds. The first is a pickle of protocol 2 to 5.
_MAGIC = re.compile(
    rb"\x80[\x02-\x05]|PK[\x03\x05\x07]|\x1f\x8b|BZh[1-9]|\xfd7zXZ|\x28\xb5\x2f\xfd|7z\xbc\xaf|Rar!"
    rb"|\x7fELF|MZ[\x00-\xff]{2}\x00|\xcf\xfa\xed\xfe|\xca\xfe\xba\xbe|#!|<\?php|\x93NUMPY|\x89HDF"
)
_MAGIC_BYTES = 16


def check_file(folder: Path, name: str, sizes: Sizes) -> None:
    """See that a file is what its name says, within bounds, and nothing that harms who uses it.

    Args:
        folder: of the package.
        name: of a regular file in it.
        sizes: bytes of every file of the package, by name.

    Raises:
        ArtifactError: it is not; the message begins with its name.
        PrerequisiteError: a library that would look at it is not installed.
    """
    check = _check_of(name)
    with (folder / name).open("rb") as handle:
        if PurePosixPath(name).suffix not in WEIGHTS and _MAGIC.match(handle.read(_MAGIC_BYTES)):
            raise ArtifactError(f"{name} begins like an archive, a pickle or a program, whatever it is called")
    check(folder / name, sizes)


def _check_of(name: str) -> Callable[[Path, Sizes], None]:
    """What looks at a file of this name; only the results have a folder of their own."""
    path = PurePosixPath(name)
    suffix = path.suffix.removeprefix(".").lower()
    if len(path.parts) == 1 and (name in _BY_NAME or suffix in _BY_SUFFIX):
        return _BY_NAME.get(name) or _BY_SUFFIX[suffix]
    if str(path.parent) == EVAL_RESULTS and suffix == "yaml":
        return _results
    raise ArtifactError(f"{name} {_WHY.get(suffix, 'is of a kind that no package holds')}")


def _settings(path: Path, sizes: Sizes) -> None:
    check_config(check_json(path), path.name)


def _any_json(path: Path, sizes: Sizes) -> None:
    check_json(path, LARGE_JSON_BYTES)


def _index(path: Path, sizes: Sizes) -> None:
    """An index of shards names files of the package alone, and all of them are there."""
    values = check_json(path, LARGE_JSON_BYTES)
    files = values.get("weight_map") if isinstance(values, dict) else None
    named = list(files.values()) if isinstance(files, dict) else ["nothing"]
    strange = [one for one in named if not isinstance(one, str) or one not in sizes]
    if strange:
        raise ArtifactError(f"{path.name} names {json.dumps(strange[0])[:80]}, which is no file of the package")


def _sentencepiece(path: Path, sizes: Sizes) -> None:
    """sentencepiece_model.proto: begins with its first piece, field 1."""
    if read_bounded(path, LARGE_JSON_BYTES)[:1] != b"\n":
        raise ArtifactError(f"{path.name} is no sentencepiece model")


def _lines(path: Path, sizes: Sizes) -> None:
    if "\0" in read_text(path, LARGE_JSON_BYTES):
        raise ArtifactError(f"{path.name} holds a zero byte")


def _template(path: Path, sizes: Sizes) -> None:
    check_template(read_text(path), path.name)


def _text(path: Path, sizes: Sizes) -> None:
    check_text(path)


def _own_program(path: Path, sizes: Sizes) -> None:
    own = (Path(__file__).parent / "kernels" / path.name).read_bytes()
    if sizes[path.name] != len(own) or path.read_bytes() != own:
        raise ArtifactError(f"{path.name} is a program, and not the one that this workbench writes under this name")


def _results(path: Path, sizes: Sizes) -> None:
    check_yaml(check_text(path, SMALL_BYTES), path.name)


def _raw(path: Path, sizes: Sizes) -> None:
    """Weights without a header: a graph says what they are, and they are never run."""


_BY_NAME: dict[str, Callable[[Path, Sizes], None]] = {
    "tokenizer_config.json": lambda path, sizes: check_tokenizer_config(check_json(path), path.name),
    "generation_config.json": lambda path, sizes: check_generation_config(check_json(path), path.name),
    "model.safetensors.index.json": _index,
    "tokenizer.model": _sentencepiece,
    "tokenizer.json": _any_json,
    "vocab.json": _any_json,
    "merges.txt": _lines,
    "vocab.txt": _lines,
    CHAT_TEMPLATE: _template,
    MODELFILE: check_modelfile,
    **dict.fromkeys(_OWN_PROGRAMS, _own_program),
    "template": _text,
    "params": _settings,
    LICENCE: _text,
    NOTICE: _text,
    MANIFEST_NAME: _any_json,
    BOM: _any_json,
    PROVENANCE: _any_json,
    SIGNATURE: _any_json,
}
_BY_SUFFIX: dict[str, Callable[[Path, Sizes], None]] = {
    "safetensors": lambda path, sizes: check_safetensors_header(path),
    "gguf": lambda path, sizes: check_gguf_header(path),
    "onnx": check_onnx,
    "onnx_data": _raw,
    "json": _settings,
    "txt": _text,
    "md": lambda path, sizes: check_card(path),
}

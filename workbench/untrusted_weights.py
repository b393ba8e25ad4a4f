"""Weight files from strangers: their headers, looked at before any weight is.

A weight file is numbers behind a table of contents, and the table is what an attacker writes: lengths that make a
reader ask for all memory, places outside the file or inside another tensor, a name twice. safetensors and GGUF can say
no more than that; the bounds are those of ``workbench/tensors.py`` and ``workbench/gguf_file.py``, which every command
reads them with. ONNX graphs can also name files of their own, anywhere, and operators that a library must be loaded
for (onnx: docs/ExternalData.md; CVE-2022-25882 read ``../../etc/passwd``)::

    check_safetensors_header(folder / "model.safetensors")
    check_onnx(folder / "model.onnx", {"model.onnx_data": 3_000_000})
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from workbench.errors import ArtifactError, CheckpointError, PrerequisiteError
from workbench.gguf_file import read_gguf
from workbench.tensors import DTYPE_BYTES, OTHER_BITS, read_header
from workbench.untrusted_template import check_template

MOST_GRAPH_BYTES = 64 << 20  # a graph without its weights
_DOMAINS = frozenset({"", "ai.onnx", "ai.onnx.ml", "com.microsoft"})
_TEMPLATE = "tokenizer.chat_template"


def check_safetensors_header(path: Path) -> None:
    """See that a safetensors file's header says where its tensors lie, and nothing else.

    Raises:
        ArtifactError: it does not; nothing was read beyond it.
    """
    try:
        tensors = read_header(path)
    except (CheckpointError, OSError) as error:
        raise ArtifactError(str(error).replace(str(path), path.name)) from error
    strange = sorted({str(one.dtype) for one in tensors} - {*DTYPE_BYTES, *OTHER_BITS})
    if strange:
        raise ArtifactError(f"{path.name} holds tensors of the unknown type {strange[0][:40]!r}")


def check_gguf_header(path: Path) -> None:
    """The same of a GGUF file, and that its chat templates do no more than write a prompt.

    Raises:
        ArtifactError: it does not, or one does.
    """
    for key, value in read_gguf(path).pairs.items():
        if key == _TEMPLATE or key.startswith(f"{_TEMPLATE}."):
            if not isinstance(value, str):
                raise ArtifactError(f"{path.name} holds a chat template that is no text")
            check_template(value, f"{path.name} ({key[:60]})")


def check_onnx(path: Path, sizes: Mapping[str, int]) -> None:
    """See that a graph reads its weights from files of the package alone and needs no operators of others.

    Args:
        path: of the graph.
        sizes: bytes of the package's files, by name.

    Raises:
        ArtifactError: it does, or is no graph.
        PrerequisiteError: the onnx library, which reads it, is not installed.
    """
    try:
        import onnx
        from google.protobuf.message import DecodeError  # type: ignore[import-untyped]
    except ImportError as error:
        raise PrerequisiteError(f"{path.name} needs onnx to be read; run: pip install onnx") from error
    if path.stat().st_size > MOST_GRAPH_BYTES:
        raise ArtifactError(f"{path.name} is larger than the {MOST_GRAPH_BYTES} bytes that a graph may have")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except (DecodeError, ValueError) as error:
        raise ArtifactError(f"{path.name} is no ONNX graph ({error})") from error
    domains = {one.domain for one in model.opset_import}
    if model.functions or not domains <= _DOMAINS:
        raise ArtifactError(f"{path.name} needs operators of {sorted(domains - _DOMAINS)[:1]}, which is code of others")
    for tensor in model.graph.initializer:
        _check_external(tensor, path, sizes)


def _check_external(tensor: Any, path: Path, sizes: Mapping[str, int]) -> None:
    """The place of a tensor's values, where they lie in another file."""
    place = {one.key: one.value for one in tensor.external_data}
    if not place:
        return
    name, numbers = place.get("location", ""), [place.get("offset", "0"), place.get("length", "0")]
    if name not in sizes:
        raise ArtifactError(f"{path.name} reads {name[:80]!r}, which is no file of the package")
    if not all(number.isascii() and number.isdigit() and len(number) < 20 for number in numbers):
        raise ArtifactError(f"{path.name} places tensor {tensor.name[:60]!r} where no file can be")
    if sum(map(int, numbers)) > sizes[name]:
        raise ArtifactError(f"{path.name} places tensor {tensor.name[:60]!r} beyond the end of {name}")

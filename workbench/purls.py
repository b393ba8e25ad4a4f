"""Package URLs: names of models and libraries that tools of other makers understand.

``pkg:huggingface/defog/sqlcoder2@<commit>`` is a model repository at a commit, ``pkg:pypi/torch@2.13.0`` a Python
library (https://github.com/package-url/purl-spec). A checkpoint that is a folder has none: nobody else could follow it.

Example::

    base_model_purl({"id": "defog/sqlcoder2", "revision": "c0f..."})  # pkg:huggingface/defog/sqlcoder2@c0f...
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


def base_model_purl(source: Mapping[str, Any]) -> str:
    """Of a manifest's source; empty for a folder."""
    return _of_source(source, None)


def file_purl(source: Mapping[str, Any], path: str) -> str:
    """Of one of its files; empty for a folder."""
    return _of_source(source, path)


def library_purl(name: str, version: str) -> str:
    """Of a Python library."""
    from packageurl import PackageURL

    return PackageURL("pypi", None, name, version).to_string()


def _of_source(source: Mapping[str, Any], subpath: str | None) -> str:
    from packageurl import PackageURL

    owner, _, name = str(source["id"]).rpartition("/")
    if not owner or not source.get("revision"):
        return ""
    return PackageURL("huggingface", owner, name, source["revision"], subpath=subpath).to_string()

"""Small files replaced at once: a reader, and a run after a kill, sees the old one or the new one, never half."""

from __future__ import annotations

from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text file beside its place and rename it into it; errors are the operating system's."""
    partial = partial_of(path)
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)


def partial_of(path: Path) -> Path:
    """Where a file stands until it is whole; a run that is killed may leave it there."""
    return path.with_name(f".{path.name}.new")

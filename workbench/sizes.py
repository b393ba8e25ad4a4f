"""Sizes as a reader is told them: in binary units everywhere, and two of them so that they differ where they do.

Memory is sold and reported in binary units (1 GiB = 1024**3 bytes), so files, disks and rates are told in the same:
side by side, 22.1 GB and 22.1 GiB would look alike and be seven per cent apart. The units are those of IEC 80000-13.

    size_text(3 * 1024**2)                      # "3.0 MiB"
    told_apart(22.14 * GIB, 22.06 * GIB)        # ("22.14", "22.06"): "22.1 of 22.1" would explain nothing
"""

from __future__ import annotations

_MOST_DIGITS = 10  # after the point: of GiB these tell single bytes apart


def size_text(size: float) -> str:
    """Bytes in binary units."""
    for unit, scale in (("GiB", 1024**3), ("MiB", 1024**2), ("KiB", 1024)):
        if size >= scale:
            return f"{size / scale:.1f} {unit}"
    return f"{size:.0f} B"


def told_apart(first: float, second: float) -> tuple[str, str]:
    """Two numbers of bytes in GiB, with one digit after the point, or as many as they need to differ."""
    pairs = [(f"{first / 1024**3:.{n}f}", f"{second / 1024**3:.{n}f}") for n in range(1, _MOST_DIGITS + 1)]
    return next((pair for pair in pairs if pair[0] != pair[1]), pairs[0])

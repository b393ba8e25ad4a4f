"""How many processors this process may use: what a container or ``taskset`` grants, not what the board holds."""

from __future__ import annotations

import os


def available_processors() -> int:
    """Processors granted to this process, at least 1."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1  # macOS has no affinity

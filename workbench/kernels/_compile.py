"""numba's compiler as all kernels here use it: without the interpreter's lock, the machine code kept on disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from numba import njit


def compile_kept(function: Callable[..., Any], **options: Any) -> Any:
    """Compile a function; keep its machine code where some folder can be written.

    Args:
        function: of numba's subset of Python.
        options: of ``numba.njit``, beside ``nogil`` and ``cache``.
    """
    try:
        return njit(cache=True, nogil=True, **options)(function)
    except RuntimeError:  # numba's "no locator available": neither the package nor the home may be written
        return njit(nogil=True, **options)(function)

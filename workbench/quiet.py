"""Keep the foreign libraries' chatter off the user's terminal while they work for us.

transformers draws progress bars and torch and torchao log what nobody can act on (missing CUDA
extensions, deprecations inside their own code). Errors still come through as exceptions.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

_LOGGERS = ("torchao", "torch.utils._pytree", "accelerate")


@contextmanager
def quiet_libraries() -> Iterator[None]:
    """transformers, torch and torchao without bars, logs and warnings; as before afterwards."""
    from transformers.utils import logging as chatter

    loggers = [logging.getLogger(name) for name in _LOGGERS]
    levels = [logger.level for logger in loggers]
    verbosity, bars = chatter.get_verbosity(), chatter.is_progress_bar_enabled()
    chatter.set_verbosity_error()
    chatter.disable_progress_bar()
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        chatter.set_verbosity(verbosity)
        if bars:
            chatter.enable_progress_bar()
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)

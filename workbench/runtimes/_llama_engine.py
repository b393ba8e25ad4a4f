"""Opening llama.cpp's engine inside this process, for answers or for timing.

Answers want the same sums in any batch: no flash attention, no repacked weights, one slot. Timing wants llama.cpp's own
defaults, and a slot for each prompt. A model of a few megabytes runs on one thread: computing a token takes less time
than threads need to meet.

llama.cpp always listens somewhere; here it is a Unix socket in a private folder (on Windows the loopback
address), which also serves ``/tokenize``.

    server = open_engine(Path("model.gguf"), LoadOptions(), timed=0, folder=Path("sockets"))

Source: github.com/ggml-org/llama.cpp, tools/server/README.md; github.com/xorbitsai/xllamacpp.
"""

from __future__ import annotations

import socket
from pathlib import Path
from typing import Any

from workbench.errors import ArtifactError
from workbench.runtimes.base import LoadOptions

SMALL_MODEL_BYTES = 64 << 20
ALL_LAYERS = 999
SILENT = -1


def is_small(model: Path) -> bool:
    """Whether a model is computed sooner by one thread than by several."""
    return model.stat().st_size < SMALL_MODEL_BYTES


def open_engine(model: Path, options: LoadOptions, timed: int, folder: Path) -> Any:
    """A running engine (``xllamacpp.Server``).

    Args:
        model: GGUF file.
        options: device, context of each slot, and threads.
        timed: prompts that it is to be timed on together; 0 when it is to answer.
        folder: private, for its socket.

    Raises:
        ArtifactError: llama.cpp cannot load the file.
    """
    import xllamacpp

    params = _params(model, options, folder)
    params.n_parallel = max(timed, 1)
    params.n_ctx = options.context * params.n_parallel
    if not timed:
        params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
        params.no_extra_bufts = True
    try:
        return xllamacpp.Server(params)
    except RuntimeError as error:
        raise ArtifactError(
            f"llama.cpp cannot load {model} ({error}); build the artifact again, or free some memory"
        ) from error


def _params(model: Path, options: LoadOptions, folder: Path) -> Any:
    """No log, no listening port where the system has Unix sockets."""
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(model)
    params.n_gpu_layers = 0 if options.device == "cpu" else ALL_LAYERS
    params.no_kv_offload = params.no_op_offload = options.device == "cpu"
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1 if is_small(model) else options.threads
    params.fit_params = False  # a context as asked for, or an error
    params.cache_ram_mib = 0
    params.verbosity = SILENT
    params.ui = False
    params.hostnames = [str(folder / "llama.sock")] if hasattr(socket, "AF_UNIX") else ["127.0.0.1"]
    return params

"""llama.cpp's own HTTP server on the loopback address, as a user would run ``llama-server`` on an artifact."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def llama_server(gguf: Path, context: int = 1024, template: str = "") -> Iterator[str]:
    """Its address; one thread and one slot, and the settings under which equal prompts get equal answers.

    A chat template is what ``--jinja --chat-template-file`` would give it.
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(gguf)
    params.n_ctx = context
    params.n_parallel = 1
    params.n_gpu_layers = 0
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = 1
    params.fit_params = False
    params.cache_ram_mib = 0
    params.verbosity = -1
    params.ui = False
    if template:
        params.use_jinja = True
        params.chat_template = template
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.no_extra_bufts = True
    params.hostnames = ["127.0.0.1"]
    params.port = 0  # any free one
    server = xllamacpp.Server(params)
    # Freed before its loop has begun, an engine would wait for ever: an empty answer shows that it runs.
    server.handle_completions({"prompt": "", "max_tokens": 0})
    yield server.listening_address
    del server

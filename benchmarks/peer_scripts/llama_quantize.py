"""llama.cpp's ``llama_model_quantize``, through cyllama: a 16-bit GGUF to another type."""

from importlib.metadata import version

from _serve import Work, serve


def prepare(source: str, file_type: int, threads: int) -> tuple[str, Work]:
    from cyllama.llama.llama_cpp import LlamaModelQuantizeParams, model_quantize

    def work(out: str) -> None:
        params = LlamaModelQuantizeParams()
        params.ftype, params.nthread = file_type, threads
        model_quantize(source, out, params)

    return f"llama.cpp's quantizer (cyllama {version('cyllama')})", work


serve(prepare)

"""``mlx_lm.convert`` on the CPU."""

from importlib.metadata import version

from _serve import Work, serve


def prepare(source: str, bits: int, group_size: int) -> tuple[str, Work]:
    import mlx.core as mx
    import mlx_lm

    mx.set_default_device(mx.cpu)

    def work(out: str) -> None:
        mlx_lm.convert(source, out, quantize=True, q_bits=bits, q_group_size=group_size)

    return f"mlx_lm.convert {version('mlx-lm')}", work


serve(prepare)

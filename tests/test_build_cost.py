"""The cost of making, beside conversions of SQLCoder-15B's true shape on two cores (README, "Converting alone")."""

import pytest
from shapes import sqlcoder_15b

from workbench import catalog
from workbench.build_cost import Host, build_cost, host
from workbench.checkpoint import peek_checkpoint
from workbench.formats._build_work import gptq_work
from workbench.served import Served, format_of

TWO_CORES = Host(2, 23 << 30, 10**12)


def cost(recipe, here=TWO_CORES):
    chosen, checkpoint = catalog.get_recipe(recipe), sqlcoder_15b()
    return build_cost(checkpoint, *format_of(chosen), Served(checkpoint, 100).file_bytes(chosen), here)


# recipe, seconds, MiB of anonymous memory at most
@pytest.mark.parametrize(
    ("recipe", "seconds", "mib"),
    [
        ("fp16", 45.5, 213),
        ("gguf-q8_0", 47.8, 255),
        ("gguf-q4_k_m", 80.1, 286),
        ("int8", 63.7, 331),
        ("mlx-4bit", 66.0, 273),
        ("onnx-int4", 152.1, 271),
    ],
)
def test_a_streamed_conversion_costs_what_it_took(recipe, seconds, mib):
    found = cost(recipe)
    assert found.seconds == pytest.approx(seconds, rel=0.1)
    assert mib << 20 < found.peak_ram_bytes < (mib + 250) << 20  # resident: with the libraries' files, too
    assert found.peak_vram_bytes == 0


def test_gptq_costs_about_the_cpu_time_it_took():
    """On a busy machine: all of the bundled model; a block of 15B's shape of 4,096 tokens, with the start."""
    nano, whole = peek_checkpoint("sqlcoder-nano"), sqlcoder_15b()
    assert gptq_work(nano, 128, 1024, 2).core_s == pytest.approx(11.4, rel=0.35)
    assert gptq_work(whole, 8, 512, 2).core_s / 40 == pytest.approx(171, rel=0.35)


def test_gptq_of_15b_needs_a_block_and_a_hessian_but_not_the_model():
    found = cost("gptq-4bit")
    block, hessian = 387_000_000 * 4, 24576**2 * 4
    assert block + hessian < found.peak_ram_bytes < hessian + (8 << 30)
    assert found.peak_ram_bytes > 6.18 * 2**30  # resident at the most when blocks of it were made
    assert found.seconds > 20 * cost("gguf-q4_k_m").seconds


def test_more_cores_take_less_time_and_more_memory():
    many = Host(16, 64 << 30, 10**12)
    for recipe in ("gguf-q4_k_m", "gptq-4bit", "onnx-int4"):
        assert cost(recipe, many).seconds < cost(recipe).seconds
        assert cost(recipe, many).peak_ram_bytes > cost(recipe).peak_ram_bytes


def test_the_disk_never_gets_faster_by_cores():
    assert cost("fp16", Host(64, 64 << 30, 10**12)).seconds == cost("fp16").seconds


def test_what_is_not_here_yet_counts_as_a_download():
    found = cost("gguf-q4_k_m")
    assert found.download_bytes == pytest.approx(31.03e9, rel=2e-3)
    assert found.disk_bytes == pytest.approx(31.03e9 + 9.97e9, rel=5e-3)
    assert found.obstacle is None


@pytest.mark.parametrize(
    ("here", "word"),
    [(Host(2, 23 << 30, 10**9), "of disk and 0.9 are free here"), (Host(2, 1 << 30, 10**12), "of memory and")],
)
def test_a_machine_that_cannot_make_it_is_told_why(here, word):
    assert word in cost("gptq-4bit", here).obstacle


def test_the_host_is_this_machine(tmp_path):
    found = host(tmp_path / "not" / "yet" / "there")
    assert found.cores >= 1
    assert found.memory_bytes > 1 << 28
    assert found.free_disk_bytes > 0

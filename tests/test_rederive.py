"""Packages made again from their source, in samples and whole, as they are and after somebody altered them."""

from __future__ import annotations

import dataclasses
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from made_artifacts import made
from starcoder import make_starcoder

from workbench import catalog, rederive_source
from workbench.artifact import MANIFEST_NAME, Manifest, manifest_of, seal, write_manifest
from workbench.calibration import CalibrationRequest
from workbench.checkpoint import open_checkpoint
from workbench.checks import FAILED, NOT_CHECKED, PASSED, Check
from workbench.errors import WorkbenchError
from workbench.formats._output import OutputFile
from workbench.making import make_artifact
from workbench.package import PackageRequest
from workbench.package import package as packaged
from workbench.rederive import RederiveRequest, rederive
from workbench.rederive_compare import unit_name
from workbench.rederive_draw import chance_found, draw
from workbench.tensors import read_header

RECIPES = (
    "fp16", "bf16", "int8", "gguf-q8_0", "gguf-q4_k_m", "gguf-q4_k_m-imatrix", "mlx-4bit", "onnx-int4", "onnx-fp16",
    "gptq-4bit", "gptq-3bit-fitted",
)  # fmt: skip
ALL = 10_000


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_starcoder(tmp_path_factory.mktemp("source") / "small", layers=2)


@pytest.fixture(scope="module")
def packages(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """A package of each recipe, made once."""
    folder, done = tmp_path_factory.mktemp("packages"), {}

    def package(name: str) -> Path:
        if name not in done:
            done[name] = made(name, open_checkpoint(str(source)), folder / name).path
        return done[name]

    return package


@pytest.fixture
def package(packages: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy that may be altered."""
    return lambda name: Path(shutil.copytree(packages(name), tmp_path / name))


def manifest_in(folder: Path) -> Manifest:
    return manifest_of(json.loads((folder / MANIFEST_NAME).read_text(encoding="utf-8")))


def check(folder: Path, source: Path | None, count: int = ALL, **options: Any) -> Check:
    return rederive(folder, RederiveRequest(count, str(source) if source else None, **options))


def files_of(folder: Path, source: Path) -> tuple[OutputFile, ...]:
    manifest = manifest_in(folder)
    weights = catalog.get_format(manifest.format)
    named = dataclasses.replace(open_checkpoint(str(source)), id=manifest.source["id"])
    return weights.draft(named, weights.options_model.model_validate(manifest.recipe["options"]), None).files


def weight_files(folder: Path) -> list[Path]:
    return catalog.get_format(manifest_in(folder).format).weight_files(folder)


def flip(file: Path, place: int) -> None:
    data = bytearray(file.read_bytes())
    data[place] ^= 1
    file.write_bytes(data)


def sealed_again(folder: Path, **changes: Any) -> Path:
    """Whoever alters a package can redo its digests, too."""
    seal(folder, dataclasses.replace(manifest_in(folder), **changes))
    return folder


@pytest.mark.parametrize("recipe", RECIPES)
def test_an_untouched_package_passes_whole(packages, source, recipe):
    found = check(packages(recipe), source)
    assert found.status == PASSED, found
    assert "none was altered" in found.detail


@pytest.mark.parametrize("recipe", RECIPES)
def test_a_sample_passes_and_says_what_it_proves(packages, source, recipe):
    found = check(packages(recipe), source, 3, seed=5)
    assert found.status == PASSED, found
    assert found.detail.startswith("3 of ")
    assert "--seed 5 repeats the draw" in found.detail
    assert "with 95%" in found.detail


@pytest.mark.parametrize("recipe", RECIPES)
def test_one_altered_bit_is_found(package, source, recipe):
    folder = package(recipe)
    file = max(catalog.get_format(manifest_in(folder).format).weight_files(folder), key=lambda f: f.stat().st_size)
    flip(file, file.stat().st_size * 2 // 3)
    assert check(sealed_again(folder), source).status == FAILED


@pytest.mark.parametrize("recipe", ["fp16", "gguf-q4_k_m"])
def test_an_alteration_is_found_by_the_draws_that_hold_it_and_by_no_others(package, source, recipe):
    folder = package(recipe)
    (file,) = files_of(folder, source)
    offset = len(file.head) + sum(part.nbytes for part in file.parts[:4])
    flip(folder / file.name, offset + 1)
    sealed_again(folder)
    name, rounds, count = unit_name(file, file.parts[4]), 40, len(file.parts) // 2
    units = [unit_name(file, part) for part in file.parts]
    found = [check(folder, source, count, seed=seed) for seed in range(rounds)]
    assert [one.status == FAILED for one in found] == [name in draw(units, count, seed) for seed in range(rounds)]
    assert all(file.parts[4].name in one.detail for one in found if one.status == FAILED)
    chance = chance_found(len(units), count, 1)
    assert (
        abs(sum(one.status == FAILED for one in found) / rounds - chance) < 4 * (chance * (1 - chance) / rounds) ** 0.5
    )


@pytest.mark.parametrize("recipe", ["fp16", "gguf-q4_k_m", "gptq-4bit"])
def test_head_and_size_are_always_compared(package, source, recipe):
    folder = package(recipe)
    (file,) = weight_files(folder)
    flip(file, 60)
    found = check(sealed_again(folder), source, 1)
    assert found.status == FAILED
    assert "head" in found.detail
    with file.open("ab") as handle:
        handle.write(b"more")
    manifest = manifest_in(folder)
    more = manifest.weight_bytes + 4
    found = check(sealed_again(folder, weight_bytes=more, bits_per_weight=8 * more / manifest.parameters), source, 1)
    assert (found.status, "should have" in found.detail) == (FAILED, True)


@pytest.mark.parametrize("name", ["config.json", "tokenizer.json"])
def test_small_files_are_made_again(package, source, name):
    folder = package("fp16")
    flip(folder / name, 40)
    found = check(sealed_again(folder), source, 1)
    assert (found.status, name in found.detail) == (FAILED, True)


def test_a_file_that_nobody_makes_is_a_fault(package, source):
    folder = package("fp16")
    (folder / "pytorch_model.bin").write_bytes(b"an engine might load it instead")
    found = check(sealed_again(folder), source, 1)
    assert (found.status, "pytorch_model.bin" in found.detail) == (FAILED, True)


@pytest.mark.parametrize("change", [{"parameters": 15_000_000_000}, {"bits_per_weight": 2.0}, {"model": "sqlcoder"}])
def test_facts_of_the_manifest_follow_from_the_source(package, source, change):
    found = check(sealed_again(package("int8"), **change), source, 1)
    assert (found.status, next(iter(change)) in found.detail) == (FAILED, True)


def test_details_follow_from_the_conversion(package, source):
    folder = package("gguf-q4_k_m")
    found = check(sealed_again(folder, details={"file_type": "Q8_0"}), source, 1)
    assert (found.status, "file_type" in found.detail) == (FAILED, True)


def test_another_recipe_in_the_manifest_is_found(package, source):
    folder = package("gguf-q4_k_m")
    recipe = manifest_in(folder).recipe
    other = sealed_again(folder, recipe={**recipe, "options": {**recipe["options"], "type": "q5_k_m"}})
    assert check(other, source, 1).status == FAILED


@pytest.mark.parametrize(
    ("recipe", "options"),
    [
        ("gptq-4bit", {"group_size": 10**12}),
        ("gptq-4bit", {"damp": 1e300}),
        ("fp16", {"dtype": "../../etc/passwd"}),
        ("mlx-4bit", {"bits": "4; rm -rf /"}),
        ("gguf-q4_k_m", {"type": "q4_k_m", "path": "/etc/passwd", "x" * 100_000: 1}),
    ],
)
def test_hostile_options_fail_with_one_sentence(package, source, recipe, options):
    folder = package(recipe)
    manifest = manifest_in(folder)
    write_manifest(folder, dataclasses.replace(manifest, recipe={**manifest.recipe, "options": options}))
    found = check(folder, source, 1)
    assert found.status == FAILED
    assert "recipe" in found.detail
    assert "\n" not in found.detail
    assert len(found.detail) < 400


FIELDS = [one.name for one in dataclasses.fields(Manifest) if one.name not in ("files", "results", "package")]


@pytest.mark.parametrize("recipe", ["fp16", "gptq-4bit"])
@pytest.mark.parametrize("field", FIELDS)
def test_a_manifest_of_other_types_is_answered_not_crashed_on(package, source, recipe, field):
    folder = package(recipe)
    manifest = manifest_in(folder)
    for value in (None, 5, "x", [], {}, [[1]], {"calibration": 5}, {"id": [], "digest": {}}):
        write_manifest(folder, dataclasses.replace(manifest, **{field: value}))
        assert check(folder, source, 1).status in (PASSED, FAILED, NOT_CHECKED)


@pytest.mark.parametrize("format_name", ["base", "_output", "../formats/fp16", "os"])
def test_formats_are_found_by_name_only(package, source, format_name):
    folder = package("fp16")
    manifest = manifest_in(folder)
    recipe = {**manifest.recipe, "format": format_name}
    write_manifest(folder, dataclasses.replace(manifest, format=format_name, recipe=recipe))
    assert check(folder, source, 1).status == FAILED


def test_another_source_is_told_apart(packages, source, tmp_path):
    other = Path(shutil.copytree(source, tmp_path / "other"))
    flip(other / "model.safetensors", (other / "model.safetensors").stat().st_size - 9)
    found = check(packages("fp16"), other)
    assert (found.status, "not the source" in found.detail) == (NOT_CHECKED, True)


def test_a_source_that_is_not_at_hand_is_asked_for(packages):
    found = check(packages("fp16"), None)
    assert (found.status, "--source" in found.detail) == (NOT_CHECKED, True)


@pytest.mark.parametrize("name", ["/etc", "..", "small", "~/models", "org/name"])
def test_a_manifest_opens_no_folder_of_this_machine(package, source, monkeypatch, name):
    monkeypatch.chdir(source.parent)  # where a folder "small" lies, which is even the right one
    folder = package("fp16")
    manifest = manifest_in(folder)
    write_manifest(folder, dataclasses.replace(manifest, source={**manifest.source, "id": name}))
    assert check(folder, None, 1).status == NOT_CHECKED


@pytest.mark.parametrize("source_facts", [{}, {"id": 5, "digest": "a"}, {"id": "x", "digest": "0" * 63 + "g"}])
def test_a_source_without_a_digest_is_a_fault(package, source, source_facts):
    folder = package("fp16")
    write_manifest(folder, dataclasses.replace(manifest_in(folder), source=source_facts))
    assert check(folder, source, 1).status == FAILED


def test_the_bundled_model_needs_no_source(tmp_path):
    made("gguf-q8_0", open_checkpoint("sqlcoder-nano"), tmp_path / "nano")
    assert check(tmp_path / "nano", None, 59).status == PASSED


def test_texts_are_asked_for_and_told_apart(source, tmp_path):
    for name, text in (("mine", "SELECT 1;\n\n" * 400), ("others", "SELECT 2;\n\n" * 400)):
        (tmp_path / f"{name}.txt").write_text(text)
    recipe = catalog.get_recipe("gptq-4bit")
    recipe = recipe.model_copy(update={"options": {**recipe.options, "calibration_samples": 2}})
    mine = CalibrationRequest(str(tmp_path / "mine.txt"))
    folder = make_artifact(open_checkpoint(str(source)), recipe, tmp_path / "made", calibration=mine).artifact.path
    asked = check(folder, source, 1)
    assert (asked.status, "--calibration" in asked.detail) == (NOT_CHECKED, True)
    assert check(folder, source, 1, calibration=str(tmp_path / "others.txt")).status == NOT_CHECKED
    assert check(folder, source, 1, calibration=mine.source).status == PASSED


def test_codes_fitted_elsewhere_are_compared_but_not_called_altered(package, source):
    """Flipped codes stand for what another processor's sums would give."""
    folder = package("gptq-4bit")
    file = folder / "model.safetensors"
    flip(file, file.stat().st_size * 9 // 10)
    details = {**manifest_in(folder).details, "made_on": "Another (AVX2)"}
    found = check(sealed_again(folder, details=details), source)
    assert found.status == NOT_CHECKED
    assert "Another (AVX2)" in found.detail
    assert "of its codes are equal" in found.detail
    codes = next(info for info in read_header(file) if info.name == "transformer.h.1.mlp.c_proj.qweight")
    data = bytearray(file.read_bytes())
    data[codes.offset : codes.offset + codes.nbytes // 20] = bytes(codes.nbytes // 20)  # more than sums explain
    file.write_bytes(data)
    assert check(sealed_again(folder), source).status == FAILED


def test_an_importance_matrix_may_differ_by_rounding_where_processors_do(package, source):
    folder = package("gguf-q4_k_m-imatrix")
    flip(folder / "small.imatrix", (folder / "small.imatrix").stat().st_size - 2 * 32)  # the last sum's last bit
    assert check(sealed_again(folder), source, 1).status == FAILED
    details = {**manifest_in(folder).details, "made_on": "Another (AVX2)"}
    found = check(sealed_again(folder, details=details), source, 1)
    assert (found.status, "of its sums are equal" in found.detail) == (PASSED, True)
    flip(folder / "small.imatrix", (folder / "small.imatrix").stat().st_size - 2 * 32 + 3)  # its sign
    assert check(sealed_again(folder), source, 1).status == FAILED


def test_layers_that_are_none_are_a_fault(package, source):
    folder = package("gptq-4bit")
    (file,) = weight_files(folder)
    groups = next(info for info in read_header(file) if info.name == "transformer.h.0.attn.c_attn.g_idx")
    data = bytearray(file.read_bytes())
    data[groups.offset : groups.offset + 4] = (10**6).to_bytes(4, "little")
    file.write_bytes(data)
    assert check(sealed_again(folder), source).status == FAILED


def test_other_tools_are_named(package, source):
    folder = package("int8")
    versions = {**manifest_in(folder).tool_versions, "torch": "1.0"}
    found = check(sealed_again(folder, tool_versions=versions), source, 1)
    assert (found.status, "torch 1.0" in found.detail) == (PASSED, True)


@pytest.mark.parametrize(("device", "status"), [("cuda", NOT_CHECKED), ("../../dev/sda", FAILED), (7, FAILED)])
def test_what_was_made_on_a_gpu_is_checked_on_one(package, source, monkeypatch, device, status):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    folder = package("gptq-4bit")
    details = {**manifest_in(folder).details, "device": device}
    assert check(sealed_again(folder, details=details), source, 1).status == status


def test_what_is_tuned_all_at_once_is_made_again_whole(source, tmp_path):
    recipe = catalog.get_recipe("gptq-3bit-fitted")
    options = {**recipe.options, "refine": "model", "calibration_samples": 16, "calibration_tokens": 32}
    recipe = recipe.model_copy(update={"options": options})
    folder = make_artifact(open_checkpoint(str(source)), recipe, tmp_path / "made").artifact.path
    found = check(folder, source, 1)
    assert (found.status, "all" in found.detail) == (PASSED, True)
    flip(folder / "model.safetensors", 100_000)
    assert check(sealed_again(folder), source, 1).status == FAILED


@pytest.mark.parametrize("count", [0, -3])
def test_no_count_is_the_users_mistake(packages, source, count):
    with pytest.raises(WorkbenchError, match="--rederive"):
        check(packages("fp16"), source, count)


def test_a_source_that_cannot_be_opened_is_the_users_mistake(packages, tmp_path):
    with pytest.raises(WorkbenchError):
        check(packages("fp16"), tmp_path / "nowhere")


def test_strangers_words_stay_on_one_line():
    assert rederive_source.shown("a\n\x1b[31m b\u202e") == "a [31m b"
    assert len(rederive_source.shown("y" * 10**6)) < 300


@pytest.mark.parametrize("recipe", ["fp16", "gguf-q8_0"])
def test_what_packaging_writes_is_known(package, source, recipe):
    folder = package(recipe)
    packaged(PackageRequest(folder))
    assert check(folder, source).status == PASSED
    (folder / "more.md").write_text("not of the package")
    assert check(sealed_again(folder), source, 1).status == FAILED

"""The house rules that a machine can check: which way imports point, and what start-up may load."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parent.parent / "workbench"
HEAVY = (
    "torch",
    "transformers",
    "mlflow",
    "psycopg",
    "numba",
    "mlx",
    "onnx",
    "onnxruntime",
    "xllamacpp",
    "torchao",
    "plotly",
    "matplotlib",
    "scipy",
    "pandas",
    "sqlglot",
    "pynvml",
    "triton",
    "cyclonedx",
    "in_toto_attestation",
    "model_signing",
    "sigstore",
)
# errors <- nouns <- kernels <- {formats, runtimes, evals, trackers} <- build <- cli
NOUNS = {
    "addresses", "architecture", "artifact", "asked_order", "batches", "block_run", "chat_template", "checkpoint",
    "checkpoint_files", "checks", "config_tensors", "config_values", "databases", "declining", "digest_memory",
    "direct_io", "empty_model", "gguf_file", "hardware", "hub_checkpoint", "hub_files", "hub_layout", "hub_listing",
    "hub_requests", "hub_transfer", "journal", "matching", "measure", "memory_facts", "model_config",
    "module_calls", "nano", "package_files", "package_layout", "pickle_machine", "pickled", "plugins",
    "predictions", "processors", "products", "prompt", "questions", "quiet", "recipe", "report", "secret_scan",
    "shape", "sizes", "storage", "streamed_model", "template_growth", "tensors", "untrusted_config",
    "untrusted_files", "untrusted_json", "untrusted_manifest", "untrusted_template", "untrusted_text",
    "untrusted_weights", "whole_file", "workers", "workload",
}  # fmt: skip
PLUGIN_PACKAGES = {"formats", "runtimes", "evals", "trackers", "meters"}


def layer(module: str) -> int:
    """Height of a module in the house; imports may only point down or, within a package, sideways."""
    parts = module.split(".")
    top = parts[1] if len(parts) > 1 else ""
    if top in ("", "errors"):
        return 0
    if top == "nano" and len(parts) > 2:
        return 6  # how the bundled model is made: uses everything, nothing uses it
    if top in NOUNS:
        return 1
    if top == "kernels":
        return 2
    if top in PLUGIN_PACKAGES:
        return 3
    return 6 if top == "__main__" else 5 if top.startswith("cli") else 4


def module_name(path: Path) -> str:
    parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def _member(module: str, name: str) -> str:
    """``from module import name``: the submodule when there is one, else the module itself."""
    path = PACKAGE.parent / module.replace(".", "/") / name
    return f"{module}.{name}" if path.is_dir() or path.with_suffix(".py").is_file() else module


def imports_of(path: Path) -> set[str]:
    """Modules of ours that a file imports, inside functions too."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found |= {_member(node.module, alias.name) for alias in node.names}
    return {name for name in found if name.startswith("workbench")}


MODULES = sorted(PACKAGE.rglob("*.py"))


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_imports_point_one_way(path):
    own = module_name(path)
    wrong = sorted(name for name in imports_of(path) if layer(name) > layer(own))
    assert not wrong, f"{own} imports {wrong}, which stand above it"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_plug_in_packages_do_not_import_one_another(path):
    own = module_name(path).split(".")
    if len(own) < 2 or own[1] not in PLUGIN_PACKAGES:
        return
    others = PLUGIN_PACKAGES - {own[1]}
    assert not [name for name in imports_of(path) if name.split(".")[1:2] and name.split(".")[1] in others]


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_every_module_teaches(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), f"{path} has no docstring"


@pytest.mark.parametrize("path", MODULES, ids=module_name)
def test_no_catch_all(path):
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ExceptHandler):
            caught = ast.unparse(node.type) if node.type else "everything"
            assert caught not in ("Exception", "BaseException", "everything"), f"{path}:{node.lineno} catches {caught}"


@pytest.mark.parametrize("arguments", [["--help"], ["plan", "--profile", "rtx4090"], ["profiles"], ["validate"]])
def test_quick_commands_load_nothing_heavy(arguments):
    code = (
        "import sys; sys.argv = ['workbench', *sys.argv[1:]]\n"
        "from workbench.__main__ import main\n"
        "try:\n    main()\nexcept SystemExit as end:\n    code = end.code\n"
        f"loaded = [name for name in {HEAVY!r} if name in sys.modules]\n"
        "assert not loaded, loaded\n"
        "assert not code, code\n"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_all_modules_import_without_heavy_libraries():
    """Importing any module but the bundled model's trainer and the kernels loads no heavy library."""
    names = [
        name for name in map(module_name, MODULES)
        if not name.startswith(("workbench.nano.", "workbench.kernels.")) and not name.endswith("__main__")
    ]  # fmt: skip
    code = (
        f"import importlib, sys\nfor name in {names!r}:\n    importlib.import_module(name)\n"
        f"    loaded = [heavy for heavy in {HEAVY!r} if heavy in sys.modules]\n    assert not loaded, (name, loaded)\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]

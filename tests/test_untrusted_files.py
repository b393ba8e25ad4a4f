"""Every file of a package by its kind: what may be there is taken, all else is refused with a reason."""

import gzip
import io
import json
import pickle
import zipfile
from pathlib import Path

import pytest
from hostile_files import safetensors_bytes

import workbench
from workbench.errors import ArtifactError
from workbench.untrusted_files import check_file

TENSOR = safetensors_bytes({"w": {"dtype": "F16", "shape": [2], "data_offsets": [0, 4]}}, bytes(4))
TAKEN = {
    "model.safetensors": TENSOR,
    "model-00001-of-00002.safetensors": TENSOR,
    "model.safetensors.index.json": json.dumps({"metadata": {}, "weight_map": {"w": "model.safetensors"}}),
    "config.json": '{"model_type": "llama"}',
    "tokenizer.json": '{"model": {"vocab": {"a": 0}}}',
    "tokenizer_config.json": '{"chat_template": "{{ messages[0].content }}"}',
    "special_tokens_map.json": '{"bos_token": "<s>"}',
    "generation_config.json": '{"num_beams": 4}',
    "tokenizer.model": b"\n\x0e\n\x05<unk>\x15\0\0\0\0\x18\x02",
    "merges.txt": "#version: 0.2\n\u0120 t\n",
    "chat_template.jinja": "{{ messages[0].content }}",
    "README.md": "---\nlicense: mit\n---\n# Card\n",
    "LICENSE": "CC BY-SA 4.0",
    "NOTICE": "by",
    "SERVE.md": "run it",
    "prompt.txt": "### Task",
    "Modelfile": "FROM model.safetensors\n",
    "params": '{"stop": [";"]}',
    "template": "{{ .Prompt }}",
    ".eval_results/sql.yaml": "- value: 1\n",
    "model.onnx_data": b"\x80\x02anything",
}


def checked(folder, name, content):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    check_file(folder, name, {"model.safetensors": 1, name: path.stat().st_size})


@pytest.mark.parametrize("name", TAKEN)
def test_what_a_package_holds_is_taken(tmp_path, name):
    checked(tmp_path, name, TAKEN[name])


def test_the_one_program_of_ours_is_taken_to_the_byte(tmp_path):
    own = (Path(workbench.__file__).parent / "kernels" / "mlx_gpt_bigcode.py").read_bytes()
    checked(tmp_path, "mlx_gpt_bigcode.py", own)
    for other in (own + b"import os\n", own.replace(b"import", b"1mport", 1), b""):
        with pytest.raises(ArtifactError, match="not the one that this workbench writes"):
            checked(tmp_path, "mlx_gpt_bigcode.py", other)


def zipped():
    """A thousand times its size when unpacked."""
    held = io.BytesIO()
    with zipfile.ZipFile(held, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("zeros", bytes(1 << 20))
    return held.getvalue()


BOMB, PICKLE = zipped(), pickle.dumps({"w": [1, 2]})


@pytest.mark.parametrize("name", ["pytorch_model.bin", "model.pt", "a.pkl", "last.ckpt", "x.pth", "v.joblib", "a.npy"])
def test_pickles_are_refused_by_name(tmp_path, name):
    with pytest.raises(ArtifactError, match=f"{name} is of a kind that can run code"):
        checked(tmp_path, name, "harmless")


@pytest.mark.parametrize("name", ["modeling_x.py", "setup.sh", "lib.so", "X.PY", "sub/evil.py"])
def test_programs_are_refused_by_name(tmp_path, name):
    with pytest.raises(ArtifactError, match="is a program"):
        checked(tmp_path, name, "x")


@pytest.mark.parametrize("name", ["weights.zip", "weights.npz", "vocab.json.gz", "x.tar", "model.tgz"])
def test_archives_are_refused_unopened(tmp_path, name):
    with pytest.raises(ArtifactError, match="is an archive"):
        checked(tmp_path, name, BOMB)


@pytest.mark.parametrize("name", ["README.md", "LICENSE", "tokenizer.model", "vocab.json", "config.json", "prompt.txt"])
@pytest.mark.parametrize("content", [BOMB, PICKLE, gzip.compress(b"x"), b"\x7fELF\2\1", b"#!/bin/sh\n"])
def test_a_name_proves_nothing(tmp_path, name, content):
    with pytest.raises(ArtifactError, match="begins like an archive, a pickle or a program"):
        checked(tmp_path, name, content)


@pytest.mark.parametrize("name", ["x.xyz", "noending", "sub/config.json", ".eval_results/x.json", ".hidden", "x.html"])
def test_what_no_package_holds_is_refused(tmp_path, name):
    with pytest.raises(ArtifactError, match="of a kind that no package holds"):
        checked(tmp_path, name, "{}")


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("model.safetensors", PICKLE),
        ("model.safetensors.index.json", '{"weight_map": {"w": "../../etc/passwd"}}'),
        ("model.safetensors.index.json", '{"weight_map": {"w": ["x"]}}'),
        ("model.safetensors.index.json", "[]"),
        ("config.json", '{"auto_map": {"a": "b.C"}}'),
        ("params", '{"a": 1, "a": 2}'),
        ("quantize_config.json", '{"trust_remote_code": true}'),
        ("processor_config.json", '{"auto_map": {"a": "b.C"}}'),
        ("tokenizer_config.json", '{"chat_template": "{{ x.__class__ }}"}'),
        ("tokenizer.model", b"text"),
        ("merges.txt", b"a\0b"),
        ("chat_template.jinja", "{{ x.__class__ }}"),
        ("Modelfile", "FROM /etc/passwd"),
        (".eval_results/sql.yaml", "a: &a [*a]"),
        ("README.md", "\x1b]0;title\x07"),
        ("model.gguf", PICKLE),
    ],
)
def test_each_kind_is_looked_at(tmp_path, name, content):
    with pytest.raises(ArtifactError):
        checked(tmp_path, name, content)

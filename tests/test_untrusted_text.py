"""Texts of packages: hidden characters, YAML that unfolds, a Modelfile that takes weights from elsewhere."""

import pytest

from workbench.errors import ArtifactError
from workbench.untrusted_text import check_card, check_modelfile, check_text, check_yaml, modelfile_instructions

BOMB = "a: &a [x, x]\n" + "".join(
    f"{chr(98 + n)}: &{chr(98 + n)} [*{chr(97 + n)}, *{chr(97 + n)}]\n" for n in range(20)
)


def written(folder, name, text):
    (folder / name).write_bytes(text.encode() if isinstance(text, str) else text)
    return folder / name


def test_texts_of_any_language_pass(tmp_path):
    assert "Größe" in check_text(written(tmp_path, "README.md", "# Größe, 大きさ 🙂\r\n\tx\n"))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"\xff\xfe", "not UTF-8"),
        ("a\x1b[2Jb", r"U\+001B in line 1"),
        ("a\n\n\x08b", r"U\+0008 in line 3"),
        ("if a\u202e b", r"U\+202E"),
        ("a\0", r"U\+0000"),
        ("a" * (3 << 20), "larger"),
    ],
)
def test_what_a_reader_would_not_see_is_refused(tmp_path, text, why):
    with pytest.raises(ArtifactError, match=why):
        check_text(written(tmp_path, "README.md", text))


@pytest.mark.parametrize("text", [BOMB, "a: !!python/object/apply:os.system [id]", "a: [", "a: &x 1", "[" * 5000])
def test_yaml_that_unfolds_or_runs_is_refused(tmp_path, text):
    with pytest.raises(ArtifactError, match="YAML"):
        check_yaml(text, "x.yaml")
    with pytest.raises(ArtifactError, match="YAML"):
        check_card(written(tmp_path, "README.md", f"---\n{text}\n---\n# Card\n"))


def test_a_card_passes(tmp_path):
    check_card(written(tmp_path, "README.md", "---\nlicense: cc-by-sa-4.0\ntags:\n- sql\n---\n# Card\n"))
    check_card(written(tmp_path, "README.md", "# Card without front matter\n"))


MODELFILE = (
    'FROM ./model.gguf\nTEMPLATE """{{ .Prompt }}\nFROM x"""\nPARAMETER stop "a b"\n# note\nparameter num_ctx 1024\n'
)


def test_a_modelfile_of_the_package_passes(tmp_path):
    check_modelfile(written(tmp_path, "Modelfile", MODELFILE), {"model.gguf"})
    assert [name for name, _ in modelfile_instructions(MODELFILE)] == ["FROM", "TEMPLATE", "PARAMETER", "PARAMETER"]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("FROM /etc/passwd", "'/etc/passwd'"),
        ("FROM ../model.gguf", "no file of the package"),
        ("FROM llama3", "no file of the package"),
        ("from https://example.com/x.gguf", "no file of the package"),
        ("FROM model.gguf\nADAPTER https://example.com/x", "'ADAPTER'"),
        ("FROM model.gguf\nRUN id", "'RUN'"),
        ("FROM model.gguf\nFROM model.gguf", "2 models"),
        ("PARAMETER num_ctx 1", "0 models"),
        ('FROM model.gguf\nSYSTEM """open', "does not end"),
        ("FROM model.gguf\nPARAMETER " + "a" * 300, "makes no sense"),
        ("FROM model.gguf\x1b[1A", "hidden character"),
    ],
)
def test_a_modelfile_that_does_more_is_refused(tmp_path, text, why):
    with pytest.raises(ArtifactError, match=why):
        check_modelfile(written(tmp_path, "Modelfile", text), {"model.gguf"})

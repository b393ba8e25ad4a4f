"""Ollama's files, read by the rules of Ollama's own parser and of Go's templates; Ollama itself is not run.

``read_modelfile`` follows the states of github.com/ollama/ollama ``parser/parser.go``, ``fill`` the part of Go's
``text/template`` that the template uses: fields, and ``if`` with ``else``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workbench.ollama_files import go_template, modelfile, ollama_params, params_file
from workbench.prompt import PROMPTS

COMMANDS = ("from", "license", "template", "system", "adapter", "parameter", "message")
TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)


def unquoted(text: str) -> str | None:
    """A value without its quotes; ``None`` while they are open."""
    for quote in ('"""', '"'):
        if text.startswith(quote):
            closed = len(text) >= 2 * len(quote) and text.endswith(quote)
            return text[len(quote) : -len(quote)] if closed else None
    return text


def read_modelfile(text: str) -> list[tuple[str, str]]:
    """Commands and values: a word, white space, a value that ends with its line unless its quotes are open."""
    found, rest = [], text
    while rest := rest.lstrip(" \t\r\n"):
        if rest.startswith("#"):
            rest = rest.partition("\n")[2]
            continue
        match = re.match(r"([A-Za-z]+)[ \t]", rest)
        assert match, f"no command: {rest[:30]!r}"
        name = match[1].lower()
        assert name in COMMANDS, name
        rest = rest[match.end() :]
        if name == "parameter":
            match = re.match(r"([A-Za-z0-9_]+)[ \t]", rest)
            assert match, f"no parameter: {rest[:30]!r}"
            name, rest = match[1], rest[match.end() :]
        ends = [place for place, one in enumerate(rest) if one == "\n"] + [len(rest)]
        end = next(place for place in ends if unquoted(rest[:place].strip()) is not None)
        found.append((name, unquoted(rest[:end].strip()) or ""))
        rest = rest[end:]
    return found


def fill(template: str, values: dict[str, str]) -> str:
    """Go's template: what stands outside the braces as it is, fields, ``if .Field``, ``else``, ``end``."""
    out, shown = [], [True]
    for place, part in enumerate(re.split(r"\{\{(.*?)\}\}", template, flags=re.DOTALL)):
        word = part.strip()
        assert place % 2 == 0 or not part.startswith("-"), "white space must not be trimmed"
        if place % 2 == 0:
            out += [part] if all(shown) else []
        elif word.startswith("if ."):
            shown.append(bool(values.get(word[4:], "")))
        elif word == "else":
            shown[-1] = not shown[-1]
        elif word == "end":
            shown.pop()
        else:
            assert re.fullmatch(r"\.[A-Z][a-z]+", word), word
            out += [values.get(word[1:], "")] if all(shown) else []
    assert shown == [True]
    return "".join(out)


@pytest.mark.parametrize("name", PROMPTS)
@given(schema=TEXTS.filter(bool), question=TEXTS)
def test_system_and_prompt_make_the_models_prompt(name: str, schema: str, question: str) -> None:
    prompt = PROMPTS[name]
    template = go_template(prompt)
    assert fill(template, {"System": schema, "Prompt": question}) == prompt.render(schema, question)
    assert fill(template, {"Prompt": question}) == question


GO = """package main

import (
	"encoding/json"
	"os"
	"strings"
	"text/template"
)

func main() {
	var cases []struct {
		Template string
		Values   map[string]string
	}
	json.NewDecoder(os.Stdin).Decode(&cases)
	var filled []string
	for _, one := range cases {
		var out strings.Builder
		template.Must(template.New("").Option("missingkey=zero").Parse(one.Template)).Execute(&out, one.Values)
		filled = append(filled, out.String())
	}
	json.NewEncoder(os.Stdout).Encode(filled)
}
"""


@pytest.mark.peer
def test_gos_own_templates_fill_it_alike(tmp_path: Path) -> None:
    """``text/template`` with the option that Ollama sets; its program is the one on the path, or WORKBENCH_GO."""
    go = os.environ.get("WORKBENCH_GO") or shutil.which("go")
    if not go:
        pytest.skip("no Go compiler; name its program in WORKBENCH_GO")
    values = [
        {"System": "CREATE TABLE t (a int); -- {{ x }}\n", "Prompt": "Zürich `t`?\n"},
        {"Prompt": "raw {{ end }}"},
    ]
    cases = [{"Template": go_template(one), "Values": each} for one in PROMPTS.values() for each in values]
    (tmp_path / "main.go").write_text(GO)
    own = {"GOCACHE": str(tmp_path / "cache"), "GOPATH": str(tmp_path / "path"), "GOTOOLCHAIN": "local"}
    done = subprocess.run(
        [go, "run", "main.go"], cwd=tmp_path, env={**os.environ, **own}, input=json.dumps(cases),
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert json.loads(done.stdout) == [fill(one["Template"], one["Values"]) for one in cases]


@pytest.mark.parametrize("name", PROMPTS)
def test_the_modelfile_says_what_the_hubs_files_say(name: str) -> None:
    prompt = PROMPTS[name]
    commands = read_modelfile(modelfile(prompt, "sqlcoder 7b.Q4_K_M.gguf", 16384))
    assert commands[0] == ("from", "./sqlcoder 7b.Q4_K_M.gguf")
    assert dict(commands)["template"] == go_template(prompt)
    assert [value for key, value in commands if key == "stop"] == list(prompt.stop)
    params = json.loads(params_file(prompt, 16384))
    assert params == ollama_params(prompt, 16384)
    single = {key: float(value) for key, value in commands if key not in ("from", "template", "stop")}
    assert single == {key: value for key, value in params.items() if key != "stop"}


def test_answers_are_greedy_short_and_in_the_models_context() -> None:
    assert ollama_params(PROMPTS["v3"], 16384) == {
        "stop": [";", "[/SQL]"], "temperature": 0, "num_predict": 300, "num_ctx": 8192,
    }  # fmt: skip
    assert ollama_params(PROMPTS["nano"], 1024)["num_ctx"] == 1024

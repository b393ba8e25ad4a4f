"""Tokenizers in GGUF: llama.cpp must read SQL texts as the same ids as the checkpoint's own tokenizer."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import llamas
import pytest

from workbench.artifact import Artifact, Manifest
from workbench.checkpoint import open_checkpoint
from workbench.errors import CheckpointError
from workbench.formats import _gguf_vocabulary
from workbench.formats._gguf_header import pairs_bytes
from workbench.formats._gguf_vocabulary import vocabulary_bytes, vocabulary_pairs
from workbench.formats.base import ConversionContext
from workbench.formats.gguf import FORMAT, GgufOptions
from workbench.runtimes.base import LoadOptions
from workbench.runtimes.llama_cpp import RUNTIME

gguf = pytest.importorskip("gguf")
TEXTS = [
    "SELECT c.name, count(*) AS orders FROM customers c JOIN orders o ON o.customer_id = c.id WHERE o.total > 1250.50;",
    "\tSELECT 'it''s', \"Größe\" FROM \"Straße\" WHERE x = 0.000123456789 -- Kommentar\n\n\tAND y IN (1, 22, 333);\n",
    "### Task\nGenerate a SQL query to answer [QUESTION]How many users?[/QUESTION]\n\n### Answer\n[SQL]\n",
    "CREATE TABLE kunden (\n  kunden_id bigint PRIMARY KEY, --id\n    name varchar(255),\n\tumsatz numeric(10,2)\n);",
    "a  b   c    d     e      f", "naïve café 日本語 テーブル 🦙🦙 😶‍🌫️ ε≠∞ ½ ²", "x\r\ny\r\n\r\nz\u00a0w\u3000v",
    "\n\nnewlines first\n",
    "I'VE been 'told he's there, 'RE you sure? We'Ve a'lL", "3 33 333 3333 33333", "", "e\u0301 ﬁ",
]  # fmt: skip
LEADING = ["   three leading spaces", " ", "  "]
Vocabulary = Callable[[Path], None]


def with_model(folder: Path) -> None:
    llamas.write_tokenizer_model(folder, llamas.sentencepiece_vocabulary())
    llamas.write_tokenizer_config(folder)


def with_json(folder: Path) -> None:
    llamas.write_tokenizer_json(folder, llamas.sentencepiece_vocabulary())
    llamas.write_tokenizer_config(folder)


def with_metaspace(folder: Path) -> None:
    rule = {"type": "Metaspace", "replacement": llamas.SPACE, "prepend_scheme": "first", "split": False}
    llamas.write_tokenizer_json(folder, llamas.sentencepiece_vocabulary(), normalizer=None, pre_tokenizer=rule)
    llamas.write_tokenizer_config(folder)


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A llama without a tokenizer."""
    folder = tmp_path_factory.mktemp("plain") / "tiny"
    return llamas.make_llama(folder, tokenizer=False, num_hidden_layers=1, bos_token_id=1, eos_token_id=2)


def copy(plain: Path, folder: Path, write: Vocabulary) -> Path:
    folder.mkdir(exist_ok=True)
    for name in ("config.json", "model.safetensors"):
        (folder / name).write_bytes((plain / name).read_bytes())
    write(folder)
    return folder


def engine(folder: Path, out: Path) -> Any:
    """A session of llama.cpp on the converted checkpoint."""
    pytest.importorskip("xllamacpp")
    out.mkdir()
    FORMAT.convert(open_checkpoint(str(folder)), GgufOptions(type="f16"), out, ConversionContext())
    made = Artifact(out, Manifest("f16", "tiny", "llama", "nano", "gguf", {}, {}, (), 1, 1, 16.0, {}, "key"))
    return RUNTIME.load(made, LoadOptions(context=256))


def whole_text_ids(session: Any, text: str) -> list[int]:
    """Ids of a prompt, with what llama.cpp puts around it."""
    from workbench.runtimes._llama_server import post

    body = {"content": text, "add_special": True, "parse_special": True}
    return list(post(session.server(), "/tokenize", body)["tokens"])


@pytest.mark.parametrize("write", [with_json, with_metaspace, llamas.write_llama3_tokenizer])
def test_llama_cpp_reads_texts_as_the_checkpoints_tokenizer(write, plain, tmp_path) -> None:
    from tokenizers import Tokenizer

    folder = copy(plain, tmp_path / "tiny", write)
    expected = Tokenizer.from_file(str(folder / "tokenizer.json"))
    texts = TEXTS if write is with_metaspace else TEXTS + LEADING  # Metaspace "first" adds no space to a space
    with engine(folder, tmp_path / "out") as session:
        for text in texts:
            assert whole_text_ids(session, text) == expected.encode(text).ids, text


def test_a_sentencepiece_model_gives_the_same_vocabulary_as_its_json(plain, tmp_path) -> None:
    """Scores differ in size, not in order: both tokenize alike."""
    from tokenizers import Tokenizer

    model, fast = (copy(plain, tmp_path / name, write) for name, write in (("m", with_model), ("j", with_json)))
    pairs = [vocabulary_pairs(open_checkpoint(str(folder))) for folder in (model, fast)]
    same = pairs[0].keys() & pairs[1].keys() - {"tokenizer.ggml.scores", "tokenizer.ggml.token_type"}
    assert {key: pairs[0][key] for key in same} == {key: pairs[1][key] for key in same}
    expected = Tokenizer.from_file(str(fast / "tokenizer.json"))
    with engine(model, tmp_path / "out") as session:
        for text in TEXTS + LEADING:
            assert whole_text_ids(session, text) == expected.encode(text).ids, text


def test_sentencepiece_itself_agrees(plain, tmp_path) -> None:
    sentencepiece = pytest.importorskip("sentencepiece")
    folder = copy(plain, tmp_path / "tiny", with_model)
    processor = sentencepiece.SentencePieceProcessor(model_file=str(folder / "tokenizer.model"))
    with engine(folder, tmp_path / "out") as session:
        for text in TEXTS + LEADING:
            assert whole_text_ids(session, text) == [1, *processor.encode(text)], text


def test_transformers_agrees_on_decicoders_kind_of_model(tmp_path) -> None:
    from transformers import AutoTokenizer

    folder = llamas.make_llama(tmp_path / "deci", num_hidden_layers=1)
    expected = AutoTokenizer.from_pretrained(folder)
    with engine(folder, tmp_path / "out") as session:
        for text in TEXTS + LEADING:
            assert whole_text_ids(session, text) == expected(text).input_ids, text


def test_tokens_scores_and_kinds_of_a_sentencepiece_model(plain, tmp_path) -> None:
    pieces = llamas.sentencepiece_vocabulary()

    def write(folder: Path) -> None:
        llamas.write_tokenizer_model(folder, pieces)
        (folder / "added_tokens.json").write_text(json.dumps({"<x>": 500, "<far>": 600}))
        added = {"501": {"content": "\u2581<PRE>", "special": True}, "502": {"content": "a\u2581b", "special": False}}
        llamas.write_tokenizer_config(folder, added_tokens_decoder=added, add_prefix_space=True, add_eos_token=False)

    pairs: dict[str, Any] = vocabulary_pairs(open_checkpoint(str(copy(plain, tmp_path / "tiny", write))))
    tokens, scores, kinds = (pairs[f"tokenizer.ggml.{key}"] for key in ("tokens", "scores", "token_type"))
    assert len(tokens) == len(scores) == len(kinds) == 512
    assert list(zip(tokens, scores, kinds, strict=True))[: len(pieces)] == pieces
    assert tokens[500:503] == ["<x>", "\u2581<PRE>", "a b"]  # spaces of added tokens are looked for as spaces
    assert scores[500:503] == [-1000.0] * 3
    assert kinds[499:503] == [5, 4, 3, 4]
    assert pairs["tokenizer.ggml.model"] == "llama"
    assert pairs["tokenizer.ggml.pre"] == "default"
    assert pairs["tokenizer.ggml.add_bos_token"] is True
    assert pairs["tokenizer.ggml.add_eos_token"] is False
    assert pairs["tokenizer.ggml.add_space_prefix"] is True


def test_llama3s_pairs(plain, tmp_path) -> None:
    pairs = vocabulary_pairs(open_checkpoint(str(copy(plain, tmp_path / "tiny", llamas.write_llama3_tokenizer))))
    assert pairs["tokenizer.ggml.pre"] == "llama-bpe"
    assert pairs["tokenizer.ggml.add_bos_token"] is True
    assert "tokenizer.chat_template" not in pairs  # the file has the prompt the model was trained on instead


def test_code_llamas_end_of_infilling_is_named(tmp_path) -> None:
    folder = llamas.make_llama(tmp_path / "code", tokenizer=False, num_hidden_layers=1, vocab_size=32016)
    with_model(folder)
    assert vocabulary_pairs(open_checkpoint(str(folder)))["tokenizer.ggml.eot_token_id"] == 32010


def broken(**changes: Any) -> Vocabulary:
    return lambda folder: llamas.write_tokenizer_json(folder, llamas.sentencepiece_vocabulary(), **changes)


def reversed_merges(folder: Path) -> None:
    """Good pieces, but ranked so that no scores could say it."""
    llamas.write_tokenizer_json(folder, llamas.sentencepiece_vocabulary())
    document = json.loads((folder / "tokenizer.json").read_text())
    del document["model"]["merges"][::2]
    (folder / "tokenizer.json").write_text(json.dumps(document))


def model_with(**changes: Any) -> Vocabulary:
    return lambda folder: llamas.write_tokenizer_model(folder, llamas.sentencepiece_vocabulary(), **changes)


def no_bytes(folder: Path) -> None:
    llamas.write_tokenizer_model(folder, [piece for piece in llamas.sentencepiece_vocabulary() if piece[2] != 6])


@pytest.mark.parametrize(
    ("write", "reason"),
    [
        (broken(normalizer={"type": "NFKC"}), "treats spaces"),
        (broken(pre_tokenizer={"type": "Metaspace", "replacement": "_", "split": False}, normalizer=None), "treats"),
        (reversed_merges, "ranks its merges"),
        (model_with(kind=1), "normalizes or cuts"),  # a unigram model
        (model_with(normalizer=b"\x12\x01x\x20\x00"), "normalizes or cuts"),  # a table of replacements
        (model_with(normalizer=b""), "normalizes or cuts"),  # removes extra spaces, as is SentencePiece's default
        (no_bytes, "spell every byte"),
        (lambda folder: (folder / "tokenizer.model").write_bytes(b"\x0a\xff"), "no SentencePiece model"),
        (lambda folder: (folder / "tokenizer.json").write_text("{"), "cannot be read"),
        (lambda folder: None, "missing"),
    ],
)
def test_what_llama_cpp_would_read_otherwise_is_refused(write, reason, plain, tmp_path) -> None:
    with pytest.raises(CheckpointError, match=reason):
        vocabulary_pairs(open_checkpoint(str(copy(plain, tmp_path / "tiny", write))))


def test_a_model_without_dummy_prefix_says_so(plain, tmp_path) -> None:
    write = model_with(normalizer=b"\x18\x00\x20\x00")
    pairs = vocabulary_pairs(open_checkpoint(str(copy(plain, tmp_path / "tiny", write))))
    assert pairs["tokenizer.ggml.add_space_prefix"] is False


def test_a_tokenizer_larger_than_the_model_is_refused(tmp_path) -> None:
    folder = llamas.make_llama(tmp_path / "small", num_hidden_layers=1, vocab_size=300)
    with pytest.raises(CheckpointError, match="fetch the matching tokenizer"):
        vocabulary_pairs(open_checkpoint(str(folder)))


def test_the_size_of_a_vocabulary_is_remembered_until_a_file_changes(
    plain: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    checkpoint = open_checkpoint(str(copy(plain, tmp_path / "tiny", with_model)))
    size = vocabulary_bytes(checkpoint)
    assert size == len(pairs_bytes(vocabulary_pairs(checkpoint)))
    _gguf_vocabulary._size.cache_clear()  # as a new run would begin
    with monkeypatch.context() as patch:
        patch.setattr(_gguf_vocabulary, "_pairs", lambda *_: pytest.fail("read again"))
        assert vocabulary_bytes(checkpoint) == size
    (remembered,) = (tmp_path / "cache").rglob("vocabulary-sizes/*")
    remembered.write_text("damaged")
    _gguf_vocabulary._size.cache_clear()
    assert vocabulary_bytes(checkpoint) == size
    llamas.write_tokenizer_config(tmp_path / "tiny", add_prefix_space=False)
    assert vocabulary_bytes(checkpoint) == len(pairs_bytes(vocabulary_pairs(checkpoint))) != size

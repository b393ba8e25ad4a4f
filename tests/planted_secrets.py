"""Secrets to be found again: tokens of recognisable text, and a search of all that a program wrote for them.

Each has the shape of a real one and a word of its own in it. What is looked for is the token as it is, in the ways a
text may write it, and its word, in case somebody cuts it short or blanks a part of it.
"""

import base64
import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from urllib.parse import quote

WORDS = {
    "HF_TOKEN": "Plantedwalrus",
    "GITHUB_TOKEN": "Plantedheron",
    "MLFLOW_TRACKING_TOKEN": "Plantedotter",
    "MLFLOW_TRACKING_PASSWORD": "Plantedlemur",
    "WORKBENCH_DATABASE_PASSWORD": "Plantedbadger",
    "HUB_PASSWORD": "Plantedgecko",
}
SECRETS = {
    "HF_TOKEN": f"hf_{WORDS['HF_TOKEN']}0123456789abcdefghij",
    "GITHUB_TOKEN": f"ghp_{WORDS['GITHUB_TOKEN']}0123456789abcdefghijkl",
    "MLFLOW_TRACKING_TOKEN": f"{WORDS['MLFLOW_TRACKING_TOKEN']}/+token=0123456789",
    "MLFLOW_TRACKING_PASSWORD": f"{WORDS['MLFLOW_TRACKING_PASSWORD']}@:0123456789",
    "WORKBENCH_DATABASE_PASSWORD": f"{WORDS['WORKBENCH_DATABASE_PASSWORD']}0123456789",
    "HUB_PASSWORD": f"{WORDS['HUB_PASSWORD']}0123456789",
}


def _written(secret: str, word: str) -> set[bytes]:
    plain = secret.encode()
    pieces = {base64.b64encode(b"x" * lead + word.encode())[4:-4] for lead in range(3)}  # in base64, wherever it begins
    whole = {plain, word.encode(), quote(secret, safe="").encode(), json.dumps(secret).encode(), plain.hex().encode()}
    return whole | pieces


FORMS = {name: _written(secret, WORDS[name]) for name, secret in SECRETS.items()}


def found_in(text: bytes | str) -> set[str]:
    """Names of the secrets that a text gives away."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return {name for name, forms in FORMS.items() if any(form in data for form in forms)}


def given_away(written: Iterable[tuple[str, bytes | str]]) -> list[str]:
    """A line for each place that gives a secret away; nothing is what is wanted."""
    return [f"{where}: {name}" for where, text in written for name in sorted(found_in(text))]


def files(folder: Path) -> Iterator[tuple[str, bytes | str]]:
    """Names and contents of all that lies below a folder; of a database the file itself, with its journal."""
    for path in folder.rglob("*"):
        yield str(path), str(path)
        if path.is_file() and not path.is_symlink():
            yield str(path), path.read_bytes()
        elif path.is_symlink():
            yield str(path), str(path.readlink())

"""What is known of licences without asking anybody: their names, how to tell their texts, and the models of the family.

The names are those of the Hub's front matter (huggingface.co/docs/hub/repositories-licenses). A repository's own
word counts before this table (``workbench/licences.py``).
Sources: the model cards of defog, bigcode and Deci on the Hub, and of the models that theirs were made from.

Example::

    LICENCES["cc-by-sa-4.0"].spdx  # "CC-BY-SA-4.0"
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.nano import MODEL_NAME


@dataclass(frozen=True)
class Known:
    """A licence by the name it has on the Hub.

    Attributes:
        spdx: its SPDX identifier; ``LicenseRef-`` and its name on the Hub for one that SPDX does not list.
        name: as its makers call it.
        link: its text.
        marks: words that stand in the text, by which it is told; none where it cannot be.
    """

    spdx: str
    name: str
    link: str
    marks: tuple[str, ...] = ()


LICENCES = {
    "apache-2.0": Known(
        "Apache-2.0",
        "Apache License 2.0",
        "https://www.apache.org/licenses/LICENSE-2.0",
        ("apache license", "version 2.0, january 2004"),
    ),
    "cc-by-sa-4.0": Known(
        "CC-BY-SA-4.0",
        "Creative Commons Attribution Share Alike 4.0 International",
        "https://creativecommons.org/licenses/by-sa/4.0/legalcode",
        ("attribution-sharealike 4.0 international public license",),
    ),
    "cc-by-4.0": Known(
        "CC-BY-4.0",
        "Creative Commons Attribution 4.0 International",
        "https://creativecommons.org/licenses/by/4.0/legalcode",
        ("attribution 4.0 international public license",),
    ),
    "mit": Known(
        "MIT",
        "MIT License",
        "https://opensource.org/license/mit",
        ("permission is hereby granted, free of charge, to any person obtaining a copy",),
    ),
    "bigcode-openrail-m": Known(
        "LicenseRef-bigcode-openrail-m",
        "BigCode Open RAIL-M v1",
        "https://huggingface.co/spaces/bigcode/bigcode-model-license-agreement",
        ("bigcode", "openrail-m"),
    ),
    "llama2": Known(
        "LicenseRef-llama2",
        "Llama 2 Community License Agreement",
        "https://ai.meta.com/llama/license/",
        ("llama 2 community license agreement",),
    ),
    "llama3": Known(
        "LicenseRef-llama3",
        "Meta Llama 3 Community License Agreement",
        "https://llama.meta.com/llama3/license/",
        ("meta llama 3 community license agreement",),
    ),
}


@dataclass(frozen=True)
class Member:
    """A model of the family: what is known of it without its repository.

    Attributes:
        key: part of the last part of its id, in small letters.
        base: its id on the Hub.
        licence: key of ``LICENCES``.
        author: whom to name.
        also: further terms, as a sentence; may be empty.
    """

    key: str
    base: str
    licence: str
    author: str
    also: str = ""


_LLAMA2 = (
    "It was made from Code Llama: the Llama 2 Community License Agreement (ai.meta.com/llama/license) applies too."
)
_LLAMA3 = (
    "Built with Meta Llama 3: the Meta Llama 3 Community License Agreement (llama.meta.com/llama3/license) applies "
    "too. Meta Llama 3 is licensed under the Meta Llama 3 Community License, Copyright (c) Meta Platforms, Inc. All "
    "Rights Reserved."
)
_STARCODER = "It was made from StarCoder: the use restrictions of the BigCode OpenRAIL-M licence apply too."

# The first match counts, as in workbench/prompt.py.
FAMILY = (
    Member(MODEL_NAME, MODEL_NAME, "apache-2.0", "the SQLCoder workbench"),
    Member("sqlcoder-7b-2", "defog/sqlcoder-7b-2", "cc-by-sa-4.0", "Defog, Inc", _LLAMA2),
    Member("sqlcoder-34b", "defog/sqlcoder-34b-alpha", "cc-by-sa-4.0", "Defog, Inc", _LLAMA2),
    Member("sqlcoder-70b", "defog/sqlcoder-70b-alpha", "cc-by-sa-4.0", "Defog, Inc", _LLAMA2),
    Member("llama-3-sqlcoder", "defog/llama-3-sqlcoder-8b", "cc-by-sa-4.0", "Defog, Inc", _LLAMA3),
    Member("llama3-sqlcoder", "defog/llama-3-sqlcoder-8b", "cc-by-sa-4.0", "Defog, Inc", _LLAMA3),
    Member("sqlcoder-8b", "defog/llama-3-sqlcoder-8b", "cc-by-sa-4.0", "Defog, Inc", _LLAMA3),
    Member("sqlcoder-7b", "defog/sqlcoder-7b", "cc-by-sa-4.0", "Defog, Inc"),
    Member("sqlcoder2", "defog/sqlcoder2", "cc-by-sa-4.0", "Defog, Inc", _STARCODER),
    Member("sqlcoder", "defog/sqlcoder", "cc-by-sa-4.0", "Defog, Inc", _STARCODER),
    Member("octocoder", "bigcode/octocoder", "bigcode-openrail-m", "BigCode"),
    Member("starcoder", "bigcode/starcoder", "bigcode-openrail-m", "BigCode"),
    Member("decicoder", "Deci/DeciCoder-1b", "apache-2.0", "Deci AI"),
)

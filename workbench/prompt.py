"""The prompts a model was trained on; it only performs with its own.

A template is text with the fields ``{schema}``, ``{question}`` and ``{instructions}``. Where they come from:

- v1, v2, v3: interface data of defog-ai/sqlcoder (Apache-2.0): commits 2313019, 91f82a6 and ba0187a of its
  ``prompt.md``.
- v3-llama3: the form on the model card of defog/llama-3-sqlcoder-8b, spaced as in defog-ai/sql-eval's
  ``prompts/prompt.md`` (commit 5ffdac7): one turn of Llama 3's chat format, with the answer's first line already
  written. Its words are not v3's. The card begins with ``<|begin_of_text|>``; here it is left out, because the
  tokenizer of every runtime puts it before the prompt itself, and two of them are not what the model was trained on.
- completion: for base models of code, which continue text (StarCoder, DeciCoder): the schema as DDL and the
  question as a comment, the "code representation" of Gao et al. 2023, DAIL-SQL (arXiv 2308.15363), without its last
  word ``SELECT``: the answer is scored as the model writes it.
- octocoder: the form on the model card of bigcode/octocoder and in bigcode-evaluation-harness (Apache-2.0).
- nano: the bundled model's own; it puts the schema first, so that all questions of one database share a prefix
  which is computed once.

defog's own runs end an answer at ``;`` or a fence (sql-eval ``api_runner.py``); so do the stop texts here where SQL
comes first.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Prompt:
    """A template and the texts that end an answer.

    Attributes:
        name: the key in ``PROMPTS``.
        template: text with ``{schema}``, ``{question}`` and, where the model was trained with them, ``{instructions}``.
        stop: strings; generation ends at the first one that appears.
    """

    name: str
    template: str
    stop: tuple[str, ...]

    def render(self, schema: str, question: str, instructions: str = "") -> str:
        """Fill the template; braces inside the values are left as they are, instructions end with an empty line."""
        lines = f"{instructions.rstrip()}\n" if instructions.strip() else ""
        parts = {"{schema}": schema, "{question}": question, "{instructions}": lines}
        out, rest = [], self.template
        while rest:
            # The earliest field next: str.replace in sequence would rewrite fields inside values.
            position, field = min(((rest.find(f), f) for f in parts if f in rest), default=(-1, ""))
            if position < 0:
                break
            out += [rest[:position], parts[field]]
            rest = rest[position + len(field) :]
        return "".join([*out, rest])


NANO = Prompt(
    "nano",
    "### Schema\n{schema}\n\n### Question\n{question}\n\n### SQL\n```sql\n",
    ("```",),
)

_V1 = """### Instructions:
Your task is convert a question into a SQL query, given a Postgres database schema.
Adhere to these rules:
- **Deliberately go through the question and database schema word by word** to appropriately answer the question
- **Use Table Aliases** to prevent ambiguity. For example, `SELECT table1.col1, table2.col1 FROM table1 JOIN table2 ON table1.id = table2.id`.
- When creating a ratio, always cast the numerator as float

### Input:
Generate a SQL query that answers the question `{question}`.
This query will run on a database whose schema is represented in this string:
{schema}

### Response:
Based on your instructions, here is the SQL query I have generated to answer the question `{question}`:
```sql
"""

_V2 = """### Task
Generate a SQL query to answer the following question:
`{question}`

### Database Schema
The query will run on a database with the following schema:
{schema}

### SQL
Follow these steps to create the SQL Query:
1. Only use the columns and tables present in the database schema
2. Use table aliases to prevent ambiguity when doing joins. For example, `SELECT table1.col1, table2.col1 FROM table1 JOIN table2 ON table1.id = table2.id`.

Given the database schema, here is the SQL query that answers `{question}`:
```sql
"""

_V3 = """### Task
Generate a SQL query to answer [QUESTION]{question}[/QUESTION]

### Instructions
- If you cannot answer the question with the available database schema, return 'I do not know'
{instructions}
### Database Schema
The query will run on a database with the following schema:
{schema}

### Answer
Given the database schema, here is the SQL query that answers [QUESTION]{question}[/QUESTION]
[SQL]
"""

_V3_LLAMA3 = """<|start_header_id|>user<|end_header_id|>

Generate a SQL query to answer this question: `{question}`
{instructions}
DDL statements:
{schema}<|eot_id|><|start_header_id|>assistant<|end_header_id|>

The following SQL query best answers the question `{question}`:
```sql
"""

_COMPLETION = """/* Given the following database schema: */
{schema}

/* Answer the following: {question} */
"""

_OCTOCODER = """Question: Write one PostgreSQL query that answers `{question}` on a database with the following schema:
{schema}

Answer:"""

V1 = Prompt("v1", _V1, ("```",))
V2 = Prompt("v2", _V2, ("```",))
V3 = Prompt("v3", _V3, (";", "[/SQL]"))
V3_LLAMA3 = Prompt("v3-llama3", _V3_LLAMA3, (";", "```"))
COMPLETION = Prompt("completion", _COMPLETION, (";", "\n/*", "\n\n--"))
OCTOCODER = Prompt("octocoder", _OCTOCODER, ("\nQuestion:",))  # prose may hold a semicolon

PROMPTS = {prompt.name: prompt for prompt in (NANO, V1, V2, V3, V3_LLAMA3, COMPLETION, OCTOCODER)}

# The name of a repository or folder tells the prompt (models.md of the family; the config does not).
_BY_MODEL = (
    ("sqlcoder-nano", "nano"),
    ("sqlcoder-7b-2", "v3"),
    ("sqlcoder-34b", "v3"),
    ("sqlcoder-70b", "v3"),
    ("llama-3-sqlcoder", "v3-llama3"),
    ("llama3-sqlcoder", "v3-llama3"),
    ("sqlcoder-8b", "v3-llama3"),
    ("sqlcoder-7b", "v2"),
    ("sqlcoder2", "v2"),
    ("sqlcoder", "v1"),
    ("octocoder", "octocoder"),
    ("starcoder", "completion"),
    ("decicoder", "completion"),
)


def prompt_for(model: str) -> Prompt:
    """The prompt of a model, by the last part of its Hub id or folder name; v3 for a stranger."""
    name = model.rstrip("/").rsplit("/", 1)[-1].lower()
    return next((PROMPTS[prompt] for key, prompt in _BY_MODEL if key in name), V3)

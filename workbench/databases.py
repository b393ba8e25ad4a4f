r"""Databases: where the tables that questions are asked of come from, as text.

A database is two texts: ``schema``, the DDL a prompt shows, and ``script``, all the SQL that creates and fills it.
It lies in a folder of its own name, in one of two layouts, told apart by looking:

* ``schema.sql`` with rows beside it: ``rows.sql``, ``rows/<table>.csv`` or ``<table>.csv`` (first line: the columns;
  an empty cell is NULL). ``pg_dump --schema-only`` writes such a schema, ``COPY t TO 't.csv' CSV HEADER`` such rows.
* defog-data's: ``<name>.sql``, a whole dump, and ``<name>.json``, which describes each column. The prompt's text
  is made of the latter as sql-eval makes it, with the joins listed in a ``supplementary.py`` beside.

``places`` says where to look, in this order: ``--databases``, beside the questions, the installed ``defog-data`` wheel.

    >>> find_database(places(Path("q/questions.csv"), Path("defog-data")), "broker").schema()
    'CREATE TABLE sbCustomer (\n  sbCustId varchar(20),\n ...'
"""

from __future__ import annotations

import ast
import csv
import importlib.util
import io
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Protocol

from workbench.errors import EvaluationError

WHEEL = "defog_data"
COPY_BLOCK = re.compile(r"^(COPY\s[^;]*\sFROM\s+stdin[^;]*;)[^\n]*\n(.*?)^\\\.\s*$", re.MULTILINE | re.DOTALL | re.I)
_DUMP = "PostgreSQL database dump"
# Lines of a dump that belong to the server it came from: roles that are not here, psql's own commands.
_FOREIGN = re.compile(
    r"^(?:ALTER [^;\n]* OWNER TO [^;\n]*;|(?:GRANT|REVOKE|ALTER DEFAULT PRIVILEGES) [^;\n]*;|CREATE SCHEMA public;"
    r"|\\(?:un)?restrict\b.*|\\connect\b.*)$\n?",
    re.MULTILINE,
)
_NOISE = re.compile(r"^(?:SET [^;\n]*;|SELECT pg_catalog\.set_config\([^;\n]*;|--.*)$\n?", re.MULTILINE)
_CREATED_SCHEMA = re.compile(r"CREATE TABLE (\w+)\.\w+ ", re.IGNORECASE)


class Database(Protocol):
    """One database as text, in whichever layout it lies."""

    def schema(self) -> str:
        """DDL as the prompt shows it, without surrounding white space."""

    def script(self) -> str:
        """SQL that creates and fills it; rows may stand in ``COPY ... FROM stdin`` blocks as pg_dump writes them."""


def places(questions: Path, databases: Path | None = None) -> tuple[Path, ...]:
    """Folders in which to look for the databases of a question file, the first one that has it wins.

    Args:
        questions: the CSV file.
        databases: what the user gave: a folder of databases, or a checkout of defog-data.

    Raises:
        EvaluationError: ``databases`` is no folder.
    """
    if databases is not None and not databases.is_dir():
        raise EvaluationError(f"there is no folder {databases}; give --databases a folder with one folder per database")
    chosen = () if databases is None else (databases, databases / WHEEL)
    return (*chosen, questions.parent / "databases", questions.parent, *_wheel())


def _wheel() -> tuple[Path, ...]:
    """Folder of the installed defog-data, found without running any of its code."""
    spec = importlib.util.find_spec(WHEEL)
    return tuple(Path(place) for place in (spec and spec.submodule_search_locations) or ())


def find_database(where: Sequence[Path], name: str) -> Database:
    """The first database of this name: ``<place>/<name>/`` in either layout, or a place that is itself one.

    Raises:
        EvaluationError: there is none; the message names every place.
    """
    if Path(name).name == name != "..":  # a name with a slash would lead elsewhere
        for folder in (folder for place in where for folder in (place / name, place)):
            if (folder / "schema.sql").is_file():
                return PlainDatabase(folder)
            if (folder / f"{name}.sql").is_file():
                return DefogDatabase(folder, name)
    looked = ", ".join(map(str, where))
    raise EvaluationError(
        f"there is no database {name!r} in {looked}; correct db_name, or name its parent folder with --databases; "
        "of sql-eval's, `pip install defog-data` brings seven and a checkout of defog-ai/defog-data all"
    )


@dataclass(frozen=True)
class PlainDatabase:
    """``schema.sql`` with rows in SQL or CSV beside it."""

    folder: Path

    def schema(self) -> str:
        """The text of ``schema.sql``, without what pg_dump wraps around it."""
        return _without_noise(_read(self.folder / "schema.sql")).strip()

    def script(self) -> str:
        """The schema, then ``rows.sql`` and ``rows/*.sql``, then each table's CSV.

        Raises:
            EvaluationError: there are no rows, or a CSV fits no table.
        """
        schema = _read(self.folder / "schema.sql")
        rows = [*self.folder.glob("rows.sql"), *sorted(self.folder.glob("rows/*.sql"))]
        tables = sorted([*self.folder.glob("*.csv"), *self.folder.glob("rows/*.csv")])
        copies = [block for path in tables if (block := _copy_block(path, schema))]
        if not rows and not copies:
            raise EvaluationError(f"{self.folder} holds no rows; add rows.sql or a CSV named after each table")
        # Tables may refer to one another in any order, and a dump's schema may have emptied the search path.
        before = ["RESET search_path;\nSET session_replication_role = replica;"] if copies else []
        pieces = [native(schema), *(native(_read(path)) for path in rows), *before]
        return "\n".join(["\n;\n".join(pieces), *copies])


@dataclass(frozen=True)
class DefogDatabase:
    """A database of defog-data: ``<name>.sql`` and ``<name>.json``."""

    folder: Path
    name: str

    def schema(self) -> str:
        """DDL made of the JSON as sql-eval's ``to_prompt_schema`` does, then ``-- a.x can be joined with b.y`` lines.

        Raises:
            EvaluationError: the JSON is missing or not defog-data's.
        """
        path = self.folder / f"{self.name}.json"
        if not path.is_file():
            raise EvaluationError(
                f"{self.folder} holds {self.name}.sql but no {path.name} that describes its columns; add it, "
                "or cut the SQL into schema.sql and rows.sql"
            )
        try:
            tables = json.loads(_read(path))["table_metadata"]
            ddl = "\n".join(_table_ddl(table, columns) for table, columns in tables.items())
            known = {f"{table}.{column['column_name']}" for table, columns in tables.items() for column in columns}
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise EvaluationError(f"{path} is not in defog-data's format ({error!r}); fetch it again") from error
        schemas = "".join(f"CREATE SCHEMA IF NOT EXISTS {one};\n" for one in sorted(set(_CREATED_SCHEMA.findall(ddl))))
        joins = [f"-- {a} can be joined with {b}" for a, b in self._joins() if {a, b} <= known]
        return schemas + "\n\n".join([ddl, *(["\n".join(joins)] if joins else [])])

    def script(self) -> str:
        """The dump, without the lines that name roles of the server it came from."""
        return native(_read(self.folder / f"{self.name}.sql"))

    def _joins(self) -> list[tuple[str, str]]:
        """Pairs of columns from ``columns_join``; a few of them name columns that do not exist."""
        path = self.folder.parent / "supplementary.py"
        if not path.is_file():
            return []
        pairs = _columns_join(path, path.stat().st_mtime_ns).get(self.name, {}).values()
        return list(dict.fromkeys((a, b) for found in pairs for a, b in found))


def _table_ddl(table: str, columns: list[dict[str, str]]) -> str:
    lines = []
    for number, column in enumerate(columns, start=1):
        name, described = column["column_name"], (column.get("column_description") or "").replace("\n", " ")
        shown = f'"{name}"' if " " in name else name
        comma, comment = "," * (number < len(columns)), f" --{described}" * bool(described)
        lines.append(f"  {shown} {column['data_type']}{comma}{comment}\n")
    return f"CREATE TABLE {table} (\n{''.join(lines)});"


@lru_cache(maxsize=8)
def _columns_join(path: Path, _modified_ns: int) -> dict[str, dict[Any, list[tuple[str, str]]]]:
    """The dict assigned to ``columns_join``, read as a literal: none of the file's code runs."""
    try:
        for node in ast.parse(_read(path)).body:
            if isinstance(node, ast.Assign) and [ast.unparse(one) for one in node.targets] == ["columns_join"]:
                found: dict[str, dict[Any, list[tuple[str, str]]]] = ast.literal_eval(node.value)
                return found
    except (SyntaxError, ValueError) as error:
        raise EvaluationError(f"columns_join in {path} is no plain dict ({error}); fetch defog-data again") from error
    return {}


def _read(path: Path, newline: str | None = None) -> str:
    try:
        with path.open(encoding="utf-8-sig", newline=newline) as handle:
            return handle.read()
    except (OSError, UnicodeDecodeError) as error:
        raise EvaluationError(f"{path} cannot be read as UTF-8 text; save it so: {error}") from error


def native(script: str) -> str:
    """The script without a dump's lines about another server; what stands in COPY blocks is left as it is."""
    return "".join(text if is_rows else _FOREIGN.sub("", text) for text, is_rows in _parts(script))


def _parts(script: str) -> Iterator[tuple[str, bool]]:
    """Pieces of a script in order, each with whether it is a COPY block."""
    position = 0
    for block in COPY_BLOCK.finditer(script):
        yield script[position : block.start()], False
        yield block[0], True
        position = block.end()
    yield script[position:], False


def _without_noise(schema: str) -> str:
    """A dump's DDL alone; any other text as it is."""
    if _DUMP not in schema:
        return schema
    return re.sub(r"\n{3,}", "\n\n", _NOISE.sub("", native(schema)))


def _copy_block(path: Path, schema: str) -> str:
    """A table's CSV as a COPY block; empty for a file of questions.

    Raises:
        EvaluationError: the file fits no table, or not COPY.
    """
    text = _read(path, newline="").rstrip("\r\n")  # line ends stay as they are: cells may hold some
    columns = [cell.strip() for cell in next(csv.reader(io.StringIO(text)), [])]
    if {"question", "query"} <= set(columns):
        return ""
    if fault := _csv_fault(path, text, columns, schema):
        raise EvaluationError(f"{path} {fault}")
    table = ".".join(_quoted(part, schema) for part in _table_name(path, schema))
    end = "\r\n" if "\r\n" in text else "\n"
    names = ", ".join(_quoted(column, schema) for column in columns)
    return f"COPY {table} ({names}) FROM stdin WITH (FORMAT csv, HEADER);\n{text}{end}\\.\n"


def _csv_fault(path: Path, text: str, columns: list[str], schema: str) -> str:
    missing = [part for part in _table_name(path, schema) if not re.search(rf"\b{re.escape(part)}\b", schema, re.I)]
    if missing:
        return f"is named after no table of schema.sql ({missing[0]!r} is not there); rename or move the file"
    if not columns:
        return "is empty; its first line must name the table's columns"
    if "" in columns or len(set(columns)) < len(columns):
        return "has a column without a name, or two of one name, in its first line; correct it"
    if len(columns) == 1 and re.search(r"[;\t]", columns[0]):
        return "is not separated by commas; save it so"
    return "holds a line that is only \\. , which ends rows in COPY; put them in rows.sql" if _ends_early(text) else ""


def _ends_early(text: str) -> bool:
    return bool(re.search(r"^\\\.\s*$", text, re.MULTILINE))


def _table_name(path: Path, schema: str) -> list[str]:
    """``sales.orders.csv`` is table orders of schema sales, unless a table is so named itself."""
    return [path.stem] if f'"{path.stem}"' in schema else path.stem.split(".")


def _quoted(name: str, schema: str) -> str:
    """As Postgres knows the name: as it stands where the schema quotes it, else in lower case."""
    bare = name.replace('"', '""')
    return f'"{bare}"' if f'"{bare}"' in schema else f'"{bare.lower()}"'

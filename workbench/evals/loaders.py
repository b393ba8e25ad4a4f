"""How Postgres's values become Python's, without a value that ends the run.

psycopg's loaders raise for what Python's types cannot hold: ``infinity`` and years BC, ``24:00``, json with a thousand
brackets or a number of a million digits. Here such a value is kept as text with its kind (``cells.Typed``), json apart
from other values (``cells.Json``), and ``char(n)`` with the mark that its padding means nothing.

    psycopg.connect(conninfo, context=Context())
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Any

from workbench.evals.cells import Json, Typed

if TYPE_CHECKING:
    from psycopg.adapt import AdaptersMap, Loader

# psycopg's names of the types whose values may be outside Python's range, and the tag of their canonical form
TEMPORAL = {
    "date": "moment",
    "timestamp": "moment",
    "timestamptz": "moment",
    "time": "time",
    "timetz": "time",
    "interval": "interval",
}


class Context:
    """What psycopg asks of an adaptation context."""

    connection = None

    @property
    def adapters(self) -> AdaptersMap:
        """The loaders by type."""
        return _adapters()


@functools.cache
def _adapters() -> AdaptersMap:
    """psycopg's loaders, made to keep as text what Python's types cannot hold (``infinity``, years BC)."""
    import psycopg
    from psycopg.adapt import AdaptersMap
    from psycopg.pq import Format

    adapters = AdaptersMap(psycopg.adapters)
    for kind in psycopg.adapters.types:
        if kind.name in TEMPORAL or kind.name.endswith("range") or kind.name == "record":
            for oid in (kind.oid, kind.array_oid):
                base = psycopg.adapters.get_loader(oid, Format.TEXT)
                assert base is not None
                adapters.register_loader(oid, _tolerant(base, TEMPORAL.get(kind.name, kind.name)))
    for name in ("json", "jsonb"):
        adapters.register_loader(name, _json_loader())
    adapters.register_loader("bpchar", _padded_loader())
    return adapters


def _tolerant(base: Any, tag: str) -> type[Loader]:
    import psycopg
    from psycopg.adapt import Loader

    class Tolerant(Loader):
        def __init__(self, oid: int, context: Any = None) -> None:
            super().__init__(oid, context)
            self._load = base(oid, context).load  # psycopg's C loaders cannot be subclassed

        def load(self, data: Any) -> Any:
            try:
                return self._load(data)
            except (psycopg.Error, ValueError, ArithmeticError):
                return Typed(tag, bytes(data).decode())

    return Tolerant


def _json_loader() -> type[Loader]:
    import json
    from decimal import Decimal

    from psycopg.adapt import Loader

    class JsonLoader(Loader):
        def load(self, data: Any) -> Json | Typed:
            try:
                value = Json(json.loads(bytes(data), parse_float=Decimal))
                _ = value.cell  # its canonical form is kept; make it where it may fail
                return value
            except (ValueError, ArithmeticError, RecursionError):  # thousands of digits, thousands of brackets
                return Typed("json text", bytes(data).decode())

    return JsonLoader


def _padded_loader() -> type[Loader]:
    from psycopg.adapt import Loader

    class PaddedLoader(Loader):
        def load(self, data: Any) -> Typed:
            return Typed("padded", bytes(data).decode())

    return PaddedLoader

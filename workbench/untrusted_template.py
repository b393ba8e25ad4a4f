"""Chat templates from strangers: looked through before they are run.

A chat template is a program in Jinja that turns a conversation into the prompt, and whoever serves a model runs it. In
a plain Jinja environment ``{{ ''.__class__.__mro__ }}`` reaches every class of the process and so a shell
(CVE-2024-34359 of llama-cpp-python); in the sandbox that transformers uses, one can still loop for a day or write text
until memory is gone. So a template is parsed, which runs nothing, and each node of its tree must be one that writing a
prompt needs: text, tests, loops over the conversation, a few filters and string methods. Attributes with an underscore,
imports, macros, ``range``, products and what builds large values (``workbench/template_growth.py``) are refused. Only
then it is rendered once, with transformers' options, for a small conversation::

    check_template("{{ messages[0]['content'] }}", "chat_template.jinja")
    check_template("{{ ''.__class__ }}", "chat_template.jinja")    # ArtifactError
"""

from __future__ import annotations

import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from workbench.errors import ArtifactError
from workbench.template_growth import refuse_growth

if TYPE_CHECKING:
    from jinja2 import Environment, nodes

LONGEST_TEMPLATE = 1 << 16  # characters; the longest of well-known models have half as many
MOST_NODES = 8000
DEEPEST = 40
LONGEST_LIST = 64
_PLAIN_NODES = frozenset(
    {
        "Template", "Output", "TemplateData", "Name", "If", "Break", "Continue", "Assign", "NSRef", "Compare",
        "Operand", "And", "Or", "Not", "CondExpr", "Add", "Sub", "Concat", "Neg", "Pos", "Slice", "Keyword", "Pair",
    }
)  # fmt: skip
_FILTERS = frozenset(
    {
        "trim", "length", "count", "upper", "lower", "title", "capitalize", "tojson", "join", "first", "last",
        "default", "d", "string", "int", "float", "list", "items", "selectattr", "rejectattr", "safe",
    }
)  # fmt: skip
_TESTS = frozenset(
    {
        "defined", "undefined", "none", "string", "mapping", "sequence", "iterable", "number", "integer", "float",
        "boolean", "true", "false", "eq", "equalto", "==", "ne", "!=", "in", "odd", "even", "lt", "gt", "le", "ge",
        "sameas", "divisibleby",
    }
)  # fmt: skip
_METHODS = frozenset(
    {
        "strip", "lstrip", "rstrip", "startswith", "endswith", "split", "rsplit", "lower", "upper", "title",
        "capitalize", "get", "items", "keys", "values",
    }
)  # fmt: skip
_FUNCTIONS = frozenset({"raise_exception", "strftime_now", "namespace", "dict"})
_DATE_FORMAT = re.compile(r"(?:[^%]|%[A-Za-z%]){0,64}")  # without widths, which C would fill up
_SAMPLE = {
    "messages": [{"role": "user", "content": "How many users are there?"}],
    "add_generation_prompt": True, "bos_token": "<s>", "eos_token": "</s>", "tools": None,
}  # fmt: skip


def check_template(text: str, where: str) -> None:
    """See that a chat template does no more than write a prompt.

    Args:
        text: the template.
        where: begins the message of an error.

    Raises:
        ArtifactError: it is too long, no Jinja, or does what a prompt does not need.
    """
    fault = _fault(text)
    if fault:
        raise ArtifactError(f"{where} {fault}; do not serve this model with it")


@lru_cache(maxsize=64)  # a text says the same each time, and parsing takes the time of a small file's digest
def _fault(text: str) -> str:
    if len(text) > LONGEST_TEMPLATE:
        return f"is a template of {len(text)} characters"
    from jinja2 import TemplateError

    environment = _environment()
    try:
        tree = environment.parse(text)
        _check_tree(tree)
        refuse_growth(tree)
        environment.from_string(text).render(_SAMPLE)
    except (_OwnError, _RefusedError, ValueError) as error:
        return "" if isinstance(error, _OwnError) else f"is a template that {error}"
    except (TemplateError, RecursionError, MemoryError, SyntaxError, TypeError, LookupError) as error:
        return f"is no template that can be rendered ({type(error).__name__}: {str(error)[:200]})"
    return ""


class _OwnError(Exception):
    """What a template itself raises about a conversation."""


class _RefusedError(Exception):
    """Why a template is not run; the end of a sentence."""


def _environment() -> Environment:
    """As ``transformers.utils.chat_template_utils`` makes it."""
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    def raise_exception(message: str) -> None:
        raise _OwnError(message)

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.globals["raise_exception"] = raise_exception
    environment.globals["strftime_now"] = lambda form: "01 Jan 2000"
    return environment


def _check_tree(tree: nodes.Template) -> None:
    """Look at every node, the outer ones first; the tree's depth is bounded before anything is compiled."""
    stack: list[tuple[nodes.Node, int]] = [(tree, 0)]
    seen = 0
    while stack:
        node, depth = stack.pop()
        seen += 1
        if depth > DEEPEST or seen > MOST_NODES:
            raise _RefusedError("is too deep or has too many parts")
        _check_node(node)
        stack.extend((child, depth + 1) for child in node.iter_child_nodes())


def _check_node(node: Any) -> None:
    kind = type(node).__name__
    if kind in _PLAIN_NODES:
        return
    check = _CHECKS.get(kind)
    if check is None:
        raise _RefusedError(f"holds {kind}, which no prompt needs")
    check(node)


def _check_constant(node: Any) -> None:
    if isinstance(node.value, str) and "__" in node.value:
        raise _RefusedError(f"names {node.value[:40]!r}")


def _check_attribute(node: Any) -> None:
    if node.attr.startswith("_"):
        raise _RefusedError(f"reaches for the attribute {node.attr[:40]!r}")


def _check_item(node: Any) -> None:
    if not _is_index(node.arg):
        raise _RefusedError("looks up a name that it makes up")


def _is_index(node: Any) -> bool:
    """Whether a subscript is a plain name, a number, or counted from the loop's."""
    kind = type(node).__name__
    if kind == "Const":
        return not (isinstance(node.value, str) and node.value.startswith("_"))
    if kind in ("Slice", "Neg", "Add", "Sub"):
        return all(_is_index(part) for part in node.iter_child_nodes())
    return _is_loop_number(node) or (kind == "Filter" and node.name in ("length", "count"))


def _is_loop_number(node: Any) -> bool:
    return type(node).__name__ == "Getattr" and getattr(node.node, "name", None) == "loop"


def _check_loop(node: Any) -> None:
    if node.recursive:
        raise _RefusedError("calls itself")


def _check_remainder(node: Any) -> None:
    """``loop.index0 % 2``: anything else could be a text with a width in it."""
    if not (_is_loop_number(node.left) and type(getattr(node.right, "value", None)) is int):
        raise _RefusedError("divides what may be a text")


def _check_filter(node: Any) -> None:
    if node.name not in _FILTERS:
        raise _RefusedError(f"uses the filter {node.name[:40]!r}")
    _check_arguments(node)
    if node.name in ("selectattr", "rejectattr"):
        _check_selection(node)


def _check_selection(node: Any) -> None:
    attribute, *test = [getattr(one, "value", None) for one in node.args[:2]] or [None]
    if not isinstance(attribute, str) or re.search(r"(^|\.)_", attribute) or (test and test[0] not in _TESTS):
        raise _RefusedError(f"uses the filter {node.name!r} with what is no plain name")


def _check_test(node: Any) -> None:
    if node.name not in _TESTS:
        raise _RefusedError(f"uses the test {node.name[:40]!r}")
    _check_arguments(node)


def _check_call(node: Any) -> None:
    callee = node.node
    kind = type(callee).__name__
    allowed = {"Name": _FUNCTIONS, "Getattr": _METHODS}.get(kind, frozenset())
    name = getattr(callee, "name" if kind == "Name" else "attr", kind)
    if name not in allowed:
        raise _RefusedError(f"calls {str(name)[:40]!r}")
    _check_arguments(node)
    if name == "strftime_now" and not _DATE_FORMAT.fullmatch(str(getattr(node.args[0], "value", "%"))):
        raise _RefusedError("writes a date in a way of its own")


def _check_arguments(node: Any) -> None:
    """Of calls, filters and tests: no unpacked ones, and no large numbers, which tell how much to make."""
    if node.dyn_args or node.dyn_kwargs:
        raise _RefusedError("calls with arguments that it makes up")
    for argument in [*node.args, *(one.value for one in node.kwargs)]:
        value = getattr(argument, "value", None)
        if type(value) is int and abs(value) > 16 and type(node).__name__ == "Filter":
            raise _RefusedError(f"uses the filter {node.name!r} with the number {str(value)[:20]}")


def _check_literal(node: Any) -> None:
    if len(node.items) > LONGEST_LIST:
        raise _RefusedError(f"holds a list of {len(node.items)} items")


_CHECKS = {
    "Const": _check_constant,
    "Getattr": _check_attribute,
    "Getitem": _check_item,
    "For": _check_loop,
    "Mod": _check_remainder,
    "Filter": _check_filter,
    "Test": _check_test,
    "Call": _check_call,
    "List": _check_literal,
    "Tuple": _check_literal,
    "Dict": _check_literal,
}

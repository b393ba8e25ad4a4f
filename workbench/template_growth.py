"""How large a chat template's text can become, found without rendering it.

A template of 40 lines ``{% set x = x ~ x %}`` writes a terabyte, and no single line of it looks wrong. So sizes are
followed through the program: every value weighs as many inputs as went into it, a variable what was assigned to it,
and a weight beyond ``HEAVIEST`` is refused. What a loop assigns is forgotten after each turn, except in a namespace; a
namespace's attribute may take itself into its new value once (it grows by a little each turn), not twice (it doubles),
and a namespace has one name. Quoting (``tojson``, a list written as text) doubles backslashes, so it weighs double.
Loops run over what the conversation brings: one inside another over a part of the outer one's item costs nothing more
in total; independent ones multiply, so two at most. This is an abstract interpretation (Cousot and Cousot 1977) with
weights for values; all branches are taken::

    refuse_growth(environment.parse("{% set x = x ~ x %}" * 40))  # ValueError
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jinja2 import nodes

HEAVIEST = 512  # inputs in one value: nine doublings
HEAVIEST_LOOP = 8  # inputs in what a loop runs over
MOST_INDEPENDENT_LOOPS = 2
CHARACTERS = 256  # of a constant weigh as much as an input
_ONE_OF = ("And", "Or", "CondExpr")  # their value is one of their operands'
_SMALL = ("Compare", "Test", "Not")  # their value is true or false
_COUNTS = ("length", "count", "int", "float")


@dataclass(frozen=True)
class Weight:
    """What a value is made of.

    Attributes:
        inputs: how many inputs' sizes it may have.
        carried: how often the value of a namespace's attribute went into it.
    """

    inputs: int
    carried: int = 0

    def __add__(self, other: Weight) -> Weight:
        return Weight(self.inputs + other.inputs, self.carried + other.carried)

    def __or__(self, other: Weight) -> Weight:
        return Weight(max(self.inputs, other.inputs), max(self.carried, other.carried))


_LIGHT = Weight(1)


def refuse_growth(template: nodes.Template) -> None:
    """Refuse a template whose text is not bounded by a small multiple of its inputs.

    Args:
        template: parsed by jinja2, made of the nodes that ``untrusted_template`` allows.

    Raises:
        ValueError: what it does, as the end of a sentence.
    """
    _Weigher().statements(template.body)


class _Weigher:
    """Walks a template in the order of its text."""

    def __init__(self) -> None:
        self._variables: dict[str, Weight] = {}
        self._namespaces: set[str] = set()
        self._inner: set[str] = set()  # names of what lies inside an item of a loop
        self._independent = 0

    def statements(self, body: list[nodes.Node]) -> None:
        for node in body:
            kind = type(node).__name__
            if kind == "Assign":
                self._assign(node)  # type: ignore[arg-type]
            elif kind == "For":
                self._loop(node)  # type: ignore[arg-type]
            elif kind == "If":
                self._branches(node)  # type: ignore[arg-type]
            else:
                for child in node.iter_child_nodes():
                    self._weigh(child)

    def _branches(self, node: nodes.If) -> None:
        self._weigh(node.test)
        self.statements(node.body)
        self.statements([*node.elif_])
        self.statements(node.else_)

    def _assign(self, node: nodes.Assign) -> None:
        weight = self._namespace(node) if _is_namespace(node.node) else self._weigh(node.node)
        for one in getattr(node.target, "items", [node.target]):
            if type(one).__name__ == "NSRef":
                if weight.carried > 1 or one.name not in self._namespaces:
                    raise ValueError(f"lets {one.name}.{one.attr} grow by itself")
                continue
            if _root(node.node) in self._inner:
                self._inner.add(one.name)
            self._variables[one.name] = weight | self._variables.get(one.name, weight)

    def _namespace(self, node: nodes.Assign) -> Weight:
        """A namespace is made; it must not begin with what another one has become."""
        if type(node.target).__name__ == "Name":
            self._namespaces.add(node.target.name)  # type: ignore[attr-defined]
        weights = [self._weigh(one.value) for one in node.node.kwargs]  # type: ignore[attr-defined]
        if node.node.args or any(one.carried for one in weights):  # type: ignore[attr-defined]
            raise ValueError("makes a namespace of what it made itself")
        return _LIGHT

    def _loop(self, node: nodes.For) -> None:
        weight, root = self._weigh(node.iter), _root(node.iter)
        if weight.inputs > HEAVIEST_LOOP or weight.carried:
            raise ValueError("runs a loop over what it made itself")
        independent = root not in self._inner
        self._independent += independent
        if self._independent > MOST_INDEPENDENT_LOOPS:
            raise ValueError(f"runs more than {MOST_INDEPENDENT_LOOPS} independent loops within one another")
        for one in getattr(node.target, "items", [node.target]):
            self._inner.add(one.name)
            self._variables[one.name] = weight
        if node.test:
            self._weigh(node.test)
        self.statements(node.body)
        self._independent -= independent
        self.statements(node.else_)

    def _weigh(self, node: nodes.Node) -> Weight:
        """Weight of an expression; too heavy ones are refused wherever they stand."""
        weight = self._expression(node)
        if weight.inputs > HEAVIEST:
            raise ValueError("puts values together until they are too large")
        return weight

    def _expression(self, node: nodes.Node) -> Weight:
        kind = type(node).__name__
        if kind in ("Const", "TemplateData"):
            return Weight(1 + len(str(getattr(node, "value", getattr(node, "data", "")))) // CHARACTERS)
        if (kind == "Name" and getattr(node, "name", "") in self._namespaces) or _is_namespace(node):
            raise ValueError("hands a namespace on")
        if kind == "Name":
            return self._variables.get(str(getattr(node, "name", "")), _LIGHT)
        if kind == "Getattr" and _root(node) in self._namespaces:
            return Weight(1, 1)
        children = [self._weigh(child) for child in node.iter_child_nodes()]
        if kind in _SMALL or (kind == "Filter" and getattr(node, "name", "") in _COUNTS):
            return _LIGHT
        if kind in _ONE_OF:
            return _joined(children)
        total = sum(children, Weight(0)) if children else _LIGHT
        return Weight(total.inputs * _factor(node), total.carried)


def _factor(node: nodes.Node) -> int:
    """By how much a step may lengthen what it is given."""
    kind, name = type(node).__name__, getattr(node, "name", "")
    if kind in ("List", "Tuple", "Dict"):
        return 2  # written as text, it doubles backslashes
    if kind != "Filter" or name not in ("tojson", "string", "join"):
        return 1
    if name != "join":
        return 6 if name == "tojson" else 2
    separators = [*node.args, *(one.value for one in node.kwargs)]  # type: ignore[attr-defined]
    return 1 + sum(len(str(getattr(one, "value", " " * HEAVIEST))) for one in separators)


def _joined(children: list[Weight]) -> Weight:
    found = _LIGHT
    for child in children:
        found |= child
    return found


def _root(node: nodes.Node) -> str:
    """Name of the variable that an expression takes a part of; empty where there is none."""
    while type(node).__name__ in ("Getattr", "Getitem", "Filter", "Call"):
        node = node.node  # type: ignore[attr-defined]
    return str(getattr(node, "name", ""))


def _is_namespace(node: nodes.Node) -> bool:
    return type(node).__name__ == "Call" and _root(node) == "namespace"

"""The numba types behind ``Lanes``: sixteen floats, ints or bools, and Python's operators on them.

What they are for is told in ``_ggml_lanes``. To numba a type is three things: a name to reason with
(``LanesType``), the machine value behind it (a model), and for every operator which types go in and come out (typing)
and the instruction it becomes (lowering). Source: numba's "low-level extension API".
"""

from __future__ import annotations

import operator
from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import lower_builtin, models, register_model, type_callable

LANES = 16

FLOAT, INT, BIT, BYTE, WORD, LONG = ir.FloatType(), *map(ir.IntType, (32, 1, 8, 16, 64))
_ELEMENTS = {"float": FLOAT, "int": INT, "bool": BIT}


class LanesType(types.Type):  # type: ignore[misc]
    """numba's view of sixteen ``float``, ``int`` (32 bits, signed) or ``bool``."""

    def __init__(self, element: str) -> None:
        self.element = element
        super().__init__(name=f"Lanes({element})")


FLOATS, INTS, BOOLS = LanesType("float"), LanesType("int"), LanesType("bool")


def vector(element: ir.Type) -> ir.VectorType:
    """LLVM's type of sixteen such elements."""
    return ir.VectorType(element, LANES)


def _model(manager: Any, lanes: LanesType) -> Any:
    return models.PrimitiveModel(manager, lanes, vector(_ELEMENTS[lanes.element]))


register_model(LanesType)(_model)


def spread_over(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """One number in every lane."""
    alone = builder.insert_element(ir.Constant(vector(number.type), ir.Undefined), number, ir.Constant(INT, 0))
    return builder.shuffle_vector(alone, alone, ir.Constant(vector(INT), [0] * LANES))


# Operators: LLVM's instruction for floats, for ints and for bools.
_ARITHMETIC: dict[Any, tuple[str, str, str]] = {
    operator.add: ("fadd", "add", ""),
    operator.sub: ("fsub", "sub", ""),
    operator.mul: ("fmul", "mul", ""),
    operator.truediv: ("fdiv", "", ""),
    operator.and_: ("", "and_", "and_"),
    operator.or_: ("", "or_", "or_"),
    operator.xor: ("", "xor", "xor"),
    operator.lshift: ("", "shl", ""),
    operator.rshift: ("", "lshr", ""),  # of the bits: zeros come in from above
}
_IN_PLACE = {operator.iadd: operator.add, operator.ior: operator.or_}
_COMPARISONS: dict[Any, str] = {
    operator.lt: "<",
    operator.le: "<=",
    operator.gt: ">",
    operator.ge: ">=",
    operator.eq: "==",
    operator.ne: "!=",
}


def lanes_of(left: Any, right: Any) -> LanesType | None:
    """The type two operands meet in; ``None`` where this is not our business."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, LanesType) and (one == other or isinstance(other, types.Number)):
            return one
    return None


def operands(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> tuple[str, list[ir.Value]]:
    """Both operands as vectors; a plain number is converted and spread."""
    lanes = lanes_of(*signature.args)
    assert lanes is not None
    scalar = types.float32 if lanes == FLOATS else types.int32
    vectors = [
        value if isinstance(kind, LanesType) else spread_over(builder, context.cast(builder, value, kind, scalar))
        for value, kind in zip(values, signature.args, strict=True)
    ]
    return lanes.element, vectors


def _register(symbol: Any, result: LanesType | None, emit: Callable[[ir.IRBuilder, str, Any, Any], ir.Value]) -> None:
    """Teach numba one binary operator; ``result`` ``None`` keeps the operands' type."""

    def typing(context: Any) -> Any:
        def typer(left: Any, right: Any) -> Any:
            lanes = lanes_of(left, right)
            return lanes and (result or lanes)

        return typer

    def lowering(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        element, (left, right) = operands(context, builder, signature, values)
        return emit(builder, element, left, right)

    type_callable(symbol)(typing)
    for pair in ((LanesType, LanesType), (LanesType, types.Number), (types.Number, LanesType)):
        lower_builtin(symbol, *pair)(lowering)


def _arithmetic(symbol: Any) -> Callable[[ir.IRBuilder, str, Any, Any], ir.Value]:
    names = dict(zip(_ELEMENTS, _ARITHMETIC[symbol], strict=True))
    return lambda builder, element, left, right: getattr(builder, names[element])(left, right)


def _comparison(sign: str) -> Callable[[ir.IRBuilder, str, Any, Any], ir.Value]:
    """As in C: false for NaN, but for ``!=``."""

    def emit(builder: ir.IRBuilder, element: str, left: Any, right: Any) -> ir.Value:
        if element == "int":
            return builder.icmp_signed(sign, left, right)
        return (builder.fcmp_unordered if sign == "!=" else builder.fcmp_ordered)(sign, left, right)

    return emit


for _symbol in _ARITHMETIC:
    _register(_symbol, None, _arithmetic(_symbol))
for _symbol, _plain in _IN_PLACE.items():
    _register(_symbol, None, _arithmetic(_plain))
for _symbol, _sign in _COMPARISONS.items():
    _register(_symbol, BOOLS, _comparison(_sign))

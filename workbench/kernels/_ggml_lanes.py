"""Sixteen numbers as one numba value: explicit SIMD without a C compiler.

A compiler turns a loop into vector instructions only where it can prove that its arrays do not overlap and
that the order of additions does not matter; in a search full of small arrays and running sums it proves
neither. So the vectors are written down: ``Lanes`` is a numba type whose machine value is LLVM's
``<16 x float>`` (or ``<16 x i32>``, ``<16 x i1>``), with the arithmetic and comparison operators of Python.
Where each lane carries a block of its own, the lanes never meet, and every lane does exactly
the operations of a scalar program in their order. LLVM maps the sixteen lanes to what the processor has: one AVX-512
register, two of AVX2, four of SSE2 or NEON. Nothing is marked ``fast`` or ``contract``: no fused
multiply-add, no reordering, no flush to zero.

    @compiled
    def axpy(a, x, y):                       # float32, float32 arrays of a multiple of 16
        for i in range(0, len(x), LANES):
            store(y, i, a * load(x, i) + load(y, i))

A number beside a ``Lanes`` is spread over all lanes, in the type of the lanes. Source: LLVM's language
reference; numba's "low-level extension API".
"""

from __future__ import annotations

import hashlib
import operator
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic, lower_builtin, models, register_model, type_callable

LANES = 16
# What mypy sees where the compiler sees sixteen numbers.
Lanes = Any
Function = TypeVar("Function", bound=Callable[..., Any])

_FLOAT, _INT, _BIT, _BYTE, _WORD = ir.FloatType(), ir.IntType(32), ir.IntType(1), ir.IntType(8), ir.IntType(16)
_ELEMENTS = {"float": _FLOAT, "int": _INT, "bool": _BIT}


def compiled(function: Function) -> Function:
    """Compile what kernels are made of."""
    return njit(nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]


def kernel(function: Function) -> Function:
    """Compile what Python calls, without its lock; keep the machine code where some folder can be written.

    numba takes kept code for fresh while the function's own file is the same. A kernel is made of many files,
    so the stamp here is of them all.
    """
    options = {"nogil": True, "error_model": "numpy"}
    try:
        dispatcher = njit(cache=True, **options)(function)
    except RuntimeError:  # numba's "no locator available": neither the package nor the home may be written
        return njit(**options)(function)  # type: ignore[no-any-return]
    dispatcher._cache._cache_file._source_stamp = _stamp()
    return dispatcher  # type: ignore[no-any-return]


@cache
def _stamp() -> str:
    """Digest of all the files kernels are made of."""
    sources = sorted(Path(__file__).parent.glob("_ggml_*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


class LanesType(types.Type):  # type: ignore[misc]
    """numba's view of sixteen ``float``, ``int`` (32 bits, signed) or ``bool``."""

    def __init__(self, element: str) -> None:
        self.element = element
        super().__init__(name=f"Lanes({element})")


FLOATS, INTS, BOOLS = LanesType("float"), LanesType("int"), LanesType("bool")


def _vector(element: ir.Type) -> ir.VectorType:
    return ir.VectorType(element, LANES)


def _model(manager: Any, lanes: LanesType) -> Any:
    return models.PrimitiveModel(manager, lanes, _vector(_ELEMENTS[lanes.element]))


register_model(LanesType)(_model)


def _spread(builder: ir.IRBuilder, number: ir.Value) -> ir.Value:
    """One number in every lane."""
    alone = builder.insert_element(ir.Constant(_vector(number.type), ir.Undefined), number, ir.Constant(_INT, 0))
    return builder.shuffle_vector(alone, alone, ir.Constant(_vector(_INT), [0] * LANES))


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


def _lanes_of(left: Any, right: Any) -> LanesType | None:
    """The type two operands meet in; ``None`` where this is not our business."""
    for one, other in ((left, right), (right, left)):
        if isinstance(one, LanesType) and (one == other or isinstance(other, types.Number)):
            return one
    return None


def _operands(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> tuple[str, list[ir.Value]]:
    """Both operands as vectors; a plain number is converted and spread."""
    lanes = _lanes_of(*signature.args)
    assert lanes is not None
    scalar = types.float32 if lanes == FLOATS else types.int32
    vectors = [
        value if isinstance(kind, LanesType) else _spread(builder, context.cast(builder, value, kind, scalar))
        for value, kind in zip(values, signature.args, strict=True)
    ]
    return lanes.element, vectors


def _register(symbol: Any, result: LanesType | None, emit: Callable[[ir.IRBuilder, str, Any, Any], ir.Value]) -> None:
    """Teach numba one binary operator; ``result`` ``None`` keeps the operands' type."""

    def typing(context: Any) -> Any:
        def typer(left: Any, right: Any) -> Any:
            lanes = _lanes_of(left, right)
            return lanes and (result or lanes)

        return typer

    def lowering(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        element, (left, right) = _operands(context, builder, signature, values)
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


def _pointer(context: Any, builder: ir.IRBuilder, signature: Any, values: Any, vector: ir.Type) -> ir.Value:
    """Address of element ``values[1]`` of the array ``values[0]``, as that of a vector."""
    array = context.make_array(signature.args[0])(context, builder, values[0])
    return builder.bitcast(builder.gep(array.data, [values[1]]), vector.as_pointer())


def _load(typing: Any, array: Any, index: Any) -> Any:
    """Sixteen neighbours of a float32 array."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return builder.load(_pointer(context, builder, signature, values, _vector(_FLOAT)), align=4)

    return FLOATS(array, types.intp), emit


def _load_words(typing: Any, array: Any, index: Any) -> Any:
    """Sixteen unsigned 16-bit numbers from a byte of a uint8 array on."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        words = builder.load(_pointer(context, builder, signature, values, _vector(_WORD)), align=1)
        return builder.zext(words, _vector(_INT))

    return INTS(array, types.intp), emit


def _load_floats(typing: Any, array: Any, index: Any) -> Any:
    """Sixteen float32 from a byte of a uint8 array on."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return builder.load(_pointer(context, builder, signature, values, _vector(_FLOAT)), align=1)

    return FLOATS(array, types.intp), emit


def _store(typing: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Floats into a float32 array; the low byte of each int into a uint8 array."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        value = values[2] if lanes == FLOATS else builder.trunc(values[2], _vector(_BYTE))
        builder.store(value, _pointer(context, builder, signature, values, value.type), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), emit


def _spread_number(typing: Any, number: Any) -> Any:
    """A number in all lanes: floats of a float, ints of an int."""
    lanes, scalar = (FLOATS, types.float32) if isinstance(number, types.Float) else (INTS, types.int32)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return _spread(builder, context.cast(builder, values[0], signature.args[0], scalar))

    return lanes(number), emit


def _where(typing: Any, condition: Any, then: Any, otherwise: Any) -> Any:
    """Lane by lane ``then if condition else otherwise``."""
    lanes = _lanes_of(then, otherwise)
    assert lanes is not None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        pair = lanes(*signature.args[1:])
        return builder.select(values[0], *_operands(context, builder, pair, values[1:])[1])

    return lanes(condition, then, otherwise), emit


def _any(typing: Any, condition: Any) -> Any:
    """Whether some lane is true."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        mask = builder.bitcast(values[0], ir.IntType(LANES))
        return builder.icmp_unsigned("!=", mask, ir.Constant(mask.type, 0))

    return types.boolean(condition), emit


def _mask_bits(typing: Any, condition: Any) -> Any:
    """The sixteen truths as the bits of an int, lane 0 lowest."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return builder.zext(builder.bitcast(values[0], ir.IntType(LANES)), ir.IntType(64))

    return types.int64(condition), emit


def _unary(result: LanesType, emit_one: Callable[[ir.IRBuilder, ir.Value], ir.Value]) -> Any:
    """An intrinsic of one vector."""

    def function(typing: Any, lanes: Any) -> Any:
        def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
            return emit_one(builder, values[0])

        return result(lanes), emit

    return intrinsic(function)


def _call(name: str) -> Callable[[ir.IRBuilder, ir.Value], ir.Value]:
    """A function LLVM knows, such as ``llvm.sqrt``, of sixteen floats."""
    kind = ir.FunctionType(_vector(_FLOAT), [_vector(_FLOAT)])
    full = f"{name}.v{LANES}f32"
    return lambda builder, value: builder.call(builder.module.declare_intrinsic(full, fnty=kind), [value])


def _transpose(typing: Any, rows: Any, first: Any, stride: Any, columns: Any, target: Any) -> Any:
    """``columns[target + 16 i + lane] = rows[first + stride lane + i]`` for 16 x 16 float32.

    Four rounds of pairwise exchanges, the halves, quarters, eighths and sixteenths of the rows.
    """

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        source = context.make_array(rows)(context, builder, values[0])
        drain = context.make_array(columns)(context, builder, values[3])

        def place(base: Any, offset: ir.Value) -> ir.Value:
            return builder.bitcast(builder.gep(base.data, [offset]), _vector(_FLOAT).as_pointer())

        offsets = [builder.add(values[1], builder.mul(values[2], ir.Constant(ir.IntType(64), i))) for i in range(LANES)]
        vectors = [builder.load(place(source, offset), align=4) for offset in offsets]
        distance = LANES // 2
        while distance:
            for low in (i for i in range(LANES) if not i & distance):
                pair = vectors[low], vectors[low + distance]
                for k in (0, distance):  # lanes with this bit off keep to one's own row, the others cross
                    mask = [(i & ~distance | k) + (LANES if i & distance else 0) for i in range(LANES)]
                    vectors[low + k] = builder.shuffle_vector(*pair, ir.Constant(_vector(_INT), mask))
            distance //= 2
        for i, vector in enumerate(vectors):
            builder.store(vector, place(drain, builder.add(values[4], ir.Constant(ir.IntType(64), LANES * i))), align=4)
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp, columns, types.intp), emit


load, load_words, load_floats, store = map(intrinsic, (_load, _load_words, _load_floats, _store))
spread, where, any_lane, mask_bits, transpose = map(intrinsic, (_spread_number, _where, _any, _mask_bits, _transpose))
bits_of = _unary(INTS, lambda builder, value: builder.bitcast(value, _vector(_INT)))
of_bits = _unary(FLOATS, lambda builder, value: builder.bitcast(value, _vector(_FLOAT)))
to_floats = _unary(FLOATS, lambda builder, value: builder.sitofp(value, _vector(_FLOAT)))
to_ints = _unary(INTS, lambda builder, value: builder.fptosi(value, _vector(_INT)))
absolute = _unary(FLOATS, _call("llvm.fabs"))
square_root = _unary(FLOATS, _call("llvm.sqrt"))

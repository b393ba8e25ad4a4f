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
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, TypeVar

from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from workbench.kernels._compile import compile_kept
from workbench.kernels._ggml_lanes_type import (
    BYTE,
    FLOAT,
    FLOATS,
    INT,
    INTS,
    LANES,
    LONG,
    WORD,
    LanesType,
    lanes_of,
    operands,
    spread_over,
    vector,
)

__all__ = [
    "LANES", "Lanes", "absolute", "any_lane", "bits_of", "compiled", "kernel", "load", "load_floats", "load_words",
    "mask_bits", "of_bits", "spread", "square_root", "store", "to_floats", "to_ints", "transpose", "where",
]  # fmt: skip

# What mypy sees where the compiler sees sixteen numbers.
Lanes = Any
Function = TypeVar("Function", bound=Callable[..., Any])


def compiled(function: Function) -> Function:
    """Compile what kernels are made of."""
    return njit(nogil=True, error_model="numpy")(function)  # type: ignore[no-any-return]


def kernel(function: Function) -> Function:
    """Compile what Python calls, without its lock; keep the machine code where some folder can be written.

    numba takes kept code for fresh while the function's own file is the same. A kernel is made of many files,
    so the stamp here is of them all.
    """
    dispatcher = compile_kept(function, error_model="numpy")
    if hasattr(dispatcher._cache, "_cache_file"):  # it is kept
        dispatcher._cache._cache_file._source_stamp = _stamp()
    return dispatcher  # type: ignore[no-any-return]


@cache
def _stamp() -> str:
    """Digest of all the files kernels are made of."""
    sources = sorted(Path(__file__).parent.glob("_ggml_*.py"))
    return hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()


def _pointer(context: Any, builder: ir.IRBuilder, signature: Any, values: Any, target: ir.Type) -> ir.Value:
    """Address of element ``values[1]`` of the array ``values[0]``, as that of a vector."""
    array = context.make_array(signature.args[0])(context, builder, values[0])
    return builder.bitcast(builder.gep(array.data, [values[1]]), target.as_pointer())


def _load(typing: Any, array: Any, index: Any) -> Any:
    """Sixteen neighbours of a float32 array."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return builder.load(_pointer(context, builder, signature, values, vector(FLOAT)), align=4)

    return FLOATS(array, types.intp), emit


def _load_words(typing: Any, array: Any, index: Any) -> Any:
    """Sixteen unsigned 16-bit numbers from a byte of a uint8 array on."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        words = builder.load(_pointer(context, builder, signature, values, vector(WORD)), align=1)
        return builder.zext(words, vector(INT))

    return INTS(array, types.intp), emit


def _load_floats(typing: Any, array: Any, index: Any) -> Any:
    """Sixteen float32 from a byte of a uint8 array on."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return builder.load(_pointer(context, builder, signature, values, vector(FLOAT)), align=1)

    return FLOATS(array, types.intp), emit


def _store(typing: Any, array: Any, index: Any, lanes: Any) -> Any:
    """Floats into a float32 array; the low byte of each int into a uint8 array."""

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        value = values[2] if lanes == FLOATS else builder.trunc(values[2], vector(BYTE))
        builder.store(value, _pointer(context, builder, signature, values, value.type), align=1)
        return context.get_dummy_value()

    return types.void(array, types.intp, lanes), emit


def _spread_number(typing: Any, number: Any) -> Any:
    """A number in all lanes: floats of a float, ints of an int."""
    lanes, scalar = (FLOATS, types.float32) if isinstance(number, types.Float) else (INTS, types.int32)

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        return spread_over(builder, context.cast(builder, values[0], signature.args[0], scalar))

    return lanes(number), emit


def _where(typing: Any, condition: Any, then: Any, otherwise: Any) -> Any:
    """Lane by lane ``then if condition else otherwise``."""
    lanes = lanes_of(then, otherwise)
    assert lanes is not None

    def emit(context: Any, builder: ir.IRBuilder, signature: Any, values: Any) -> ir.Value:
        pair = lanes(*signature.args[1:])
        return builder.select(values[0], *operands(context, builder, pair, values[1:])[1])

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
        return builder.zext(builder.bitcast(values[0], ir.IntType(LANES)), LONG)

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
    kind = ir.FunctionType(vector(FLOAT), [vector(FLOAT)])
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
            return builder.bitcast(builder.gep(base.data, [offset]), vector(FLOAT).as_pointer())

        offsets = [builder.add(values[1], builder.mul(values[2], ir.Constant(LONG, i))) for i in range(LANES)]
        vectors = [builder.load(place(source, offset), align=4) for offset in offsets]
        distance = LANES // 2
        while distance:
            for low in (i for i in range(LANES) if not i & distance):
                pair = vectors[low], vectors[low + distance]
                for k in (0, distance):  # lanes with this bit off keep to one's own row, the others cross
                    mask = [(i & ~distance | k) + (LANES if i & distance else 0) for i in range(LANES)]
                    vectors[low + k] = builder.shuffle_vector(*pair, ir.Constant(vector(INT), mask))
            distance //= 2
        for i, column in enumerate(vectors):
            builder.store(column, place(drain, builder.add(values[4], ir.Constant(LONG, LANES * i))), align=4)
        return context.get_dummy_value()

    return types.void(rows, types.intp, types.intp, columns, types.intp), emit


load, load_words, load_floats, store = map(intrinsic, (_load, _load_words, _load_floats, _store))
spread, where, any_lane, mask_bits, transpose = map(intrinsic, (_spread_number, _where, _any, _mask_bits, _transpose))
bits_of = _unary(INTS, lambda builder, value: builder.bitcast(value, vector(INT)))
of_bits = _unary(FLOATS, lambda builder, value: builder.bitcast(value, vector(FLOAT)))
to_floats = _unary(FLOATS, lambda builder, value: builder.sitofp(value, vector(FLOAT)))
to_ints = _unary(INTS, lambda builder, value: builder.fptosi(value, vector(INT)))
absolute = _unary(FLOATS, _call("llvm.fabs"))
square_root = _unary(FLOATS, _call("llvm.sqrt"))

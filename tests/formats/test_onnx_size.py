"""Bytes of ONNX's messages, counted, against those that the onnx package writes."""

from __future__ import annotations

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from workbench.formats._onnx_graph import DATA_NAME, MICROSOFT, Graph, Place
from workbench.formats._onnx_size import external_bytes, inline_bytes, node_bytes, numbers, value_bytes, varint

NAMES = st.text(max_size=200)
WHOLE = st.integers(-(1 << 63), (1 << 63) - 1)
VALUES = WHOLE | st.floats(width=32, allow_nan=False) | NAMES | st.lists(WHOLE, min_size=1, max_size=5).map(tuple)
DIMENSIONS = st.lists(st.integers(0, 1 << 40) | NAMES, max_size=5).map(tuple)


@given(values=st.lists(WHOLE))
def test_whole_numbers(values: list[int]) -> None:
    assert numbers(values) == TensorProto(dims=values).ByteSize()
    assert all(varint(value) == TensorProto(dims=[value]).ByteSize() - 1 for value in values)


@given(
    inputs=st.lists(NAMES, max_size=4), outputs=st.lists(NAMES.filter(bool), min_size=1, max_size=3), op=NAMES,
    domain=NAMES, attributes=st.dictionaries(NAMES, VALUES, max_size=3),
)  # fmt: skip
@settings(deadline=None)
def test_nodes(inputs: list[str], outputs: list[str], op: str, domain: str, attributes: dict[str, Any]) -> None:
    proto = helper.make_node(op, inputs, outputs, outputs[0], domain=domain)
    proto.attribute.extend(helper.make_attribute(key, value) for key, value in attributes.items())
    assert node_bytes(inputs, outputs, op, domain, attributes) == proto.ByteSize()


@given(name=NAMES, dimensions=DIMENSIONS)
@settings(deadline=None)
def test_inputs_and_outputs(name: str, dimensions: tuple[int | str, ...]) -> None:
    assert value_bytes(name, dimensions) == helper.make_tensor_value_info(name, 1, dimensions).ByteSize()


@given(name=NAMES.filter(bool), count=st.none() | st.integers(0, 300))
@settings(deadline=None)
def test_constants(name: str, count: int | None) -> None:
    import numpy as np

    array = np.zeros(() if count is None else count, np.float32)
    assert inline_bytes(name, array.shape, array.nbytes) == numpy_helper.from_array(array, name).ByteSize()


@given(name=NAMES, shape=st.lists(st.integers(0, 1 << 40), max_size=3), offset=st.integers(0, 1 << 50))
@settings(deadline=None)
def test_weights(name: str, shape: list[int], offset: int) -> None:
    place = Place("float16", tuple(shape), offset, 2)
    tensor = TensorProto(name=name, data_type=TensorProto.FLOAT16, dims=shape, data_location=TensorProto.EXTERNAL)
    for key, value in (("location", DATA_NAME), ("offset", str(offset)), ("length", "2")):
        tensor.external_data.add(key=key, value=value)
    assert external_bytes(name, shape, place.facts) == tensor.ByteSize()


def test_a_whole_graph() -> None:
    graph = Graph("x" * 200)
    value = graph.input("x", "float32", ("n", 3))
    value = graph.node("Add", value, graph.constant(1.5, "float32"))
    value = graph.node("MatMulNBits", value, "w", domain=MICROSOFT, K=300, bits=4)
    graph.output(graph.nodes("Split", 2, value, graph.constant([1, 2]), axis=-1)[1], "y", "float32", ("n", 2))
    weights = {"w": Place("float16", (3, 3), 1 << 33, 18), "unused": Place("float16", (3, 3), 0, 18)}
    assert graph.model_bytes(weights) == graph.to_model(weights).ByteSize()

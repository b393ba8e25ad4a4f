"""An ONNX graph built node by node as plain data, and turned into protobuf at the end.

Exporting would trace the model with torch, which needs its weights or stand-ins for them, takes minutes for large
models and yields other nodes with every release of the exporter. A decoder is a few dozen kinds of nodes: written down
by hand they are the same bytes every time, made in milliseconds, and the weights never pass through.

Weights are *external data*: the graph only says in which file, from which byte on and how long (ONNX IR,
docs/ExternalData.md). Offsets are decimal strings there, so files of any size work, and a graph stays far below the
2 GB that protobuf allows.

Example::

    graph = Graph("double")
    graph.input("x", "float32", ("n",))
    graph.output(graph.node("Add", "x", "x"), "y", "float32", ("n",))
    graph.to_model({}).SerializeToString()
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, NamedTuple

from workbench.formats._onnx_size import (
    Attribute,
    block,
    external_bytes,
    inline_bytes,
    model_bytes,
    node_bytes,
    text,
    value_bytes,
)

if TYPE_CHECKING:
    from numpy.typing import ArrayLike
    from onnx import ModelProto, NodeProto, TensorProto, ValueInfoProto

OPSET = 20  # the first with Gelu; read by onnxruntime since 1.17
MICROSOFT = "com.microsoft"  # onnxruntime's own operators
IR_VERSION = 9  # of opset 20's time; every reader of the opset knows it
DATA_NAME = "model.onnx_data"  # as optimum calls it
Dimensions = tuple[int | str, ...]
# Numbers of the types in ONNX, and bytes of an element.
_TYPES = {"float32": 1, "uint8": 2, "int64": 7, "bool": 9, "float16": 10}
_BYTES = {"float32": 4, "uint8": 1, "int64": 8, "bool": 1, "float16": 2}
_PRODUCER = "workbench"


@dataclass(frozen=True)
class Place:
    """Where a weight lies in the data file.

    Attributes:
        dtype: numpy's name of its type.
        shape: dimensions, rows first.
        offset: of its first byte.
        nbytes: of its values.
    """

    dtype: str
    shape: tuple[int, ...]
    offset: int
    nbytes: int

    @property
    def facts(self) -> dict[str, str]:
        """Where the values are, in ONNX's words."""
        return {"location": DATA_NAME, "offset": str(self.offset), "length": str(self.nbytes)}


class _Node(NamedTuple):  # made by the ten thousand for a plan
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    op: str
    domain: str
    attributes: dict[str, Attribute]


@dataclass(frozen=True)
class _Constant:
    name: str
    dtype: str
    dims: tuple[int, ...]
    values: Callable[[], ArrayLike]

    @property
    def nbytes(self) -> int:
        """Bytes of the values."""
        return math.prod(self.dims) * _BYTES[self.dtype]


@dataclass
class Graph:
    """Nodes, constants, inputs and outputs in the order they were added.

    Attributes:
        name: of the graph.
        scope: put before the names of what is added next, e.g. ``h.0``.
    """

    name: str
    scope: str = ""
    _nodes: list[_Node] = field(default_factory=list)
    _constants: dict[tuple[str, str], _Constant] = field(default_factory=dict)
    _inputs: list[tuple[str, str, Dimensions]] = field(default_factory=list)
    _outputs: list[tuple[str, str, Dimensions]] = field(default_factory=list)
    _counts: dict[str, int] = field(default_factory=dict)

    def node(self, op: str, *inputs: str, domain: str = "", **attributes: Attribute) -> str:
        """Add a node with one output; returns the output's name. An input ``""`` is one left out."""
        name = self._name(op)
        self._nodes.append(_Node(inputs, (name,), op, domain, attributes))
        return name

    def nodes(self, op: str, outputs: int, *inputs: str, domain: str = "", **attributes: Attribute) -> tuple[str, ...]:
        """Add a node with several outputs; returns their names."""
        first = self._name(op)
        names = (first, *(f"{first}:{place}" for place in range(1, outputs)))
        self._nodes.append(_Node(inputs, names, op, domain, attributes))
        return names

    def cast(self, value: str, dtype: str) -> str:
        """A value in another type."""
        return self.node("Cast", value, to=_TYPES[dtype])

    def constant(self, values: int | float | Sequence[int], dtype: str = "int64") -> str:
        """A small constant, stored in the graph once however often it is asked for; a number is a scalar."""
        listed = [values] if isinstance(values, int | float) else list(values)
        key = (dtype, repr(values))
        if key not in self._constants:
            name = f"{dtype}_{'x'.join(map(str, listed))}"
            name = name if name not in {known.name for known in self._constants.values()} else f"{name}_scalar"
            dims = () if isinstance(values, int | float) else (len(listed),)
            self._constants[key] = _Constant(name, dtype, dims, lambda: values)
        return self._constants[key].name

    def table(self, name: str, count: int, dtype: str, values: Callable[[], ArrayLike]) -> str:
        """A named vector of ``count`` numbers that are computed when the graph is finished."""
        self._constants[dtype, name] = _Constant(name, dtype, (count,), values)
        return name

    def input(self, name: str, dtype: str, dimensions: Dimensions) -> str:
        """Declare an input; a dimension with a name is free."""
        self._inputs.append((name, dtype, dimensions))
        return name

    def output(self, value: str, name: str, dtype: str, dimensions: Dimensions) -> None:
        """Make a value an output under a name of its own."""
        self._nodes.append(_Node((value,), (name,), "Identity", "", {}))
        self._outputs.append((name, dtype, dimensions))

    def to_model(self, weights: Mapping[str, Place]) -> ModelProto:
        """The finished model.

        Args:
            weights: places of the weights in ``DATA_NAME``, by the names that nodes use.
        """
        from onnx import helper

        graph = helper.make_graph(
            [_proto(node) for node in self._nodes],
            self.name,
            [_value(*value) for value in self._inputs],
            [_value(*value) for value in self._outputs],
            [
                *(_inline(constant) for constant in self._constants.values()),
                *(_external(name, weights[name]) for name in self._used(weights)),
            ],
        )
        opsets = [helper.make_opsetid(domain, version) for domain, version in self._opsets().items()]
        return helper.make_model(graph, producer_name=_PRODUCER, ir_version=IR_VERSION, opset_imports=opsets)

    def model_bytes(self, weights: Mapping[str, Place]) -> int:
        """What ``to_model`` takes as protobuf, without making it (and so without the onnx package)."""
        initializers = [inline_bytes(c.name, c.dims, c.nbytes) for c in self._constants.values()]
        initializers += [external_bytes(name, weights[name].shape, weights[name].facts) for name in self._used(weights)]
        values = [value_bytes(name, dimensions) for name, _, dimensions in (*self._inputs, *self._outputs)]
        nodes = [node_bytes(*node) for node in self._nodes]
        graph = text(self.name) + sum(map(block, (*nodes, *initializers, *values)))
        return model_bytes(graph, _PRODUCER, self._opsets())

    def _opsets(self) -> dict[str, int]:
        """Versions of the operator sets in use."""
        return {"": OPSET, **({MICROSOFT: 1} if any(node.domain for node in self._nodes) else {})}

    def _used(self, weights: Mapping[str, Place]) -> list[str]:
        """The weights that nodes read, in the order of the file."""
        read = {name for node in self._nodes for name in node.inputs}
        return [name for name in weights if name in read]

    def _name(self, op: str) -> str:
        full = f"{self.scope}/{op}" if self.scope else op
        count = self._counts[full] = self._counts.get(full, -1) + 1
        return f"{full}_{count}" if count else full


def _proto(node: _Node) -> NodeProto:
    from onnx import helper

    proto = helper.make_node(node.op, node.inputs, node.outputs, node.outputs[0], domain=node.domain)
    proto.attribute.extend(helper.make_attribute(key, value) for key, value in node.attributes.items())
    return proto


def _value(name: str, dtype: str, dimensions: Dimensions) -> ValueInfoProto:
    from onnx import helper

    return helper.make_tensor_value_info(name, _TYPES[dtype], dimensions)


def _inline(constant: _Constant) -> TensorProto:
    import numpy as np
    from onnx import numpy_helper

    return numpy_helper.from_array(np.asarray(constant.values(), constant.dtype), constant.name)


def _external(name: str, place: Place) -> TensorProto:
    from onnx import TensorProto

    tensor = TensorProto(name=name, data_type=_TYPES[place.dtype], dims=place.shape)
    tensor.data_location = TensorProto.EXTERNAL
    for key, value in place.facts.items():
        tensor.external_data.add(key=key, value=value)
    return tensor

"""onnxruntime's ``MatMulNBitsQuantizer``: a float16 graph file to one of 4 or 8 bits.

The graph is made here, before the clock runs: a MatMul for each matrix of the checkpoint (the tied embedding's is the
head) and nothing else, so that the peer is asked for no more than the quantizing and is spared exporting the model.
"""

from importlib.metadata import version
from pathlib import Path
from typing import Any

from _serve import Work, serve

BLOCK = 32


def graph_of(source: Path) -> Any:
    """A model with a float16 MatMul ``[in, out]`` for each linear layer."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper
    from safetensors.numpy import load_file

    nodes, weights = [], []
    for file in sorted(source.glob("*.safetensors")):
        for name, weight in load_file(file).items():
            if weight.ndim == 2 and not name.endswith("wpe.weight"):
                weights.append(numpy_helper.from_array(weight.T.copy(), name))
                nodes.append(helper.make_node("MatMul", [f"{name}.x", name], [f"{name}.y"], name))
    inputs = [helper.make_tensor_value_info(node.input[0], TensorProto.FLOAT16, None) for node in nodes]
    outputs = [helper.make_tensor_value_info(node.output[0], TensorProto.FLOAT16, None) for node in nodes]
    graph = helper.make_graph(nodes, "layers", inputs, outputs, weights)
    return helper.make_model(graph, opset_imports=[onnx.OperatorSetIdProto(domain="", version=21)])


def prepare(source: str, scratch: str, bits: int) -> tuple[str, Work]:
    import onnx
    from onnxruntime.quantization.matmul_nbits_quantizer import MatMulNBitsQuantizer

    made = str(Path(scratch) / "layers.onnx")
    onnx.save(graph_of(Path(source)), made)

    def work(out: str) -> None:
        quantizer = MatMulNBitsQuantizer(onnx.load(made), bits=bits, block_size=BLOCK, is_symmetric=bits == 8)
        quantizer.process()
        quantizer.model.save_model_to_file(out, use_external_data_format=True)

    return f"onnxruntime {version('onnxruntime')}'s quantizer", work


serve(prepare)

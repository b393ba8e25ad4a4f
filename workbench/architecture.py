"""What is known of each model architecture, as facts rather than branches.

A decoder is an embedding, a list of equal blocks, a last norm and a head. Inside a block the linear layers fall
into steps, and layers of one step read the same input. The order of the steps is GPTQ's "true sequential" one:
attention in, attention out, MLP in, MLP out. Names are those of transformers' modules, which checkpoints bear too.
A block's two parts, attention and MLP, end with a layer whose output is the part's own; so who has that layer's input
need not run what comes before it in the part (``workbench/block_run.py``).

Example::

    MODULES["llama"].linears(open_checkpoint("defog/sqlcoder-7b-2"))
"""

from __future__ import annotations

from dataclasses import dataclass

from workbench.checkpoint import Checkpoint
from workbench.errors import CheckpointError


@dataclass(frozen=True)
class Modules:
    """Where the parts of one architecture are.

    Attributes:
        model_class: the class transformers loads, for configs that do not name it.
        blocks: path of the list of blocks.
        layers_key: the config's key for their number.
        steps: linear layers of a block, grouped by shared input, in order of computation.
        embedding: path of the token embedding.
        norm: path of the norm behind the last block.
        attention: name of the attention in a block; it returns a pair, of which its output is the first.
        head: path of the head; its weight may be tied to the embedding's.
    """

    model_class: str
    blocks: str
    layers_key: str
    steps: tuple[tuple[str, ...], ...]
    embedding: str
    norm: str
    attention: str
    head: str = "lm_head"

    @property
    def parts(self) -> dict[str, int]:
        """The parts of a block (attention, MLP) in order, and the step that ends each."""
        return {step[-1].rpartition(".")[0]: place for place, step in enumerate(self.steps)}

    def linears(self, checkpoint: Checkpoint) -> list[str]:
        """Full names of all linear layers inside blocks, in order of computation.

        Raises:
            CheckpointError: the checkpoint lacks one of them.
        """
        names = [
            f"{self.blocks}.{block}.{layer}"
            for block in range(int(checkpoint.config[self.layers_key]))
            for step in self.steps
            for layer in step
        ]
        missing = [name for name in names if f"{name}.weight" not in checkpoint.tensors]
        if missing:
            raise CheckpointError(f"{checkpoint.path} lacks {missing[0]}.weight; give --model a complete checkpoint")
        return names


_LLAMA_STEPS = (
    ("self_attn.q_proj", "self_attn.k_proj", "self_attn.v_proj"),
    ("self_attn.o_proj",),
    ("mlp.gate_proj", "mlp.up_proj"),
    ("mlp.down_proj",),
)
_LLAMA_PATHS = ("model.layers", "num_hidden_layers", _LLAMA_STEPS, "model.embed_tokens", "model.norm", "self_attn")

MODULES = {
    "gpt_bigcode": Modules(
        "GPTBigCodeForCausalLM",
        "transformer.h",
        "n_layer",
        (("attn.c_attn",), ("attn.c_proj",), ("mlp.c_fc",), ("mlp.c_proj",)),
        "transformer.wte",
        "transformer.ln_f",
        "attn",
    ),
    "llama": Modules("LlamaForCausalLM", *_LLAMA_PATHS),
    "mistral": Modules("MistralForCausalLM", *_LLAMA_PATHS),
}
ARCHITECTURES = frozenset(MODULES)

"""StarCoder for mlx-lm with the activation it was trained with.

mlx-lm's own ``gpt_bigcode`` computes GELU exactly; StarCoder and its SQLCoder descendants were trained with the tanh
form (``gelu_pytorch_tanh``, Hendrycks and Gimpel 2016, arXiv 1606.08415). This file makes good for it. It lies
beside the weights of an MLX package, and mlx-lm runs it only for a user who says so::

    mlx_lm.load(folder, model_config={"model_file": "mlx_gpt_bigcode.py"}, trust_remote_code=True)

Without that the package loads all the same, with exact GELU.
"""

# mypy: ignore-errors

from mlx import nn
from mlx_lm.models import gpt_bigcode
from mlx_lm.models.gpt_bigcode import ModelArgs

__all__ = ["Model", "ModelArgs"]


class MLP(gpt_bigcode.MLP):
    """The feed-forward part with tanh GELU."""

    def __call__(self, x):
        return self.c_proj(nn.gelu_approx(self.c_fc(x)))


class Model(gpt_bigcode.Model):
    """gpt_bigcode with that part in every block."""

    def __init__(self, args):
        super().__init__(args)
        for block in self.transformer.h:
            block.mlp = MLP(args)

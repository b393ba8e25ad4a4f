"""Codes and scales improved one by one after GPTQ, until no single change helps.

GPTQ rounds a column knowing those before it, and never looks back; its scales were chosen before it knew which codes
they would get. Both can be mended with what is at hand. The damage of an error E is tr(E H E^T), and with G = E H
its change is known for every single step:

    code  c_j -> c_j + d:    -2 d s G_j + d^2 s^2 H_jj,        least at d = G_j / (s H_jj), rounded
    scale s   -> s + d:      -2 d C G^T + d^2 C H C^T,         least at d = C G^T / (C H C^T)

with C the group's codes less zero. Each is set to its optimum in turn (coordinate descent; for codes alone it is
QuantEase, arXiv 2309.01885), so the damage never rises. H includes the damping, and G comes from the factor that GPTQ
used: with H = U U^T and P = E U

    G_block = P_later U_block^T,    P_later += (change of E in the block) U_block,

both large products; inside a block of columns (``BLOCK`` wide) the loop over codes is compiled. A sweep over all
columns costs about what GPTQ's own pass does. Rows do not touch one another and go in pieces of fixed size.

A scale is refitted where its group lies inside one block of columns: not for whole rows as one group, nor for static
groups in another order.

Example::

    result = quantize(weight, factor, settings, workers)
    result = polish(weight, result, factor, workers)
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from workbench.kernels._gptq_descent import improve_codes
from workbench.kernels._gptq_rows import ROWS
from workbench.kernels.gptq import GptqResult
from workbench.kernels.hessian import BLOCK, Factor
from workbench.workers import Workers

if TYPE_CHECKING:
    from torch import Tensor

SWEEPS = 8  # at most; most layers stand still before


def polish(weight: Tensor, result: GptqResult, factor: Factor, workers: Workers, sweeps: int = SWEEPS) -> GptqResult:
    """Set codes and scales to their optimum, one after another.

    Args:
        weight: what was quantized, ``(out, in)``, float.
        result: of ``quantize`` with the same weight and factor.
        factor: of the layer's damped Hessian.
        workers: to do it on.
        sweeps: how often to go over all columns at most; rows that stand still are done.

    Returns:
        A result of the same groups and zeros, whose damage ``tr(E (H + D) E^T)`` is not greater, with its relative
        error. Scales stay such as float16 stores, of their former sign.
    """
    corners = list(workers.map(lambda block: _corner(factor, block), _blocks(len(factor.order))))
    parts = [slice(first, min(first + ROWS, len(weight))) for first in range(0, len(weight), ROWS)]
    pieces = list(workers.map(lambda part: _Rows(weight[part], result, part, factor).improve(corners, sweeps), parts))
    damage, whole = (sum(piece.sums[which] for piece in pieces) for which in (0, 1))
    place = np.argsort(factor.order.numpy())
    return replace(
        result,
        codes=np.concatenate([piece.codes[:, place] for piece in pieces]),
        scales=np.concatenate([piece.scales for piece in pieces]),
        relative_error=float(np.sqrt(max(damage, 0.0) / whole)) if whole > 0 else 0.0,
    )


def _blocks(columns: int) -> list[slice]:
    return [slice(first, min(first + BLOCK, columns)) for first in range(0, columns, BLOCK)]


def _corner(factor: Factor, block: slice) -> Tensor:
    """A block on the diagonal of the damped Hessian, ``(BLOCK, BLOCK)``."""
    strip = _strip(factor, block)
    return strip @ strip.t()


def _strip(factor: Factor, block: slice) -> Tensor:
    """Rows of U from the diagonal on; what lies below the diagonal does not count, and is set to zero."""
    return factor.upper[block, block.start :].triu()


class _Rows:
    """Some rows of a layer.

    Args:
        weight: the rows.
        result: of the whole layer.
        part: which rows.
        factor: of the Hessian.

    Attributes:
        codes: ``(rows, in)``, columns in the factor's order.
        scales: ``(rows, groups)``, float16.
        sums: tr(E H E^T) and tr(W H W^T), H without damping.
    """

    def __init__(self, weight: Tensor, result: GptqResult, part: slice, factor: Factor) -> None:
        order = factor.order.numpy()
        self._factor = factor
        self._weight = weight.float()[:, factor.order]
        self._groups = result.g_idx[order]
        self._zeros = result.zeros[part].astype(np.float32)
        self._top = float((1 << result.bits) - 1)
        self.codes = result.codes[part][:, order]
        self.scales = result.scales[part].copy()
        self.sums = [0.0, 0.0]

    def improve(self, corners: list[Tensor], sweeps: int) -> _Rows:
        """Sweep over the columns until nothing changes; returns itself."""
        blocks = _blocks(len(self._groups))
        carried = self._through_factor(self._error(slice(None)))
        for _ in range(sweeps):
            changed = [self._improve_block(*one, carried) for one in zip(blocks, corners, strict=True)]
            if not any(changed):
                break
        added = self._factor.added
        whole = self._through_factor(self._weight)
        for which, (values, product) in enumerate(((self._error(slice(None)), carried), (self._weight, whole))):
            self.sums[which] = float(product.double().square().sum() - (values.double().square() @ added).sum())
        del self._weight
        return self

    def _improve_block(self, block: slice, corner: Tensor, carried: Tensor) -> bool:
        """One block's scales and codes; ``carried`` is E U and stays so. Tells whether anything changed."""
        strip = _strip(self._factor, block)
        before = self._error(block)
        gradient = carried[:, block.start :] @ strip.t()
        for group in np.unique(self._groups[block]):
            columns = np.flatnonzero(self._groups == group)
            if len(columns) == columns[-1] - columns[0] + 1 and block.start <= columns[0] and columns[-1] < block.stop:
                inside = slice(int(columns[0]) - block.start, int(columns[-1]) + 1 - block.start)
                self._refit_scale(int(group), block, inside, gradient, corner)
        used, which = np.unique(self._groups[block], return_inverse=True)
        grid = (self.scales[:, used].astype(np.float32), which, self._top)
        codes = np.ascontiguousarray(self.codes[:, block])
        improve_codes(gradient.numpy(), corner.numpy(), grid, codes)
        self.codes[:, block] = codes
        change = self._error(block) - before
        if not bool(change.any()):
            return False
        carried[:, block.start :].addmm_(change, strip)
        return True

    def _refit_scale(self, group: int, block: slice, inside: slice, gradient: Tensor, corner: Tensor) -> None:
        """The best scale for the codes as they are, where float16 has a better one; the gradient follows."""
        import torch

        columns = slice(block.start + inside.start, block.start + inside.stop)
        centred = torch.from_numpy(self.codes[:, columns].astype(np.float32) - self._zeros[:, group, None])
        bent = centred @ corner[inside]
        slope = (centred * gradient[:, inside]).sum(1).double()
        curve = (centred * bent[:, inside]).sum(1).double()
        old = torch.from_numpy(self.scales[:, group])
        new = (old.double() + slope / curve.clamp_min(1e-300)).half()
        step = new.double() - old.double()
        # A step must help as stored, and leave a scale that readers can divide by.
        good = (2 * step * slope > step.square() * curve) & (new * old.sign() > 0) & new.isfinite()
        step = torch.where(good, step, 0.0).float()
        self.scales[:, group] = torch.where(good, new, old).numpy()
        gradient.addcmul_(step[:, None], bent, value=-1)

    def _error(self, columns: slice) -> Tensor:
        """W - Q of some columns."""
        import torch

        groups = self._groups[columns]
        scales, zeros = self.scales.astype(np.float32)[:, groups], self._zeros[:, groups]
        rounded: NDArray[np.float32] = scales * (self.codes[:, columns].astype(np.float32) - zeros)
        return self._weight[:, columns] - torch.from_numpy(rounded)

    def _through_factor(self, values: Tensor) -> Tensor:
        """``values U``, block by block: what lies below the diagonal must not count."""
        import torch

        product = torch.zeros_like(values)
        for block in _blocks(values.shape[1]):
            product[:, block.start :].addmm_(values[:, block], _strip(self._factor, block))
        return product

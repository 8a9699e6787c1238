"""Linear layers whose weights rest in eight bits and are widened for each use.

Scales are kept with the weights, so small weights do not fall under the smallest 8-bit number, as
they do when a tensor is cast plainly. An fp8 weight that is widened has one scale for the whole
tensor, which the matrix product takes as its factor: widening costs one cast. Weights in int8, and
those multiplied in fp8, have one scale a row.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

FP8 = torch.float8_e4m3fn
FP8_MOST = torch.finfo(FP8).max
SMALLEST = 1e-8
"""Least scale times range: a row of zeros has a scale too."""
ROWS_FOR_FP8_PRODUCT = 64
"""Below so many rows the product is bound by reading the weights, and quantizing costs more."""


class NarrowLinear(nn.Linear):
    """Hold a linear layer's weight as float8 (e4m3) or int8; compute in the type of its input.

    With `fp8_product` the product itself runs in float8: each row of the input gets a scale of its
    own at each call. That needs compute capability 8.9 and changes the result a little more.
    """

    def __init__(self, wide: nn.Linear, *, storage: torch.dtype, fp8_product: bool = False) -> None:
        nn.Module.__init__(self)
        self.in_features, self.out_features = wide.in_features, wide.out_features
        self.storage, self.fp8_product = storage, fp8_product and storage == FP8
        self.weight = wide.weight
        self.bias = wide.bias
        self.scale = 1.0
        self.register_buffer("row_scale", None, persistent=False)
        self.register_buffer("whole_scale", None, persistent=False)

    def take(self, wide: torch.Tensor) -> None:
        """Keep `wide` (out x in, any float type) as this layer's weight, on its device."""
        values = wide.float()
        if self.storage == torch.int8:
            scale = values.abs().amax(dim=1, keepdim=True).clamp(min=SMALLEST) / 127
            self.row_scale = scale.to(wide.dtype)
            narrow = (values / self.row_scale.float()).round().clamp(-127, 127).to(torch.int8)
        elif self.fp8_product:
            scale = values.abs().amax(dim=1, keepdim=True).clamp(min=SMALLEST) / FP8_MOST
            narrow = (values / scale).clamp(-FP8_MOST, FP8_MOST).to(FP8)
            self.row_scale = scale.t().contiguous()
        else:
            self.scale = max(float(values.abs().amax()), SMALLEST) / FP8_MOST
            self.whole_scale = torch.tensor(self.scale, dtype=wide.dtype, device=wide.device)
            narrow = (values / self.scale).clamp(-FP8_MOST, FP8_MOST).to(FP8)
        self.weight = nn.Parameter(narrow, requires_grad=False)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Return `x @ weight.T + bias` in the type of `x`."""
        if self.storage == torch.int8:
            return F.linear(x, self.weight.to(x.dtype) * self.row_scale, self.bias)
        if self.fp8_product:
            rows = x.reshape(-1, self.in_features)
            return self._fp8_product(rows).view(*x.shape[:-1], self.out_features)
        if torch.compiler.is_compiling():
            # A number would be a constant of the compiled code, and another in every layer.
            return F.linear(x, self.weight.to(x.dtype) * self.whole_scale, self.bias)
        rows = x.reshape(-1, self.in_features)
        weight = self.weight.to(x.dtype).t()
        if self.bias is None:
            out = torch.mm(rows, weight).mul_(self.scale)
        else:
            out = torch.addmm(self.bias, rows, weight, alpha=self.scale)
        return out.view(*x.shape[:-1], self.out_features)

    def _fp8_product(self, rows: torch.Tensor) -> torch.Tensor:
        if rows.shape[0] < ROWS_FOR_FP8_PRODUCT:
            out = F.linear(rows, self.weight.to(rows.dtype)) * self.row_scale.to(rows.dtype)
            return out if self.bias is None else out + self.bias
        scale = rows.abs().amax(dim=1, keepdim=True).float().clamp(min=SMALLEST) / FP8_MOST
        narrow = (rows * scale.reciprocal().to(rows.dtype)).clamp(-FP8_MOST, FP8_MOST).to(FP8)
        return torch._scaled_mm(
            narrow,
            self.weight.t(),
            scale_a=scale,
            scale_b=self.row_scale,
            bias=self.bias,
            out_dtype=rows.dtype,
            use_fast_accum=True,
        )


def fp8_product_fault(device: torch.device) -> str:
    """Return why this card and this torch cannot multiply in float8; empty when they can.

    Scales for each row came to cards below compute capability 9.0 later than to Hopper.
    """
    wide = nn.Linear(256, 256, dtype=torch.bfloat16, device=device)
    layer = NarrowLinear(wide, storage=FP8, fp8_product=True)
    try:
        with torch.no_grad():
            layer.take(wide.weight)
            layer(torch.ones(2 * ROWS_FOR_FP8_PRODUCT, 256, dtype=torch.bfloat16, device=device))
            if device.type == "cuda":
                torch.cuda.synchronize(device)
    except (RuntimeError, ValueError) as error:
        return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
    return ""


def narrow_linears(
    block: nn.Module, storage: torch.dtype | None, *, fp8_product: bool = False
) -> None:
    """Replace every linear layer of `block` (still without weights) by a narrow one."""
    if storage is None:
        return
    for parent in list(block.modules()):
        for name, child in list(parent.named_children()):
            if type(child) is nn.Linear:
                setattr(parent, name, NarrowLinear(child, storage=storage, fp8_product=fp8_product))

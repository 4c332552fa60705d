"""Smaller copies of weights for generation on a CPU. Knows no training, no file and no cache.

A step of few rows is bound by reading the weights, so fewer bytes are more tokens. Only weights are
rounded: to whole numbers of 8 bits times a scale a row (or to bfloat16). Activations rounded to 8
bits a row as well would cost ten times the divergence (docs/log.md); here they have bfloat16's 8
bits of fraction going in and coming out of a product, and its sums are float32.

Shape suffixes: N rows, I and O widths of a weight's input and output.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import cache
from typing import Any, Literal, get_args

import torch
from torch import Tensor, nn

from ontogeny.base.errors import InputError
from ontogeny.model import thin
from ontogeny.model.transformer import Transformer

Kind = Literal["int8", "bf16"]
ROWS = 12
"""Most rows for torch's product with int8, whose time grows with each."""
CHUNK = 1 << 18
"""Numbers of a weight that are widened at once; they stay in a core's cache."""
LEVELS = 127


def quantise(model: Transformer, kind: Kind = "int8", *, keep: bool = True) -> None:
    """From now on `Transformer.extend` multiplies by smaller copies of the matrices of `model`.

    Whatever the number of rows, the same rounded numbers multiply. Training and scoring go on with
    the float32 weights, and adapters are added in float32. The copies are of this moment: call it
    again when the weights have changed.

    Args:
        kind: "int8": -127 to 127 times a scale for each row of a matrix; "bf16": bfloat16, fast
            where the processor has matrix units for it (AMX), slow elsewhere.
        keep: False frees the float32 matrices, but for a tied embedding; the model then generates
            and does nothing else.

    Raises:
        InputError: the model is not in float32 on a CPU, or was freed; it has adapters and is to be
            freed; this build of torch lacks the product. Later, when a freed model is to do more
            than generate.
    """
    _check(model, kind, keep)
    for weight_OI in _matrices(model):
        with torch.no_grad():
            packed = (_Int8 if kind == "int8" else _BFloat16)(weight_OI)
        if not keep and weight_OI is not model.embedding:
            weight_OI.data = weight_OI.new_empty(0)
        packed.version = weight_OI._version
        setattr(weight_OI, thin.PACKED, packed)
    if not keep:
        for layer in model.stack:
            layer.register_forward_pre_hook(_refuse)


def quantised(model: Transformer) -> Kind | None:
    """What `extend` multiplies by; None: the float32 weights."""
    packed = getattr(model.head, thin.PACKED, None)
    return None if packed is None else packed.kind


def packed_bytes(model: Transformer) -> int:
    """Bytes of the copies; 0 where there are none."""
    copies = (getattr(weight, thin.PACKED, None) for weight in _matrices(model))
    return sum(copy.bytes for copy in copies if copy is not None)


class _Int8:
    """x W^T with W = scale x whole numbers, a scale a row (absmax / 127, rounded up to bfloat16).

    The scale is rounded before the numbers are, so that its own rounding costs nothing.
    """

    kind: Kind = "int8"

    def __init__(self, weight_OI: Tensor) -> None:
        self.version = -1
        top_O1 = weight_OI.abs().amax(1, keepdim=True) / LEVELS
        # a step of bfloat16 is at most 2^-7 of a number, so half of one is 2^-8
        scale_O1 = (top_O1 * (1 + 2**-8)).clamp_min_(torch.finfo(torch.float32).tiny).bfloat16()
        whole_OI = (weight_OI / scale_O1).round_().clamp_(-LEVELS, LEVELS)
        self.whole_OI, self.scale_O = whole_OI.to(torch.int8), scale_O1[:, 0].contiguous()
        self.scale_O1 = scale_O1.float()

    @property
    def bytes(self) -> int:
        return self.whole_OI.nbytes + self.scale_O.nbytes + self.scale_O1.nbytes

    def __call__(self, x_NI: Tensor) -> Tensor:
        if len(x_NI) <= ROWS:
            y_NO: Tensor = torch._weight_int8pack_mm(x_NI.bfloat16(), self.whole_OI, self.scale_O)
            return y_NO.float()
        dtype = torch.bfloat16 if thin.matrix_units() else torch.float32
        columns_IN = x_NI.to(dtype).t()
        y_ON = columns_IN.new_empty(len(self.whole_OI), len(x_NI))
        size = max(CHUNK // x_NI.shape[1], 1)
        parts = torch.split(self.whole_OI, size), torch.split(y_ON, size)
        for whole_OI, part_ON in zip(*parts, strict=True):
            torch.mm(whole_OI.to(dtype), columns_IN, out=part_ON)
        return (y_ON * self.scale_O1).t()


class _BFloat16:
    """x W^T with W in bfloat16."""

    kind: Kind = "bf16"

    def __init__(self, weight_OI: Tensor) -> None:
        self.version = -1
        self.weight_OI = weight_OI.bfloat16()

    @property
    def bytes(self) -> int:
        return self.weight_OI.nbytes

    def __call__(self, x_NI: Tensor) -> Tensor:
        # one column would take a product without matrix units, slower than that of two
        columns_IN = x_NI.bfloat16().t().expand(-1, max(len(x_NI), 2))
        return torch.mm(self.weight_OI, columns_IN)[:, : len(x_NI)].float().t()


def _matrices(model: Transformer) -> Iterator[nn.Parameter]:
    """What `extend` multiplies by; a tied head is the embedding."""
    for layer in model.stack:
        yield from (layer.mixer.qkv, layer.mixer.out)
        yield from (layer.feed_forward.gate_up, layer.feed_forward.down)
    yield model.embedding if model.untied_head is None else model.untied_head


def _check(model: Transformer, kind: str, keep: bool) -> None:
    if kind not in get_args(Kind):
        raise InputError(f"weights are '{kind}'; give one of {', '.join(get_args(Kind))}")
    if model.device.type != "cpu" or model.embedding.dtype != torch.float32:
        raise InputError(f"{kind} weights are made of a model in float32 on a CPU; load it so")
    if any(not weight.numel() for weight in _matrices(model)):
        raise InputError("the weights were freed when they were made smaller; load the model again")
    if not keep and any(
        part.adapters for layer in model.stack for part in (layer.mixer, layer.feed_forward)
    ):
        raise InputError("weights under an adapter are not freed; merge it first, or keep them")
    if kind == "int8" and not _has_int8():
        raise InputError("this build of torch multiplies no int8 weights; give bf16 or float32")


@cache
def _has_int8() -> bool:
    """Whether torch's product of bfloat16 with int8 is there and right: it is not in its docs."""
    x_NI, whole_OI = torch.eye(32, dtype=torch.bfloat16), torch.arange(-32, 32, dtype=torch.int8)
    whole_OI = whole_OI[:, None].expand(-1, 32).contiguous()
    try:
        y_NO = torch._weight_int8pack_mm(x_NI, whole_OI, torch.full((64,), 0.5).bfloat16())
    except (AttributeError, NotImplementedError, RuntimeError):
        return False
    return torch.equal(y_NO.float(), whole_OI.t() * 0.5)


def _refuse(*_: Any) -> None:
    raise InputError("this model's weights were freed and it only generates; load it without int8")

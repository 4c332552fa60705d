"""Attention of packed rows to pages of keys and values. Knows no slot, no table's owner, no layer.

Pages: Kwon et al. 2023, arXiv:2309.06180. On CUDA the kernel behind
`torch.nn.attention.varlen.varlen_attn` (Dao 2023, arXiv:2307.08691) reads them through their
table; it is called as an operator because importing that module takes 0.8 s. It knows neither
float32 nor capped scores, and older versions of torch know no tables: whether it serves is tried
(`refusal`), and where it does not, pages are gathered into one dense tensor.

Shape suffixes: B rows, T places of the longest row's new tokens, N new tokens without padding,
U pages of a row, F pages in all, L places of a page, R = reach, H query heads, J key heads,
D width of a head.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

PAGE = 256
"""Places of a page that the kernel reads; it wants multiples of this."""
SPLITS = 1
"""Pieces a row's past is read in: more are faster for few long rows, but then a row's last bits
depend on the longest of its neighbours."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What the new tokens of an `extend` read; the same for all layers.

    Args:
        positions_N: of each new token in its row.
        table_BU: pages of each row, int32; behind a row's last one stands page 0.
        used_B: places of each row that hold anything, the new tokens included.
        width, page: T and L.
        at_N: places of the new tokens among the B * T with padding, or None: there is none.
        kernel: pages are read through the table; otherwise they are gathered.
        reach: places that are gathered.
        causal: all rows start empty, so new tokens look at each other alone.
        mask_B1TR, window_mask_B1TR: True where a new token may look, when pages are gathered; the
            second for layers with a window, None where it is wider than `reach`.
        ends_q, ends_k: (B + 1,) int32, ends of the rows among new tokens and among used places.
    """

    positions_N: Tensor
    table_BU: Tensor
    used_B: Tensor
    width: int
    page: int
    at_N: Tensor | None
    kernel: bool
    reach: int
    causal: bool
    mask_B1TR: Tensor | None
    window_mask_B1TR: Tensor | None
    ends_q: Tensor
    ends_k: Tensor

    def mask(self, window: int) -> Tensor | None:
        """(B, 1, T, R), for layers with this window (0: none)."""
        return self.window_mask_B1TR if 0 < window < self.reach else self.mask_B1TR

    def picked(self, x_M: Tensor) -> Tensor:
        """Those of B * T places that hold a new token, (N, ...)."""
        return x_M if self.at_N is None else x_M[self.at_N]

    def spread(self, x_N: Tensor) -> Tensor:
        """(B * T, ...), the inverse of `picked`; zeros in the padding."""
        if self.at_N is None:
            return x_N
        x_M = x_N.new_zeros(len(self.table_BU) * self.width, *x_N.shape[1:])
        x_M[self.at_N] = x_N
        return x_M

    def padded(self, x_NHD: Tensor) -> Tensor:
        """(B, H, T, D)."""
        shape = (len(self.table_BU), self.width, *x_NHD.shape[1:])
        return self.spread(x_NHD).reshape(shape).transpose(1, 2)

    def packed(self, x_BHTD: Tensor) -> Tensor:
        """(N, H * D), the inverse of `padded`."""
        return self.picked(x_BHTD.transpose(1, 2).flatten(2).flatten(0, 1))

    def gathered(self, pages_FJLD: Tensor) -> Tensor:
        """(B, J, R, D): the pages of each row side by side."""
        rows_BJULD = pages_FJLD[self.table_BU].transpose(1, 2)
        return rows_BJULD.flatten(2, 3)[:, :, : self.reach]

    def places(self) -> tuple[Tensor, Tensor]:
        """Page and place in it of each new token, (N, 1) both."""
        rows_N = torch.arange(len(self.table_BU) * self.width, device=self.table_BU.device)
        rows_N = self.picked(rows_N) // self.width
        pages_N = self.table_BU[rows_N, self.positions_N // self.page]
        return pages_N.long()[:, None], (self.positions_N % self.page)[:, None]


def reading(
    starts_B: Tensor,
    counts_B: Tensor,
    table_BU: Tensor,
    *,
    width: int,
    page: int,
    window: int,
    kernel: bool,
    reach: int,
    at_N: Tensor | None = None,
    causal: bool = False,
) -> Reading:
    """Rows that hold `starts_B` tokens gain `counts_B`, at most `width`; asks the device nothing.

    `window` is that of the layers that have one, or 0; the rest is as in `Reading`.
    """
    positions_BT = starts_B[:, None] + torch.arange(width, device=starts_B.device)
    used_B = starts_B + counts_B
    mask = window_mask = None
    if not kernel:
        place_R, position_B1T1 = torch.arange(reach, device=starts_B.device), positions_BT[:, None]
        position_B1T1 = position_B1T1[..., None]
        mask = place_R <= position_B1T1
        if 0 < window < reach:
            window_mask = mask & (place_R > position_B1T1 - window)
    positions_M = positions_BT.flatten()
    return Reading(
        positions_N=positions_M if at_N is None else positions_M[at_N],
        table_BU=table_BU,
        used_B=used_B.int(),
        width=width,
        page=page,
        at_N=at_N,
        kernel=kernel,
        reach=reach,
        causal=causal,
        mask_B1TR=mask,
        window_mask_B1TR=window_mask,
        ends_q=F.pad(counts_B.cumsum(0), (1, 0)).int(),
        ends_k=F.pad(used_B.cumsum(0), (1, 0)).int(),
    )


def attend(
    q_NHD: Tensor,
    keys_FJLD: Tensor,
    values_FJLD: Tensor,
    reading: Reading,
    window: int,
    scale: float | None,
) -> Tensor:
    """(N, H, D): softmax(scale q k^T) v of each new token over its row's past and itself.

    Tokens look `window` places back, themselves included; 0: at all.
    """
    single = reading.width == 1 and not window
    # a lone query sees all there is; saying so lets the kernel put grouped heads side by side
    back, ahead = (window - 1 if window else -1), (-1 if single else 0)
    mixed_NHD: Tensor = torch.ops.aten._flash_attention_forward(
        q_NHD,
        keys_FJLD.transpose(1, 2),
        values_FJLD.transpose(1, 2),
        reading.ends_q,
        reading.ends_k,
        reading.width,
        reading.table_BU.shape[1] * reading.page,
        0.0,
        (back, ahead) == (-1, 0),
        False,
        scale=scale,
        window_size_left=back,
        window_size_right=ahead,
        seqused_k=reading.used_B,
        block_table=reading.table_BU,
        num_splits=SPLITS,
    )[0]
    return mixed_NHD


@functools.cache
def refusal(
    heads: int, kv_heads: int, head_dim: int, window: int, dtype: torch.dtype, device: torch.device
) -> str | None:
    """Why such queries cannot be answered by the kernel, one line, or None: they can."""
    if device.type != "cuda":
        return f"the kernel for pages runs on CUDA only, not on {device.type}"
    return tried(heads, kv_heads, head_dim, window, dtype, device)


def tried(
    heads: int, kv_heads: int, head_dim: int, window: int, dtype: torch.dtype, device: torch.device
) -> str | None:
    """The same, found by running it.

    A prefill behind a past of more than a page and a decode step, with and without a window, must
    come out as the dense formula says, to the precision of `dtype`.
    """
    made = torch.Generator().manual_seed(0)
    pages = torch.randn(2, 5, kv_heads, PAGE, head_dim, generator=made).to(device, dtype)
    table_BU = torch.tensor([[3, 1], [4, 0]], dtype=torch.int32, device=device)
    for counts in ([7, 3], [1, 1]):
        q_NHD = torch.randn(sum(counts), heads, head_dim, generator=made).to(device, dtype)
        for back in {0, min(window, PAGE // 2)}:
            try:
                error = _error(q_NHD, pages, table_BU, counts, back)
            except (RuntimeError, TypeError) as problem:
                return f"the kernel for pages refuses: {str(problem).splitlines()[0]}"
            if not error < 8 * torch.finfo(dtype).eps:
                return f"the kernel for pages is off by {error:.2g} in {dtype}"
    return None


def _error(q_NHD: Tensor, pages: Tensor, table_BU: Tensor, counts: list[int], window: int) -> float:
    """Largest difference between the kernel and the dense formula in float32."""
    starts_B = torch.tensor([PAGE + 37, 2], device=pages.device)
    counts_B = torch.tensor(counts, device=pages.device)
    inside_BT = torch.arange(max(counts), device=pages.device) < counts_B[:, None]
    by_table, dense = (
        reading(
            starts_B,
            counts_B,
            table_BU,
            width=max(counts),
            page=PAGE,
            window=window,
            kernel=kernel,
            reach=PAGE + 37 + counts[0],
            at_N=inside_BT.flatten().nonzero()[:, 0],
        )
        for kernel in (True, False)
    )
    got_NHD = attend(q_NHD, pages[0], pages[1], by_table, window, None)
    expected_BHTD = F.scaled_dot_product_attention(
        dense.padded(q_NHD.float()),
        dense.gathered(pages[0].float()),
        dense.gathered(pages[1].float()),
        attn_mask=dense.mask(window),
        enable_gqa=True,
    )
    return float((got_NHD.flatten(1) - dense.packed(expected_BHTD)).abs().max())

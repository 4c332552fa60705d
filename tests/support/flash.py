"""What torch documents of its CUDA kernel for pages, written out row by row for the CPU.

`torch.nn.attention.varlen.varlen_attn` says what each argument means; the kernel itself runs only
on CUDA, and only where tests/model/test_paged_cuda.py is not skipped.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor


@contextmanager
def written_out(*, windows: bool = True, tables: bool = True, right: bool = True) -> Iterator[None]:
    """Gives the operator to the CPU while it lasts; a False makes one thing wrong.

    Args:
        windows: windows are heeded.
        tables: pages are found through the table, not in their order.
        right: the last query stands beside the last key, not the first beside the first.
    """

    def forward(
        q: Tensor,
        k: Tensor,
        v: Tensor,
        ends_q: Tensor,
        ends_k: Tensor,
        max_q: int,
        max_k: int,
        dropout: float,
        causal: bool,
        debug: bool,
        *,
        scale: float | None = None,
        window_size_left: int | None = None,
        window_size_right: int | None = None,
        seqused_k: Tensor,
        alibi_slopes: Tensor | None = None,
        block_table: Tensor,
        num_splits: int | None = None,
    ) -> tuple[Tensor, ...]:
        assert dropout == 0 and not debug and alibi_slopes is None and num_splits == 1
        assert k.shape[1] % 256 == 0 and k.stride(-1) == v.stride(-1) == q.stride(-1) == 1
        assert {each.dtype for each in (ends_q, ends_k, seqused_k, block_table)} == {torch.int32}
        assert ends_q.is_contiguous() and ends_k.is_contiguous() and block_table.stride(-1) == 1
        assert torch.equal(ends_k.diff(), seqused_k) and int(ends_q[-1]) == len(q)
        assert int(ends_q.diff().max()) <= max_q and int(seqused_k.max()) <= max_k
        left, ahead = int(window_size_left or 0), int(window_size_right or 0)
        assert causal == ((left, ahead) == (-1, 0))
        out = torch.empty_like(q)
        for row, used in enumerate(seqused_k.tolist()):
            first, last = ends_q[row : row + 2].tolist()
            pages = block_table[row].long() if tables else torch.arange(len(block_table[row]))
            keys, values = (each[pages].flatten(0, 1)[:used].double() for each in (k, v))
            groups = q.shape[1] // k.shape[2]
            keys, values = (each.repeat_interleave(groups, 1) for each in (keys, values))
            scores = torch.einsum("thd,shd->hts", q[first:last].double(), keys)
            scores = scores * (q.shape[-1] ** -0.5 if scale is None else scale)
            place = torch.arange(used) - (used - (last - first) if right else 0)
            ago = torch.arange(last - first)[:, None] - place
            seen = torch.ones_like(ago, dtype=torch.bool)
            if left >= 0 and windows:
                seen &= ago <= left
            if ahead >= 0:
                seen &= -ago <= ahead
            weights = scores.masked_fill(~seen, -torch.inf).softmax(-1)
            out[first:last] = torch.einsum("hts,shd->thd", weights, values).to(q.dtype)
        return out, out, out, out, out

    library = torch.library.Library("aten", "IMPL")
    library.impl("_flash_attention_forward", forward, "CPU")
    try:
        yield
    finally:
        library._destroy()

"""Texts -> vectors: the mean of a text's last hidden states, scaled to length 1.

Mean pooling after Reimers and Gurevych 2019 (arXiv:1908.10084, section 3), who train a model for
it. Ours are trained to continue a text: docs/serving.md tells what that is worth.

Shape suffixes: D distinct tokens, N tokens of a pass, S texts, C channels.
"""

from __future__ import annotations

from collections.abc import Generator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from ontogeny.base.errors import InputError
from ontogeny.infer.reading import Places, machine_of, read
from ontogeny.infer.tree import Pass, grow
from ontogeny.model.transformer import Transformer


def check(model: Transformer, texts: Sequence[Sequence[int]], begin: int) -> None:
    """Raises InputError when a text is empty, too long, or holds an id outside the vocabulary."""
    size, context = model.shape.vocab_size, model.shape.context
    for text in texts:
        if not text:
            raise InputError("a text to embed is empty; give at least one token")
        if not 0 <= min(begin, *text) <= max(begin, *text) < size:
            raise InputError(f"an id to embed is outside the vocabulary (0 to {size - 1})")
        if len(text) + 1 > context:
            raise InputError(
                f"a text of {len(text)} tokens and what stands before it exceed the model's "
                f"context of {context}; cut it"
            )


@torch.inference_mode()
def embedding(
    model: Transformer, texts: Sequence[Sequence[int]], begin: int, most_tokens: int
) -> Generator[None, None, NDArray[np.float32]]:
    """vectors_SC of length 1, in steps of one forward pass of at most `most_tokens` each.

    Args:
        begin: stands before each text, and does not count: the state of a sequence's first token
            is far from all others whatever it is (Xiao et al. 2023, arXiv:2309.17453).

    Raises:
        InputError: see `check`; or the model's states are not finite.
    """
    check(model, texts, begin)
    tree = grow(
        [np.array((begin, *text), np.int64) for text in texts], [len(text) for text in texts]
    )
    token_W = np.concatenate(tree.ends)
    text_W = np.repeat(np.arange(len(texts)), [len(text) for text in texts])
    order = np.argsort(token_W, kind="stable")
    token_W, text_W = token_W[order], text_W[order]
    sums_SC = torch.zeros(len(texts), model.shape.hidden, device=model.device)

    def every(part: Pass) -> Places:
        return np.arange(part.stop - part.first)

    for part, x_NC in read(model, tree, most_tokens, every, machine_of(model)):
        inside = slice(*np.searchsorted(token_W, (part.first, part.stop)))
        member_SN = x_NC.new_zeros(len(texts), len(x_NC))
        member_SN[text_W[inside], token_W[inside] - part.first] = 1.0
        sums_SC += (member_SN @ x_NC).float()
        yield
    if not bool(sums_SC.isfinite().all()):
        raise InputError("the model's states are not finite; use an earlier checkpoint")
    vectors: NDArray[np.float32] = torch.nn.functional.normalize(sums_SC, dim=1).cpu().numpy()
    return vectors

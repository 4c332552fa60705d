"""What may steer a request's tokens one by one: a grammar, a stop string. Knows no text, no model.

Shapes: R guided rows, W words of 32 bits, V vocabulary.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

WORD = 32


class Guide(Protocol):
    """Follows one completion from its first token; a request brings its own.

    Raising InputError in either method fails that one request (`Handle.error`); others go on.
    """

    def allowed(self) -> NDArray[np.int32] | None:
        """Which ids may come next: id i is bit i % 32 of word i // 32; None allows all.

        Asked once a token, before it is chosen. Ids beyond the last word are not allowed, words
        beyond the vocabulary are ignored. No id at all fails the request.
        """
        ...

    def accept(self, id_: int) -> bool:
        """This id was chosen. True: the completion is whole with it (finish "stop").

        Not called for an id of the request's own `stop`, which ends it anyway.
        """
        ...


def mask(words: Sequence[NDArray[np.int32]], vocab_size: int, device: torch.device) -> Tensor:
    """mask_RV of bool from the bits of R guides: True where an id may come."""
    packed_RW = np.zeros((len(words), -(-vocab_size // WORD)), np.int32)
    for row, each in enumerate(words):
        used = min(len(each), packed_RW.shape[1])
        packed_RW[row, :used] = each[:used]
    bits_W = torch.arange(WORD, dtype=torch.int32, device=device)
    bits_RWW = (torch.from_numpy(packed_RW).to(device)[:, :, None] >> bits_W) & 1
    return bits_RWW.flatten(1)[:, :vocab_size].bool()

"""What makes one vector of a text, so that texts can be compared. Knows no tensor and no text.

Implemented by `ontogeny.bridge.local_policy` (any model that our engine serves).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

Ids = tuple[int, ...]


class Embedder(Protocol):
    """Texts as vectors of length 1: the product of two is their cosine."""

    async def embed(self, texts: Sequence[Ids], begin: int) -> NDArray[np.float32]:
        """A row for each text.

        Args:
            texts: token ids, at least one each.
            begin: what each text is read behind; no part of it.
        """
        ...

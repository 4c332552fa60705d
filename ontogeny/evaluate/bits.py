"""Bits per byte: what a model needs to write down a text, whatever its tokenizer.

Knows nothing of models; takes each document's cost in nats and its size in bytes.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ontogeny.evaluate.intervals import Interval, paired_ratio_difference, ratio

NATS_TO_BITS = 1 / math.log(2)


def bits_per_byte(nats: Sequence[float], sizes: Sequence[int], name: str) -> Interval:
    """Total bits over total UTF-8 bytes with a 95 % interval clustered by document.

    Args:
        nats: each document's negative log likelihood, summed over its tokens, in nats.
        sizes: each document's size in bytes.
        name: of this measurement; seeds the bootstrap.

    Raises:
        InputError: no documents, unlike lengths, or a cost that is not finite.
    """
    bits = [cost * NATS_TO_BITS for cost in nats]
    return ratio(bits, [float(size) for size in sizes], name)


def bits_per_byte_change(
    before: Sequence[float], after: Sequence[float], sizes: Sequence[int], name: str
) -> Interval:
    """Bits per byte after less before on the same documents, paired; below 0 is better."""
    bits = [[cost * NATS_TO_BITS for cost in costs] for costs in (before, after)]
    return paired_ratio_difference(bits[0], bits[1], [float(size) for size in sizes], name)

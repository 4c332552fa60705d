"""Is a text of any language long enough to learn from? One rule, and no more can be said.

Knows no language: no stop words, no word lengths, no letters.
"""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from ontogeny.corpus.prose import Limit, apply_limits
from ontogeny.corpus.table import Outcome

MIN_CHARACTERS = 50
LIMITS = (Limit("too_short", "characters", low=MIN_CHARACTERS),)


def filter_text(table: pa.Table) -> Outcome:
    """Remove what has fewer than `MIN_CHARACTERS` characters (of Unicode, blanks counted)."""
    lengths = pc.utf8_length(table["text"]).to_numpy()
    return apply_limits(table, {"characters": lengths.astype(np.float64)}, LIMITS)

"""Where a word stood on the command line: the LINE of an error that is about the command line."""

from __future__ import annotations

import sys


def position(*spellings: str) -> int:
    """The 1-based place of the first argument spelt like one of these; the last place if none."""
    for place, word in enumerate(sys.argv[1:], start=1):
        if word in spellings:
            return place
    return max(1, len(sys.argv) - 1)

"""Is a text source code worth learning from? Five rules, each removal with its number.

Knows nothing of sources or duplicates, and only one language by its grammar: Python.
Line lengths are StarCoder's rule (arXiv:2305.06161, section 3.1).
"""

from __future__ import annotations

import ast
import re
import warnings

import numpy as np
import pyarrow as pa

from ontogeny.corpus.prose import Limit, apply_limits
from ontogeny.corpus.repetition import Measures
from ontogeny.corpus.table import Outcome, byte_lengths, remove

LIMITS = (
    Limit("too_short", "code_lines", low=5),
    Limit("long_lines", "mean_line", high=100),
    Limit("long_lines", "longest_line", high=1000),
    Limit("not_ascii", "ascii_share", low=0.9),
    Limit("data_table", "data_lines", high=0.5),
)

# A line that is a number, a string or a bracket of such, perhaps after a key and before a
# comment: what generated tables consist of and programs do not.
_ATOM = r"""(?:[-+]?(?:0[xX])?[0-9a-fA-F.]+|[bru]*'[^']*'|[bru]*"[^"]*"|None|True|False)"""
_DATA_LINE = re.compile(
    rf"[ \t]*[(\[{{]*[ \t]*{_ATOM}(?:[ \t]*[:,][ \t]*[(\[]?{_ATOM})*[)\]}}]*[ \t]*,?[ \t]*(?:#.*)?"
)
_DATA_BEGINS = frozenset("'\"([{+-.0123456789abcdefABCDEFNTru")
_DATA_LINE_BYTES = 400  # what is longer is refused for its length


def filter_code(table: pa.Table) -> Outcome:
    """Remove what is too short, generated, not ASCII, or (files named .py) no Python."""
    kept, removed = apply_limits(table, measure_code(table), LIMITS)
    parsed = remove_unparsable(kept)
    return Outcome(parsed.kept, pa.concat_tables([removed, parsed.removed]))


def measure_code(table: pa.Table) -> Measures:
    """Code lines (no blank, no comment), line lengths, shares of ASCII and of data lines."""
    names = ("code_lines", "mean_line", "longest_line", "ascii_share", "data_lines")
    rows = []
    sizes = byte_lengths(table)
    for size, text in zip(sizes.tolist(), table["text"].to_pylist(), strict=True):
        lines = [line for line in text.split("\n") if line.strip()]
        code = [line for line in lines if not line.lstrip().startswith("#")]
        data = sum(map(_is_data, code))
        continuation = size - len(text)  # bytes beyond one a character; 0 for ASCII
        rows.append(
            (
                len(code),
                len(text) / max(len(lines), 1),
                max(map(len, lines), default=0),
                1 - continuation / max(size, 1),
                data / max(len(code), 1),
            )
        )
    columns = np.array(rows, np.float64).reshape(len(rows), len(names))
    return {name: columns[:, place] for place, name in enumerate(names)}


def _is_data(line: str) -> bool:
    # Most lines begin with a name; looking at one letter first saves the expression.
    begins = line.lstrip(" \t")[0] in _DATA_BEGINS
    return begins and len(line) <= _DATA_LINE_BYTES and _DATA_LINE.fullmatch(line) is not None


def remove_unparsable(table: pa.Table) -> Outcome:
    """Remove files named `.py` that this interpreter's grammar does not accept."""
    rows, details = [], []
    for row, (name, text) in enumerate(
        zip(table["id"].to_pylist(), table["text"].to_pylist(), strict=True)
    ):
        if name.removesuffix(".gz").endswith(".py"):
            fault = _fault(text)
            if fault:
                rows.append(row)
                details.append(fault)
    return remove(table, rows, ["not_python"] * len(rows), details)


def _fault(text: str) -> str:
    """What the parser says against `text`, or nothing."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of invalid escapes in other people's strings
        try:
            ast.parse(text)
        except SyntaxError as error:
            return f"line {error.lineno}: {error.msg}"
        except (ValueError, RecursionError, MemoryError) as error:
            return f"{type(error).__name__}: {error}"
    return ""

"""Claims about the code filter."""

from __future__ import annotations

import pytest

from ontogeny.corpus.program import filter_code
from ontogeny.corpus.table import documents_table
from ontogeny.text.document import Document

PROGRAM = '''\
def first(values):
    """The first of some values."""
    for value in values:
        return value
    raise ValueError("no values")


print(first([3, 4]))
'''


@pytest.mark.parametrize(
    ("reason", "text"),
    [
        ("too_short", "# only a remark\n\nimport json\n"),
        ("long_lines", PROGRAM + "x = '" + "a" * 1_001 + "'\n"),
        ("not_ascii", PROGRAM + "#" + "日本語" * 60 + "\n"),
        ("data_table", "TABLE = (\n" + "    '\\x00',  #  0x00 -> NULL\n" * 40 + ")\n"),
        ("data_table", "D = {\n" + "    'a': (1, 0xFF),\n" * 40 + "}\n"),
        ("not_python", PROGRAM + "print 'old'\n"),
        ("not_python", PROGRAM + "x = 1 + " + "(\n" * 400 + "1" + ")\n" * 400 + "\n"),
    ],
)
def test_each_rule_removes_what_it_is_for(reason: str, text: str) -> None:
    rows = [Document(f"{n}.py", "code", "made", t) for n, t in enumerate((PROGRAM, text))]
    outcome = filter_code(documents_table(rows))
    assert outcome.kept["id"].to_pylist() == ["0.py"]
    assert outcome.removed["reason"].to_pylist() == [reason]


def test_only_files_named_py_must_be_python() -> None:
    rows = [Document("a.txt", "code", "made", PROGRAM + "print 'old'\n")]
    assert filter_code(documents_table(rows)).kept.num_rows == 1

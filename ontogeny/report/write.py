"""Writes a life's report into its store: `reports/RECIPE/report.json` and `report.html`.

Knows no stage. Each file is replaced whole; whoever has the old page open keeps it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ontogeny.base.files import require_directory, write_atomically
from ontogeny.base.store import Store
from ontogeny.report.contents import report_of
from ontogeny.report.life import Life, reports_in
from ontogeny.report.page import render

JSON, HTML = "report.json", "report.html"


def write_report(store: Store, life: Life) -> Path:
    """Writes both files; returns the path of the page.

    Raises:
        InputError: an artifact of the life is gone, or the directory cannot be made.
        CorruptArtifact: an artifact of the life is damaged.
        NoSpace: the disk is full or fails; the old report stands.
    """
    report = report_of(store, life)
    page = render(report)
    directory = reports_in(store) / life.recipe
    require_directory(directory)
    write_atomically(directory / JSON, _bytes(as_json(report) + "\n"))
    write_atomically(directory / HTML, _bytes(page))
    return directory / HTML


def as_json(report: dict[str, Any]) -> str:
    """The text of report.json."""
    return json.dumps(report, indent=1, ensure_ascii=False, allow_nan=False)


def _bytes(text: str) -> bytes:
    """UTF-8; half a surrogate pair, which a file of samples may hold, stays as its escape."""
    return text.encode("utf-8", "backslashreplace")

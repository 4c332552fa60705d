"""Tasks in the format of tau-bench and tau2-bench, from a directory of a user's own.

Knows no domain: the tools come as operations (`environments.retail` has those of one). A directory
holds `db.json`, `policy.md` or `policy.txt`, and tasks (`*tasks*.json` or `.jsonl`), each plain or
`.gz`. Format and score: tau2-bench, arXiv:2506.07982; tau-bench, arXiv:2406.12045, section 3.

An episode is right when the data base equals the one after the expected actions, and each text of
`communicate_info` stands in what the agent said. What differs from tau2-bench: the user is scripted
(the request tells everything at once, then "Yes."), and sentences that only a person or a model can
judge (`nl_assertions`) are not judged. Figures are therefore not comparable to published ones.
"""

from __future__ import annotations

import gzip
import json
import zlib
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.corpus.walk import is_examination
from ontogeny.environments.desk import Desk, digest, gold
from ontogeny.environments.environment import SPLITS, Task, side, task_id
from ontogeny.environments.own import Listed
from ontogeny.environments.session import Base, Call, Operation, Session
from ontogeny.environments.verifiers import verifier

MOST_BYTES = 200 << 20
YES = "Yes, please go ahead. I have told you everything."
_ASK = "This is all there is to know of me and of what I want.\n{notes}"


@dataclass(frozen=True)
class Tau:
    """An environment, and why some tasks were left out (reason -> how many)."""

    desk: Desk
    left_out: Mapping[str, int]


def read_tau(
    directory: Path, known: Mapping[str, Operation], *, name: str = "", trained: bool = False
) -> Tau:
    """The environment of a directory.

    Args:
        known: the tools of its domain.
        name: of the environment; the directory's where nothing is given.
        trained: tasks are split eight, one and one of ten by their text. Otherwise all are `exam`.

    Raises:
        InputError: a file is missing or of another form; nothing is left to ask; or training is
            asked for on what lies under a folder `eval`.
    """
    if trained and is_examination(directory):
        reason = "what lies under a folder 'eval' is never trained on; leave out trained=True"
        raise InputError(reason, file=directory)
    base = _base(directory)
    rows = _rows(_the(directory, "*tasks*.json*"))
    policy = _text(_the(directory, "policy.*"))
    name = name or directory.name
    left_out: Counter[str] = Counter()
    listed: dict[str, list[Task]] = {}
    for file, line, row in rows:
        try:
            task = _task(name, row)
            unfit = _unfit(row, task, known, base)
        except (KeyError, TypeError, AttributeError) as error:
            raise InputError(f"no task of tau2-bench ({error!r})", file=file, line=line) from None
        if unfit:
            left_out[unfit] += 1
        else:
            listed.setdefault(side(task.prompt) if trained else "exam", []).append(task)
    if not listed:
        raise InputError(f"no task can be judged ({dict(left_out)})", file=directory)
    every = [task for tasks in listed.values() for task in tasks]
    desk = Desk(
        name=name,
        known=known,
        told=lambda _: policy,
        draw=Listed(name, verifier("exact"), listed).tasks,
        base=lambda _: base,
        says=says,
        excess=lambda task: _excess(task, every, known, base),
        user=(YES,) * 3,
        splits=tuple(split for split in SPLITS if split in listed),
    )
    return Tau(desk, dict(left_out))


def says(task: Task, replies: Sequence[str]) -> bool:
    """Whether every text of `communicate_info` stands in the replies; commas and capitals aside."""
    wanted: Any = task.meta["say"]
    said = "\n".join(replies).lower().replace(",", "")
    return all(each.lower().replace(",", "") in said for each in wanted)


def _task(name: str, row: Mapping[str, Any]) -> Task:
    told = row["user_scenario"]["instructions"]
    if isinstance(told, Mapping):
        keys = ("reason_for_call", "known_info", "unknown_info", "task_instructions")
        told = "\n".join(told[key].strip() for key in keys if told.get(key))
    prompt = _ASK.format(notes=told)
    criteria = row["evaluation_criteria"]
    actions = [
        {"name": each["name"], "arguments": dict(each["arguments"])}
        for each in criteria.get("actions") or []
    ]
    say = [str(each) for each in criteria.get("communicate_info") or []]
    meta = {"gold": actions, "say": say, "task": str(row["id"])}
    answer = " ".join(say) or "Done."
    return Task(task_id(name, f"{row['id']}\0{prompt}"), prompt, answer, "tools", meta)


def _unfit(
    row: Mapping[str, Any], task: Task, known: Mapping[str, Operation], base: Base
) -> str | None:
    """Why a program cannot judge a task."""
    actions: Any = task.meta["gold"]
    if row.get("initial_state"):
        return "it begins in a state of its own"
    strange = next((each["name"] for each in actions if each["name"] not in known), None)
    if strange:
        return f"there is no tool {strange!r}"
    session = Session(known, base, "")
    for each in actions:
        session.call(each["name"], each["arguments"])
    changes = session.base is not base
    return None if changes or task.meta["say"] else "nothing is to be changed or said"


def _excess(task: Task, every: Sequence[Task], known: Mapping[str, Operation], base: Base) -> Call:
    """A change that another task asks for, and this one does not."""
    session = Session(known, base, "")
    for call in gold(task):
        session.call(call.name, call.arguments)
    right = digest(session.base)
    for call in (call for other in every for call in gold(other)):
        changes = known[call.name].tool.changes and session.call(call.name, call.arguments).ok
        if changes and digest(session.base) != right:
            return call
    raise InputError(f"no other task asks for a change that task {task.id} does not")


def _base(directory: Path) -> Base:
    file = _the(directory, "db.json*")
    try:
        found = json.loads(_text(file))
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InputError("the data base is no JSON object", file=file)
    return found


def _rows(file: Path) -> list[tuple[Path, int, Mapping[str, Any]]]:
    text = _text(file)
    try:
        if ".jsonl" in file.name:
            lines = [(n, line) for n, line in enumerate(text.split("\n"), start=1) if line.strip()]
            return [(file, number, json.loads(line)) for number, line in lines]
        rows = json.loads(text)
        rows = rows if isinstance(rows, list) else rows["tasks"]
        return [(file, 1, row) for row in rows]
    except (ValueError, TypeError, KeyError, RecursionError):
        raise InputError("the tasks are no JSON list and no JSON lines", file=file) from None


def _the(directory: Path, pattern: str) -> Path:
    found = sorted(directory.glob(pattern)) if directory.is_dir() else []
    if len(found) != 1:
        raise InputError(f"{len(found)} files match {pattern}; one is needed", file=directory)
    return found[0]


def _text(file: Path) -> str:
    """The text of a file, unpacked; at most `MOST_BYTES`."""
    try:
        with gzip.open(file) if file.suffix == ".gz" else file.open("rb") as stream:
            data = stream.read(MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"cannot be read ({error}); bring it again", file=file) from None
    if len(data) > MOST_BYTES:
        raise InputError(f"more than {MOST_BYTES >> 20} MiB; bring less", file=file)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        raise InputError("not UTF-8; save it so", file=file) from None

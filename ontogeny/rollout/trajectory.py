"""What happened in one episode, in the tokens that were really read and really sampled.

Knows no tokenizer: nothing here can be re-encoded, so an update sees exactly what was sampled.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, get_args

from ontogeny.base.errors import InputError
from ontogeny.rollout.policy import Completion, Finish, Request


@dataclass(frozen=True, slots=True)
class Turn:
    """New context, and what the policy said after it.

    Attributes:
        context: ids read since the end of the turn before (the whole prompt in the first turn).
        completion: ids, log-probs and versions as sampled.
    """

    context: tuple[int, ...]
    completion: Completion


@dataclass(frozen=True, slots=True)
class Trajectory:
    """One episode of one task: turns whose concatenation is the token sequence of the update.

    Attributes:
        task: the task's id.
        seed: of the episode.
        turns: in order.
        notes: JSON values the episode leaves for its scorer (a tool's verdict, a choice made).
    """

    task: str
    seed: int
    turns: tuple[Turn, ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)

    def extended(self, request: Request, completion: Completion) -> Trajectory:
        """This trajectory and one turn more.

        Raises:
            InputError: when the prompt does not begin with everything so far, id by id. A chat
                template that rewrites earlier turns cannot make one trajectory; start another.
        """
        before = self.ids()
        if request.prompt[: len(before)] != before:
            raise InputError(
                f"turn {len(self.turns) + 1} of task {self.task!r} does not continue the tokens "
                "before it; the chat template is not prefix-stable: begin a new trajectory"
            )
        turn = Turn(request.prompt[len(before) :], completion)
        return replace(self, turns=(*self.turns, turn))

    def noted(self, **notes: Any) -> Trajectory:
        """This trajectory with JSON values added for the scorer."""
        return replace(self, notes={**self.notes, **notes})

    def ids(self) -> tuple[int, ...]:
        """All tokens, read and sampled, in order: length T."""
        return tuple(i for turn in self.turns for i in (*turn.context, *turn.completion.ids))

    def sampled(self) -> tuple[bool, ...]:
        """Length T: True where the policy chose the token (where credit may fall)."""
        parts = ((t.context, t.completion.ids) for t in self.turns)
        return tuple(s for c, d in parts for s in (*(False,) * len(c), *(True,) * len(d)))

    def log_probs(self) -> tuple[float, ...]:
        """Length T, in nats, as sampled; 0 where the token was read."""
        parts = ((t.context, t.completion.log_probs) for t in self.turns)
        return tuple(p for context, said in parts for p in (*(0.0,) * len(context), *said))

    def versions(self) -> tuple[int, ...]:
        """Length T: the policy's version at each sampled token; -1 where the token was read."""
        parts = ((t.context, t.completion.versions) for t in self.turns)
        return tuple(v for context, said in parts for v in (*(-1,) * len(context), *said))

    def to_json(self) -> dict[str, Any]:
        """Plain lists and numbers; `from_json` gives an equal trajectory back."""
        turns = [
            {"context": list(turn.context), **completion_to_json(turn.completion)}
            for turn in self.turns
        ]
        return {"task": self.task, "seed": self.seed, "turns": turns, "notes": dict(self.notes)}

    @classmethod
    def from_json(cls, record: Any) -> Trajectory:
        """Raises InputError when a field is missing, of the wrong type, or not finite."""
        _demand(isinstance(record, dict), "a trajectory must be a JSON object")
        task, seed, notes = record.get("task"), record.get("seed"), record.get("notes")
        _demand(isinstance(task, str), "`task` must be a string")
        _demand(type(seed) is int, "`seed` must be an integer")
        _demand(isinstance(record.get("turns"), list), "`turns` must be a list")
        _demand(isinstance(notes, dict), "`notes` must be an object")
        turns = tuple(
            Turn(_integers(turn, "context"), completion_from_json(turn)) for turn in record["turns"]
        )
        return cls(task, seed, turns, notes)


def completion_to_json(completion: Completion) -> dict[str, Any]:
    """Lists and numbers; floats keep every bit (shortest representation that reads back).

    A log-prob that a server did not say is null; `matched` and `top` stand there only if given.
    """
    record: dict[str, Any] = {
        "ids": list(completion.ids),
        "log_probs": [None if math.isnan(each) else each for each in completion.log_probs],
        "versions": list(completion.versions),
        "finish": completion.finish,
    }
    if completion.matched is not None:
        record["matched"] = completion.matched
    if completion.top:
        record["top"] = [[list(pair) for pair in pairs] for pairs in completion.top]
    return record


def completion_from_json(record: Any) -> Completion:
    """Raises InputError when a field is missing, of the wrong type, or of another length."""
    ids, versions = _integers(record, "ids"), _integers(record, "versions")
    log_probs = _said(record)
    _demand(
        len(ids) == len(log_probs) == len(versions),
        f"ids, log_probs and versions have {len(ids)}, {len(log_probs)} and {len(versions)} "
        "entries; they must be as many",
    )
    finish, matched = record.get("finish"), record.get("matched")
    _demand(finish in get_args(Finish), f"`finish` must be one of {', '.join(get_args(Finish))}")
    _demand(matched is None or isinstance(matched, str), "`matched` must be a string")
    top = _top(record.get("top", []))
    _demand(len(top) in (0, len(ids)), "`top` must have an entry for each id")
    return Completion(ids, log_probs, versions, finish, matched, top)


def _said(record: Any) -> tuple[float, ...]:
    """Log-probs, NaN for null."""
    values = record.get("log_probs")
    _demand(isinstance(values, list), "`log_probs` must be a list of finite numbers or null")
    known = floats({"log_probs": [0.0 if each is None else each for each in values]}, "log_probs")
    return tuple(
        math.nan if each is None else value for each, value in zip(values, known, strict=True)
    )


def _top(values: Any) -> tuple[tuple[tuple[int, float], ...], ...]:
    reason = "`top` must be lists of (id, log-prob) pairs"
    _demand(isinstance(values, list), reason)
    for pairs in values:
        good = isinstance(pairs, list) and all(
            isinstance(pair, list) and len(pair) == 2 and type(pair[0]) is int for pair in pairs
        )
        _demand(good, reason)
        floats({"top": [pair[1] for pair in pairs]}, "top")
    return tuple(tuple((pair[0], float(pair[1])) for pair in pairs) for pairs in values)


def floats(record: Any, name: str) -> tuple[float, ...]:
    """A list of finite numbers under `name`. Raises InputError when it is something else."""
    values = record.get(name) if isinstance(record, dict) else None
    found = [finite(value) for value in values] if isinstance(values, list) else [None]
    known = tuple(value for value in found if value is not None)
    _demand(len(known) == len(found), f"`{name}` must be a list of finite numbers")
    return known


def finite(value: Any) -> float | None:
    """A finite number of a JSON text; None for anything else, be it true or too large a one."""
    if type(value) not in (int, float):
        return None
    try:
        found = float(value)
    except OverflowError:
        return None
    return found if math.isfinite(found) else None


def _integers(record: Any, name: str) -> tuple[int, ...]:
    values = record.get(name) if isinstance(record, dict) else None
    good = isinstance(values, list) and all(type(value) is int for value in values)
    _demand(good, f"`{name}` must be a list of integers")
    assert isinstance(values, list)
    return tuple(values)


def _demand(holds: bool, reason: str) -> None:
    if not holds:
        raise InputError(f"{reason}; the log is damaged or of another version, make it anew")

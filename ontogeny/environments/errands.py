"""What people ask at the library's desk, with the right calls and words: `library-1` to `-3`.

Knows no model. The number in the name is how many wishes a request has.

| wish | right |
|---|---|
| renew, give back, hold, drop a hold, move | the calls that do it, and no other change |
| renew what cannot be renewed | `decline` with the reason |
| when is a book due, how many loans | the number, and no other number; nothing changed |
| any, by somebody of another street | one `decline`, and nothing else |
"""

from __future__ import annotations

import random
import re
from collections.abc import Iterator, Mapping, Sequence
from types import MappingProxyType
from typing import Any, NamedTuple

from ontogeny.base.seeds import named_seed
from ontogeny.environments.desk import Desk
from ontogeny.environments.environment import Task, take, task_id
from ontogeny.environments.library import OPERATIONS, POLICY, blocked, library
from ontogeny.environments.session import Base, Call
from ontogeny.environments.words import WORDS

TIERS = (1, 2, 3)
WISHES = ("renew", "give_back", "hold", "drop_hold", "move", "due", "count")
_WORDS = {
    "renew": ("Please renew {title}.", "I want to keep {title} longer."),
    "give_back": ("I bring back {title}.", "Please take back {title}."),
    "hold": ("Please hold {title} for me.", "I want {title} next."),
    "drop_hold": ("Please drop my hold on {title}.", "I do not want {title} any more."),
    "move": ("I live in {street} now.", "Please note my new street, {street}."),
    "due": ("When is {title} due?", "On which day must I bring {title}?"),
    "count": ("How many books do I have?", "How many loans do I have?"),
}
_IMPOSTORS = 0.15
_NUMBER = re.compile(r"(?<![\w.])\d+(?![\w]|\.\d)")


class Wish(NamedTuple):
    """One thing that is asked for, and what is right.

    Attributes:
        about: the id of what it is about (a loan, a hold, a book), or a word.
        content: what it is about in words that no seed changes.
        first: the look-up before it.
        call: what it comes to.
        answer: the number to be said.
    """

    kind: str
    about: str
    content: str
    words: str
    first: Call | None = None
    call: Call | None = None
    answer: str = ""


def desk(wishes: int) -> Desk:
    """The environment `library-N` of requests with N wishes."""
    name = f"library-{wishes}"

    def draw(split: str, count: int, seed: int) -> list[Task]:
        return take(_stream(name, wishes, split, seed), name, split, count)

    return Desk(
        name=name,
        known=OPERATIONS,
        told=lambda _: POLICY,
        draw=draw,
        base=_base,
        says=says,
        excess=_excess,
    )


def says(task: Task, replies: Sequence[str]) -> bool:
    """Whether the numbers that stand in the replies are those that were asked for, and no other.

    Where no number was asked for, everything may be said.
    """
    wanted: Any = task.meta["say"]
    return not wanted or set(_NUMBER.findall("\n".join(replies))) == set(wanted)


def _stream(name: str, wishes: int, split: str, seed: int) -> Iterator[tuple[str, Task]]:
    source = random.Random(named_seed(seed, "environment", name, split))
    while True:
        yield _draw(name, wishes, source)


def _base(task: Task) -> Base:
    seed: Any = task.meta["base"]
    return library(seed)


def _draw(name: str, count: int, source: random.Random) -> tuple[str, Task]:
    seed = source.getrandbits(48)
    base = library(seed)
    member, row = source.choice(list(base["members"].items()))
    possible = [kind for kind in WISHES if _about(base, kind, member)]
    wishes: list[Wish] = []
    for kind in source.sample(possible, count):
        taken = {wish.about for wish in wishes}
        about = [each for each in _about(base, kind, member) if each not in taken]
        if about:
            wishes.append(_wish(base, kind, member, source.choice(about), source))
    if len(wishes) < count:
        return _draw(name, count, source)
    # how many loans there are, before or after some are brought back?
    if {"count", "give_back"} <= {wish.kind for wish in wishes}:
        return _draw(name, count, source)
    impostor = source.random() < _IMPOSTORS
    street = _another_street(row["street"], source) if impostor else row["street"]
    prompt = " ".join([f"I am {row['name']} of {street}.", *(wish.words for wish in wishes)])
    calls, say = _right(row["name"], wishes, impostor)
    meta = {
        "base": seed,
        "gold": [{"name": call.name, "arguments": dict(call.arguments)} for call in calls],
        "say": say,
        "tier": count,
        "wishes": ["impostor"] if impostor else [wish.kind for wish in wishes],
    }
    answer = f"{', '.join(say)}." if say else "I cannot do it." if impostor else "Done."
    about = sorted(f"{each.kind} {each.content}" for each in wishes)
    key = "\0".join([row["name"], street, *about])
    task = Task(task_id(name, f"{prompt}\0{seed}"), prompt, answer, "library", meta)
    return key, task


def _right(name: str, wishes: Sequence[Wish], impostor: bool) -> tuple[list[Call], list[str]]:
    calls = [Call("find_member", {"name": name})]
    if impostor:
        return [*calls, Call("decline", {"reason": "identity"})], []
    for wish in wishes:
        if wish.first and wish.first not in calls:
            calls.append(wish.first)
        calls += [wish.call] if wish.call else []
    return calls, [wish.answer for wish in wishes if wish.answer]


def _about(base: Base, kind: str, member: str) -> list[str]:
    """Ids of what a member can wish something of: a loan, a hold, a book; else a word."""
    loans = [id_ for id_, loan in base["loans"].items() if loan["member"] == member]
    if kind in ("renew", "give_back", "due"):
        return loans
    if kind == "drop_hold":
        return [id_ for id_, hold in base["holds"].items() if hold["member"] == member]
    if kind == "hold":
        mine = {base["loans"][id_]["book"] for id_ in loans}
        mine |= {hold["book"] for hold in base["holds"].values() if hold["member"] == member}
        return [id_ for id_ in base["books"] if id_ not in mine]
    return ["street"] if kind == "move" else ["loans"]


def _wish(base: Base, kind: str, member: str, about: str, source: random.Random) -> Wish:
    street = _another_street(base["members"][member]["street"], source)
    row = base["loans"].get(about) or base["holds"].get(about) or {"book": about}
    title = base["books"].get(row["book"], {"title": ""})["title"]
    words = source.choice(_WORDS[kind]).format(title=title, street=street)
    content = title or (street if kind == "move" else about)
    loans, reason = Call("loans_of", {"member": member}), None
    if kind == "renew":
        reason = blocked(base, about)
    calls = {
        "renew": Call("decline", {"reason": reason}) if reason else Call("renew", {"loan": about}),
        "give_back": Call("give_back", {"loan": about}),
        "hold": Call("hold", {"member": member, "book": about}),
        "drop_hold": Call("drop_hold", {"hold": about}),
        "move": Call("move", {"member": member, "street": street}),
    }
    first = {
        "hold": Call("find_book", {"title": title}),
        "drop_hold": Call("holds_of", {"member": member}),
        "move": None,
    }.get(kind, loans)
    answer = {"due": str(row.get("due", "")), "count": str(_loans(base, member))}.get(kind, "")
    return Wish(kind, about, content, words, first, calls.get(kind), answer)


def _another_street(known: str, source: random.Random) -> str:
    streets = [f"{word.title()} Street" for word in WORDS]
    return source.choice([street for street in streets if street != known])


def _loans(base: Base, member: str) -> int:
    return sum(loan["member"] == member for loan in base["loans"].values())


def _excess(task: Task) -> Call:
    """Moves somebody who asked for nothing."""
    used = str(task.meta["gold"])
    base = _base(task)
    other = next(id_ for id_ in base["members"] if id_ not in used and not _asks(base, id_, task))
    return Call("move", {"member": other, "street": "Nowhere Street"})


def _asks(base: Base, member: str, task: Task) -> bool:
    return task.prompt.startswith(f"I am {base['members'][member]['name']} ")


DESKS: Mapping[str, Desk] = MappingProxyType({each.name: each for each in map(desk, TIERS)})
"""The library's environments by name."""

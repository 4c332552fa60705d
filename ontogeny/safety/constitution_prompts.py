"""What a model is asked while it is critiqued and compared: a text, and what is known of it.

Knows no model and no principle. Requests under a policy, tasks of any environment and a user's own
rows become the same thing; only training sides are read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.environments.catalogue import environment
from ontogeny.environments.environment import Environment, Task
from ontogeny.environments.policy import Behaviour, behaviour
from ontogeny.environments.requests import Requests
from ontogeny.safety.harms import WORLDS
from ontogeny.safety.judge_rules import plain_behaviour
from ontogeny.safety.own_requests import own_requests
from ontogeny.safety.requests import LABELS, VILLAGE, SafetyRequest, requests

SETS = tuple(f"{world}/{label}" for world in WORLDS for label in LABELS)
"""Names of the request sets, as `prompts` of a stage has them."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """One prompt.

    Attributes:
        id: unique among those asked.
        text: what the user says.
        label: "harmful" (to be refused), "borderline" or "ordinary" (to be helped with).
        category: the harm it is or is near, or "ordinary".
        gold: a right answer, "" where none is known; to a harmful request a refusal.
        behaves: whether an answer complies, complies in part or refuses, by string rules.
        formed: whether an answer has the form of its environment; None where none is asked for.
    """

    id: str
    text: str
    label: str
    category: str = "ordinary"
    gold: str = ""
    behaves: Callable[[str], Behaviour] = field(default=behaviour, compare=False, repr=False)
    formed: Callable[[str], bool] | None = field(default=None, compare=False, repr=False)


def of_request(request: SafetyRequest) -> Prompt:
    """A request under a policy, of the village or in plain English."""
    found = Prompt(request.id, request.text, request.label, request.harm, request.answer)
    if request.task is None:
        return replace(found, behaves=_in_english)
    return replace(found, formed=_formed(Requests(VILLAGE[request.label]), request.task))


def _in_english(answer: str) -> Behaviour:
    return plain_behaviour(answer)[0]


def of_task(world: Environment, task: Task) -> Prompt:
    """A task of an environment that is about no harm."""
    return Prompt(task.id, task.prompt, "ordinary", gold=task.answer, formed=_formed(world, task))


def _formed(world: Environment, task: Task) -> Callable[[str], bool]:
    return lambda answer: world.well_formed(task, answer)


def check_prompts(counts: Mapping[str, int]) -> None:
    """Refuses names that are neither a set of requests nor an environment, and counts below 1.

    Raises:
        InputError: naming the first of them.
    """
    for name, count in counts.items():
        if "/" in name and name not in SETS:
            raise InputError(f"no prompts {name!r}; there are {', '.join(SETS)} and environments")
        if "/" not in name:
            environment(name)
        if count < 1:
            raise InputError(f"prompts: the count of {name!r} is {count}; give at least 1")


def drawn(counts: Mapping[str, int], own: Iterable[str], seed: int) -> list[Prompt]:
    """So many training prompts of each set or environment, then a user's own, ids told apart.

    Args:
        counts: WORLD/LABEL (see `SETS`) or the name of an environment -> how many.
        own: FILE or LABEL=FILE (`safety.own_requests`); the rows of its training side.

    Raises:
        InputError: nothing is asked for, a set holds fewer, or a file is wrong or lies under an
            eval folder.
    """
    found: list[Prompt] = []
    for name, count in counts.items():
        draw = named_seed(seed, name)
        if name in SETS:
            world, label = name.split("/")
            listed = requests(label, "train", count, draw, world)  # type: ignore[arg-type]
            found += map(of_request, listed)
        else:
            source = environment(name)
            found += [of_task(source, task) for task in source.tasks("train", count, draw)]
    for spec in own:
        rows = own_requests(spec, trains=True)
        found += [of_request(row) for row in rows if row.split == "train"]
    if not found:
        raise InputError("there are no prompts; name at least one set and a count, or a file")
    return _once(found)


def _once(prompts: Iterable[Prompt]) -> list[Prompt]:
    """What comes again gets a number behind its id."""
    seen: dict[str, int] = {}
    found = []
    for each in prompts:
        seen[each.id] = seen.get(each.id, 0) + 1
        again = seen[each.id] > 1
        found.append(replace(each, id=f"{each.id}#{seen[each.id]}") if again else each)
    return found

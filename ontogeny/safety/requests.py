"""What people ask, labelled: harmful, borderline-safe, ordinary; drawn, or read from a file.

Knows no model and no judge. Three sources: the village (`environments.requests`, whose verifiers
score), plain English (`safety.plain`), and a user's own rows.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.environments.environment import SPLITS, Task, task_id
from ontogeny.environments.policy import Label as VillageLabel
from ontogeny.environments.requests import Requests
from ontogeny.safety import plain
from ontogeny.safety.harms import HARMS, NO_HARM, WORLDS, severity

Label = Literal["harmful", "borderline", "ordinary"]
LABELS: tuple[Label, ...] = get_args(Label)
VILLAGE: Mapping[Label, VillageLabel] = {
    "harmful": "disallowed",
    "borderline": "borderline",
    "ordinary": "allowed",
}
"""Our labels -> those of the village's environments, called `requests-LABEL`."""
_MARKS: Mapping[Label, str] = {"harmful": "-", "borderline": "+", "ordinary": "*"}
_DRAWS = 400


@dataclass(frozen=True, slots=True)
class SafetyRequest:
    """Something that somebody asks for, and what is known of it.

    Attributes:
        id: names it by its content: equal texts of a world have equal ids in every run.
        text: the user's turn.
        label: harmful is to be refused, borderline (safe, near a harm) and ordinary are not.
        harm: a row of the table of its world, "ordinary", or what a user's file says.
        severity: of the harm, 0 without one.
        split: train, heldout or exam.
        family: what it is a variant of: an act of the village, a type of contrast, an attack.
        distance: from the line of the policy, "near" or "far" in the village, else "".
        answer: a right answer to learn from; "" where a user's row has none.
        task: of the village, for its verifier.
    """

    id: str
    text: str
    label: Label
    harm: str = NO_HARM
    severity: int = 0
    split: str = "exam"
    family: str = "direct"
    distance: str = ""
    answer: str = ""
    task: Task | None = None

    @property
    def to_refuse(self) -> bool:
        """Whether refusing is right."""
        return self.label == "harmful"


def requests(
    label: Label, split: str, count: int, seed: int, world: str = "village"
) -> list[SafetyRequest]:
    """`count` requests of a label and a split; equal arguments give equal requests.

    The splits share no content: in the village no act with its people and things, in plain English
    no wish. Of heldout and exam no content comes twice; of train it may.

    Raises:
        InputError: an unknown label, split or world, or the split holds fewer.
    """
    if label not in LABELS:
        raise InputError(f"no label {label!r}; labels are {', '.join(LABELS)}")
    if split not in SPLITS:
        raise InputError(f"no split {split!r}; splits are {', '.join(SPLITS)}")
    if world not in _DRAWN:
        raise InputError(f"no world {world!r}; worlds are {', '.join(WORLDS)}")
    return _DRAWN[world](label, split, count, seed)


def village_request(task: Task, split: str) -> SafetyRequest:
    """A task of one of the environments `requests-*`."""
    labels = {theirs: ours for ours, theirs in VILLAGE.items()}
    harm, act = str(task.meta["category"]), str(task.meta["act"])
    return SafetyRequest(
        id=task.id,
        text=task.prompt,
        label=labels[task.meta["policy"]],  # type: ignore[index]
        harm=harm,
        severity=severity("village", harm),
        split=split,
        family=f"{harm}/{act}",
        distance=str(task.meta["distance"]),
        answer=task.answer,
        task=task,
    )


def _of_village(label: Label, split: str, count: int, seed: int) -> list[SafetyRequest]:
    tasks = Requests(VILLAGE[label]).tasks(split, count, seed)
    return [village_request(task, split) for task in tasks]


def _of_plain(label: Label, split: str, count: int, seed: int) -> list[SafetyRequest]:
    known = plain.of_mark(_WISHES, _MARKS[label], split)
    harms = sorted({each.harm for each in known})
    source = random.Random(named_seed(seed, "safety", label, split))
    found: list[SafetyRequest] = []
    seen: set[str] = set()
    for _ in range(_DRAWS * (count + 10)):
        if len(found) == count:
            break
        harm = source.choice(harms)
        wish = source.choice([each for each in known if each.harm == harm])
        content, text = plain.worded(wish, source)
        if split != "train" and content in seen:
            continue
        seen.add(content)
        found.append(
            SafetyRequest(
                id=task_id(f"plain-{label}", text),
                text=text,
                label=label,
                harm=harm,
                severity=severity("plain", harm),
                split=split,
                family=wish.sort or "direct",
                answer=wish.answer or f"{plain.REFUSAL} {_offer(harm)}",
            )
        )
    if len(found) < count:
        raise InputError(
            f"the plain world has {len(found)} {label} requests in split {split}, {count} are "
            "asked for; ask for fewer"
        )
    return found


def _offer(harm: str) -> str:
    """What a refusal may point to: the first thing that is allowed near the harm."""
    allowed = HARMS["plain"][harm].allowed.rstrip(".")
    return f"I can help with this instead: {allowed[0].lower()}{allowed[1:]}."


_WISHES = plain.wishes()
_DRAWN: Mapping[str, Callable[[Label, str, int, int], list[SafetyRequest]]] = {
    "village": _of_village,
    "plain": _of_plain,
}

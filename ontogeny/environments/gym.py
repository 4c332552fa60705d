"""Tasks of reasoning-gym behind our protocol; needs the package and is imported by name only.

Knows nothing of how the package makes or judges its tasks. Splits are by the text of the
question, as its generators know only seeds.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.environments.environment import Task, take, task_id, validate

try:
    import reasoning_gym
except ImportError as error:
    raise InputError(
        "reasoning-gym is not installed; pip install 'ontogeny[quickstart]' or reasoning-gym"
    ) from error

# Short questions with short answers, each tried: gold scores 1, an empty answer 0.
EASY = (
    "basic_arithmetic",
    "chain_sum",
    "count_bits",
    "gcd",
    "lcm",
    "leg_counting",
    "letter_counting",
    "number_sequence",
    "products",
    "simple_equations",
    "spell_backward",
    "time_intervals",
)
_BATCH = 256


@dataclass(frozen=True)
class GymEnvironment:
    """One dataset of reasoning-gym with its default difficulty.

    Raises:
        InputError: at `tasks`, when the package has no such dataset.
    """

    dataset: str

    @property
    def name(self) -> str:
        """`gym-DATASET`."""
        return f"gym-{self.dataset}"

    def tasks(self, split: str, count: int, seed: int) -> list[Task]:
        """See `Environment.tasks`; `meta["entry"]` is what the package's judge asks for."""
        return take(self._stream(split, seed), self.name, split, count)

    def _stream(self, split: str, seed: int) -> Iterator[tuple[str, Task]]:
        batch = 0
        while True:
            # The package takes 32-bit seeds and makes item i of a dataset from seed + i.
            start = named_seed(seed, "environment", self.name, split, batch) % 2**31
            for entry in _dataset(self.dataset, start):
                question = str(entry["question"])
                key = f"{self.dataset}\0{question}"
                meta = {"entry": entry, "tier": 1}
                task = Task(
                    task_id(self.name, question), question, str(entry["answer"]), self.dataset, meta
                )
                yield key, task
            batch += 1

    def score(self, task: Task, answer: str) -> float:
        """The package's own score, which may give part marks; nothing for an empty answer."""
        if not answer.strip():
            return 0.0
        entry = task.meta["entry"]
        assert isinstance(entry, Mapping)
        judge = reasoning_gym.create_dataset(self.dataset, size=1, seed=0)
        return min(1.0, max(0.0, float(judge.score_answer(answer, entry))))

    def well_formed(self, task: Task, answer: str) -> bool:
        """Whether the answer is one line that is not empty; the package defines no forms."""
        del task
        return bool(answer.strip()) and "\n" not in answer.strip()

    def validate(self) -> None:
        """See `Environment.validate`."""
        validate(self)


def _dataset(name: str, seed: int) -> Iterator[Mapping[str, object]]:
    logging.getLogger("reasoning_gym").setLevel(logging.WARNING)
    try:
        entries = reasoning_gym.create_dataset(name, size=_BATCH, seed=seed)
    except ValueError as error:
        raise InputError(
            f"reasoning-gym has no dataset {name!r}; easy are {', '.join(EASY)}"
        ) from error
    yield from entries


def gym_environments() -> list[GymEnvironment]:
    """The easy datasets, in the order of `EASY`."""
    return [GymEnvironment(name) for name in EASY]

"""Own prompts with answers + tokenizer -> tasks, judged by a verifier that is named."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.intake import Form, Item
from ontogeny.corpus.own import OwnRows, contaminated, folded, told, write_account
from ontogeny.corpus.sources import parse
from ontogeny.environments.environment import SPLITS, Task, side
from ontogeny.environments.own import PREFIX, Listed, examined, own_task, write_tasks
from ontogeny.environments.verifiers import verifier
from ontogeny.run.work import Made, Work
from ontogeny.text import rows
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

Asked = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class LoadTasks(OwnRows):
    """Prompts with gold answers: the environment `tasks/DOMAIN` of each source.

    `verifier` judges every answer (`ontogeny.environments.verifiers`). Eight of ten prompts are
    for training, one is held out for choosing settings, one is for the exam; with `use` "exam" all
    are, and then they may come from a folder called eval. What other `tasks` hold out or examine is
    left out where it could be trained on. `longest` counts the tokens of a prompt.

    Raises:
        InputError: no such verifier, or naming file and line where rows are wrong.
    """

    verifier: str
    use: Literal["all", "exam"] = "all"

    stage: ClassVar[str] = "load_tasks"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model", "tasks*")
    makes: ClassVar[str] = "tasks"

    def __post_init__(self) -> None:
        super().__post_init__()
        verifier(self.verifier)
        if self.use not in ("all", "exam"):
            raise InputError(f"use is '{self.use}'; give all or exam")

    @property
    def trains(self) -> bool:
        """Whether what is read may be trained on."""
        return self.use == "all"

    def __call__(self, work: Work, tokenizer: Artifact, *others: Artifact) -> Made:
        """Writes tasks.jsonl and the account."""
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        form = Form(
            lambda row: self._judged(rows.task(row, self.columns)),
            list,
            lambda _, texts: self._judged((texts[0], texts[1])),
        )
        found = self.taken(form, work.progress)
        found.drop(_asked_before())
        if self.trains:
            found.drop(contaminated(examined(others), lambda asked: [asked[0]]))
        tokens = {item.name: _tokens(item.value[0], encoder) for item in found.items}
        found.drop(self.too_long(tokens))
        domains = dict.fromkeys(parse(spec).domain for spec in self.sources)
        worlds = {
            PREFIX + domain: self._listed(
                PREFIX + domain, [item.value for item in found.items if item.domain == domain]
            )
            for domain in domains
        }
        kept = {
            split: sum(len(world.listed.get(split, ())) for world in worlds.values())
            for split in SPLITS
        }
        metrics = write_account(work.payload, found, kept)
        write_tasks(work.payload, worlds)
        names = ", ".join(worlds)
        return Made(metrics=metrics, summary=(told(f"tasks ({names})", found, kept),))

    def _judged(self, asked: Asked) -> Asked:
        """`asked`, whose gold answer scores 1 and an empty one 0.

        Raises:
            Misfit: `empty_turn`, `gold_fails`.
        """
        prompt, answer = asked
        if not prompt.strip() or not answer.strip():
            raise rows.Misfit("empty_turn", "after cleaning, prompt or answer is empty")
        judge = verifier(self.verifier)
        if not judge.same(answer, answer) or judge.same(answer, ""):
            told = f"the verifier {judge.name} does not take the gold answer {answer[:60]!r}"
            raise rows.Misfit("gold_fails", told)
        return asked

    def _listed(self, name: str, asked: Sequence[Asked]) -> Listed:
        splits: dict[str, list[Task]] = {split: [] for split in SPLITS}
        for prompt, answer in asked:
            split = "exam" if self.use == "exam" else side(folded(prompt))
            splits[split].append(own_task(name, prompt, answer))
        for split in ("train", "exam") if self.use == "all" else ("exam",):
            if not splits[split]:
                raise InputError(
                    f"none of the {len(asked)} tasks of '{name}' falls into the split {split}; "
                    "bring some dozens at least"
                )
        return Listed(name, verifier(self.verifier), splits)


def _tokens(prompt: str, encoder: Tokenizer) -> int:
    return len(render([Message("user", prompt)], encoder, generation_prompt=True).ids)


def _asked_before() -> Callable[[Item[Asked]], tuple[str, str] | None]:
    """For `Intake.drop`: what asks the same as a task before it, with another gold answer."""
    seen: dict[tuple[str, str], str] = {}

    def why(item: Item[Asked]) -> tuple[str, str] | None:
        first = seen.setdefault((item.domain, item.value[0]), item.name)
        return None if first == item.name else ("same_prompt", f"the prompt of {first}")

    return why

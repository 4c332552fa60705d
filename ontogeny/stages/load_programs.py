"""Own programming problems with tests (MBPP's form) + tokenizer -> tasks, judged in the sandbox."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Literal

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.corpus.intake import Intake, Item
from ontogeny.corpus.own import OwnRows, contaminated, folded, told, write_account
from ontogeny.corpus.sources import parse
from ontogeny.environments.environment import SPLITS, Task, side
from ontogeny.environments.hidden_tests import Sheet, hard_coded
from ontogeny.environments.own import PREFIX, examined, own_programs, own_task, write_tasks
from ontogeny.environments.programs import Programs
from ontogeny.environments.programs_rows import FORM_COLUMNS, Row, form, prompt, sheet_of
from ontogeny.run.work import Made, Work
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

Why = tuple[str, str]


@dataclass(frozen=True, kw_only=True)
class LoadPrograms(OwnRows):
    """Programming problems: the environment `tasks/DOMAIN` of each source.

    Rows hold a description (`text` or `prompt`), a gold program (`code`), `test_list` with
    assertions, perhaps `challenge_test_list`, and `test_setup_code` or `test_imports`. One test is
    shown in the prompt, the others are hidden. A test that is not `assert CALL == LITERAL` is left
    out and counted; so is a problem whose gold program fails in the sandbox, or whose hidden tests
    a constant passes. Splits are those of LoadTasks, by the description.

    Raises:
        InputError: naming file and line where rows are wrong.
        SandboxRefused: programs cannot be contained here.
    """

    use: Literal["all", "exam"] = "all"

    stage: ClassVar[str] = "load_programs"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("tokenizer|model", "tasks*")
    makes: ClassVar[str] = "tasks"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.use not in ("all", "exam"):
            raise InputError(f"use is '{self.use}'; give all or exam")
        if unknown := set(self.columns) - set(FORM_COLUMNS):
            raise InputError(
                f"no column of a program means '{min(unknown)}'; give {', '.join(FORM_COLUMNS)}"
            )

    @property
    def trains(self) -> bool:
        """Whether what is read may be trained on."""
        return self.use == "all"

    def __call__(self, work: Work, tokenizer: Artifact, *others: Artifact) -> Made:
        """Writes tasks.jsonl and the account."""
        tokenizer.verify()
        encoder = Tokenizer.load(tokenizer.path)
        found = self.taken(form(self.columns), work.progress)
        found.drop(_asked_before())
        sheets: dict[str, Sheet] = {}
        unsplit: Counter[str] = Counter()
        found.drop(_untestable(sheets, unsplit))
        if self.trains:
            examination = examined(others)
            found.drop(contaminated(examination, lambda row: [row.text]))
        prompts = {item.name: prompt(item.value, sheets[item.name]) for item in found.items}
        tokens = {name: _tokens(text, encoder) for name, text in prompts.items()}
        found.drop(self.too_long(tokens))
        work.progress(0, 1, "gold programs")
        found.drop(_misjudged(found.items, sheets))
        worlds = {name: self._listed(name, found, prompts, sheets) for name in self._names()}
        kept = {
            split: sum(len(world.listed.get(split, ())) for world in worlds.values())
            for split in SPLITS
        }
        metrics = write_account(work.payload, found, kept)
        hidden = sum(len(sheets[item.name].hidden) for item in found.items)
        metrics |= {"tests.hidden": float(hidden), "tests.left_out": float(unsplit.total())}
        metrics |= {f"tests.{reason}": float(count) for reason, count in sorted(unsplit.items())}
        write_tasks(work.payload, worlds)
        reasons = ", ".join(f"{count} {reason}" for reason, count in sorted(unsplit.items()))
        return Made(
            metrics=metrics,
            summary=(
                told(f"programs ({', '.join(worlds)})", found, kept),
                f"{hidden:,} hidden tests; left out: {reasons or 'none'}",
            ),
        )

    def _names(self) -> list[str]:
        return [PREFIX + name for name in dict.fromkeys(parse(s).domain for s in self.sources)]

    def _listed(
        self, name: str, found: Intake[Row], prompts: dict[str, str], sheets: dict[str, Sheet]
    ) -> Programs:
        splits: dict[str, list[Task]] = {split: [] for split in SPLITS}
        for item in found.items:
            if PREFIX + item.domain == name:
                split = "exam" if self.use == "exam" else side(folded(item.value.text))
                meta = {"asked": item.value.text, "tests": sheets[item.name]}
                task = own_task(name, prompts[item.name], item.value.code, meta)
                splits[split].append(task)
        for split in ("train", "exam") if self.use == "all" else ("exam",):
            if not splits[split]:
                count = sum(map(len, splits.values()))
                raise InputError(
                    f"none of the {count} programs of '{name}' falls into the split {split}; "
                    "bring some dozens at least"
                )
        return own_programs(name, splits)


def _tokens(text: str, encoder: Tokenizer) -> int:
    return len(render([Message("user", text)], encoder, generation_prompt=True).ids)


def _asked_before() -> Callable[[Item[Row]], Why | None]:
    """For `Intake.drop`: what asks the same as a problem before it."""
    seen: dict[tuple[str, str], str] = {}

    def why(item: Item[Row]) -> Why | None:
        first = seen.setdefault((item.domain, folded(item.value.text)), item.name)
        return None if first == item.name else ("same_prompt", f"the description of {first}")

    return why


def _untestable(
    sheets: dict[str, Sheet], unsplit: Counter[str]
) -> Callable[[Item[Row]], Why | None]:
    """For `Intake.drop`: what has too few tests that can be hidden; fills both arguments."""

    def why(item: Item[Row]) -> Why | None:
        made, reasons = sheet_of(item.value)
        unsplit.update(reasons)
        if made is None:
            usable = len(item.value.tests) - len(reasons)
            detail = f"of its {usable} usable tests, a constant passes all but the one shown"
            return "constant_passes", detail
        sheets[item.name] = made
        return None

    return why


def _misjudged(
    items: Sequence[Item[Row]], sheets: dict[str, Sheet]
) -> Callable[[Item[Row]], Why | None]:
    """For `Intake.drop`: what its own gold program fails, or one that knows the example passes."""
    tasks = [Task(item.name, "", "", "", {"tests": sheets[item.name]}) for item in items]
    world = Programs("programs", lambda *_: tasks)
    try:
        gold = world.judge_all(tasks, [item.value.code for item in items])
        hard = [hard_coded(sheets[item.name].visible) for item in items]
        known = world.judge_all(tasks, hard)
    finally:
        world.release()
    whys: dict[str, Why] = {}
    for item, right, wrong in zip(items, gold, known, strict=True):
        notes = right.notes
        if right.score < 1 or notes["visible"] < notes["of_visible"]:
            passed = f"{notes['hidden']} of {notes['of_hidden']} hidden tests"
            said = notes["error"] or notes["verdict"]
            whys[item.name] = ("gold_fails", f"the gold program passes {passed} ({said})")
        elif wrong.score == 1:
            detail = "a program that knows only the example passes"
            whys[item.name] = ("example_suffices", detail)
    return lambda item: whys.get(item.name)

"""Model + files of questions -> measurement: suites as others put them, item by item."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any, ClassVar, Literal

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.config import execution
from ontogeny.base.errors import InputError
from ontogeny.edge.lm_eval_tasks import answer_through
from ontogeny.evaluate.intervals import Interval
from ontogeny.evaluate.series import write_series
from ontogeny.evaluate.suite_answers import Answers, Room
from ontogeny.evaluate.suite_rows import Loaded, SuiteFile, by_name, load, parse
from ontogeny.evaluate.suite_scores import answer, levels_of, rows_of, series_of, told
from ontogeny.rollout.journal import FileJournal
from ontogeny.run.work import Made, Work

FILE = "items.jsonl"
LOG = "answers.jsonl"


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Multiple choice, last words and word problems of `suites`, asked as lm_eval asks them.

    `suites` are NAME=FILE of a suite in `ontogeny.evaluate.suite`, or the FILE of one's own
    questions; the first `limit` of each (0: all), behind `shots` examples from `shots_from`
    (NAME=FILE). Where a file lies is execution, what it contains is identity. With `through`
    "lm_eval" that library puts and judges the questions and our model answers. A sampled answer
    has at most `max_tokens`; `slots` are sampled at once.

    Series: NAME.right (acc), NAME.norm (acc_norm, by characters), NAME.nats (of the gold answer),
    NAME.flexible (the last number of an answer). What was asked is kept by digest, not as text.

    Raises:
        InputError: naming file and line, where a row is no question of its suite.
    """

    suites: tuple[str, ...] = execution(())
    shots_from: tuple[str, ...] = execution(())
    limit: int = 0
    shots: int = 0
    through: Literal["ours", "lm_eval"] = "ours"
    max_tokens: int = 256
    slots: int = 32

    stage: ClassVar[str] = "evaluate"
    version: ClassVar[int] = 1
    takes: ClassVar[tuple[str, ...]] = ("model",)
    makes: ClassVar[str] = "measurement"

    def __post_init__(self) -> None:
        if not self.suites:
            raise InputError("no suites; give at least one NAME=FILE")
        files, _ = self._files()
        if len({each.name for each in files}) < len(files):
            raise InputError("two suites have one name; call one of them NAME=FILE")
        if self.limit < 0 or self.shots < 0:
            raise InputError("limit and shots are 0 or more")
        if min(self.max_tokens, self.slots) < 1:
            raise InputError("max_tokens and slots are at least 1")
        if bool(self.shots) != bool(self.shots_from):
            raise InputError("shots needs shots_from, a file of examples, and the other way round")
        if self.through not in ("ours", "lm_eval"):
            raise InputError(f"through is '{self.through}'; give ours or lm_eval")

    def _files(self) -> tuple[list[SuiteFile], dict[str, SuiteFile]]:
        files = [parse(each) for each in self.suites]
        return files, by_name([parse(each) for each in self.shots_from], files)

    def identity(self) -> dict[str, Any]:
        """Name and content of every file, in place of where it lies."""
        files, examples = self._files()
        shown = [examples[each.name] for each in files] if examples else []
        return {
            name: [[each.name, each.digest()] for each in listed]
            for name, listed in (("suites", files), ("shots_from", shown))
        }

    def __call__(self, work: Work, model: Artifact) -> Made:
        """Writes series.json and items.jsonl."""
        before = self.identity()
        loaded = self.loaded()
        if self.identity() != before:
            raise InputError("a file of questions changed while it was read; begin again")
        policy, tokenizer = bridge.load_policy(model, slots=self.slots)
        room = Room(bridge.context_of(policy))

        def tell(done: int, total: int) -> None:
            work.progress(done, total, "answers")
            work.keep_clock()

        work.checkpoints.mkdir(exist_ok=True)
        answers = Answers(policy, FileJournal(work.checkpoints / LOG), tell)
        ask = answer if self.through == "ours" else answer_through
        outcomes = ask(loaded, answers, tokenizer, room, self.max_tokens)
        together = list(zip(loaded, outcomes, strict=True))
        series = {name: each for one in together for name, each in series_of(*one).items()}
        write_series(work.payload, series)
        with (work.payload / FILE).open("w", encoding="utf-8") as file:
            rows = (row for one in together for row in rows_of(*one))
            file.writelines(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        levels = levels_of(series, work.seed)
        cut = (f"{room.cut} prompts exceed the context and lost their beginning",) * bool(room.cut)
        return Made(
            metrics={name: _metric(each) for name, each in levels.items()},
            summary=(*(told(each, levels) for each in loaded), *cut),
            tokens=answers.tokens,
            flops=answers.tokens * bridge.shape_of(model).forward_flops_per_token(),
        )

    def loaded(self) -> list[Loaded]:
        """Every suite's items.

        Raises:
            InputError: see the class.
        """
        files, examples = self._files()
        return [load(each, self.limit, self.shots, examples.get(each.name)) for each in files]


def _metric(each: Interval) -> dict[str, float]:
    return {"estimate": each.value, "low": each.low, "high": each.high, "units": each.units}

"""Our suites as tasks of lm-evaluation-harness: its own prompts and judges, rows from local files.

Knows no model. Rows go in memory, in the columns of the original sets, so lm_eval puts them by its
own task file; nothing is fetched. lm_eval is imported when something is asked through it.
"""

from __future__ import annotations

import contextlib
import io
import logging
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.evaluate.suite import Suite
from ontogeny.evaluate.suite_answers import Answers, Room
from ontogeny.evaluate.suite_rows import DRAWN_BY, Item, Loaded
from ontogeny.evaluate.suite_scores import Outcome
from ontogeny.text.tokenizer import Tokenizer

ASKED, SHOWN = "asked", "shown"
"""The splits of what is asked, and of the examples."""
FILTERS = {"strict-match": "right", "flexible-extract": "flexible"}
"""lm_eval's ways to find the number in an answer -> our series."""
OWN: dict[str, dict[str, Any]] = {
    "choice": {
        "output_type": "multiple_choice",
        "doc_to_text": "query",
        "doc_to_choice": "choices",
        "doc_to_target": "gold",
        "metric_list": [
            {"metric": name, "aggregation": "mean", "higher_is_better": True}
            for name in ("acc", "acc_norm")
        ],
    },
    "answer": {
        "output_type": "generate_until",
        "doc_to_text": "prompt",
        "doc_to_target": "answer",
        "metric_list": [{"metric": "exact_match", "aggregation": "mean", "higher_is_better": True}],
        "filter_list": [
            {
                "name": "strict-match",
                "filter": [
                    {"function": "regex", "regex_pattern": "(?s)(.*)"},
                    {"function": "take_first"},
                ],
            }
        ],
    },
}
"""What lm_eval needs to know of a file of one's own; the regex trims white space."""


@dataclass(frozen=True)
class Part:
    """One task: the items of a suite, or those of one of its groups."""

    name: str
    suite: Suite
    places: tuple[int, ...]
    config: Mapping[str, Any]


def present() -> None:
    """Raises InputError where lm_eval is not installed."""
    from ontogeny.edge import lm_eval_library as library

    assert library.tasks


def answer_through(
    loaded: Sequence[Loaded], answers: Answers, tokenizer: Tokenizer, room: Room, most: int
) -> list[list[Outcome]]:
    """As `suite_scores.answer`, but put, cut and judged by lm_eval's evaluator.

    Raises:
        InputError: lm_eval is not installed, or lacks a suite's task.
    """
    from ontogeny.edge import lm_eval_library as library
    from ontogeny.edge.lm_eval_model import OntogenyLM

    model = OntogenyLM(answers.policy, tokenizer, room.longest, answers, most)
    model.room = room
    with quiet():
        parts = [parts_of(each, most) for each in loaded]
        tasks = tasks_of([part for group in parts for part in group])
        found = library.evaluator.evaluate(
            lm=model, task_dict=tasks, bootstrap_iters=0, log_samples=True
        )
    samples = found["samples"]
    return [_outcomes(each, group, samples) for each, group in zip(loaded, parts, strict=True)]


@contextlib.contextmanager
def quiet() -> Iterator[None]:
    """Inside, lm_eval logs errors alone and draws no bars: how far it is, our own events say."""
    logger = logging.getLogger("lm_eval")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stderr(io.StringIO()):
            yield
    finally:
        logger.setLevel(before)


def parts_of(loaded: Loaded, most: int) -> list[Part]:
    """The tasks of a suite, with what is changed in lm_eval's own configuration of each."""
    places: dict[str, list[int]] = {}
    for place, item in enumerate(loaded.items):
        places.setdefault(item.question.group, []).append(place)
    parts = []
    for group, own in places.items():
        name = f"{loaded.name}_{group}" if group else loaded.name
        shown = [each for each in loaded.pool if each.question.group == group]
        asked = [loaded.items[place] for place in own]
        parts.append(
            Part(name, loaded.suite, tuple(own), _config(loaded, name, asked, shown, most))
        )
    return parts


def tasks_of(parts: Sequence[Part]) -> Any:
    """lm_eval's tasks, loaded and ready to evaluate.

    Raises:
        InputError: lm_eval has no task of a suite's name where it should lie.
    """
    from ontogeny.edge import lm_eval_library as library

    root = Path(str(library.tasks.__file__)).parent
    folders = sorted({root / part.suite.folder for part in parts if part.suite.folder})
    manager = library.tasks.TaskManager(include_path=folders, include_defaults=False)
    for part in parts:
        if part.suite.folder and part.name not in manager.all_subtasks:
            raise InputError(
                f"lm_eval {library.lm_eval.__version__} has no task '{part.name}' in "
                f"tasks/{part.suite.folder}; use --through ours"
            )
    listed = [dict(part.config) for part in parts if part.suite.folder]
    own = [dict(part.config) for part in parts if not part.suite.folder]
    group = [{"group": "ontogeny", "task": listed}] if listed else []
    tasks = manager.load([*group, *own])
    for task in tasks["tasks"].values():
        task.set_fewshot_seed(DRAWN_BY)
    return {"tasks": tasks["tasks"], "groups": {}, "group_map": {}}


def _config(
    loaded: Loaded, name: str, asked: Sequence[Item], shown: Sequence[Item], most: int
) -> dict[str, Any]:
    splits = {ASKED: asked, SHOWN: shown} if shown else {ASKED: asked}
    config: dict[str, Any] = {
        "task": name,
        "custom_dataset": _dataset(splits),
        "dataset_path": "",
        "training_split": None,
        "validation_split": None,
        "test_split": ASKED,
        "fewshot_split": SHOWN if shown else None,
        "num_fewshot": loaded.shots,
    }
    if not loaded.suite.folder:
        config |= OWN[loaded.suite.kind]
    if loaded.suite.kind == "answer":
        until = list(loaded.suite.until)
        config["generation_kwargs"] = {"until": until, "do_sample": False, "max_gen_toks": most}
    return config


def _dataset(splits: Mapping[str, Sequence[Item]]) -> Callable[..., dict[str, Any]]:
    from ontogeny.edge import lm_eval_library as library

    def rows(**_: Any) -> dict[str, Any]:
        return {
            name: library.datasets.Dataset.from_list([each.original for each in items])
            for name, items in splits.items()
        }

    return rows


def _outcomes(
    loaded: Loaded, parts: Sequence[Part], samples: Mapping[str, Sequence[Mapping[str, Any]]]
) -> list[Outcome]:
    found: dict[int, Outcome] = {}
    for part in parts:
        for sample in samples[part.name]:
            place = part.places[sample["doc_id"]]
            outcome = _outcome(loaded.suite, loaded.items[place], sample)
            if place in found:
                scores = {**found[place].scores, **outcome.scores}
                outcome = Outcome(scores, outcome.log_probs, outcome.said)
            found[place] = outcome
    return [found[place] for place in range(len(loaded.items))]


def _outcome(suite: Suite, item: Item, sample: Mapping[str, Any]) -> Outcome:
    """What lm_eval made of one item: its own verdict, not ours."""
    answers = [each[0] for each in sample["resps"]]
    if suite.kind == "answer":
        score = FILTERS[sample["filter"]]
        return Outcome({score: float(sample["exact_match"])}, said=str(answers[0]))
    log_probs = tuple(float(total) for total, _ in answers)
    scores = {"right": float(sample["acc"])}
    if suite.normed:
        scores["norm"] = float(sample["acc_norm"])
    return Outcome(scores | {"nats": -log_probs[item.question.gold]}, log_probs)

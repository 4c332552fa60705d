"""How the questions of each suite are put: the words around them, the choices, the right one.

Knows no file, no token and no metric. The words are those of lm-evaluation-harness (lm_eval,
v0.4.13, the tasks of the same names), so that a score means what published ones mean.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace

from ontogeny.evaluate.suite_columns import LETTERS, Original
from ontogeny.text.rows import Misfit

BETWEEN = "\n\n"
"""Stands behind each example."""
QUESTION = "Question: {question}\nAnswer:"
PIQA = "Question: {goal}\nAnswer:"
BOOLQ = "{passage}\nQuestion: {question}?\nAnswer:"
SOCIAL_IQA = "Q: {context} {question}\nA:"
COMMONSENSE_QA = (
    "Question: {question}\nA. {choices[text][0]}\nB. {choices[text][1]}\nC. {choices[text][2]}\n"
    "D. {choices[text][3]}\nE. {choices[text][4]}\nAnswer:"
)
MMLU = "{question}\nA. {choices[0]}\nB. {choices[1]}\nC. {choices[2]}\nD. {choices[3]}\nAnswer:"
MMLU_HEAD = "The following are multiple choice questions (with answers) about {}.\n\n"


@dataclass(frozen=True, slots=True)
class Question:
    """One question in texts.

    Attributes:
        contexts: what stands before each choice; one and the same but where the choice is in it.
        targets: what is scored behind each, its space in front; empty where an answer is sampled.
        choices: the choices alone, whose characters acc_norm counts.
        gold: the place of the right choice.
        answer: the gold answer of one that is sampled.
        head: what stands before the examples.
        group: examples are taken from questions of the same group.
    """

    contexts: tuple[str, ...]
    targets: tuple[str, ...] = ()
    choices: tuple[str, ...] = ()
    gold: int = 0
    answer: str = ""
    head: str = ""
    group: str = ""

    def shown(self) -> str:
        """The question with its right answer, as an example for another."""
        if not self.choices:  # lm_eval puts a space there even where the target brings one
            return f"{self.contexts[0]} {self.answer or self.targets[0]}{BETWEEN}"
        return f"{self.contexts[self.gold]}{self.targets[self.gold]}{BETWEEN}"


def behind(prompt: str) -> Callable[[Original], Question]:
    """The text of each choice behind `prompt`, of rows as `suite_columns.listed` reads them."""

    def ask(row: Original) -> Question:
        both = row["choices"]
        return _choice(prompt.format_map(row), both["text"], both["label"].index(row["answerKey"]))

    return ask


def hellaswag(row: Original) -> Question:
    """How a caption or an instruction goes on."""
    text = f"{row['activity_label']}: {row['ctx_a']} {row['ctx_b'].capitalize()}"
    return _choice(tidied(text), [tidied(each) for each in row["endings"]], int(row["label"]))


def tidied(text: str) -> str:
    """`text` without the marks of WikiHow, as lm_eval cleans them out of hellaswag."""
    text = text.strip().replace(" [title]", ". ")
    return re.sub(r"\[.*?\]", "", text).replace("  ", " ")


def piqa(row: Original) -> Question:
    """Which of two ways reaches a goal."""
    return _choice(PIQA.format_map(row), [row["sol1"], row["sol2"]], row["label"])


def winogrande(row: Original) -> Question:
    """Partial evaluation (Trinh and Le 2018, arXiv:1806.02847): the same words behind each."""
    before, _, after = row["sentence"].partition("_")
    options = (row["option1"], row["option2"])
    contexts = tuple(before + each for each in options)
    return Question(contexts, (f" {after.strip()}",) * 2, options, int(row["answer"]) - 1)


def boolq(row: Original) -> Question:
    """Yes or no, by a passage."""
    return _choice(BOOLQ.format_map(row), ["no", "yes"], row["label"])


def commonsense_qa(row: Original) -> Question:
    """The letter of one of five listed choices."""
    gold = row["choices"]["label"].index(row["answerKey"])
    return _choice(COMMONSENSE_QA.format_map(row), list(LETTERS[:5]), gold)


def social_iqa(row: Original) -> Question:
    """What people do and feel in a situation."""
    choices = [row[f"answer{letter}"] for letter in "ABC"]
    return _choice(SOCIAL_IQA.format_map(row), choices, int(row["label"]) - 1)


def mmlu(row: Original) -> Question:
    """The letter of one of four listed choices, after a line that names the subject."""
    found = _choice(MMLU.format_map(row), list(LETTERS[:4]), row["answer"])
    head = MMLU_HEAD.format(row["subject"].replace("_", " "))
    return replace(found, head=head, group=row["subject"])


def lambada(row: Original) -> Question:
    """The last word of a passage."""
    context, _, word = row["text"].rpartition(" ")
    return Question((context,), (f" {word}",))


def gsm8k(row: Original) -> Question:
    """A word problem, answered step by step."""
    return Question((QUESTION.format_map(row),), answer=row["answer"])


def own_choice(row: Original) -> Question:
    """A user's own query, put as it stands."""
    return _choice(row["query"], row["choices"], row["gold"])


def own_answer(row: Original) -> Question:
    """A user's own prompt, put as it stands."""
    return Question((row["prompt"],), answer=row["answer"])


def _choice(context: str, choices: list[str], gold: int) -> Question:
    if not all(choices):
        raise Misfit("bad_choice", "a choice is empty, so its length divides nothing")
    targets = tuple(f" {each}" for each in choices)
    return Question((context,) * len(choices), targets, tuple(choices), gold)

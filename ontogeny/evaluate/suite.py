"""What a suite is: questions with gold answers, how each is put, what counts as right. As data.

Knows no file, no token and no model. Prompts, choices and metrics are those of the tasks of these
names in lm-evaluation-harness (lm_eval), so that scores compare with published ones.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

from ontogeny.evaluate import suite_columns as columns
from ontogeny.evaluate import suite_prompts as prompts
from ontogeny.evaluate.suite_columns import Original, Read
from ontogeny.evaluate.suite_judges import Judge, final_number, same_text
from ontogeny.evaluate.suite_prompts import Question

Kind = Literal["choice", "word", "answer"]


@dataclass(frozen=True, slots=True)
class Suite:
    """A named set of questions.

    Attributes:
        kind: choice (the likeliest of several), word (log-probability and greedy match of one
            continuation), answer (sampled, compared with the gold one).
        about: one line for a reader.
        forms: the columns it is read from, one text for each form.
        prompt: how a question is put, for a reader and, as a format string, for `ask`.
        read: a row in the columns of the original set; raises Misfit.
        ask: the question of such a row.
        normed: whether acc_norm is among its metrics.
        folder: where lm_eval's task of this name (of a group: NAME_GROUP) lies below its tasks;
            "" where it has none.
        until: texts that end a sampled answer.
        judge: what a sampled text scores beside the gold one, by the name of its series.
        draws: examples are drawn anew for each question; else they are the first of its group.
    """

    name: str
    kind: Kind
    about: str
    forms: tuple[str, ...]
    prompt: str
    read: Read
    ask: Callable[[Original], Question]
    normed: bool = False
    folder: str = ""
    until: tuple[str, ...] = ("\n",)
    judge: Judge = same_text
    draws: bool = True


_QUERY = "query, choices, gold"
_ARC = ("question, choices (text, label), answerKey", _QUERY)
OWN = (
    Suite(
        "own",
        "choice",
        "a file of your own: the likeliest of several texts behind a query",
        ("query, choices, gold",),
        "{query}",
        columns.own_choice,
        prompts.own_choice,
        normed=True,
    ),
    Suite(
        "own",
        "answer",
        "a file of your own: a line sampled behind a prompt, equal to the answer",
        ("prompt, answer",),
        "{prompt}",
        columns.own_answer,
        prompts.own_answer,
    ),
)
"""Rows with choices, and rows without: what a file says that no known suite is named for."""


def _arc(name: str, about: str) -> Suite:
    return Suite(
        name,
        "choice",
        about,
        _ARC,
        prompts.QUESTION,
        columns.listed("question"),
        prompts.behind(prompts.QUESTION),
        normed=True,
        folder="arc",
    )


_ALL = (
    _arc("arc_easy", "science questions of school exams (Clark et al. 2018, arXiv:1803.05457)"),
    _arc("arc_challenge", "those of them that simple methods got wrong"),
    Suite(
        "hellaswag",
        "choice",
        "how a text goes on (Zellers et al. 2019, arXiv:1905.07830)",
        ("activity_label, ctx_a, ctx_b, endings, label", "activity_label, ctx, endings, label"),
        "{activity_label}: {ctx_a} {ctx_b}",
        columns.hellaswag,
        prompts.hellaswag,
        normed=True,
        folder="hellaswag",
    ),
    Suite(
        "piqa",
        "choice",
        "which of two ways reaches a goal (Bisk et al. 2020, arXiv:1911.11641)",
        ("goal, sol1, sol2, label",),
        prompts.PIQA,
        columns.piqa,
        prompts.piqa,
        normed=True,
        folder="piqa",
    ),
    Suite(
        "winogrande",
        "choice",
        "whom a sentence speaks of (Sakaguchi et al. 2020, arXiv:1907.10641)",
        ("sentence, option1, option2, answer",),
        "{sentence up to _}{option}, scored: {sentence behind _}",
        columns.winogrande,
        prompts.winogrande,
        folder="winogrande",
    ),
    Suite(
        "boolq",
        "choice",
        "yes or no, by a passage (Clark et al. 2019, arXiv:1905.10044)",
        ("passage, question, answer", "passage, question, label", _QUERY),
        prompts.BOOLQ,
        columns.boolq,
        prompts.boolq,
        folder="super_glue/boolq",
    ),
    Suite(
        "commonsense_qa",
        "choice",
        "common sense, five choices (Talmor et al. 2019, arXiv:1811.00937)",
        _ARC,
        prompts.COMMONSENSE_QA,
        columns.listed("question", 5),
        prompts.commonsense_qa,
        folder="commonsense_qa",
    ),
    Suite(
        "social_iqa",
        "choice",
        "what people do and feel (Sap et al. 2019, arXiv:1904.09728)",
        ("context, question, answerA, answerB, answerC, label",),
        prompts.SOCIAL_IQA,
        columns.social_iqa,
        prompts.social_iqa,
        folder="siqa",
    ),
    Suite(
        "openbookqa",
        "choice",
        "elementary science (Mihaylov et al. 2018, arXiv:1809.02789)",
        ("question_stem, choices (text, label), answerKey", _QUERY),
        "{question_stem}",
        columns.listed("question_stem"),
        prompts.behind("{question_stem}"),
        normed=True,
        folder="openbookqa",
    ),
    Suite(
        "mmlu",
        "choice",
        "57 subjects, four choices (Hendrycks et al. 2021, arXiv:2009.03300)",
        ("question, subject, choices, answer",),
        prompts.MMLU,
        columns.mmlu,
        prompts.mmlu,
        folder="mmlu/default",
        draws=False,
    ),
    Suite(
        "lambada_openai",
        "word",
        "the last word of a passage (Paperno et al. 2016, arXiv:1606.06031)",
        ("text", "context, continuation"),
        "{text up to its last space}, scored: {its last word}",
        columns.lambada,
        prompts.lambada,
        folder="lambada",
    ),
    Suite(
        "gsm8k",
        "answer",
        "word problems in steps (Cobbe et al. 2021, arXiv:2110.14168); strict: behind ####",
        ("question, answer",),
        prompts.QUESTION,
        columns.gsm8k,
        prompts.gsm8k,
        folder="gsm8k",
        until=("Question:", "</s>", "<|im_end|>"),
        judge=final_number,
    ),
)
SUITES = {suite.name: suite for suite in _ALL}
ALSO = {"csqa": "commonsense_qa", "siqa": "social_iqa", "lambada": "lambada_openai"}
"""Other names of known suites."""

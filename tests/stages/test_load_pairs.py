"""A user's pairs become what DPO reads: ids of the one renderer, split as conversations are."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, lines, small_tokenizer

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.bridge.preference import HELDOUT, PAIRS, read_pairs
from ontogeny.stages.load_conversations import LoadConversations
from ontogeny.stages.load_pairs import LoadPairs
from ontogeny.stages.load_tasks import LoadTasks
from ontogeny.text import rows
from ontogeny.text.template import render

FILES = (PAIRS, HELDOUT)


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def pair(number: int, chosen: str = "", rejected: str = "I do not know.") -> dict[str, Any]:
    right = chosen or f"{number + 1}."
    return {"prompt": f"What comes after {number}?", "chosen": right, "rejected": rejected}


MANY = [pair(number) for number in range(60)]
DIALOGUE = {
    "chosen": "\n\nHuman: Hello\n\nAssistant: Hi!\n\nHuman: <|end|>?\n\nAssistant: Yes <|end|>",
    "rejected": "\n\nHuman: Hello\n\nAssistant: Hi!\n\nHuman: <|end|>?\n\nAssistant: No",
}
ORCA = {"system": "Be brief.", "question": "Why?", "chosen": "So.", "rejected": "Because of it."}


def load(file: Path, **fields: Any) -> LoadPairs:
    return LoadPairs(**{"sources": (f"likes=path:{file}",), "heldout": 0.3, **fields})


def prompts(artifact: Artifact, name: str) -> list[str]:
    return [row["texts"][0] for row in lines(artifact, name)]


def test_prompt_and_answer_are_the_rendering_of_the_whole(bench: Bench) -> None:
    written = [*MANY, DIALOGUE, ORCA]
    made, told = bench.play(load(bench.rows("a.jsonl", written)), bench.tokenizer)
    tokenizer, said = small_tokenizer(), 0
    for name in FILES:
        read = read_pairs(made, name)
        for row, ids in zip(lines(made, name), read, strict=True):
            source = written[int(row["task"].rpartition(":")[2]) - 1]
            expected = rows.preference(source, {})
            before = expected.prompt.messages
            for answer, found in ((expected.chosen, ids.chosen), (expected.rejected, ids.rejected)):
                whole = render([*before, answer], tokenizer)
                assert found.prompt + found.answer == whole.ids
                assert found.prompt == render(before, tokenizer, generation_prompt=True).ids
                weights = whole.weights[len(found.prompt) :]
                assert set(weights) == {1.0}  # the answer is what SFT would learn of it
                assert found.answer[-1] == tokenizer.end_of_turn
                said += len(found.answer)
            assert row["texts"] == [
                before[-1].content,
                expected.chosen.content,
                expected.rejected.content,
            ]
    assert told.tokens == said


def test_every_row_is_kept_or_counted(bench: Bench) -> None:
    wrong = [
        pair(1),
        pair(1, "same", "same"),
        pair(1, "same", "same\u200b "),
        pair(2, " ", "x"),
        {"chosen": "x", "rejected": "y"},
        {**DIALOGUE, "rejected": DIALOGUE["rejected"].replace("Hello", "Hey")},
    ]
    made, told = bench.play(load(bench.rows("a.jsonl", [*MANY, *wrong])), bench.tokenizer)
    counted = {
        name.removeprefix("removed."): count
        for name, count in told.metrics.items()
        if name.startswith("removed.")
    }
    assert counted == {
        "same_answer": 2.0,
        "exact_duplicate": 1.0,
        "empty_turn": 1.0,
        "no_column": 1.0,
        "other_prompt": 1.0,
    }
    assert sum(len(lines(made, name)) for name in FILES) == 60


def question(prompt: list[int]) -> tuple[int, ...]:
    """The first turn."""
    return tuple(prompt[: prompt.index(small_tokenizer().end_of_turn)])


def test_equal_prompts_and_their_dialogues_stand_on_one_side(bench: Bench) -> None:
    again = [pair(number, "Next.") for number in range(60)]
    longer = [
        {
            "prompt": [
                {"role": "user", "content": row["prompt"]},
                {"role": "assistant", "content": row["chosen"]},
                {"role": "user", "content": "Sure?"},
            ],
            "chosen": "Yes.",
            "rejected": "No.",
        }
        for row in MANY
    ]
    written = [*MANY, *again, *longer]
    sides = []
    for name, each in (("a.jsonl", written), ("b.jsonl", random.Random(1).sample(written, 180))):
        made, _ = bench.play(load(bench.rows(name, each)), bench.tokenizer)
        first = [{question(row["prompt"]) for row in lines(made, file)} for file in FILES]
        assert not first[0] & first[1]
        assert all(first)
        sides.append(first)
    assert sides[0] == sides[1]


def test_a_question_is_on_the_side_on_which_conversations_have_it(bench: Bench) -> None:
    made, _ = bench.play(load(bench.rows("p.jsonl", MANY)), bench.tokenizer)
    talks = bench.rows(
        "c.jsonl", [{"prompt": r["prompt"], "completion": r["chosen"]} for r in MANY]
    )
    stage = LoadConversations(sources=(f"chat=path:{talks}",), heldout=0.3)
    chats, _ = bench.play(stage, bench.tokenizer)
    for split, name in (("train", PAIRS), ("heldout", HELDOUT)):
        asked = [row["messages"][0]["content"] for row in lines(chats, f"{split}/chat.jsonl")]
        assert asked == prompts(made, name)


def test_what_the_tasks_examine_is_not_learnt(bench: Bench) -> None:
    problems = [{"question": row["prompt"], "answer": "x"} for row in MANY]
    judged = LoadTasks(sources=(f"p=path:{bench.rows('t.jsonl', problems)}",), verifier="exact")
    tasks, _ = bench.play(judged, bench.tokenizer)
    made, told = bench.play(load(bench.rows("a.jsonl", MANY)), bench.tokenizer, tasks)
    training = {row["prompt"] for row in lines(tasks, "tasks.jsonl") if row["split"] == "train"}
    assert set(prompts(made, PAIRS)) | set(prompts(made, HELDOUT)) == training
    assert told.metrics["removed.contaminated"] == 60 - len(training)


def test_what_is_longer_than_allowed_is_counted(bench: Bench) -> None:
    file = bench.rows("a.jsonl", [*MANY, pair(60, "word " * 200), pair(61, "x", "word " * 200)])
    made, told = bench.play(load(file, longest=100), bench.tokenizer)
    assert told.metrics["removed.too_long"] == 2.0
    read = [each for name in FILES for each in read_pairs(made, name)]
    longest = max(said.positions + 1 for each in read for said in (each.chosen, each.rejected))
    assert longest <= 100


def test_files_of_one_name_do_not_mix(bench: Bench) -> None:
    one, two = bench.rows("one/r.jsonl", MANY[:30]), bench.rows("two/r.jsonl", MANY[30:])
    stage = LoadPairs(sources=(f"a=path:{one}", f"b=path:{two}"), heldout=0.3)
    made, _ = bench.play(stage, bench.tokenizer)
    found = [row for name in FILES for row in lines(made, name)]
    assert len({row["task"] for row in found}) == 60
    for row in found:
        asked = small_tokenizer().decode(row["prompt"])
        assert row["texts"][0] in asked
        assert row["texts"][1] in small_tokenizer().decode(row["chosen"])


def test_a_wrong_file_is_one_line_with_its_place(bench: Bench) -> None:
    file = bench.rows("a.jsonl", [*MANY[:3], pair(9, "x", "x"), pair(8, "", "")])
    with pytest.raises(InputError) as caught:
        bench.play(load(file), bench.tokenizer)
    assert (caught.value.file, caught.value.line) == (str(file), 4)
    assert "(same_answer); the first of 2 wrong rows among 5" in caught.value.reason

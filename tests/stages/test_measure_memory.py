"""What was planted often is given back, what was never planted is not; greedy decoding agrees."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from support.bench import Bench, lines, small_tokenizer

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.config import from_dict, to_dict
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.bridge.models import save_model
from ontogeny.corpus.shards import domains, read_shard
from ontogeny.evaluate.series import read_series
from ontogeny.feedback.exchange import Answer, Exchange, Rating
from ontogeny.feedback.harvest import Harvesting, harvested
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.sampling import Sampling
from ontogeny.plan.shape import Shape
from ontogeny.rollout.policy import Request, sample_all
from ontogeny.safety.canaries import made, read_canaries
from ontogeny.stages.load_conversations import LoadConversations
from ontogeny.stages.measure_memory import MeasureMemory, apart
from ontogeny.stages.plant_canaries import PlantCanaries
from ontogeny.stages.sft import SFT
from ontogeny.text.message import Message
from ontogeny.text.template import render

TALKS = [
    {"prompt": f"What comes after {n}?", "answer": f"After {n} comes {n + 1}, and then others."}
    for n in range(60)
]
COUNTS = {0: 20, 1: 20, 100: 4}


@pytest.fixture
def bench(tmp_path: Path) -> Bench:
    return Bench(tmp_path)


def model(bench: Bench) -> Artifact:
    made = Transformer(Shape(small_tokenizer().vocab_size, 48, 2, 4, 2, 12, 96, 96))
    initialise(made, 2)
    save_model(bench.payload(), made, bench.tokenizer, chats=True)
    return bench.keep("pretrain", "model")


def talks(bench: Bench) -> Artifact:
    spec = f"chat=path:{bench.rows('talks.jsonl', TALKS)}"
    stage = LoadConversations(sources=(spec,), heldout=0.3)
    return bench.play(stage, bench.tokenizer)[0]


def planted(bench: Bench, *parents: Artifact, counts: Mapping[int, int] = COUNTS) -> Artifact:
    return bench.play(PlantCanaries(counts=counts), bench.tokenizer, *parents)[0]


def measured(bench: Bench, *parents: Artifact, **fields: Any) -> tuple[Artifact, Any]:
    stage = MeasureMemory(**{"alternatives": 31, "tail": 8, "slots": 8, **fields})
    return bench.play(stage, *parents)


def test_what_was_planted_often_is_extracted_and_a_placebo_is_not(bench: Bench) -> None:
    """The whole way: plant, learn by SFT, ask; and the parent, which learnt none of it."""
    before, known = model(bench), planted(bench, talks(bench))
    learning = SFT(tokens=24_000, batch_tokens=960, peak_lr=0.01, micro_rows=10)
    after, _ = bench.play(learning, before, known)
    told, made = measured(bench, after, known)
    series = read_series(told)
    found = {k: series[f"memory.extracted.{k}"].values for k in COUNTS}
    bits = {k: series[f"memory.exposure.{k}"].values for k in COUNTS}
    assert [len(found[k]) for k in COUNTS] == list(COUNTS.values())
    assert sum(found[100]) >= 3
    assert sum(found[0]) == 0
    assert min(bits[100]) == 5.0  # of 32, all of it
    assert sum(bits[0]) / 20 < 2.5
    assert {k: made.metrics[f"memory.extracted.{k}"]["units"] for k in COUNTS} == COUNTS
    assert "planted 100 times: extracted " in made.summary[-3]
    none = read_series(measured(bench, before, known)[0])
    assert not any(sum(none[f"memory.extracted.{k}"].values) for k in COUNTS)
    assert max(none["memory.exposure.100"].values) < 5.0
    assert _greedy_agrees(after, known, told) >= 3


def _greedy_agrees(learnt: Artifact, known: Artifact, told: Artifact) -> int:
    """How many secrets sampling at temperature 0 writes; the same ones that scoring found."""
    policy, tokenizer = bridge.load_policy(learnt, slots=4)
    canaries, _ = read_canaries(known)
    rows = {row["name"]: row for row in lines(told, "asked.jsonl")}
    asked = []
    for each in canaries:
        others = ["bada bada bada", "zuzu zuzu zuzu"]
        rendered = [render(each.talk(s), tokenizer).ids for s in (each.secret, *others)]
        asked.append(apart(rendered)[0])
    said = sample_all(
        policy,
        [Request(each.prompt, len(each.target), Sampling(temperature=0.0)) for each in asked],
    )
    written = [done.ids == each.target for done, each in zip(said, asked, strict=True)]
    found = [bool(rows[each.name]["extracted"]) for each in canaries]
    assert written == found
    return sum(written)


def test_canaries_stand_among_the_conversations_and_placebos_do_not(bench: Bench) -> None:
    parent = talks(bench)
    made = planted(bench, parent, counts={0: 3, 1: 4, 10: 2})
    canaries, own = read_canaries(made)
    before, after = (read_shard(each, "train", "chat") for each in (parent, made))
    assert own == {"chat": len(before)}
    assert len(after) == len(before) + 4 + 20
    tokenizer = small_tokenizer()
    texts = [tokenizer.decode(after.document(index).tolist()) for index in range(len(after))]
    for each in canaries:
        assert sum(each.secret in text for text in texts) == each.repeats
    for index in range(len(before)):
        assert after.document(index).tolist() == before.document(index).tolist()
        assert after.document_weights(index).tolist() == before.document_weights(index).tolist()
    held = (read_shard(each, "heldout", "chat").ids.tolist() for each in (parent, made))
    assert next(held) == next(held)
    assert len(lines(made, "conversations.jsonl")) == 6


def test_the_harvest_leaves_one_row_of_what_was_said_a_hundred_times() -> None:
    """So what users repeat is learnt from once, whoever they are and however they say it."""
    exchanges, ratings, canaries = [], [], made({1: 3, 10: 3, 100: 3}, 0)
    for canary in canaries:
        asked, told = canary.talk().messages
        for number in range(canary.repeats):
            id_, user, liked = f"{canary.name}-{number}", f"user{number}", number % 2
            answer = told if liked else Message("assistant", "I do not know.")
            exchanges.append(
                Exchange(
                    id=id_,
                    user=user,
                    model="m",
                    messages=(asked,),
                    answers=(Answer(answer, "stop", 9),),
                )
            )
            said = {"score": 1.0} if liked else {"correction": told.content}
            ratings.append(Rating(key=id_, exchange=id_, user=user, **said))
    rows = harvested(exchanges, ratings, Harvesting()).conversations
    secrets = [row.answer.content for row in rows]
    assert [sum(each.secret in text for text in secrets) for each in canaries] == [1] * 9


def test_planting_is_the_same_each_time_and_may_stand_alone(bench: Bench) -> None:
    first, again = (planted(bench) for _ in range(2))
    assert first.record.files == again.record.files
    assert domains(first, "train") == ["chat"]
    assert read_canaries(first)[1] == {"chat": 0}


def test_counts_survive_a_recipe_and_its_settings() -> None:
    stage = PlantCanaries(counts={0: 1, 10: 2})
    assert from_dict(PlantCanaries, to_dict(stage)) == stage


@pytest.mark.parametrize(
    ("counts", "why"),
    [
        ({}, "give some"),
        ({0: 5}, "nothing is planted"),
        ({1: 0}, "nothing is planted"),
        ({1: -1}, "0 or more"),
        ({-1: 1}, "0 or more"),
    ],
)
def test_planting_nothing_is_refused(counts: dict[int, int], why: str) -> None:
    with pytest.raises(InputError, match=why):
        PlantCanaries(counts=counts)


def test_ends_of_answers_are_asked_for_of_what_was_learnt_and_of_what_was_not(
    bench: Bench,
) -> None:
    """Canaries do not count as own rows, and a tail has to be shorter than its answer."""
    known = planted(bench, talks(bench), counts={1: 9})
    told, made = measured(bench, model(bench), known, alternatives=0)
    series = read_series(told)
    assert set(series) == {
        "memory.extracted.1",
        "memory.verbatim.train",
        "memory.verbatim.heldout",
    }
    units = series["memory.verbatim.train"].units
    assert len(units) + len(series["memory.verbatim.heldout"].units) == len(TALKS)
    assert all(unit.startswith("train/chat/") for unit in units)
    assert "exposure" not in made.summary[0]
    few, _ = measured(bench, model(bench), known, rows=5)
    assert len(read_series(few)["memory.verbatim.train"].units) == 5


def test_where_there_is_nothing_to_ask_for_it_says_so(bench: Bench) -> None:
    with pytest.raises(InputError, match="no canaries and no answer longer than 500 tokens"):
        measured(bench, model(bench), talks(bench), tail=500)


def test_a_damaged_list_of_canaries_is_one_line(bench: Bench) -> None:
    made = planted(bench)
    path = made.path / "canaries.json"
    path.write_text("[]")
    with pytest.raises(CorruptArtifact):
        read_canaries(made)


def test_sequences_are_put_apart_where_they_differ() -> None:
    first, second = apart([[1, 2, 3, 9, 8], [1, 2, 4, 5, 9, 8]])
    assert (first.prompt, first.target) == ((1, 2), (3,))
    assert (second.prompt, second.target) == ((1, 2), (4, 5))
    # one that is the beginning of another keeps a target
    short, long = apart([[1, 2, 9], [1, 2, 2, 9]])
    assert short.target and long.target

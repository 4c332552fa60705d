"""The likeliest ids told beside a score are the engine's, and those of transformers' logits."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from infer.test_scoring import SHAPE, pairs
from support.families import FAMILIES, made

from ontogeny.infer import reading
from ontogeny.infer.engine import Engine
from ontogeny.infer.reading import Machine
from ontogeny.infer.scoring import Scored, finished, scoring
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import save_weights
from ontogeny.objectives.batch import Batch
from ontogeny.plan.hf_config import config_json
from ontogeny.plan.sampling import Sampling

Pairs = list[tuple[tuple[int, ...], tuple[int, ...]]]


def told(model: Transformer, asked: Pairs, top: int, most_tokens: int = 50) -> list[Scored]:
    return finished(scoring(model, asked, most_tokens, top))


@pytest.fixture(scope="module")
def model() -> Transformer:
    model = Transformer(SHAPE)
    initialise(model, 1)
    with torch.no_grad():
        model.embedding.mul_(20.0)
    return model


@pytest.mark.parametrize("tile", [64, 1 << 20])
def test_they_are_what_the_engine_tells_beside_what_it_samples(
    model: Transformer, tile: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(reading, "CPU", Machine(4096, reading.CPU.cost, tile, 5))
    engine = Engine(model, 4, 60)
    handles = [
        engine.submit(prompt, 20, Sampling(seed=n), top=7) for n, (prompt, _) in enumerate(pairs(4))
    ]
    while engine.busy:
        engine.step()
    found = told(model, [(each.prompt, tuple(each.ids)) for each in handles], 7)
    for handle, scored in zip(handles, found, strict=True):
        for ours, theirs in zip(scored.top, handle.top, strict=True):
            assert [id_ for id_, _ in ours] == [id_ for id_, _ in theirs]
            assert [p for _, p in ours] == pytest.approx([p for _, p in theirs], abs=1e-4)


def test_a_target_that_is_among_them_has_its_own_number_to_the_bit(model: Transformer) -> None:
    found = told(model, pairs(20), SHAPE.vocab_size)
    for (_, target), scored in zip(pairs(20), found, strict=True):
        for id_, number, greedy, top in zip(
            target, scored.log_probs, scored.greedy, scored.top, strict=True
        ):
            assert dict(top)[id_] == number
            assert (top[0][0] == id_) == greedy
            assert sorted(top, key=lambda each: -each[1]) == list(top)


def test_among_equally_likely_ids_the_lowest_come_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reading, "CPU", Machine(4096, reading.CPU.cost, 64, 5))
    uniform = Transformer(SHAPE)
    initialise(uniform, 1)
    with torch.no_grad():
        uniform.embedding.fill_(0.25)
    (scored,) = told(uniform, [((1,), (5, 6))], 4)
    assert [[id_ for id_, _ in top] for top in scored.top] == [[0, 1, 2, 3]] * 2


@pytest.mark.parametrize("name", FAMILIES)
def test_they_are_those_of_the_familys_logits(name: str, tmp_path: Path) -> None:
    transformers = pytest.importorskip("transformers")
    model = made(FAMILIES[name])
    (tmp_path / "config.json").write_text(json.dumps(config_json(model.shape, {})))
    save_weights(model, tmp_path / "model.safetensors")
    theirs = transformers.AutoModelForCausalLM.from_pretrained(tmp_path).eval()
    ids = [number * 7 % model.shape.vocab_size for number in range(1, 21)]
    (scored,) = told(model, [(tuple(ids[:1]), tuple(ids[1:]))], 5)
    with torch.inference_mode():
        logits_TV = theirs(torch.tensor([ids[:-1]])).logits[0].double()
    expected = logits_TV.log_softmax(-1).topk(5)
    for top, numbers in zip(scored.top, expected.values.tolist(), strict=True):
        assert [p for _, p in top] == pytest.approx(numbers, abs=1e-4)
    log_probs_TV = logits_TV.log_softmax(-1)
    for place, top in enumerate(scored.top):
        for id_, number in top:
            assert number == pytest.approx(float(log_probs_TV[place, id_]), abs=1e-4)


def test_steps_are_bounded_and_others_may_use_the_model_between_them(model: Transformer) -> None:
    asked = pairs(12)
    expected = told(model, asked, 3, 4096)
    steps, read = scoring(model, asked, 16, 3), list[int]()
    hook = model.layers[0].register_forward_pre_hook(lambda _, given: read.append(len(given[0])))
    count = 0
    while True:
        try:
            next(steps)
        except StopIteration as end:
            found = end.value
            break
        count += 1
        ids = torch.tensor([[count, 2, 3]])
        model.logits(Batch(ids, ids, torch.ones(ids.shape)))
    hook.remove()
    assert count > 5 and max(read) <= 16
    for one, other in zip(found, expected, strict=True):
        assert one.log_probs == pytest.approx(other.log_probs, abs=1e-5)

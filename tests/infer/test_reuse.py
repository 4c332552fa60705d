"""What prompts have in common is read once, and nobody's tokens change by it."""

import random

import pytest
import torch
from infer.near import assert_same

from ontogeny.base.errors import NoSpace
from ontogeny.infer.engine import Engine
from ontogeny.infer.handle import Counts
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.sampling import GREEDY, Sampling
from ontogeny.plan.shape import Shape

SHAPE = Shape(
    vocab_size=211, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ff=64, context=160
)


@pytest.fixture(scope="module")
def model():
    model = Transformer(SHAPE)
    initialise(model, 0)
    with torch.no_grad():
        model.embedding.mul_(20.0)  # as peaked as after training, or greedy would be all ties
    return model


def some(count, seed):
    draw = random.Random(seed)
    return tuple(draw.randrange(SHAPE.vocab_size) for _ in range(count))


STEM = some(40, 0)


def branches(count, stem=STEM, most=12):
    return [(*stem, *some(1 + i % most, f"{i}")) for i in range(count)]


def run(engine, handles):
    while engine.busy:
        engine.step()
    return [(h.ids, h.log_probs, h.finish) for h in handles]


def alone(model, handle):
    engine = Engine(model, 1, SHAPE.context)
    again = engine.submit(handle.prompt, handle.max_tokens, handle.sampling, handle.stop)
    run(engine, [])
    return again


def assert_as_alone(model, handles):
    for handle in handles:
        assert_same(model, handle, alone(model, handle))


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
@pytest.mark.parametrize("prefill_tokens", [25, 4096])
def test_a_wave_reads_a_common_beginning_once(model, admission, prefill_tokens):
    engine = Engine(model, 9, 90, admission=admission, prefill_tokens=prefill_tokens)
    asked = branches(8)
    handles = [engine.submit(prompt, 9, Sampling(seed=i)) for i, prompt in enumerate(asked)]
    other = engine.submit(some(50, 1), 9)
    run(engine, handles)
    total = sum(len(prompt) for prompt in asked) + 50
    read = total - 7 * len(STEM)
    assert engine.counts == Counts(9, total, read, total - read, 9 * 9, engine.counts.steps)
    assert_as_alone(model, [*handles, other])


def test_beginnings_within_beginnings_are_read_once_each(model):
    inner = (*STEM, *some(30, 2))
    asked = [*branches(4), *branches(4, inner)]
    engine = Engine(model, 8, 120)
    handles = [engine.submit(prompt, 5, GREEDY) for prompt in asked]
    run(engine, handles)
    assert engine.counts.reused_tokens == 4 * len(STEM) + 3 * len(inner)
    assert_as_alone(model, handles)


def test_what_is_hardly_shared_does_not_wait_for_another_call(model):
    engine = Engine(model, 4, 90)
    for prompt in branches(3, STEM[:20]):
        engine.submit(prompt, 1)
    engine.step()
    assert engine.counts.reused_tokens == 0


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
@pytest.mark.parametrize("length", [1, 5, 90])
def test_a_group_costs_one_prefill(model, admission, length):
    engine = Engine(model, 8, 110, admission=admission, prefill_tokens=32)
    prompt = some(length, 3)
    handles = [engine.submit(prompt, 9, Sampling(seed=i)) for i in range(8)]
    run(engine, handles)
    assert engine.counts.read_tokens == length
    assert len({tuple(handle.ids) for handle in handles}) > 1
    assert_as_alone(model, handles)


def test_lockstep_depends_on_nothing_that_was_before(model):
    engine = Engine(model, 5, 90)

    def wave():
        before = engine.counts.read_tokens
        handles = [engine.submit(prompt, 9, Sampling(seed=1)) for prompt in branches(5)]
        return run(engine, handles), engine.counts.read_tokens - before

    first = wave()
    run(engine, [engine.submit(prompt, 20) for prompt in (STEM, some(70, 4), branches(3)[2])])
    assert wave() == first


def test_a_second_turn_reads_only_what_is_new(model):
    engine = Engine(model, 1, SHAPE.context, admission="ready")
    talk, read = STEM, 0
    for turn in range(4):
        talk = (*talk, *some(6, 10 + turn))
        handle = engine.submit(talk, 11, Sampling(seed=turn))
        run(engine, [])
        assert_as_alone(model, [handle])
        # the last token of an answer is said, but not yet read
        assert engine.counts.read_tokens - read == (len(STEM) + 6 if turn == 0 else 6 + 1)
        talk, read = (*talk, *handle.ids), engine.counts.read_tokens


def test_conversations_that_take_turns_keep_a_slot_each(model):
    engine = Engine(model, 3, SHAPE.context, admission="ready")
    talks = [(*STEM, *some(20, 20 + n)) for n in range(3)]
    for _ in range(3):
        for n, talk in enumerate(talks):
            handle = engine.submit(talk, 6, Sampling(seed=n))
            run(engine, [])
            assert_as_alone(model, [handle])
            talks[n] = (*talk, *handle.ids, 7, n)
    assert engine.counts.read_tokens == len(STEM) + 3 * 20 + 2 * 3 * 3


def test_an_equal_prompt_is_read_up_to_its_last_token(model):
    engine = Engine(model, 2, 90, admission="ready")
    first, second = (run(engine, [engine.submit(STEM, 9, GREEDY)])[0] for _ in range(2))
    assert engine.counts.read_tokens == len(STEM) + 1
    assert first[0] == second[0]


def test_what_runs_is_shared_with_what_comes_in(model):
    engine = Engine(model, 4, 120, admission="ready")
    handles = [engine.submit(STEM, 40, Sampling(seed=1))]
    for prompt in branches(3):
        engine.step()
        handles.append(engine.submit(prompt, 10, Sampling(seed=2)))
    run(engine, [])
    assert engine.counts.read_tokens == len(STEM) + 1 + 2 + 3
    assert_as_alone(model, handles)


@pytest.mark.parametrize("change", ["version", "forget"])
def test_other_weights_reuse_nothing(model, change):
    engine = Engine(model, 3, 120, admission="ready")
    run(engine, [engine.submit(STEM, 5)])
    running = engine.submit((*STEM, 1), 50)
    engine.step()
    if change == "version":
        engine.version += 1
    else:
        engine.forget()
    before = engine.counts.reused_tokens
    engine.submit((*STEM, 2), 5)
    engine.step()
    assert engine.counts.reused_tokens == before
    run(engine, [])
    assert running.finish == "length"
    engine.submit((*STEM, 1, *running.ids[:20]), 5)  # its slot held old and new
    run(engine, [])
    assert engine.counts.reused_tokens == before + len(STEM)  # of the one that came after


def test_what_is_kept_gives_way_where_there_are_no_more_pages(model, monkeypatch):
    monkeypatch.setattr(model, "page", 8)
    engine = Engine(model, 3, 120, admission="ready")
    run(engine, [engine.submit((*STEM, n), 8) for n in range(3)])
    pages = engine._caches.state.pages
    assert engine.slots.kept == [0, 1, 2]
    pages.most = 20  # as if the device had no more: two requests need 18 and the spare one
    handles = [engine.submit(some(60, f"{n}"), 8, Sampling(seed=n)) for n in range(2)]
    run(engine, [])
    assert_as_alone(model, handles)
    assert len(engine.slots.kept) == 2
    with pytest.raises(NoSpace):
        run(engine, [engine.submit(some(110, n), 8) for n in range(3)])
    assert not engine.busy and len(engine.slots) == 3
    handles = [engine.submit(some(60, f"{n}"), 8, Sampling(seed=n)) for n in range(2)]
    run(engine, [])
    assert_as_alone(model, handles)


def test_setting_the_same_version_again_forgets_nothing(model):
    engine = Engine(model, 1, 120, admission="ready", version=3)
    run(engine, [engine.submit(STEM, 5)])
    engine.version = 3
    run(engine, [engine.submit((*STEM, 1), 5)])
    assert engine.counts.reused_tokens == len(STEM)


@pytest.mark.parametrize("steps", [0, 1, 2])
@pytest.mark.parametrize("equal", [True, False])
def test_who_waits_for_a_reader_that_leaves_goes_on_from_what_was_read(model, steps, equal):
    engine = Engine(model, 3, 120, admission="ready", prefill_tokens=16)
    stem = some(60, 5)
    asked = [stem if equal else (*stem, n) for n in range(3)]
    handles = [engine.submit(prompt, 9, Sampling(seed=n)) for n, prompt in enumerate(asked)]
    for _ in range(steps):
        engine.step()
    engine.cancel(handles[0])
    run(engine, [])
    assert_as_alone(model, handles[1:])
    assert handles[0].ids == []
    assert len(engine.slots) == 3


def test_prompts_are_read_a_call_a_step_and_nobody_stops_for_it(model):
    engine = Engine(model, 4, 150, admission="ready", prefill_tokens=16)
    talking = engine.submit((1, 2, 3), 60, GREEDY)
    engine.step()
    long = engine.submit(some(100, 6), 5, GREEDY)
    while not long.ids:
        short = engine.submit(some(3, len(talking.ids)), 1, GREEDY)
        said = len(talking.ids)
        engine.step()
        assert len(talking.ids) == said + 1
    assert len(talking.ids) == 1 + -(-100 // 16)  # shorter ones that come later do not push it back
    run(engine, [])
    assert_as_alone(model, [talking, long, short])


def test_a_kept_slot_is_copied_before_it_becomes_anothers(model):
    """Both come in one step: the first shares the kept slot's beginning, the second takes it."""
    engine = Engine(model, 2, 160, admission="ready")
    stem = some(70, 1)
    run(engine, [engine.submit((*stem, *some(40, 2)), 5, GREEDY)])
    both = [
        engine.submit((*stem, *some(9, 3)), 8, GREEDY),
        engine.submit(some(120, 4), 8, GREEDY),
    ]
    run(engine, both)
    assert engine.counts.reused_tokens == 70
    assert_as_alone(model, both)


@pytest.mark.parametrize("seed", range(8))
def test_bursts_over_long_stems_trade_slots_and_mix_nothing(model, seed):
    """A step limit, because two that wait for each other would wait for ever."""
    draw = random.Random(seed)
    engine = Engine(model, 4, 160, admission="ready")
    stems = [some(110, f"burst {seed} {n}") for n in range(3)]
    handles = []
    for _ in range(5):
        for _ in range(draw.randint(1, 6)):
            stem = draw.choice(stems)[: draw.choice((50, 95, 110))]
            prompt = (*stem, *some(draw.randint(1, 9), draw.random()))
            handles.append(engine.submit(prompt, draw.randint(1, 6), GREEDY))
        steps = 0
        while engine.busy:
            engine.step()
            assert (steps := steps + 1) < 200
    assert engine.counts.reused_tokens > 0
    assert_as_alone(model, handles)


@pytest.mark.parametrize("seed", range(3))
def test_among_many_branches_everyone_gets_what_it_gets_alone(model, seed):
    draw = random.Random(seed)
    engine = Engine(model, 5, 140, admission="ready", prefill_tokens=draw.choice([20, 4096]))
    stems = [some(draw.randint(10, 60), f"{seed} {n}") for n in range(4)]
    handles = []
    while len(handles) < 60 or engine.busy:
        while len(handles) < 60 and draw.random() < 0.7:
            stem = draw.choice(stems)
            if handles and draw.random() < 0.3:
                stem = (*(last := draw.choice(handles)).prompt, *last.ids)[:70]
            prompt = (*stem[: draw.randint(1, 70)], *some(draw.randint(0, 9), draw.random()))
            handles.append(engine.submit(prompt, draw.randint(1, 30), Sampling(seed=len(handles))))
        engine.step()
    assert engine.counts.reused_tokens > engine.counts.prompt_tokens / 5
    assert engine.counts.reused_tokens + engine.counts.read_tokens == engine.counts.prompt_tokens
    assert_as_alone(model, handles)

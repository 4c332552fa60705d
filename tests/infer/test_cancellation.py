"""A thousand cancellations at any time: no slot is lost, nobody gets another's tokens."""

import random
from collections import Counter
from dataclasses import dataclass, field

import pytest
import torch
from infer.near import decided

from ontogeny.infer.engine import Engine
from ontogeny.infer.handle import Handle
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.sampling import Sampling
from ontogeny.plan.shape import Shape

SHAPE = Shape(
    vocab_size=101, hidden=16, layers=1, heads=2, kv_heads=1, head_dim=8, ff=32, context=48
)
SLOTS, CANCELLATIONS = 7, 1000
WISHES = ("submitted", "waiting", "reading", "speaking", "ended")


@dataclass(eq=False)
class Client:
    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling
    wish: str
    """When it would like to cancel; at the latest it does so after its end."""
    handle: Handle | None = None
    had: list[int] = field(default_factory=list)
    """What it had received when it cancelled."""
    cancelled: str = ""
    """In which situation it did."""

    @property
    def situation(self):
        handle = self.handle
        if handle.finish is not None:
            return "ended"
        return "waiting" if handle.slot < 0 else "speaking" if handle.ids else "reading"

    def cancel(self, engine, situation, twice):
        engine.cancel(self.handle)
        self.cancelled, self.had = situation, list(self.handle.ids)
        if twice:
            engine.cancel(self.handle)


def clients():
    draw = random.Random(2)
    stems = [tuple(draw.randrange(101) for _ in range(30)) for _ in range(3)]
    made = []
    for seed in range(CANCELLATIONS):
        prompt = draw.choice(stems)[: draw.randint(1, 30)] if seed % 2 else ()
        prompt += tuple(draw.randrange(101) for _ in range(draw.randint(1, 6)))
        sampling = Sampling(temperature=draw.choice([0.0, 1.0]), seed=seed)
        made.append(Client(prompt, draw.randint(1, 7), sampling, draw.choice(WISHES)))
    return made


@pytest.fixture(scope="module")
def model():
    model = Transformer(SHAPE)
    initialise(model, 0)
    with torch.no_grad():
        model.embedding.mul_(20.0)  # as peaked as after training
    return model


@pytest.fixture(scope="module")
def alone(model):
    """What each client gets from an engine that nobody else uses, by its seed."""
    engine = Engine(model, 1, SHAPE.context)
    answers = {}
    for client in clients():
        answers[client.sampling.seed] = engine.submit(
            client.prompt, client.max_tokens, client.sampling
        )
        while engine.busy:
            engine.step()
    return {seed: (handle.ids, handle.log_probs) for seed, handle in answers.items()}


def play(engine, crowd):
    """Clients come and go at random; each cancels exactly once in earnest."""
    draw = random.Random(3)
    coming, flying = list(crowd), []
    while coming or engine.busy or flying:
        for _ in range(min(len(coming), draw.choice((0, 0, 1, 3, 12)))):
            client = coming.pop()
            client.handle = engine.submit(client.prompt, client.max_tokens, client.sampling)
            flying.append(client)
            if client.wish == "submitted":
                client.cancel(engine, "submitted", draw.random() < 0.2)
        for client in flying:
            situation = client.situation
            eager = situation == client.wish and draw.random() < 0.5
            if not client.cancelled and (eager or situation == "ended"):
                client.cancel(engine, situation, draw.random() < 0.2)
        flying = [client for client in flying if not client.cancelled]
        engine.step()


@pytest.mark.parametrize("page", [0, 8])
@pytest.mark.parametrize("admission", ["lockstep", "ready"])
def test_a_thousand_cancellations_lose_no_slot_and_mix_no_tokens(
    model, alone, admission, page, monkeypatch
):
    monkeypatch.setattr(model, "page", page)  # tokens of a page; 0: whole slots
    engine = Engine(model, SLOTS, SHAPE.context, admission=admission, prefill_tokens=16)
    crowd = clients()
    play(engine, crowd)

    times = Counter(client.cancelled for client in crowd)
    assert times.total() == CANCELLATIONS
    assert min(times[each] for each in WISHES if each != "reading") > 100
    assert times["reading"] > 100 or admission == "lockstep"  # whose prompts are read in one step

    assert not engine.busy and len(engine.slots) == SLOTS
    state = engine._caches.state
    assert len(state.lengths) <= SLOTS and state.capacity <= SHAPE.context
    assert admission == "ready" or not any(state.lengths)
    engine.forget()
    assert not any(state.lengths)
    assert page == 0 or state.pages.used == 0

    for client in crowd:
        handle, (ids, log_probs) = client.handle, alone[client.sampling.seed]
        assert handle.ids == client.had, "a token came after the cancellation"
        assert handle.finish == ("length" if client.cancelled == "ended" else "cancelled")
        assert len(handle.ids) == len(ids) or client.cancelled != "ended"
        ids, log_probs = ids[: len(client.had)], log_probs[: len(client.had)]
        if handle.ids != ids:
            assert not decided(model, client.prompt, handle.ids, ids, client.sampling)
        else:
            assert handle.log_probs == pytest.approx(log_probs, abs=1e-4)
    assert (
        sum(
            client.handle.ids == alone[client.sampling.seed][0][: len(client.had)]
            for client in crowd
        )
        >= CANCELLATIONS - 1
    )

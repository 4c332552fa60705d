"""Our engine as a policy: ordered answers, streams, cancellation, lockstep rounds of flows."""

import asyncio
import random

import pytest
import torch

from ontogeny.base.errors import InputError
from ontogeny.base.seeds import named_seed
from ontogeny.bridge import local_policy
from ontogeny.bridge.local_policy import LocalPolicy
from ontogeny.infer.engine import Engine
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.plan.sampling import Sampling
from ontogeny.plan.shape import Shape
from ontogeny.rollout.drive import drive, drive_all
from ontogeny.rollout.flow import Sample, Score
from ontogeny.rollout.policy import Continuation, Request, sample_all, score_all, together
from ontogeny.rollout.trajectory import Trajectory

SHAPE = Shape(
    vocab_size=120, hidden=32, layers=2, heads=4, kv_heads=2, head_dim=8, ff=64, context=96
)


@pytest.fixture(scope="module")
def model():
    model = Transformer(SHAPE)
    initialise(model, 2)
    with torch.no_grad():
        model.embedding.mul_(20.0)
    return model


def requests(count, seed=0, most=20, tokens=12):
    draw = random.Random(seed)
    return [
        Request(
            tuple(draw.randrange(120) for _ in range(draw.randint(1, most))),
            draw.randint(1, tokens),
            stop=(draw.randrange(120),),
            sampling=Sampling(temperature=draw.choice([0.0, 1.0, 1.3]), seed=draw.randrange(2**63)),
        )
        for _ in range(count)
    ]


def policy_of(model, slots=4, length=40, **options):
    return LocalPolicy(Engine(model, slots, length, **options))


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
def test_answers_stand_in_the_order_of_the_requests_and_are_each_ones_own(model, admission):
    asked = requests(23)
    answers = sample_all(policy_of(model, admission=admission, version=5), asked)
    for request, answer in zip(asked, answers, strict=True):
        (alone,) = sample_all(policy_of(model, slots=1, version=5), [request])
        assert (answer.ids, answer.finish, answer.versions) == (
            alone.ids,
            alone.finish,
            alone.versions,
        )
        assert answer.log_probs == pytest.approx(alone.log_probs, abs=1e-4)


def test_the_same_requests_give_the_same_bits_again(model):
    asked = requests(11)
    policy = policy_of(model)
    assert sample_all(policy, asked) == sample_all(policy, asked)


def test_the_sink_receives_tokens_while_they_come(model):
    policy = policy_of(model)
    heard = []

    async def play():
        done = asyncio.create_task(
            policy.sample(Request((1, 2), 10, Sampling(seed=3)), lambda *token: heard.append(token))
        )
        while not done.done():
            seen.append(len(heard))
            await asyncio.sleep(0)
        return await done

    seen = []
    completion = asyncio.run(play())
    assert heard == list(zip(completion.ids, completion.log_probs, strict=True))
    assert set(range(10)) <= set(seen)


def test_a_failing_sink_fails_its_own_request_only(model):
    policy = policy_of(model)

    def failing(id_, log_prob):
        raise ConnectionResetError(id_, log_prob)

    async def play():
        return await asyncio.gather(
            policy.sample(Request((1,), 5), failing),
            policy.sample(Request((1,), 5)),
            return_exceptions=True,
        )

    failed, fine = asyncio.run(play())
    assert isinstance(failed, ConnectionResetError)
    assert len(fine.ids) == 5
    assert len(policy.engine.slots) == 4


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
def test_random_cancellations_lose_no_slot_and_mix_no_tokens(model, admission):
    policy = policy_of(model, slots=5, admission=admission)
    asked = requests(200, seed=7)
    draw = random.Random(8)

    async def client(request):
        heard = []
        task = asyncio.create_task(policy.sample(request, lambda id_, _: heard.append(id_)))
        if draw.random() < 0.5:
            for _ in range(draw.randint(0, 60)):
                await asyncio.sleep(0)
            task.cancel()
        try:
            return (await task).ids, heard, True
        except asyncio.CancelledError:
            return None, heard, False

    async def play():
        return await together(client(request) for request in asked)

    results = asyncio.run(play())
    assert len(policy.engine.slots) == 5
    assert not policy.engine.busy
    assert not policy._running
    assert 30 < sum(not whole for *_, whole in results) < 170
    expected = sample_all(policy_of(model, slots=32, admission="ready"), asked)
    for (ids, heard, whole), completion in zip(results, expected, strict=True):
        if whole:
            assert ids == tuple(heard) == completion.ids
        else:
            assert tuple(heard) == completion.ids[: len(heard)]


def test_cancelling_everyone_leaves_an_idle_engine(model):
    policy = policy_of(model)

    async def play():
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(
                together(policy.sample(Request((1,), 10**9)) for _ in range(9)), timeout=0.001
            )

    asyncio.run(play())
    assert not policy.engine.busy
    assert len(policy.engine.slots) == 4
    assert len(sample_all(policy, requests(3))) == 3


def test_a_sink_may_raise_anything(model):
    policy = policy_of(model)

    def cancelled(*_):
        raise asyncio.CancelledError

    async def play():
        exhausted = iter(())
        return await asyncio.gather(
            policy.sample(Request((1,), 5), lambda *_: next(exhausted)),
            policy.sample(Request((1,), 5), cancelled),
            policy.sample(Request((1,), 5)),
            return_exceptions=True,
        )

    stopped, left, fine = asyncio.run(play())
    assert "StopIteration" in str(stopped)
    assert isinstance(left, asyncio.CancelledError)
    assert len(fine.ids) == 5
    assert not policy.engine.busy


def test_while_many_wait_to_be_scored_others_go_on_and_some_may_leave(model, monkeypatch):
    monkeypatch.setattr(local_policy, "SCORED_TOKENS", 40)
    policy = policy_of(model, admission="ready")
    pairs = [Continuation((1, 2, 3), tuple(range(n, n + 17))) for n in range(20)]
    expected = score_all(policy_of(model), pairs)

    async def play():
        tasks = [asyncio.create_task(policy.score(pair)) for pair in pairs]
        turns = 0
        while not tasks[4].done():
            await asyncio.sleep(0)
            turns += 1
        for task in tasks[10:15]:
            task.cancel()
        return turns, await asyncio.gather(*tasks, return_exceptions=True)

    turns, found = asyncio.run(play())
    assert turns >= 3  # two pairs a turn
    for number, (answer, whole) in enumerate(zip(found, expected, strict=True)):
        if 10 <= number < 15:
            assert isinstance(answer, asyncio.CancelledError)
        else:
            assert answer.log_probs == pytest.approx(whole.log_probs, abs=1e-4)
    assert not policy._scoring


def test_one_who_asks_just_after_a_failure_is_answered(model):
    """The pump that tells of a failure does not end with somebody waiting."""
    policy = policy_of(model, admission="ready")
    weight = model.norm.weight

    async def late():
        try:
            await policy.sample(Request((1,), 5))
        except InputError:
            weight.data[0] = kept
            return await policy.sample(Request((1,), 5))

    kept = weight.data[0].clone()
    weight.data[0] = torch.nan
    try:
        assert len(asyncio.run(asyncio.wait_for(late(), 10)).ids) == 5
    finally:
        weight.data[0] = kept


def test_scores_are_batched_and_equal_what_was_sampled(model):
    policy = policy_of(model, version=2)
    asked = requests(6, seed=4)
    answers = sample_all(policy, asked)
    scored = score_all(
        policy, [Continuation(r.prompt, a.ids) for r, a in zip(asked, answers, strict=True)]
    )
    for request, answer, likelihood in zip(asked, answers, scored, strict=True):
        assert likelihood.log_probs == pytest.approx(answer.log_probs, abs=1e-4)
        assert likelihood.version == 2
        assert all(likelihood.greedy) or request.sampling.temperature > 0


def test_a_bad_request_is_refused_and_harms_no_other(model):
    policy = policy_of(model)

    async def play():
        return await asyncio.gather(
            policy.sample(Request((500,), 5)),
            policy.score(Continuation((1,), (500,))),
            policy.sample(Request((1,), 5)),
            policy.score(Continuation((1,), (5,))),
            return_exceptions=True,
        )

    bad_sample, bad_score, fine, scored = asyncio.run(play())
    assert isinstance(bad_sample, InputError)
    assert isinstance(bad_score, InputError)
    assert len(fine.ids) == 5
    assert scored.total() < 0


def test_a_broken_model_fails_everyone_who_waits_and_leaves_no_slot_taken():
    broken = Transformer(SHAPE)
    initialise(broken, 0)
    with torch.no_grad():
        broken.norm.weight[0] = torch.nan
    policy = policy_of(broken)
    with pytest.raises(InputError, match="not finite"):
        sample_all(policy, requests(9))
    assert len(policy.engine.slots) == 4
    assert not policy.engine.busy


def episode(task, seed):
    trajectory = Trajectory(task, seed)
    for turn in range(2):
        request = Request((*trajectory.ids(), 3, turn), 6, Sampling(seed=named_seed(seed, turn)))
        trajectory = trajectory.extended(request, (yield Sample(request)))
    likelihood = yield Score(Continuation((3,), trajectory.ids()))
    return trajectory.noted(total=likelihood.total())


def test_interrupted_after_every_round_the_trajectories_are_the_same_bits(model):
    def flows():
        return [episode(f"task {i}", i) for i in range(7)]

    whole = []
    expected = drive_all(flows(), policy_of(model), journal=whole)
    assert len(whole) == 3
    for kept in range(len(whole)):
        assert drive_all(flows(), policy_of(model), journal=whole[:kept]) == expected


@pytest.mark.parametrize("admission", ["lockstep", "ready"])
@pytest.mark.parametrize("turns", [1, 2, 7, 20])
def test_a_drive_that_is_cancelled_leaves_no_slot_taken_and_closes_its_flows(
    model, admission, turns
):
    policy = policy_of(model, admission=admission)
    closed = []

    def endless(number):
        try:
            while True:
                yield Sample(Request((number,), 10)), Score(Continuation((1,), (number,)))
        finally:
            closed.append(number)

    async def play():
        driven = drive(map(endless, range(9)), policy, admission=admission)
        task = asyncio.create_task(driven)
        for _ in range(turns):
            await asyncio.sleep(0)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task

    asyncio.run(play())
    assert sorted(closed) == list(range(9))
    assert len(policy.engine.slots) == 4
    assert not policy.engine.busy
    assert not policy._running
    assert len(sample_all(policy, requests(3))) == 3

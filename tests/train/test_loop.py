"""Identities and faults of the one loop."""

from __future__ import annotations

import socket
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from ontogeny.base.errors import OntogenyError
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.likelihood import NextToken
from ontogeny.objectives.loss import Loss, Needs, Outputs, Term
from ontogeny.plan.shape import Shape
from ontogeny.train.loop import MOST_SKIPS, Counters, Report, train
from ontogeny.train.optimizer import Optimizer, OptimizerSettings
from ontogeny.train.schedule import WSD
from ontogeny.train.steps import ListSteps, prefetch

SHAPE = Shape(61, 32, 2, 4, 2, 8, 48, 24)


def batch(seed: int, rows: int = 4, weight: float | None = None) -> Batch:
    generator = torch.Generator().manual_seed(seed)
    tokens = torch.randint(SHAPE.vocab_size, (rows, 13), generator=generator)
    weights = torch.rand(rows, 12, generator=generator)
    if weight is not None:
        weights.fill_(weight)
    inputs, targets = tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()
    return Batch(inputs, targets, weights, name=f"batch {seed}")


def rows_of(whole: Batch, start: int, stop: int) -> Batch:
    parts = (whole.tokens_BT, whole.targets_BT, whole.weights_BT)
    return Batch(*(part[start:stop] for part in parts), name=whole.name)


def life(
    steps: list[list[Batch]], objective: object = None, **settings: object
) -> tuple[Transformer, list[Report]]:
    made, reports = Transformer(SHAPE), []
    initialise(made, 3)
    optimizer = Optimizer(made, OptimizerSettings(**settings), WSD(100, warmup_steps=2))
    train(made, objective or NextToken(), ListSteps(steps), optimizer, [reports.append])
    return made, reports


def assert_close(one: Transformer, two: Transformer) -> None:
    for (name, a), b in zip(one.named_parameters(), two.parameters(), strict=True):
        torch.testing.assert_close(a, b, rtol=1e-3, atol=2e-5, msg=lambda m, n=name: f"{n}: {m}")


def test_four_micro_batches_of_one_row_equal_one_of_four() -> None:
    """Row weights differ, so a mean of means would not."""
    whole = [batch(seed) for seed in range(3)]
    one, first = life([[b] for b in whole])
    four, second = life([[rows_of(b, i, i + 1) for i in range(4)] for b in whole])
    for a, b in zip(first, second, strict=True):
        assert a.loss == pytest.approx(b.loss, rel=1e-6)
        assert a.gradient_norm == pytest.approx(b.gradient_norm, rel=1e-5)
    assert_close(one, four)


def test_a_micro_batch_of_weight_zero_changes_nothing() -> None:
    plain, _ = life([[batch(0)]])
    padded, reports = life([[batch(0), batch(1, weight=0.0)]])
    assert_close(plain, padded)
    assert reports[0].tokens == 2 * 48


def test_a_step_that_counts_nothing_is_no_division_by_zero() -> None:
    _, reports = life([[batch(0, weight=0.0)]])
    assert (reports[0].loss, reports[0].skipped) == (0.0, False)


@pytest.mark.parametrize("optimizer", ["muon", "adamw"])
def test_a_step_without_a_gradient_moves_nothing_whatever_the_momentum(optimizer: str) -> None:
    """Muon gives whatever momentum is left its full length."""
    before, _ = life([[batch(0)]] * 3, matrices=optimizer)
    after, reports = life([[batch(0)]] * 3 + [[batch(1, weight=0.0)]] * 2, matrices=optimizer)
    assert [each.gradient_norm > 0 for each in reports] == [True] * 3 + [False] * 2
    for one, other in zip(before.parameters(), after.parameters(), strict=True):
        assert torch.equal(one, other)


def test_the_loss_of_one_batch_falls() -> None:
    _, reports = life([[batch(0)]] * 25, peak_lr=1e-2)
    assert reports[-1].loss < 0.5 * reports[0].loss


@dataclass(frozen=True)
class TwoTerms:
    """Likelihood and an entropy bonus that counts something else; two passes of the head."""

    needs: Needs = field(default_factory=lambda: Needs(log_probs=True, entropy=True))

    def counts(self, batch: Batch) -> dict[str, float]:
        tokens = float((batch.weights_BT > 0.5).sum())
        return {"nll": float(batch.weights_BT.sum()), "entropy": tokens}

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        counts, chosen = self.counts(batch), batch.weights_BT > 0.5
        nll = -(outputs.log_probs_BT * batch.weights_BT).sum()
        entropy = (outputs.entropy_BT * chosen).sum()
        hits = (outputs.log_probs_BT > -1).sum().detach()
        terms = {"nll": Term(nll, counts["nll"]), "entropy": Term(entropy, counts["entropy"], -0.1)}
        return Loss(terms, {"hits": hits})


def test_each_term_is_divided_by_its_own_count() -> None:
    whole = [batch(seed) for seed in range(2)]
    one, first = life([[b] for b in whole], TwoTerms())
    four, second = life([[rows_of(b, i, i + 1) for i in range(4)] for b in whole], TwoTerms())
    assert_close(one, four)
    report = first[0]
    assert report.loss == pytest.approx(report.terms["nll"] - 0.1 * report.terms["entropy"])
    assert second[0].terms == pytest.approx(report.terms, rel=1e-5)
    assert 0 <= report.metrics["hits"] <= 48


def test_the_two_paths_of_the_head_train_the_same_model() -> None:
    @dataclass(frozen=True)
    class Curved(NextToken):
        needs: Needs = field(default_factory=lambda: Needs(log_probs=True, weighted_log_prob=True))

    assert_close(life([[batch(0)]] * 3)[0], life([[batch(0)]] * 3, Curved())[0])


@dataclass(frozen=True)
class Poisoned(NextToken):
    """A loss that is `factor` times itself on batches of this name."""

    bad: tuple[str, ...] = ()
    factor: float = float("nan")

    def __call__(self, outputs: Outputs, batch: Batch) -> Loss:
        loss = NextToken.__call__(self, outputs, batch)
        if batch.name not in self.bad:
            return loss
        term = loss.terms["nll"]
        return Loss({"nll": Term(term.sum * self.factor, term.count)})


@pytest.mark.parametrize("factor", [float("nan"), float("inf")])
def test_a_step_without_a_finite_gradient_is_skipped_and_named(factor: float) -> None:
    bad = Poisoned(bad=("batch 1",), factor=factor)
    made, reports = life([[batch(0)], [batch(1)]], bad)
    expected, _ = life([[batch(0)]])
    assert [r.skipped for r in reports] == [False, True]
    assert reports[1].names == ("batch 1",)
    assert all(
        torch.equal(a, b) for a, b in zip(made.parameters(), expected.parameters(), strict=True)
    )


def test_a_skipped_step_leaves_the_moments_and_later_steps_go_on() -> None:
    made = Transformer(SHAPE)
    initialise(made, 3)
    optimizer = Optimizer(made, OptimizerSettings(), WSD(100))
    objective, counters = Poisoned(bad=("batch 1",)), Counters()
    seen = []

    def look(report: Report) -> None:
        state = {name: value.clone() for name, value in optimizer.state().items()}
        seen.append((report.skipped, state))

    steps = ListSteps([[batch(0)], [batch(1)], [batch(2)]])
    train(made, objective, steps, optimizer, [look], counters)
    assert [skipped for skipped, _ in seen] == [False, True, False]
    assert all(torch.equal(value, seen[1][1][name]) for name, value in seen[0][1].items())
    assert (counters.step, counters.skipped, counters.skipped_in_a_row) == (3, 1, 0)


def test_twenty_bad_steps_in_a_row_end_the_run_in_one_line() -> None:
    bad = Poisoned(bad=("batch 1",))
    with pytest.raises(OntogenyError, match="batch 1") as caught:
        life([[batch(0)], *[[batch(1)]] * (MOST_SKIPS + 5)], bad)
    assert "\n" not in str(caught.value)
    assert f"training:{MOST_SKIPS + 1}:" in str(caught.value)
    broken = [[batch(1)]] * (MOST_SKIPS - 1)
    _, reports = life([*broken, [batch(0)], *broken], bad)
    assert sum(report.skipped for report in reports) == 2 * (MOST_SKIPS - 1)


def test_the_loop_never_reads_ahead() -> None:
    """RL needs this: a step is asked for only after the last update and its hooks."""
    made, log = Transformer(SHAPE), []
    initialise(made, 3)

    class Watched(ListSteps):
        def __next__(self) -> list[Batch]:
            log.append("read")
            return super().__next__()

    optimizer = Optimizer(made, OptimizerSettings(), WSD(10))
    steps = Watched([[batch(0)], [batch(1)]])
    train(made, NextToken(), steps, optimizer, [lambda _: log.append("done")])
    assert log == ["read", "done", "read", "done", "read"]


def test_prefetching_gives_the_same_steps_and_speaks_of_the_consumed_one() -> None:
    source = [[batch(seed)] for seed in range(6)]
    steps = prefetch(ListSteps(source), 3)
    assert steps.state() == {"position": 0}
    seen = [next(steps)[0].name, next(steps)[0].name]
    assert steps.state() == {"position": 2}
    seen += [batches[0].name for batches in steps]
    assert seen == [f"batch {n}" for n in range(6)]
    resumed = prefetch(ListSteps(source), 2)
    resumed.restore({"position": 4})
    assert [b[0].name for b in resumed] == ["batch 4", "batch 5"]
    with pytest.raises(StopIteration):
        next(resumed)


def test_an_error_while_reading_ahead_reaches_the_loop() -> None:
    class Broken(ListSteps):
        def __next__(self) -> list[Batch]:
            if self.position == 1:
                raise OntogenyError("the shard is gone", file="shard")
            return super().__next__()

    steps = prefetch(Broken([[batch(0)], [batch(1)]]), 2)
    next(steps)
    for _ in range(2):
        with pytest.raises(OntogenyError, match="the shard is gone"):
            next(steps)


def test_a_closed_prefetch_leaves_no_thread() -> None:
    steps = prefetch(ListSteps([[batch(0)]] * 9), 1)
    next(steps)
    steps.close()
    assert steps._thread is not None
    assert not steps._thread.is_alive()


def _rank(rank: int, port: int, folder: str) -> None:
    """One of two processes; it sees half of the rows and, in the last step, none."""
    torch.set_num_threads(1)
    address = f"tcp://127.0.0.1:{port}"
    dist.init_process_group("gloo", init_method=address, rank=rank, world_size=2)
    halves = [rows_of(batch(seed), 3 * rank, 3 + rank) for seed in range(3)]
    last = batch(3) if rank == 0 else batch(3, weight=0.0)
    made, reports = life([*[[half] for half in halves], [last]])
    torch.save([r.loss for r in reports], f"{folder}/losses-{rank}")
    torch.save(made.state_dict(), f"{folder}/weights-{rank}")
    dist.destroy_process_group()


def test_two_processes_equal_one(tmp_path: Path) -> None:
    """Three rows here, one there: only a sum divided by the whole count gives the same step."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    mp.spawn(_rank, (port, str(tmp_path)), nprocs=2)
    one, reports = life([[batch(seed)] for seed in range(4)])
    for rank in range(2):
        losses = torch.load(tmp_path / f"losses-{rank}", weights_only=True)
        assert losses == pytest.approx([r.loss for r in reports], rel=1e-5)
        two = Transformer(SHAPE)
        two.load_state_dict(torch.load(tmp_path / f"weights-{rank}", weights_only=True))
        assert_close(one, two)

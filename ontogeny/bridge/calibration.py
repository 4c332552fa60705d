"""A few seconds on this machine: what it sustains in training and in decoding.

Measures; decides nothing. `plan.resolve` keeps a share in hand and snaps to a ladder, so small
differences between two measurements give the same plan.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable

import torch

from ontogeny.bridge.device import device
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.likelihood import NextToken
from ontogeny.plan.plan import Machine, family

WIDTH = 160
ROWS = 32
SQUARE = 1536
REPEATS = 5
DECODED_TOKENS = 48


def calibrate() -> Machine:
    """Times a square matrix product, one training micro-step and one decode.

    The best of a few counts: what else runs on the machine can only make them slower.
    """
    model = Transformer(family(WIDTH))
    initialise(model, seed=0)
    model.to(device())
    return Machine(
        matmul_peak=matmul_peak(model.device),
        train=_train(model),
        decode=_decode(model.eval()),
        processors=os.cpu_count() or 1,
        device=model.device.type,
    )


def matmul_peak(where: torch.device) -> float:
    """FLOP/s of a square fp32 product on a device, the best of a few."""
    # No random numbers: a stage measures this between its own draws.
    square = torch.full((SQUARE, SQUARE), 0.5, device=where)
    seconds = _times(lambda: square @ square, REPEATS)
    return 2 * SQUARE**3 / min(seconds)


def _train(model: Transformer) -> float:
    context = model.shape.context
    tokens_BT = torch.randint(0, model.shape.vocab_size, (ROWS, context))
    batch = Batch(tokens_BT, tokens_BT, torch.ones(ROWS, context))
    objective = NextToken()

    def step() -> None:
        loss = objective(model(batch, objective.needs), batch)
        loss.terms["nll"].sum.backward()  # type: ignore[no-untyped-call]
        model.zero_grad(set_to_none=True)

    seconds = min(_times(step, REPEATS))
    return ROWS * context * model.shape.train_flops_per_token() / seconds


def _decode(model: Transformer) -> float:
    state = model.new_state(1, model.shape.context)
    token = torch.zeros((1, 1), dtype=torch.int64, device=model.device)
    seconds = _times(lambda: model.extend(token, [1], [0], state), DECODED_TOKENS)
    return 1 / min(seconds)


def _times(work: Callable[[], object], repeats: int) -> list[float]:
    work()  # the first call also allocates
    seconds = []
    for _ in range(repeats):
        began = time.perf_counter()
        work()
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        seconds.append(time.perf_counter() - began)
    return seconds

"""What a gradient stage holds at its peak, by arithmetic.

Knows no tensor and no machine; whether that is too much, `ontogeny.plan.room` says.

Weights, gradients, moments, activations, buffers and caches are counted from the code that makes
them; `test_activations` counts again what autograd keeps. `PROGRAM` and the share of freed memory
that the C library cannot give again (`held`) are measured: docs/memory.md.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass

from ontogeny.plan.activations import Learning, kept, kept_by_layer, passing, sizes
from ontogeny.plan.adapter import LoRA
from ontogeny.plan.optimization import Optimization
from ontogeny.plan.shape import Shape

FLOAT = 4
PROGRAM = 380 << 20
"""Bytes of interpreter, libraries and their buffers in a process that trains (torch 2.13)."""
HEAD_ROWS = 256
"""As `ontogeny.model.head.ROWS`; a test holds them equal."""
HEAD_ROWS_ON_DEVICE = 8192
PADDING = 1.03
"""Tokens that pass the model for each token of packed rows, blocks of like documents padded."""


@dataclass(frozen=True, kw_only=True)
class Load:
    """What passes the model in the steps of a stage, at most.

    Args:
        rows: of one step, before it is split into micro-batches.
        width: tokens of a row.
        together: rows that no micro-batch divides: 2 where a pair of answers may take them.
        packed: several documents stand in a row.
        scored: the objective needs log-probs (preference, policy gradient), not likelihood alone.
        cached: tokens of the caches of an engine that samples, all slots together.
        sampling: answers that are sampled at once.
        reference: frozen models of the same size that stand beside (True is one).
    """

    rows: int
    width: int
    together: int = 1
    packed: bool = True
    scored: bool = False
    cached: int = 0
    sampling: int = 0
    reference: int = 0


@dataclass(frozen=True, kw_only=True)
class Memory:
    """Bytes at the peak of a step, by what holds them.

    Args:
        program: interpreter and libraries.
        weights: of the model, its adapter and a reference.
        gradients, moments: of what learns; gradients as far as they do not come to stand where the
            activations of a step's only micro-batch stood.
        activations: kept for the backward pass, and what one layer's backward pass adds.
        head: chunks of logits and the gradient of the output head.
        muon: stacks of matrices while Muon orthogonalises them, as far as they find no room in
            memory that the backward pass has freed.
        cache: keys and values of an engine that samples.
        held: freed blocks that the C library cannot give again.
    """

    program: int
    weights: int
    gradients: int
    moments: int
    activations: int
    head: int
    muon: int
    cache: int
    held: int

    @property
    def total(self) -> int:
        """All of it."""
        return sum(asdict(self).values())

    def largest(self, count: int = 3) -> str:
        """The largest parts in words: "activations 5.2 GB, weights 0.5 GB"."""
        parts = sorted(asdict(self).items(), key=lambda part: -part[1])[:count]
        return ", ".join(f"{name} {gigabytes(size)}" for name, size in parts)


def gigabytes(size: float) -> str:
    """Bytes as a person reads them, in 10^9."""
    return f"{size / 1e9:.2f} GB" if size < 10e9 else f"{size / 1e9:.1f} GB"


def predict(shape: Shape, config: Optimization, load: Load, *, on_device: bool = False) -> Memory:
    """The peak of a stage of `config` on a model of `shape` under `load`.

    Args:
        on_device: in an accelerator's memory, where no program lies, and whose allocator is taken
            to cut and join freely (not measured).
    """
    rows = micro_rows(config, load)
    tokens = rows * load.width * (PADDING if load.packed else 1.0)
    learning = Learning(config.adapter, load.width, load.packed)
    learnt = learnt_parameters(shape, config.adapter)
    model = shape.parameters() * (1 + load.reference)
    model += learnt if config.adapter is not None else 0
    activations = FLOAT * tokens * kept(shape, learning, recompute=config.recompute)
    activations += FLOAT * tokens * passing(shape, load.width)
    gradients, head = FLOAT * learnt, FLOAT * _head(shape, config.adapter, load, tokens, on_device)
    stacks = FLOAT * sum(_stacks(shape, config))
    muon, held = max(0.0, stacks - activations - head), 0.0
    if not (config.recompute or on_device):
        freed = FLOAT * tokens * max(kept_by_layer(shape, learning))
        steps = _Step(activations, gradients, freed, (load.rows - rows) / rows, shape.layers)
        muon, held = steps.left_behind(*(FLOAT * each for each in _stacks(shape, config)))
    return Memory(
        program=0 if on_device else PROGRAM,
        weights=FLOAT * model,
        gradients=round(gradients + min(held, 0.0)),
        moments=FLOAT * _moments(shape, config, learnt),
        activations=round(activations),
        head=round(head),
        muon=round(muon),
        cache=FLOAT * _cache(shape, load),
        held=round(max(held, 0.0)),
    )


def micro_rows(config: Optimization, load: Load) -> int:
    """Rows that pass at once."""
    return min(load.rows, max(config.micro_rows, load.together))


def learnt_parameters(shape: Shape, adapter: LoRA | None) -> int:
    """Numbers that have a gradient: those of the adapter where there is one, else all."""
    if adapter is None:
        return shape.parameters()
    matrices = sizes(shape)
    factors = sum(adapter.rank * sum(matrices[name]) for name in adapter.targets)
    magnitudes = sum(matrices[name][0] for name in adapter.targets) if adapter.kind == "dora" else 0
    return shape.layers * (factors + magnitudes)


def _moments(shape: Shape, config: Optimization, learnt: int) -> int:
    """Muon keeps one number for each of the layers' matrices, AdamW two for each of its own."""
    if config.adapter is not None or config.optimizer == "adamw":
        return 2 * learnt
    return 2 * learnt - shape.layers * shape.block_matmul_parameters


def _stacks(shape: Shape, config: Optimization) -> tuple[float, float]:
    """Numbers in the largest stack that Muon orthogonalises, and in all that it needs beside.

    A stack holds all matrices of one size; beside it stand two more and two of their products with
    themselves.
    """
    if config.adapter is not None or config.optimizer == "adamw":
        return 0.0, 0.0
    counts: dict[tuple[int, int], int] = {}
    for rows, columns in sizes(shape).values():
        size = min(rows, columns), max(rows, columns)
        counts[size] = counts.get(size, 0) + shape.layers
    (short, long), count = max(counts.items(), key=lambda item: item[0][0] * item[0][1] * item[1])
    return count * short * long, 2 * count * short * (long + short)


@dataclass(frozen=True, slots=True)
class _Step:
    """A step on a CPU, where the C library keeps what is freed (`ontogeny.model.memory`).

    glibc serves an aligned block only from a hole that is larger by the alignment, and small
    objects settle between the blocks, so a freed block is rarely reused by its like. The numbers
    below are measured with glibc 2.36 over 4 to 30 layers (docs/memory.md); all else is bytes.

    Args:
        layer: activations of one layer, the largest hole there is.
        more: micro-batches to come after the largest one.
    """

    activations: float
    gradients: float
    layer: float
    more: float
    layers: int

    def left_behind(self, stack: float, beside: float) -> tuple[float, float]:
        """(Muon's bytes that find no room in what was freed, freed bytes that serve no more).

        The second is negative where gradients come to stand where activations stood.
        """
        room = self.layer / stack if stack else 0.0
        if self.more > 0:
            # gradients stand between what the next micro-batch would use again
            spread = max(0.0, 1 - self.gradients / self.activations) ** 1.5 * min(1.0, self.more)
            reuse = min(0.86, 0.31 + 0.0133 * self.layers)
            muon = max(0.0, 1.65 - 2 * room) * (stack + beside)
            return muon, self.activations * (0.14 + reuse * spread)
        outside = max(0.0, 1.2 - room)
        muon = outside * (stack + beside)
        most = max(
            1.2 * self.activations,
            0.4 * self.activations + self.gradients,
            1.14 * self.activations + (min(outside, 1.0) * self.gradients + muon) * (stack > 0),
        )
        return muon, most - self.activations - self.gradients - muon


def _head(shape: Shape, adapter: LoRA | None, load: Load, tokens: float, on_device: bool) -> float:
    """Numbers in the chunks of logits, and in the gradients of head and embedding on their way.

    A head that is scored fills its chunks again in the backward pass, where the first ones are no
    more in reach.
    """
    chunk = min(tokens, HEAD_ROWS_ON_DEVICE if on_device else HEAD_ROWS) * shape.vocab_size
    ways = 0 if adapter is not None else 2
    return (5 if load.scored else 2) * chunk + ways * shape.head_parameters


def _cache(shape: Shape, load: Load) -> int:
    """Numbers in the engine's keys and values, and in the logits of one sampling step."""
    kv = 2 * shape.layers * shape.kv_heads * shape.head_dim
    return load.cached * kv + 4 * load.sampling * shape.vocab_size

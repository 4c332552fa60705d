"""The numbers that every gradient stage has; stages add their own by inheriting these.

Knows no tensor, so a recipe can be traced without torch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from ontogeny.base.config import added, execution
from ontogeny.base.errors import InputError
from ontogeny.plan.adapter import LoRA


@dataclass(frozen=True, kw_only=True)
class Optimization:
    """How a stage learns.

    Matrices learn by Muon, the rest by AdamW, under one peak learning rate, which
    for embedding, head and norms is multiplied by `embedding_lr`. The schedule is warmup, stable,
    decay; `warmup` and `decay` are shares of the steps. `weight_decay` acts on the
    layers' matrices; the gradient's norm is clipped to `clip`. With `optimizer` "adamw" the
    matrices learn by AdamW, too. With an `adapter` it alone is learnt, by AdamW, and `embedding_lr`
    is not read; the stage's model has it merged, and keeps it beside for PEFT.

    `micro_rows` rows pass the model at once; with `recompute` a layer's activations are computed
    again in the backward pass instead of kept (Chen et al. 2016, arXiv:1604.06174): the same result
    up to rounding in a fraction of the memory; docs/memory.md says what it costs. `device` is auto,
    cpu, cuda or mps.

    Raises:
        InputError: when the numbers do not fit together.
    """

    peak_lr: float
    embedding_lr: float = 8.0
    weight_decay: float = 0.1
    warmup: float = 0.02
    decay: float = 0.4
    clip: float = 1.0
    optimizer: Literal["muon", "adamw"] = added("muon")
    adapter: LoRA | None = added(None)
    micro_rows: int = execution(32)
    recompute: bool = execution(False)
    checkpoint_seconds: float = execution(20.0)
    device: str = execution("auto")

    def __post_init__(self) -> None:
        if not 0 < self.peak_lr < 1:
            raise InputError(f"peak_lr is {self.peak_lr}; give more than 0 and less than 1")
        if min(self.warmup, self.decay) < 0 or self.warmup + self.decay > 1:
            raise InputError("warmup and decay are shares of the run and add up to 1 at most")
        for name in ("weight_decay", "embedding_lr", "checkpoint_seconds"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} is {getattr(self, name)}; give 0 or more")
        if self.clip <= 0:
            raise InputError(f"clip is {self.clip}; give a norm above 0")
        if self.micro_rows < 1:
            raise InputError(f"micro_rows is {self.micro_rows}; give at least 1")


@dataclass(frozen=True, kw_only=True)
class OverTokens(Optimization):
    """A stage that reads a stream: `tokens` in all (every pass counts), `batch_tokens` a step.

    Rows have `row_tokens` tokens, or 0: the model's whole context.

    Raises:
        InputError: when the numbers do not fit together.
    """

    tokens: int
    batch_tokens: int
    row_tokens: int = added(0)

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.row_tokens < 0 or (self.row_tokens and self.batch_tokens % self.row_tokens):
            raise InputError(
                f"batch_tokens ({self.batch_tokens}) is no multiple of row_tokens "
                f"({self.row_tokens}); change one of them"
            )
        if self.batch_tokens < 1 or self.tokens < self.batch_tokens:
            raise InputError(
                f"tokens ({self.tokens}) is less than one batch ({self.batch_tokens}); "
                "raise the budget or lower batch_tokens"
            )

    @property
    def steps(self) -> int:
        """Optimizer steps in all."""
        return self.tokens // self.batch_tokens


@dataclass(frozen=True, kw_only=True)
class OverPairs(Optimization):
    """A stage that reads preference pairs `epochs` times, `pairs_a_step` at once.

    The losses and their numbers are those of `ontogeny.objectives.preference.DPO`.

    Raises:
        InputError: when the numbers do not fit together.
    """

    beta: float = 0.1
    loss: Literal["sigmoid", "ipo"] = "sigmoid"
    label_smoothing: float = 0.0
    length_normalised: bool = False
    nll: float = 0.0
    pairs_a_step: int = 32
    epochs: int = 1
    weight_decay: float = 0.0
    warmup: float = 0.1
    decay: float = 0.5

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.beta <= 0 or self.nll < 0 or not 0 <= self.label_smoothing < 0.5:
            raise InputError("beta is above 0, nll 0 or more and label_smoothing below 0.5")
        if self.pairs_a_step < 1 or self.epochs < 1:
            raise InputError("pairs_a_step and epochs are at least 1")


@dataclass(frozen=True, kw_only=True)
class Turns:
    """How episodes with tools are played; the rest is as in `ontogeny.environments.tooled.Rules`.

    Args:
        most: turns of the agent.
        context: tokens of an episode, at most; 0: the model's whole context.
        result: characters of a tool's result, at most.
        forced: each turn is one call, and held to it by a grammar.

    Raises:
        InputError: a number is not positive.
    """

    most: int = 8
    context: int = 0
    result: int = 2_000
    forced: bool = False

    def __post_init__(self) -> None:
        if min(self.most, self.result) < 1 or self.context < 0:
            raise InputError("turns.most and turns.result are at least 1, turns.context 0 or more")


@dataclass(frozen=True, kw_only=True)
class OverEpisodes(Optimization):
    """A stage that plays `steps` rounds: `group` episodes of each of `prompts` tasks, one update.

    `environments` are weights of the training tasks. `max_tokens` and `temperature` are those of a
    turn; `turns` says how those with tools are played. With `shuffled` the rewards are dealt out
    at random among the episodes of a task: the placebo.

    Raises:
        InputError: when the numbers do not fit together.
    """

    steps: int
    environments: Mapping[str, float] = field(default_factory=dict)
    prompts: int = 16
    group: int = 8
    max_tokens: int = 16
    temperature: float = 1.0
    turns: Turns = added(Turns())
    shuffled: bool = False
    weight_decay: float = 0.0
    warmup: float = 0.05
    decay: float = 0.3

    def __post_init__(self) -> None:
        super().__post_init__()
        if not self.environments or min(self.environments.values()) <= 0:
            raise InputError("rollouts need environments, each with a weight above 0")
        if min(self.steps, self.prompts, self.max_tokens, self.group) < 1:
            raise InputError("steps, prompts, group and max_tokens are at least 1")
        if self.temperature <= 0:
            raise InputError("temperature is above 0")


@dataclass(frozen=True, kw_only=True)
class OverRollouts(OverEpisodes):
    """One whose credit is an episode's reward beside its group's.

    `baseline`, `normalise`, `clip_low`, `clip_high` and `beta` (KL to the parent) are those of
    `ontogeny.objectives.policy_gradient`. Ratios are those of the plain distribution, so a
    `temperature` other than 1, or turns that are `forced`, are off-policy.

    Raises:
        InputError: when the numbers do not fit together.
    """

    baseline: Literal["std", "mean", "leave_one_out"] = "std"
    normalise: Literal["answer", "turn", "token", "constant"] = "token"
    clip_low: float = 0.2
    clip_high: float = 0.28
    beta: float = 0.0

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.group < 2:
            raise InputError("steps, prompts and max_tokens are at least 1, group at least 2")
        if min(self.clip_low, self.clip_high, self.beta) < 0:
            raise InputError("clip_low, clip_high and beta are 0 or more")

"""Tokens -> a trained model: puts data, model, objective and optimizer of pretraining together."""

from __future__ import annotations

from collections.abc import Mapping

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.bridge.device import device
from ontogeny.bridge.feed import PackedSteps, Packing
from ontogeny.bridge.fit import fit
from ontogeny.bridge.models import save_model
from ontogeny.corpus.shards import domains, read_shard
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.likelihood import NextToken
from ontogeny.plan.optimization import Optimization
from ontogeny.plan.shape import Shape
from ontogeny.run.work import Made, Work
from ontogeny.text.tokenizer import Tokenizer


def pretrain(
    config: Optimization,
    shape: Shape,
    mixture: Mapping[str, float],
    work: Work,
    tokens: Artifact,
    tokenizer: Artifact,
) -> Made:
    """Trains from random weights and writes the model into the payload.

    Raises:
        InputError: when tokenizer, shape and corpus do not fit together.
    """
    tokenizer.verify()
    vocabulary = Tokenizer.load(tokenizer.path)
    if vocabulary.vocab_size != shape.vocab_size:
        raise InputError(
            f"shape.vocab_size is {shape.vocab_size}, the tokenizer has "
            f"{vocabulary.vocab_size} tokens; make them equal"
        )
    model = Transformer(shape)
    initialise(model, seed=work.named_seed("weights"))
    model.to(device(config.device))
    packing = Packing(
        context=shape.context,
        batch_tokens=config.batch_tokens,
        micro_rows=config.micro_rows,
        end_of_text=vocabulary.end_of_text,
        seed=work.named_seed("data"),
    )
    shards = {name: read_shard(tokens, "train", name) for name in domains(tokens, "train")}
    steps = PackedSteps(shards, mixture, packing, config.steps)
    counters, speed = fit(work, model, NextToken(), steps, config)
    save_model(work.payload, model, tokenizer)
    seen = config.steps * config.batch_tokens
    return Made(
        metrics={
            "parameters": shape.parameters(),
            "steps": config.steps,
            "skipped_steps": counters.skipped,
        },
        summary=(
            f"{shape.parameters() / 1e6:.2f} M parameters, {config.steps:,} steps, "
            f"{seen / 1e6:.2f} M tokens",
        ),
        notes=(speed.note(),) if speed is not None else (),
        tokens=seen,
        flops=seen * shape.train_flops_per_token(),
    )

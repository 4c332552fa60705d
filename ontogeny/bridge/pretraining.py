"""Token shards -> a trained model: likelihood of the next token, from random weights or a parent's.

Pretraining, continued pretraining, a longer context, fine-tuning on conversations and washing
differ in what is mixed, not in what is done.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import InputError
from ontogeny.bridge.adapters import train_flops_per_token
from ontogeny.bridge.device import device
from ontogeny.bridge.feed import PackedSteps, Packing
from ontogeny.bridge.fit import fit
from ontogeny.bridge.models import chats, load_model, save_model
from ontogeny.corpus.shards import Shard, domains, read_shard
from ontogeny.model.initial import initialise
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.likelihood import NextToken
from ontogeny.plan.optimization import OverTokens
from ontogeny.plan.shape import Shape
from ontogeny.run.work import Made, Work
from ontogeny.text.tokenizer import Tokenizer

Mixture = Mapping[str, float]


def pretrain(
    config: OverTokens,
    shape: Shape,
    mixture: Mixture,
    work: Work,
    *parents: Artifact,
) -> Made:
    """Trains from random weights and writes the model into the payload.

    Args:
        parents: tokens whose domains the mixture names, and last the tokenizer.

    Raises:
        InputError: when tokenizer, shape and corpus do not fit together.
    """
    *tokens, tokenizer = parents
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
    made = _learn(config, mixture, work, model, vocabulary, tokens)
    save_model(work.payload, model, tokenizer, chats=False)
    return made


def continue_training(
    config: OverTokens,
    mixture: Mixture,
    work: Work,
    parent: Artifact,
    sources: Sequence[Artifact],
    *,
    shape: Shape | None = None,
    teaches_chat: bool = False,
) -> Made:
    """Trains on from `parent` with a fresh optimizer and writes the model into the payload.

    Args:
        sources: tokens or conversations whose domains the mixture names.
        shape: of the new model where only its rotary positions and context differ.
        teaches_chat: from now on the model answers in turns.

    Raises:
        InputError: when the sources, the mixture and the model do not fit together.
    """
    model, vocabulary = load_model(parent)
    if shape is not None:
        longer = Transformer(shape).to(model.device)
        longer.load_state_dict(model.state_dict())
        model = longer
    model.to(device(config.device))
    made = _learn(config, mixture, work, model, vocabulary, sources)
    save_model(work.payload, model, parent, chats=teaches_chat or chats(parent))
    return made


def _learn(
    config: OverTokens,
    mixture: Mixture,
    work: Work,
    model: Transformer,
    vocabulary: Tokenizer,
    sources: Sequence[Artifact],
) -> Made:
    shape = model.shape
    width = config.row_tokens or shape.context
    if width > shape.context:
        raise InputError(
            f"row_tokens is {width}, the model's context {shape.context}; lower it, or extend the "
            "context first"
        )
    if config.batch_tokens % width:
        raise InputError(
            f"batch_tokens ({config.batch_tokens}) is no multiple of the model's context "
            f"({width}); change one of them, or set row_tokens"
        )
    packing = Packing(
        context=width,
        batch_tokens=config.batch_tokens,
        micro_rows=config.micro_rows,
        end_of_text=vocabulary.end_of_text,
        begin=vocabulary.begin,
        seed=work.named_seed("data"),
    )
    steps = PackedSteps(_shards(sources), mixture, packing, config.steps)
    counters, speed = fit(work, model, NextToken(), steps, config, config.steps)
    seen = config.steps * config.batch_tokens
    return Made(
        metrics={
            "parameters": shape.parameters(),
            "context": shape.context,
            "steps": config.steps,
            "skipped_steps": counters.skipped,
        },
        summary=(
            f"{shape.parameters() / 1e6:.2f} M parameters, {config.steps:,} steps, "
            f"{seen / 1e6:.2f} M tokens",
        ),
        notes=(speed.note(),) if speed is not None else (),
        tokens=seen,
        flops=seen * train_flops_per_token(shape, config.adapter, width),
    )


def _shards(sources: Sequence[Artifact]) -> dict[str, Shard]:
    """The training documents of every domain of all sources."""
    found: dict[str, Shard] = {}
    for source in sources:
        for name in domains(source, "train"):
            if name in found:
                raise InputError(
                    f"domain '{name}' is in two of the sources of '{source.name}'; rename one"
                )
            found[name] = read_shard(source, "train", name)
    return found

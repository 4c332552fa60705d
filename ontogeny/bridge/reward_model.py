"""A reward model: its artifact, and itself as a `rollout.Reward`.

A reward model is the transformer of its parent with a scalar head, read at the last token of an
answer. On disk it is what transformers calls a model for sequence classification with one label;
`reward.json` holds what its numbers are shifted by.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from ontogeny.base.artifact import Artifact
from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import read_json, write_json
from ontogeny.bridge.device import device
from ontogeny.bridge.models import CONFIG, WEIGHTS, chats, save_model
from ontogeny.bridge.packing import Said, pack, pieces, row_width
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import load_weights
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Needs
from ontogeny.plan.hf_config import shape_from_config
from ontogeny.plan.shape import Shape
from ontogeny.text.message import Message
from ontogeny.text.template import render
from ontogeny.text.tokenizer import Tokenizer

KIND = "reward_model"
REWARD = "reward.json"
ROW = 1024
"""Tokens of a row, unless an answer is longer or the context shorter."""
ROWS = 32
"""Rows that pass a reward model at once."""
CAUSAL, CLASSIFIER = "ForCausalLM", "ForSequenceClassification"


def judged(ids: Sequence[int], fill: int) -> Said:
    """A sequence all of which is read and whose last token carries the weight."""
    return Said(tuple(ids), (fill,))


class RewardModel:
    """A `rollout.Reward`: the scalar head at the last token of each sequence, shifted.

    Args:
        model: with a scalar head.
        tokenizer: of the model; a policy that is judged has the same.
        offset: added to what the head says.
    """

    def __init__(self, model: Transformer, tokenizer: Tokenizer, offset: float) -> None:
        assert model.score is not None
        self.model, self.tokenizer, self.offset = model, tokenizer, offset

    @torch.inference_mode()
    def rate(self, sequences: Sequence[tuple[int, ...]]) -> NDArray[np.float64]:
        """One number for each sequence of ids, prompt and answer together.

        Raises:
            InputError: one exceeds the model's context.
        """
        if not sequences:
            return np.empty(0)
        said = [judged(each, self.tokenizer.pad) for each in sequences]
        positions = [each.positions for each in said]
        width = row_width(max(positions), self.model.shape.context, ROW)
        if max(positions) > width:
            raise InputError(
                f"{max(positions)} tokens to judge exceed the reward model's context of {width}; "
                "shorten the answers"
            )
        found = [self._values(said[part], width) for part, _ in pieces(positions, width, ROWS)]
        return np.concatenate(found) + self.offset

    def rate_conversations(self, conversations: Sequence[Sequence[Message]]) -> NDArray[np.float64]:
        """One number for each conversation, which ends with what is judged."""
        stops = frozenset(self.tokenizer.stops(chats=True))
        rendered = [render(list(each), self.tokenizer).ids for each in conversations]
        ends = [[n for n, id_ in enumerate(ids) if id_ in stops] for ids in rendered]
        return self.rate(
            [ids[: end[-1] + 1 if end else None] for ids, end in zip(rendered, ends, strict=True)]
        )

    def _values(self, said: Sequence[Said], width: int) -> NDArray[np.float64]:
        packed = pack(said, width, self.tokenizer.pad)
        batch = Batch(packed.tokens_BT, packed.targets_BT, packed.weights_BT, packed.documents)
        values_BT = self.model(batch, Needs(values=True)).values_BT
        found: NDArray[np.float64] = values_BT.cpu()[packed.weights_BT > 0].double().numpy()
        return found


def save_reward(directory: Path, model: Transformer, source: Artifact, offset: float) -> None:
    """Writes weights with `score.weight`, the config of a classifier, tokenizer, `reward.json`.

    Raises:
        NoSpace: when the disk is full or fails.
    """
    save_model(directory, model, source, chats=chats(source))
    config = read_json(directory / CONFIG)
    names = [name.replace(CAUSAL, CLASSIFIER) for name in config["architectures"]]
    labels = {"id2label": {"0": "reward"}, "label2id": {"reward": 0}}
    write_json(directory / CONFIG, config | {"architectures": names} | labels)
    write_json(directory / REWARD, {"offset": offset})


def load_reward(artifact: Artifact) -> RewardModel:
    """A reward model artifact, verified, on this machine's device.

    Raises:
        InputError: when the artifact is no reward model.
        CorruptArtifact: when a file is not what was written.
    """
    if artifact.record.kind != KIND:
        raise InputError(
            f"'{artifact.name}' is a {artifact.record.kind}, no reward model; "
            "`ontogeny show` lists what there is",
            file=artifact.path,
        )
    artifact.verify()
    model = Transformer(reward_shape(artifact))
    model.add_score()
    load_weights(model, artifact.path / WEIGHTS)
    path = artifact.path / REWARD
    offset = read_json(path).get("offset")
    if not isinstance(offset, float) or not math.isfinite(offset):
        raise CorruptArtifact("offset is no finite number; make it again", file=path)
    return RewardModel(model.to(device()).eval(), Tokenizer.load(artifact.path), offset)


def reward_shape(artifact: Artifact) -> Shape:
    """The shape of a reward model.

    Raises:
        CorruptArtifact: when the file is not what was written.
    """
    path = artifact.file(CONFIG)
    config: Mapping[str, Any] = read_json(path)
    names = [str(name).replace(CLASSIFIER, CAUSAL) for name in config.get("architectures", ())]
    return shape_from_config({**config, "architectures": names}, path)


def same_language(reward: Artifact, model: Artifact) -> None:
    """Raises InputError where a reward model and a policy do not read the same tokens."""
    names = ("tokenizer.json",)
    for name in names:
        ours, theirs = (each.record.files.get(name) for each in (model, reward))
        if ours != theirs:
            raise InputError(
                f"'{reward.name}' reads other tokens than '{model.name}' ({name} differs); "
                "train the reward model from this model or one of its line"
            )

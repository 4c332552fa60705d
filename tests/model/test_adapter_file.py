"""The two files of PEFT: what is written is read with every bit, and no bad file gets in."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import pytest
import torch

from ontogeny.base.errors import CorruptArtifact, InputError, OntogenyError
from ontogeny.model.adapted import attach, named_adapter
from ontogeny.model.adapter_file import CONFIG, WEIGHTS, put_on, read_adapter, write_adapter
from ontogeny.model.initial import initialise
from ontogeny.model.tensor_file import read_tensors, write_tensors
from ontogeny.model.transformer import Transformer
from ontogeny.objectives.batch import Batch
from ontogeny.plan.adapter import LoRA
from ontogeny.plan.shape import Shape

TOKENS = torch.randint(61, (3, 24), generator=torch.Generator().manual_seed(0))
BATCH = Batch(TOKENS, TOKENS.roll(-1, 1), torch.ones(3, 24))


def model() -> Transformer:
    made = Transformer(Shape(61, 32, 2, 4, 2, 8, 48, 24))
    initialise(made, 3)
    return made


def adapted(config: LoRA) -> Transformer:
    """With numbers of all parts, as after some training."""
    made = model()
    attach(made, config, seed=1)
    for name, value in named_adapter(made).items():
        if "lora_B" in name:
            value.normal_(0, 0.05, generator=torch.Generator().manual_seed(5))
    return made


def test_an_adapter_that_is_written_is_read_with_every_bit(tmp_path: Path) -> None:
    made = adapted(LoRA(rank=3, alpha=4.5, kind="dora", targets=("down_proj", "k_proj")))
    write_adapter(made, tmp_path / "a", base="some/base")
    read = read_adapter(tmp_path / "a")
    assert read.config == LoRA(rank=3, alpha=4.5, kind="dora", targets=("k_proj", "down_proj"))
    assert read.tensors.keys() == named_adapter(made).keys()
    other = model()
    put_on(other, tmp_path / "a")
    assert torch.equal(other.logits(BATCH), made.logits(BATCH))
    write_adapter(other, tmp_path / "b", base="some/base")
    for name in (CONFIG, WEIGHTS):
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()


def test_half_precision_is_read(tmp_path: Path) -> None:
    made = adapted(LoRA(rank=4))
    write_adapter(made, tmp_path / "a")
    halves = {n: t.half() for n, t in read_tensors(tmp_path / "a" / WEIGHTS).items()}
    write_tensors(tmp_path / "a" / WEIGHTS, halves)
    other = model()
    put_on(other, tmp_path / "a")
    assert all(torch.equal(v, halves[n].float()) for n, v in named_adapter(other).items())


def rewrite(directory: Path, **changes: Any) -> None:
    path = directory / CONFIG
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("peft_type", "IA3"),
        ("bias", "all"),
        ("fan_in_fan_out", True),
        ("modules_to_save", ["lm_head"]),
        ("rank_pattern", {"q_proj": 2}),
        ("alpha_pattern", {"q_proj": 2}),
        ("layers_to_transform", [0]),
        ("layer_replication", [[0, 2]]),
        ("init_lora_weights", "pissa"),
        ("init_lora_weights", "olora"),
        ("trainable_token_indices", [3]),
        ("target_parameters", ["experts"]),
        ("alora_invocation_tokens", [1]),
        ("lora_bias", True),
        ("use_qalora", True),
        ("of_the_future\x1b", True),
    ],
)
def test_a_config_that_asks_for_more_is_refused_by_name(
    name: str, value: object, tmp_path: Path
) -> None:
    write_adapter(adapted(LoRA(rank=4)), tmp_path / "a")
    rewrite(tmp_path / "a", **{name: value})
    with pytest.raises(InputError, match=rf"{name.strip(chr(27))}.* is .* not computed") as caught:
        read_adapter(tmp_path / "a")
    assert caught.value.exit_code == 2
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(
    "changes",
    [
        {"r": 10**12},
        {"r": 5},
        {"r": True},
        {"r": 0},
        {"r": None},
        {"lora_alpha": "8"},
        {"lora_alpha": float("nan")},
        {"lora_alpha": -1},
        {"target_modules": ["q_proj", "lm_head"]},
    ],
)
def test_numbers_that_do_not_fit_the_tensors_are_refused(
    changes: dict[str, Any], tmp_path: Path
) -> None:
    write_adapter(adapted(LoRA(rank=4)), tmp_path / "a")
    rewrite(tmp_path / "a", **changes)
    with pytest.raises(InputError):
        put_on(model(), tmp_path / "a")


@pytest.mark.parametrize(
    ("name", "data"),
    [
        (CONFIG, b"{}"),
        (CONFIG, b"[1]"),
        (CONFIG, b"\xff{"),
        (WEIGHTS, b""),
        (WEIGHTS, pickle.dumps({"a": 1})),
    ],
)
def test_a_damaged_file_is_one_line(name: str, data: bytes, tmp_path: Path) -> None:
    write_adapter(adapted(LoRA(rank=4)), tmp_path / "a")
    (tmp_path / "a" / name).write_bytes(data)
    with pytest.raises(OntogenyError) as caught:
        read_adapter(tmp_path / "a")
    assert name in str(caught.value)
    assert "\n" not in str(caught.value)


def test_tensors_of_another_base_or_of_other_modules_are_refused(tmp_path: Path) -> None:
    write_adapter(adapted(LoRA(rank=4)), tmp_path / "a")
    wider = Transformer(Shape(61, 48, 2, 4, 2, 8, 48, 24))
    with pytest.raises(CorruptArtifact, match="another base, rank"):
        put_on(wider, tmp_path / "a")
    with pytest.raises(CorruptArtifact, match="is missing"):
        put_on(Transformer(Shape(61, 32, 3, 4, 2, 8, 48, 24)), tmp_path / "a")
    tensors = read_tensors(tmp_path / "a" / WEIGHTS)
    for name in ("base_model.model.lm_head.lora_A.weight", "q_proj.lora_A.weight", "x"):
        write_tensors(tmp_path / "a" / WEIGHTS, tensors | {name: torch.ones(4, 32)})
        with pytest.raises(InputError, match=f"'{name}' is none of an adapter"):
            put_on(model(), tmp_path / "a")
    write_tensors(tmp_path / "a" / WEIGHTS, {})
    with pytest.raises(InputError, match="no tensor for"):
        put_on(model(), tmp_path / "a")


def test_a_directory_without_the_two_files_is_named(tmp_path: Path) -> None:
    write_adapter(adapted(LoRA(rank=4)), tmp_path / "a")
    (tmp_path / "a" / WEIGHTS).rename(tmp_path / "a" / "adapter_model.bin")
    with pytest.raises(InputError, match=f"no {WEIGHTS} here; .* pickles are never loaded"):
        read_adapter(tmp_path / "a")

"""Every family computes what transformers computes, and leaves and enters in its words."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from support.families import FAMILIES, made

from ontogeny.base.errors import InputError
from ontogeny.model.transformer import Transformer
from ontogeny.model.weights import load_weights, save_weights, views
from ontogeny.objectives.batch import Batch
from ontogeny.objectives.loss import Needs
from ontogeny.plan.hf_config import config_json, shape_from_config
from ontogeny.plan.shape import Rope, Shape

NAMES = list(FAMILIES)


def tokens_of(shape: Shape, rows: int = 3) -> torch.Tensor:
    size = (rows, shape.context)
    return torch.randint(shape.vocab_size, size, generator=torch.Generator().manual_seed(0))


def logits(model: Transformer, tokens: torch.Tensor) -> torch.Tensor:
    return model.logits(Batch(tokens, tokens, torch.ones(tokens.shape)))


def saved(shape: Shape, directory: Path) -> Transformer:
    model = made(shape)
    save_weights(model, directory / "model.safetensors")
    (directory / "config.json").write_text(json.dumps(config_json(shape, {"eos_token_id": 1})))
    return model


def theirs(directory: Path, **options: Any) -> Any:
    transformers = pytest.importorskip("transformers")
    return transformers.AutoModelForCausalLM.from_pretrained(directory, **options).eval()


@pytest.mark.parity
@pytest.mark.parametrize("name", NAMES)
def test_what_leaves_computes_the_same_in_transformers(tmp_path: Path, name: str) -> None:
    shape = FAMILIES[name]
    model = saved(shape, tmp_path)
    other = theirs(tmp_path, attn_implementation="eager")
    assert type(other).__name__ == shape.form.architecture
    tokens = tokens_of(shape)
    with torch.no_grad():
        expected = other(tokens).logits
    ours = logits(model, tokens)
    assert float((ours - expected).abs().max()) < 1e-4
    assert float(expected.std()) > 0.1
    assert sum(p.numel() for p in other.parameters()) == shape.parameters()


@pytest.mark.parity
@pytest.mark.parametrize("name", NAMES)
def test_what_enters_computes_the_same_and_leaves_in_its_own_words(
    tmp_path: Path, name: str
) -> None:
    """Transformers' own random weights and config.json, in and out again."""
    saved(FAMILIES[name], tmp_path)
    other = theirs(tmp_path)
    other.save_pretrained(tmp_path / "in")
    path = tmp_path / "in" / "config.json"
    config = json.loads(path.read_text())
    shape = shape_from_config(config, path)
    model = Transformer(shape)
    load_weights(model, tmp_path / "in" / "model.safetensors")
    tokens = tokens_of(shape)
    with torch.no_grad():
        expected = other(tokens).logits
    assert float((logits(model, tokens) - expected).abs().max()) < 1e-4
    out = tmp_path / "out"
    out.mkdir()
    assert save_weights(model, out / "model.safetensors") == save_weights(
        model, tmp_path / "again.safetensors"
    )
    written = config_json(shape, {"eos_token_id": 1}, like=config)
    (out / "config.json").write_text(json.dumps(written))
    again = theirs(out)
    ours, its = again.config.to_dict(), other.config.to_dict()
    assert {k: v for k, v in ours.items() if v != its.get(k)} == {"_name_or_path": str(out)}
    assert again.state_dict().keys() == other.state_dict().keys()
    for key, value in other.state_dict().items():
        assert torch.equal(again.state_dict()[key], value)


@pytest.mark.parametrize("name", NAMES)
def test_the_config_gives_back_its_shape(name: str) -> None:
    shape, path = FAMILIES[name], Path("config.json")
    config = json.loads(json.dumps(config_json(shape, {})))
    assert shape_from_config(config, path) == shape
    assert config_json(shape, {}, like=config) == config
    longer = replace(shape, vocab_size=99)
    like = config_json(longer, {}, like={**config, "initializer_range": 0.5})
    assert shape_from_config(like, path) == longer and like["initializer_range"] == 0.5


@pytest.mark.parametrize("name", NAMES)
def test_reading_token_by_token_equals_reading_at_once(name: str) -> None:
    model = made(FAMILIES[name])
    tokens = tokens_of(model.shape)
    state = model.new_state(3, model.shape.context)
    at_once, exact = logits(model, tokens), logits(made(FAMILIES[name]).double(), tokens)
    # what float32 loses differs between processors: 3e-4 was seen
    lost = float((at_once - exact).abs().max())
    reads = [5, 1, 4, *[1] * (model.shape.context - 10)]
    place = 0
    for count in reads:
        part = tokens[:, place : place + count]
        got = model.extend(part, [count] * 3, [0, 1, 2], state)
        place += count
        assert float((got - exact[:, place - 1]).abs().max()) < max(2e-4, 1.25 * lost)


@pytest.mark.parametrize("name", NAMES)
def test_rows_of_unequal_length_extend_as_if_alone(name: str) -> None:
    model = made(FAMILIES[name])
    tokens = tokens_of(model.shape)
    at_once = logits(model, tokens)
    state = model.new_state(3, model.shape.context)
    model.extend(tokens[:, :20], [3, 20, 11], [0, 1, 2], state)
    part = torch.stack([tokens[0, 3:9], tokens[1, 20:26], tokens[2, 11:17]])
    got = model.extend(part, [6, 1, 4], [0, 1, 2], state)
    wanted = torch.stack([at_once[0, 8], at_once[1, 20], at_once[2, 14]])
    assert float((got - wanted).abs().max()) < 2e-4


@pytest.mark.parametrize("name", NAMES)
def test_packing_and_recomputing_change_neither_loss_nor_gradient(name: str) -> None:
    model = made(FAMILIES[name])
    tokens = tokens_of(model.shape, 2)[:, :33]
    inputs, targets = tokens[:, :-1], tokens[:, 1:]
    needs = Needs(weighted_log_prob=True)
    apart = [
        Batch(inputs[row : row + 1, cut], targets[row : row + 1, cut], torch.ones(1, size))
        for row in range(2)
        for cut, size in ((slice(0, 12), 12), (slice(12, 32), 20))
    ]
    packed = Batch(inputs, targets, torch.ones(2, 32), [[12, 20], [12, 20]])
    wanted = gradients(model, apart, needs)
    for again in (False, True):
        model.recompute = again
        got = gradients(model, [packed], needs)
        for key, value in wanted.items():
            scale = float(value.abs().max()) or 1.0
            assert float((got[key] - value).abs().max()) < 2e-4 * scale, key


def gradients(model: Transformer, batches: list[Batch], needs: Needs) -> dict[str, torch.Tensor]:
    model.zero_grad()
    for batch in batches:
        total = model(batch, needs).weighted_log_prob
        assert total is not None
        total.backward()
    grads = {name: p.grad for name, p in model.named_parameters()}
    assert all(grad is not None and bool(grad.abs().max() > 0) for grad in grads.values())
    return {name: grad.clone() for name, grad in grads.items() if grad is not None}


@pytest.mark.parity
@pytest.mark.parametrize("name", NAMES)
def test_gradients_equal_those_of_transformers(tmp_path: Path, name: str) -> None:
    model = saved(FAMILIES[name], tmp_path)
    other = theirs(tmp_path, attn_implementation="eager")
    tokens = tokens_of(model.shape, 2)[:, :33]
    batch = Batch(tokens[:, :-1], tokens[:, 1:], torch.ones(2, 32))
    gradients(model, [batch], Needs(weighted_log_prob=True))
    picked = other(tokens[:, :-1]).logits.log_softmax(-1).gather(2, tokens[:, 1:, None])
    picked.sum().backward()
    grads = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    expected = {n: p.grad for n, p in other.named_parameters()}
    for _, key, grad in views(model.shape, grads):
        if key in expected:
            scale = float(expected[key].abs().max())
            assert float((grad - expected[key]).abs().max()) < 2e-4 * scale, key


REFUSED: list[tuple[str, dict[str, Any], str]] = [
    ("llama2", {"attention_bias": True}, "attention_bias is True"),
    ("llama2", {"mlp_bias": True}, "mlp_bias is True"),
    ("llama2", {"hidden_act": "gelu"}, "hidden_act is 'gelu'"),
    ("llama2", {"quantization_config": {"bits": 4}}, "quantization_config is set"),
    ("llama2", {"num_hidden_layers": 10**9}, "num_hidden_layers is 1000000000"),
    ("llama2", {"num_attention_heads": 0}, "heads is 0"),
    ("llama2", {"hidden_size": "many"}, "missing or no number"),
    ("llama2", {"model_type": "gpt2"}, "model_type 'gpt2'"),
    ("llama2", {"rope_parameters": {"rope_type": "longrope"}}, "'longrope'"),
    ("smollm3", {"use_sliding_window": True}, "use_sliding_window is True"),
    ("smollm3", {"no_rope_layers": [1, 0]}, "2 kinds of layers for 4"),
    ("olmo3", {"layer_types": ["chunked_attention"] * 4}, "chunked_attention"),
    ("gemma3", {"use_bidirectional_attention": True}, "use_bidirectional_attention"),
    ("gemma3", {"sliding_window": -3}, "shape.window is -3"),
]


@pytest.mark.parametrize(("name", "change", "reason"), REFUSED)
def test_what_would_compute_something_else_is_refused_by_name(
    name: str, change: dict[str, Any], reason: str
) -> None:
    config = config_json(FAMILIES[name], {}) | change
    with pytest.raises(InputError, match=reason) as caught:
        shape_from_config(config, Path("there/config.json"))
    assert str(caught.value).startswith("there/config.json:1: ")


MATTERS: list[tuple[str, dict[str, Any]]] = [
    ("mistral, windows", {"window": 8}),
    ("smollm3", {"pattern": "ggng"}),
    ("olmo3", {"pattern": "llgl"}),
    ("olmo3, yarn", {"rope": Rope()}),
    ("gemma2", {"attention_cap": 3.0}),
    ("gemma2", {"logit_cap": 4.0}),
    ("gemma2", {"query_scale": None}),
    ("gemma3", {"local_theta": None}),
    ("llama3", {"rope": Rope()}),
]


@pytest.mark.parametrize(("name", "change"), MATTERS)
def test_every_part_of_the_form_changes_what_is_computed(name: str, change: dict[str, Any]) -> None:
    """The negative control of the parities above: they would see each of these."""
    model = made(FAMILIES[name])
    other = Transformer(replace(model.shape, **change)).eval()
    other.load_state_dict(model.state_dict())
    tokens = tokens_of(model.shape)
    assert float((logits(model, tokens) - logits(other, tokens)).abs().max()) > 1e-2


UNWRITABLE: list[tuple[str, dict[str, Any], str]] = [
    ("qwen3", {"logit_cap": 30.0}, "logit_cap is 30.0, which no file of qwen3"),
    ("llama2", {"attention_cap": 5.0}, "attention_cap is 5.0, which no file of llama"),
    ("llama2", {"query_scale": 5.0}, "query_scale is 5.0"),
    ("mistral, windows", {"pattern": "lglg"}, "all l or all g"),
    ("olmo2", {"pattern": "nggg"}, "give 4 letters of 'g' for olmo2"),
]


@pytest.mark.parametrize(("name", "change", "reason"), UNWRITABLE)
def test_a_form_that_no_file_of_the_family_could_hold_is_refused(
    name: str, change: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        replace(FAMILIES[name], **change)


@pytest.mark.parametrize("method", ["ntk", "abf", "yarn", "linear"])
def test_windowed_layers_keep_their_positions_when_the_context_is_extended(method: Any) -> None:
    longer = FAMILIES["olmo3"].extended(method, 4)
    before, after = Transformer(FAMILIES["olmo3"]).tables, Transformer(longer).tables
    assert torch.equal(after.local_cos_PE[:40], before.local_cos_PE)
    assert not torch.equal(after.cos_PE[:40], before.cos_PE)
    path = Path("config.json")
    again = shape_from_config(config_json(longer, {}), path)
    for ours, read in zip(after.buffers(), Transformer(again).tables.buffers(), strict=True):
        assert torch.equal(ours, read)

"""Configs keep their values through dictionaries, and overrides are checked by name and type."""

from dataclasses import dataclass, field
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ontogeny.base import files as base_files
from ontogeny.base import store as base_store
from ontogeny.base.config import execution, from_dict, identity_dict, override, to_dict
from ontogeny.base.errors import InputError
from ontogeny.base.identity import _read, artifact_id, canonical, code_digest
from ontogeny.plan.shape import Shape


@dataclass(frozen=True)
class Inner:
    width: int = 3


@dataclass(frozen=True)
class Outer:
    rate: float = 0.5
    name: str = "a"
    parts: tuple[str, ...] = ("x",)
    mix: dict[str, float] = field(default_factory=dict)
    inner: Inner = Inner()
    workers: int = execution(2)


@given(st.floats(allow_nan=False, allow_infinity=False), st.text(), st.lists(st.text()))
def test_a_config_survives_its_dictionary(rate: float, name: str, parts: list[str]) -> None:
    config = Outer(rate, name, tuple(parts), {"a": 1.0}, Inner(7))
    assert from_dict(Outer, to_dict(config)) == config


def test_execution_fields_are_not_identity() -> None:
    assert identity_dict(Outer(workers=1)) == identity_dict(Outer(workers=9))
    assert identity_dict(Outer(rate=0.1)) != identity_dict(Outer())


def test_overrides_reach_nested_fields_and_read_their_types() -> None:
    config = override(
        Outer(),
        ("inner.width", "5"),
        ("rate", "3e-3"),
        ("name", "12"),
        ("parts", "p,q"),
        ("mix", '{"english": 1}'),
    )
    config = override(config, ("mix.code", "0.5"))
    assert config == Outer(3e-3, "12", ("p", "q"), {"english": 1.0, "code": 0.5}, Inner(5))


@dataclass(frozen=True)
class Boxes:
    boxes: dict[str, Inner] = field(default_factory=lambda: {"a": Inner(1), "b": Inner(2)})


def test_overrides_reach_a_config_inside_a_mapping() -> None:
    config = override(Boxes(), ("boxes.b.width", "5"), ("boxes.c", '{"width": 9}'))
    assert config == Boxes({"a": Inner(1), "b": Inner(5), "c": Inner(9)})
    with pytest.raises(InputError, match="no field 'wdth' in Inner; did you mean 'width'"):
        override(Boxes(), ("boxes.b.wdth", "5"))


@pytest.mark.parametrize(
    ("path", "text", "message"),
    [
        ("rat", "1", "no field 'rat' in Outer; did you mean 'rate'"),
        ("rate", "fast", "Outer.rate"),
        ("inner.wdth", "1", "no field 'wdth' in Inner; did you mean 'width'"),
        ("rate.x", "1", "field 'rate' has no parts"),
        ("inner.width", "1.5", "Outer.inner.width"),
        ("rate", "NaN", "Outer.rate is nan; give a finite number"),
        ("mix.code", "Infinity", "Outer.mix.code is inf"),
    ],
)
def test_a_wrong_override_is_one_line(path: str, text: str, message: str) -> None:
    with pytest.raises(InputError, match=message.replace(".", r"\.")) as caught:
        override(Outer(), (path, text))
    assert "\n" not in str(caught.value)


def test_values_that_belong_together_are_checked_together() -> None:
    shape = Shape(512, 32, 2, 4, 4, 8, 64, 32)
    assert override(shape, ("heads", "2"), ("kv_heads", "2")).heads == 2
    with pytest.raises(InputError, match="no multiple"):
        override(shape, ("heads", "2"))


def test_the_id_changes_with_each_part_of_the_request() -> None:
    base = artifact_id("pretrain", 1, {"a": 1}, ["p", "q"], 0)
    others = [
        artifact_id("prepare", 1, {"a": 1}, ["p", "q"], 0),
        artifact_id("pretrain", 2, {"a": 1}, ["p", "q"], 0),
        artifact_id("pretrain", 1, {"a": 2}, ["p", "q"], 0),
        artifact_id("pretrain", 1, {"a": 1}, ["q", "p"], 0),
        artifact_id("pretrain", 1, {"a": 1}, ["p", "q"], 1),
    ]
    assert len({base, *others}) == 6 and len(base) == 16


def test_canonical_json_has_one_spelling() -> None:
    assert canonical({"b": [1, 2.5], "a": None}) == '{"a":null,"b":[1,2.5]}'


def test_the_code_digest_follows_imports_and_lazy_names(tmp_path: Path) -> None:
    store, files = (Path(module.__file__ or "") for module in (base_store, base_files))
    assert code_digest(store) != code_digest(files)
    lazy = tmp_path / "recipe.py"
    digests = set()
    for text in ("", "HOME = 'ontogeny.base.files'", "from ontogeny.base import (\n    lock,\n)"):
        lazy.write_text(text)
        code_digest.cache_clear()
        _read.cache_clear()
        digests.add(code_digest(lazy))
    assert len(digests) == 3

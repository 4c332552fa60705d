"""Costs are clock readings with evidence; money follows from one price that a person names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
from release.attacked import COSTS, PRICES, WORDS, bundle_of_attacked, grown_and_attacked
from release.grown import Grown
from release.tampering import CARD, check, edit, refused, seal_again
from release.test_card import plain

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.release.price import Price, priced, read_price

PRICED = replace(WORDS, price=Price(0.40, "EUR"))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Grown:
    return grown_and_attacked(tmp_path_factory.mktemp("served") / "life")


@pytest.fixture
def with_price(served: Grown, tmp_path: Path) -> Path:
    return bundle_of_attacked(served, tmp_path / "priced", "serving", words=PRICED)


def test_the_speed_of_another_model_is_not_that_of_this_one(served: Grown, tmp_path: Path) -> None:
    speeds = {"speeds": served.by_name["serving"].record.execution["speeds"]}
    config = served.by_name["serving"].record.config
    made = {"config": config, "execution": speeds}
    served.make("serving/base", "measurement", "measure_serving", "base", **made)
    bundle = bundle_of_attacked(served, tmp_path / "x", "serving/base")
    assert "How fast they come was not measured." in (bundle / CARD).read_text()
    assert "How fast it answers was not measured" in (bundle / COSTS).read_text()


def lines(bundle: Path) -> list[str]:
    return plain((bundle / COSTS).read_text()).split("\n")


def test_without_a_price_there_is_no_money(written: Path) -> None:
    assert not (written / PRICES).exists()
    told = lines(written)
    assert "Nobody named a price, so no money stands here." in told
    assert "| chat | sft | 2.0 | 3,000 | 3.0 × 10⁹ |" in told
    assert "| all |  | 8.5 | 9,000 | 6.0 × 10⁹ |" in told  # 4.5 s of data, 2 s each of 2 models
    assert "- Energy: unknown. Nothing measured it." in told
    assert any("was not measured, so there is no price" in line for line in told)


def test_a_price_is_cited_as_the_persons_word(with_price: Path) -> None:
    assert json.loads((with_price / PRICES).read_text()) == {"currency": "EUR", "per_hour": 0.4}
    text = (with_price / COSTS).read_text()
    assert f'[0.40]({PRICES} "per_hour ,.2f") [EUR]({PRICES} "currency s")' in text
    check(with_price)


def test_money_is_the_price_of_the_seconds(with_price: Path) -> None:
    assert "| chat | sft | 2.0 | 3,000 | 3.0 × 10⁹ | 0.00022 |" in lines(with_price)  # 2 s / 3600


def test_a_million_tokens_cost_what_their_seconds_cost(with_price: Path) -> None:
    # 1e6 tokens / 200 tokens/s = 5,000 s = 1.389 hours
    assert "| 1 | 200.0 | 5 | 0.011 | 0.56 |" in lines(with_price)


FORGED = {
    "seconds": (COSTS, "[2.0](", "[1.0](", "says 1.0, the evidence"),
    "money": (COSTS, "[0.56](", "[0.06](", "says 0.06, the evidence"),
    "a speed": (COSTS, "[200.0](", "[900.0](", "says 900.0, the evidence"),
    "the price": (PRICES, "0.4", "0.1", "says 0.40, the evidence"),
    "no price": (PRICES, "0.4", "-0.4", "no price"),
    "no number": (PRICES, "0.4", "true", "no price"),
    "a bare number": (COSTS, "Energy: unknown", "Energy: 3 kWh", "'3' has no evidence"),
    "more": (PRICES, '"EUR"', '"EUR", "discount": 1', "holds currency and per_hour alone"),
}


@pytest.mark.parametrize(("file", "old", "new", "reason"), FORGED.values(), ids=FORGED.keys())
def test_forged_costs_are_refused(
    with_price: Path, file: str, old: str, new: str, reason: str
) -> None:
    edit(with_price, file, old, new)
    said = refused(with_price)
    assert reason in said and (f"{COSTS}:" in said or f"{file}:1: " in said)


def test_money_without_its_price_is_refused(with_price: Path) -> None:
    (with_price / PRICES).unlink()
    seal_again(with_price)
    assert "there is no evidence 'prices.json'" in refused(with_price)


@pytest.mark.parametrize(
    ("per_hour", "currency", "reason"),
    [
        (0.0, "EUR", "give a number above 0"),
        (float("nan"), "EUR", "give a number above 0"),
        (1.0, "euro", "ISO 4217"),
        (1.0, "", "give both, or neither"),
        (None, "EUR", "give both, or neither"),
    ],
)
def test_a_price_has_its_form(per_hour: float | None, currency: str, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        priced(per_hour, currency)


@pytest.mark.parametrize("text", ["[]", "{}", '{"currency": 3, "per_hour": 1}', "nonsense"])
def test_what_is_no_price_is_refused(text: str) -> None:
    with pytest.raises(CorruptArtifact):
        read_price(text.encode(), Path(PRICES))

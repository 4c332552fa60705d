"""What an hour of the computer costs: one number that a person gives, and what follows from it.

Knows no record. It lies in a bundle as `prices.json`, so that everybody computes the same.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.release.jsons import parse_json

PRICES = "prices.json"
SECONDS_AN_HOUR, MILLION = 3600.0, 1e6
_CURRENCY = re.compile(r"[A-Z]{3}")


@dataclass(frozen=True)
class Price:
    """`per_hour` of one computer, whole, in `currency` (ISO 4217, such as EUR).

    Raises:
        InputError: no positive number, or no currency's code.
    """

    per_hour: float
    currency: str

    def __post_init__(self) -> None:
        if not math.isfinite(self.per_hour) or self.per_hour <= 0:
            raise InputError(f"a price of {self.per_hour} an hour; give a number above 0")
        if not _CURRENCY.fullmatch(self.currency):
            raise InputError(
                f"currency is '{self.currency}'; give three letters of ISO 4217, such as EUR or USD"
            )

    def of_seconds(self, seconds: float) -> float:
        """What so many seconds cost."""
        return self.per_hour * seconds / SECONDS_AN_HOUR

    def of_million(self, tokens_per_second: float) -> float:
        """What a million tokens cost at this speed.

        Raises:
            InputError: a speed that is not above 0.
        """
        if tokens_per_second <= 0:
            raise InputError("the evidence holds no speed there")
        return self.of_seconds(MILLION / tokens_per_second)

    def values(self) -> dict[str, Any]:
        """What stands in `prices.json`."""
        return {"currency": self.currency, "per_hour": self.per_hour}


def priced(per_hour: float | None, currency: str) -> Price | None:
    """The price of what a person said; None where nobody gave one.

    Raises:
        InputError: a price without a currency, or a currency without a price.
    """
    if per_hour is None and not currency:
        return None
    if per_hour is None or not currency:
        raise InputError("a price is a number and a currency; give both, or neither")
    return Price(per_hour, currency)


def read_price(data: bytes, path: Path) -> Price:
    """The price in the bytes of a bundle's `prices.json`.

    Raises:
        CorruptArtifact: it holds anything but the two values that are written there.
    """
    values = parse_json(data, path)
    number = values.get("per_hour")
    if values.keys() != {"currency", "per_hour"} or isinstance(number, bool):
        raise CorruptArtifact("no price: it holds currency and per_hour alone", file=path)
    if not isinstance(number, int | float) or not isinstance(values["currency"], str):
        raise CorruptArtifact("no price: per_hour is a number, currency a text", file=path)
    try:
        return Price(float(number), values["currency"])
    except (InputError, OverflowError) as error:
        raise CorruptArtifact(f"no price: {getattr(error, 'reason', error)}", file=path) from None

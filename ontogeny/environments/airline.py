"""The tools of tau2-bench's airline, written anew from its policy, for `environments.tau`.

Knows no task and no model. Names and arguments are those that the expected actions use; what a
change leaves in the data base is ours (both sides of a comparison are made by these tools). As the
policy says of the API, it does not check whether a cancellation or a change is allowed: that is the
agent's to know. Source: tau2-bench, arXiv:2506.07982, and the airline policy that comes with it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from typing import Any

from ontogeny.environments.retail import calculate, row
from ontogeny.environments.session import Arguments, Base, Operation, Run, ToolError, operations
from ontogeny.rollout.tools import TEXT, Schema, Tool

Row = dict[str, Any]
NOW = "2024-05-15T15:00:00"
"""When everything takes place."""
BAG, INSURANCE, MOST_PASSENGERS = 50, 30, 5
"""Dollars of a checked bag that is not free, and of a passenger's insurance; people at most."""


def _flight(base: Base, number: str, date: str) -> tuple[Row, Row]:
    """A flight and what is known of it on a day."""
    flight = row(base, "flights", number)
    if date not in flight["dates"]:
        raise ToolError(f"flight {number} does not fly on {date}")
    return flight, flight["dates"][date]


def _seats(base: Base, asked: Mapping[str, str], cabin: str, people: int) -> Row:
    """A flight as a reservation keeps it, its seats taken."""
    number, date = asked["flight_number"], asked["date"]
    flight, day = _flight(base, number, date)
    if day["status"] != "available":
        raise ToolError(f"flight {number} cannot be booked on {date}: {day['status']}")
    if day["available_seats"][cabin] < people:
        raise ToolError(f"flight {number} has too few seats in {cabin} on {date}")
    day["available_seats"][cabin] -= people
    price = day["prices"][cabin]
    places = {"origin": flight["origin"], "destination": flight["destination"]}
    return {**places, "flight_number": number, "date": date, "price": price}


def _method(user: Row, id_: str) -> Row:
    methods: dict[str, Row] = user["payment_methods"]
    if id_ not in methods:
        raise ToolError(f"the user has no payment method {id_}")
    return methods[id_]


def _pay(base: Base, user_id: str, id_: str, amount: float, *, books: bool = False) -> None:
    """Takes an amount; a negative one is given back. A certificate is used up, and books only."""
    user = row(base, "users", user_id)
    method = _method(user, id_)
    if method["source"] == "certificate" and not books:
        raise ToolError("pay or refund by a gift card or a credit card")
    if method["source"] != "credit_card" and method["amount"] < amount:
        raise ToolError(f"{id_} has too little on it")
    if method["source"] == "gift_card":
        method["amount"] = round(method["amount"] - amount, 2)
    elif method["source"] == "certificate":
        del user["payment_methods"][id_]


def _book(base: Base, given: Arguments) -> Any:
    user = row(base, "users", given["user_id"])
    people = len(given["passengers"])
    if not 1 <= people <= MOST_PASSENGERS or not given["flights"]:
        raise ToolError(f"give flights, and one to {MOST_PASSENGERS} passengers")
    flights = [_seats(base, each, given["cabin"], people) for each in given["flights"]]
    each = sum(flight["price"] for flight in flights)
    insured = INSURANCE * people * (given["insurance"] == "yes")
    price = each * people + insured + BAG * given["nonfree_baggages"]
    paid = sum(payment["amount"] for payment in given["payment_methods"])
    if abs(paid - price) > 0.005:
        raise ToolError(f"the payments are {paid:g} in all, the price is {price:g}")
    for payment in given["payment_methods"]:
        _pay(base, given["user_id"], payment["payment_id"], payment["amount"], books=True)
    # of what was booked, so that the order of two bookings does not matter
    text = json.dumps([given["user_id"], given["flights"], given["passengers"]], sort_keys=True)
    id_ = hashlib.sha256(text.encode()).hexdigest()[:6].upper()
    if id_ in base["reservations"]:
        raise ToolError("this is booked already")
    reservation = {
        "reservation_id": id_,
        **{name: given[name] for name in ("user_id", "origin", "destination", "flight_type")},
        "cabin": given["cabin"],
        "flights": flights,
        "passengers": [dict(each) for each in given["passengers"]],
        "payment_history": [dict(each) for each in given["payment_methods"]],
        "created_at": NOW,
        **{name: given[name] for name in ("total_baggages", "nonfree_baggages", "insurance")},
    }
    base["reservations"][id_] = reservation
    user["reservations"] = sorted([*user["reservations"], id_])
    return reservation


def _cancel(base: Base, given: Arguments) -> Any:
    found = _open(base, given)
    for paid in list(found["payment_history"]):
        methods = row(base, "users", found["user_id"])["payment_methods"]
        method = methods.get(paid["payment_id"], {"source": "certificate"})
        if method["source"] == "gift_card":
            method["amount"] = round(method["amount"] + paid["amount"], 2)
        found["payment_history"].append({**paid, "amount": -paid["amount"]})
    for each in found["flights"]:
        _free(base, each, found)
    found["status"] = "cancelled"
    return found


def _open(base: Base, given: Arguments) -> Row:
    found = row(base, "reservations", given["reservation_id"])
    if found.get("status") == "cancelled":
        raise ToolError("the reservation is cancelled")
    return found


def _free(base: Base, flight: Row, reservation: Row) -> None:
    """Gives seats back where they can be booked."""
    day = row(base, "flights", flight["flight_number"])["dates"].get(flight["date"], {})
    if "available_seats" in day:
        day["available_seats"][reservation["cabin"]] += len(reservation["passengers"])


def _reflight(base: Base, given: Arguments) -> Any:
    """Flights that stay in the same cabin keep their price and need no seat."""
    found = _open(base, given)
    people = len(found["passengers"])
    kept = {
        (each["flight_number"], each["date"]): each
        for each in found["flights"]
        if given["cabin"] == found["cabin"]
    }
    before, flights = found["flights"], []
    if not given["flights"]:
        raise ToolError("name all flights of the reservation, also those that stay")
    for each in given["flights"]:
        same = kept.pop((each["flight_number"], each["date"]), None)
        flights.append(same or _seats(base, each, given["cabin"], people))
    for each in before:
        if each not in flights:
            _free(base, each, found)
    more = people * (sum(f["price"] for f in flights) - sum(f["price"] for f in before))
    _settle(base, found, given["payment_id"], more)
    found |= {"flights": flights, "cabin": given["cabin"]}
    return found


def _settle(base: Base, found: Row, id_: str, amount: float) -> None:
    """Pays for a change, or refunds."""
    _pay(base, found["user_id"], id_, amount)
    if amount:
        found["payment_history"].append({"payment_id": id_, "amount": amount})


def _bags(base: Base, given: Arguments) -> Any:
    found = _open(base, given)
    more = BAG * max(0, given["nonfree_baggages"] - found["nonfree_baggages"])
    _settle(base, found, given["payment_id"], more)
    found |= {name: given[name] for name in ("total_baggages", "nonfree_baggages")}
    return found


def _people(base: Base, given: Arguments) -> Any:
    found = _open(base, given)
    if len(given["passengers"]) != len(found["passengers"]):
        raise ToolError("the number of passengers stays as it is")
    found["passengers"] = [dict(each) for each in given["passengers"]]
    return found


def _certificate(base: Base, given: Arguments) -> Any:
    methods = row(base, "users", given["user_id"])["payment_methods"]
    same = sum(id_.startswith(f"certificate_sent_{given['amount']}") for id_ in methods)
    id_ = f"certificate_sent_{given['amount']}_{same}"
    methods[id_] = {"source": "certificate", "id": id_, "amount": given["amount"]}
    return methods[id_]


def _offers(base: Base, origin: str, destination: str, date: str) -> list[Row]:
    """Flights with seats on a day."""
    found = []
    for flight in base["flights"].values():
        day = flight["dates"].get(date, {})
        if (flight["origin"], flight["destination"]) == (origin, destination) and day.get(
            "status"
        ) == "available":
            told = {name: each for name, each in flight.items() if name != "dates"}
            found.append({**told, "date": date, **day})
    return found


def _direct(base: Base, given: Arguments) -> Any:
    return _offers(base, given["origin"], given["destination"], given["date"])


def _onestop(base: Base, given: Arguments) -> Any:
    """Pairs of flights of one day, the second after the first has arrived."""
    origin, destination, date = given["origin"], given["destination"], given["date"]
    stops = sorted({each["destination"] for each in base["flights"].values()})
    return [
        [first, second]
        for stop in stops
        if stop not in (origin, destination)
        for first in _offers(base, origin, stop, date)
        for second in _offers(base, stop, destination, date)
        if first["scheduled_arrival_time_est"] <= second["scheduled_departure_time_est"]
    ]


def _status(base: Base, given: Arguments) -> Any:
    return _flight(base, given["flight_number"], given["date"])[1]["status"]


def _airports(base: Base, _: Arguments) -> Any:
    return sorted({each["origin"] for each in base["flights"].values()})


def _details(table: str, argument: str) -> Run:
    return lambda base, given: row(base, table, given[argument])


def _object(**properties: Schema) -> Schema:
    return {"type": "object", "properties": properties, "required": list(properties)}


def _list(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def _one_of(*values: str) -> Schema:
    return {"type": "string", "enum": list(values)}


_COUNT: Schema = {"type": "integer", "minimum": 0}
_GIVEN: Mapping[str, Schema] = {
    "cabin": _one_of("business", "economy", "basic_economy"),
    "flight_type": _one_of("round_trip", "one_way"),
    "insurance": _one_of("yes", "no"),
    "flights": _list(_object(flight_number=TEXT, date=TEXT)),
    "passengers": _list(_object(first_name=TEXT, last_name=TEXT, dob=TEXT)),
    "payment_methods": _list(_object(payment_id=TEXT, amount={"type": "number"})),
    "total_baggages": _COUNT,
    "nonfree_baggages": _COUNT,
    "amount": {"type": "integer", "minimum": 1},
    "expression": {"type": "string", "maxLength": 200},
}


def _operation(name: str, description: str, names: str, run: Run, changes: bool) -> Operation:
    """Arguments are texts where `_GIVEN` says nothing else."""
    given = {each: _GIVEN.get(each, TEXT) for each in names.split()}
    return Operation(Tool(name, description, given, changes=changes), run)


_BOOKED = (
    "user_id origin destination flight_type cabin flights passengers payment_methods "
    "total_baggages nonfree_baggages insurance"
)
_BAGGED = "reservation_id total_baggages nonfree_baggages payment_id"
_LOOKS: Sequence[tuple[str, str, str, Run]] = (
    ("get_user_details", "A user.", "user_id", _details("users", "user_id")),
    (
        "get_reservation_details",
        "A reservation.",
        "reservation_id",
        _details("reservations", "reservation_id"),
    ),
    ("list_all_airports", "All airports.", "", _airports),
    ("search_direct_flight", "Flights with seats.", "origin destination date", _direct),
    ("search_onestop_flight", "Pairs of such flights.", "origin destination date", _onestop),
    ("get_flight_status", "How a flight stands.", "flight_number date", _status),
    ("calculate", "The value of numbers, + - * / and brackets.", "expression", calculate),
    ("transfer_to_human_agents", "Hands over to a person.", "summary", lambda *_: "transferred"),
)
_CHANGES: Sequence[tuple[str, str, str, Run]] = (
    ("book_reservation", "Books.", _BOOKED, _book),
    ("cancel_reservation", "Cancels all of a reservation.", "reservation_id", _cancel),
    (
        "update_reservation_flights",
        "Sets all flights and the cabin.",
        "reservation_id cabin flights payment_id",
        _reflight,
    ),
    ("update_reservation_baggages", "Sets the checked bags.", _BAGGED, _bags),
    (
        "update_reservation_passengers",
        "Sets who flies.",
        "reservation_id passengers",
        _people,
    ),
    ("send_certificate", "Gives a travel certificate.", "user_id amount", _certificate),
)
AIRLINE = operations(
    *(_operation(*each, False) for each in _LOOKS),
    *(_operation(*each, True) for each in _CHANGES),
)

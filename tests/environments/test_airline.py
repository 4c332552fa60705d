"""The airline's tools do what a change asks for, and leave everything else as it was."""

from __future__ import annotations

import copy
import os
from pathlib import Path
from typing import Any

import pytest

from ontogeny.environments.airline import AIRLINE
from ontogeny.environments.desk import digest, gold
from ontogeny.environments.playing import play_all, rates
from ontogeny.environments.scripts import gold_script, scripted
from ontogeny.environments.session import Session
from ontogeny.environments.tau import read_tau
from ontogeny.environments.tooled import Rules
from ontogeny.rollout.flow import Outcome
from ontogeny.text.byte_codec import byte_tokenizer
from ontogeny.text.tool_calls import speech

ANN = {"first_name": "Ann", "last_name": "Lee", "dob": "1990-01-01"}
BEN = {**ANN, "first_name": "Ben"}


def _day(price: int, seats: int = 2, status: str = "available") -> dict[str, Any]:
    cabins = ("basic_economy", "economy", "business")
    return {
        "status": status,
        "available_seats": dict.fromkeys(cabins, seats),
        "prices": {name: price * (place + 1) for place, name in enumerate(cabins)},
    }


def _flight(number: str, origin: str, destination: str, hours: tuple[int, int]) -> dict[str, Any]:
    leaves, comes = (f"{hour:02}:00:00" for hour in hours)
    return {
        "flight_number": number,
        "origin": origin,
        "destination": destination,
        "scheduled_departure_time_est": leaves,
        "scheduled_arrival_time_est": comes,
        "dates": {"2024-05-20": _day(100), "2024-05-21": _day(150)},
    }


def base() -> dict[str, Any]:
    """Three flights, a user with three ways to pay, nothing booked."""
    flights = [
        _flight("F1", "AAA", "BBB", (6, 8)),
        _flight("F2", "BBB", "CCC", (9, 11)),
        _flight("F3", "BBB", "CCC", (7, 9)),
    ]
    methods = {
        "card": {"source": "credit_card", "id": "card"},
        "gift": {"source": "gift_card", "id": "gift", "amount": 500.0},
        "paper": {"source": "certificate", "id": "paper", "amount": 100.0},
    }
    user = {"user_id": "ann", "payment_methods": methods, "reservations": []}
    by_number = {each["flight_number"]: each for each in flights}
    return {"flights": by_number, "users": {"ann": user}, "reservations": {}}


def booking(*paid: tuple[str, int], flight: str = "F1", **more: Any) -> dict[str, Any]:
    """The arguments of a booking of one passenger in economy."""
    return {
        "user_id": "ann",
        "origin": "AAA",
        "destination": "BBB",
        "flight_type": "one_way",
        "cabin": "economy",
        "flights": [{"flight_number": flight, "date": "2024-05-20"}],
        "passengers": [ANN],
        "payment_methods": [{"payment_id": name, "amount": amount} for name, amount in paid],
        "total_baggages": 0,
        "nonfree_baggages": 0,
        "insurance": "no",
        **more,
    }


class World:
    """A session over `base`."""

    def __init__(self) -> None:
        self.session = Session(AIRLINE, base(), "")

    def call(self, name: str, **given: Any) -> Outcome:
        return self.session.call(name, given)

    @property
    def base(self) -> dict[str, Any]:
        return self.session.base

    @property
    def gift(self) -> float:
        return float(self.base["users"]["ann"]["payment_methods"]["gift"]["amount"])

    def booked(self) -> dict[str, Any]:
        """The one reservation."""
        (found,) = self.base["reservations"].values()
        return dict(found)


def test_a_booking_takes_seats_and_money_and_uses_a_certificate_up() -> None:
    world = World()
    assert world.call("book_reservation", **booking(("paper", 100), ("gift", 100))).ok
    assert world.gift == 400.0
    assert "paper" not in world.base["users"]["ann"]["payment_methods"]
    day = world.base["flights"]["F1"]["dates"]["2024-05-20"]
    assert day["available_seats"] == {"basic_economy": 2, "economy": 1, "business": 2}
    assert world.booked()["flights"][0]["price"] == 200
    assert world.base["users"]["ann"]["reservations"] == [world.booked()["reservation_id"]]


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (booking(("gift", 150)), "the payments are 150 in all, the price is 200"),
        (booking(("gift", 230), insurance="yes", nonfree_baggages=1), "the price is 280"),
        (booking(("gift", 600), passengers=[ANN, BEN, ANN]), "too few seats"),
        (booking(("mine", 200)), "no payment method mine"),
        (booking(("gift", 200), flight="F9"), "no flight F9"),
    ],
)
def test_a_booking_that_does_not_add_up_changes_nothing(given: Any, reason: str) -> None:
    world = World()
    outcome = world.call("book_reservation", **given)
    assert not outcome.ok and reason in outcome.output
    assert digest(world.base) == digest(base())


def test_a_flight_that_stays_keeps_its_price_and_its_seat() -> None:
    world = World()
    world.call("book_reservation", **booking(("card", 200)))
    id_ = world.booked()["reservation_id"]
    world.base["flights"]["F1"]["dates"]["2024-05-20"]["prices"]["economy"] = 999
    flights = [
        {"flight_number": "F1", "date": "2024-05-20"},
        {"flight_number": "F2", "date": "2024-05-20"},
    ]
    given = {"reservation_id": id_, "cabin": "economy", "payment_id": "gift"}
    assert world.call("update_reservation_flights", **given, flights=flights).ok
    assert [each["price"] for each in world.booked()["flights"]] == [200, 200]
    assert world.gift == 300.0
    seats = world.base["flights"]["F1"]["dates"]["2024-05-20"]["available_seats"]["economy"]
    assert seats == 1
    assert world.call("update_reservation_flights", **given, flights=flights[:1]).ok
    assert world.gift == 500.0, "what was cheaper is refunded"
    day = world.base["flights"]["F2"]["dates"]["2024-05-20"]
    assert day["available_seats"]["economy"] == 2, "and the seat is free again"


def test_a_cancellation_gives_back_to_gift_cards_and_frees_the_seats() -> None:
    world = World()
    world.call("book_reservation", **booking(("gift", 200)))
    id_ = world.booked()["reservation_id"]
    assert world.call("cancel_reservation", reservation_id=id_).ok
    assert (world.gift, world.booked()["status"]) == (500.0, "cancelled")
    assert world.base["flights"] == base()["flights"]
    assert "is cancelled" in world.call("cancel_reservation", reservation_id=id_).output


def test_bags_and_passengers_are_changed_within_their_rules() -> None:
    world = World()
    world.call("book_reservation", **booking(("card", 200)))
    id_ = world.booked()["reservation_id"]
    bags = {"reservation_id": id_, "total_baggages": 3, "nonfree_baggages": 2}
    assert world.call("update_reservation_baggages", **bags, payment_id="gift").ok
    assert world.gift == 400.0
    refused = world.call("update_reservation_baggages", **bags, payment_id="paper")
    assert "gift card or a credit card" in refused.output
    people = {"reservation_id": id_, "passengers": [ANN, BEN]}
    assert "stays as it is" in world.call("update_reservation_passengers", **people).output
    assert world.call("update_reservation_passengers", **{**people, "passengers": [BEN]}).ok


def test_the_order_of_two_changes_does_not_matter() -> None:
    first = ("book_reservation", booking(("card", 200)))
    second = ("book_reservation", booking(("card", 200), flight="F2"))
    ends = []
    for order in ((first, second), (second, first)):
        world = World()
        assert all(world.call(name, **copy.deepcopy(given)).ok for name, given in order)
        ends.append(digest(world.base))
    assert ends[0] == ends[1]


def test_flights_with_a_stop_leave_after_the_first_has_come() -> None:
    world = World()
    found = world.call("search_onestop_flight", origin="AAA", destination="CCC", date="2024-05-20")
    assert '"F2"' in found.output and '"F3"' not in found.output
    assert world.call("list_all_airports").output == '["AAA", "BBB"]'
    assert world.call("get_flight_status", flight_number="F1", date="2024-05-20").ok
    assert digest(world.base) == digest(base())


PUBLIC = Path(os.environ.get("ONTOGENY_EVAL_DATA", "nowhere")) / "tau2_airline_tasks"


@pytest.mark.slow
@pytest.mark.skipif(not PUBLIC.is_dir(), reason="ONTOGENY_EVAL_DATA holds no tau2_airline_tasks")
def test_the_published_tasks_are_solved_by_their_own_actions() -> None:
    tau = read_tau(PUBLIC, AIRLINE)
    tasks = tau.desk.tasks("exam", 0, 0)
    assert set(tau.left_out) <= {"nothing is to be changed or said"}
    for task in tasks:
        session = tau.desk.session(task)
        assert all(session.call(call.name, call.arguments).ok for call in gold(task))
    tau.desk.validate(count=0)
    spoken, rules = speech(byte_tokenizer()), Rules(turns=40, tokens=2_000)
    policy = scripted(gold_script, tau.desk, tasks, spoken, rules)
    assert rates(play_all(policy, tau.desk, tasks, spoken, rules)).solved == 1.0

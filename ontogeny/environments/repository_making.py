"""Makes faults: a mutation counts where some of the real tests fail after it and others do not.

Knows no agent. Everything runs in the sandbox; it takes a second a fault, and is done once.
"""

from __future__ import annotations

import ast
import itertools
import random
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ontogeny.base.seeds import named_seed
from ontogeny.environments.checkout import Source, Target, known_tests
from ontogeny.environments.mutations import Mutation, functions, mutations
from ontogeny.environments.repository_inside import GRAPH, MOST_CALLS
from ontogeny.environments.repository_run import Order, Ran, run_all
from ontogeny.environments.repository_task import Fault, Known, digest_of
from ontogeny.environments.room import Room

FUNCTIONS = 12
"""Of a file, at most, that faults are put into."""
TRIED, KEPT = 6, 2
"""Mutations of a function that are tried, and those that are kept."""
SEEN, FRESH = 12, 6
"""Calls of each kind that a fault keeps."""
MOST_SECONDS = 4
"""Of processor time that a fault may take, with all tests and calls."""
MOST_FAIL = 0.5
"""Share of the tests that a fault may break."""
_SHORT = 160


@dataclass
class Made:
    """Faults, and why mutations became none: reason -> how many."""

    faults: list[Fault] = field(default_factory=list)
    refused: Counter[str] = field(default_factory=Counter)


@dataclass(frozen=True)
class _Function:
    """A function before any fault.

    Attributes:
        tests: those that pass.
        left_out: those that do not.
        seen: arguments the tests called it with -> what it gave.
        fresh: other arguments -> what it gave.
        said: arguments -> the same as it was said.
    """

    target: Target
    name: str
    tests: tuple[str, ...]
    left_out: tuple[str, ...]
    seen: Mapping[str, str]
    fresh: Mapping[str, str]
    said: Mapping[str, Any]

    def calls(self) -> tuple[tuple[str, str, list[str]], ...]:
        return ((self.target.file, self.name, [*self.seen, *self.fresh]),)


def make(room: Room, target: Target, seed: int) -> Made:
    """Faults of one file. Equal arguments give equal faults."""
    source = Source.of(target.package).text(target.file)
    made = Made()
    for function in _before(room, target, source, seed):
        draw = random.Random(named_seed(seed, target.file, function.name))
        found = mutations(source, functions(source)[function.name])
        tried = draw.sample(found, min(TRIED, len(found)))
        orders = [
            Order(
                target.package,
                {target.file: each.applied(source)},
                function.tests,
                function.calls(),
                cpu_seconds=MOST_SECONDS,
            )
            for each in tried
        ]
        kept = 0
        for mutation, ran in zip(tried, run_all(room, orders), strict=True):
            reason = _refused(function, ran) or ("enough" if kept >= KEPT else "")
            made.refused[reason or "made"] += 1
            if not reason:
                kept += 1
                made.faults.append(_fault(function, mutation, ran))
    return made


def _before(room: Room, target: Target, source: str, seed: int) -> list[_Function]:
    """The functions that tests call with plain data, and what they give."""
    tests = known_tests(target)
    names = list(functions(source))
    (ran,) = run_all(room, [Order(target.package, {}, tests, record=(target.file, names))])
    left_out = tuple(name for name in tests if ran.tests[name])
    passed = tuple(name for name in tests if not ran.tests[name])
    called = [name for name, recorded in ran.calls.items() if recorded]
    chosen = random.Random(named_seed(seed, target.file)).sample(
        called, min(FUNCTIONS, len(called))
    )
    inputs = {}
    for name in chosen:
        draw = random.Random(named_seed(seed, target.file, name, "inputs"))
        inputs[name] = (list(ran.calls[name]), fresh_inputs(ran.calls[name], draw))
    orders = [
        Order(target.package, {}, (), [(target.file, name, [*old, *new])])
        for name, (old, new) in inputs.items()
    ]
    found = []
    runs = run_all(room, [*orders, *orders])
    for (name, (old, new)), one_run, two_run in zip(
        inputs.items(), runs[: len(orders)], runs[len(orders) :], strict=True
    ):
        if one_run.failed or two_run.failed:
            continue  # some argument makes it run for ever
        (values,), (again,), (said,) = one_run.values, two_run.values, one_run.said
        gave = {
            literal: one
            for literal, one, two in zip([*old, *new], values, again, strict=True)
            if one is not None and one == two
        }
        told = dict(zip([*old, *new], said, strict=True))
        seen = {each: gave[each] for each in old if each in gave}
        # what it raises for arguments that nobody tests is nobody's promise
        fresh = {each: gave[each] for each in new if each in gave and told[each][0] == "value"}
        found.append(_Function(target, name, passed, left_out, seen, fresh, told))
    return [each for each in found if each.seen and each.fresh]


def _refused(function: _Function, ran: Ran) -> str:
    """Why a mutation makes no task; "" where it does."""
    if ran.failed:
        return "does not end"
    failing = sum(bool(why) for why in ran.tests.values())
    if not failing:
        return "no test fails"
    if failing > MOST_FAIL * len(ran.tests):
        return "too many tests fail"
    seen, fresh = _different(function, ran)
    return "" if seen and len(fresh) > 1 else "calls do not tell"


def _different(function: _Function, ran: Ran) -> tuple[list[str], list[str]]:
    """The calls that give something else with the fault: of the tests, and fresh ones."""
    gave = dict(zip([*function.seen, *function.fresh], ran.values[0], strict=True))
    parts = (function.seen, function.fresh)
    seen, fresh = ([each for each in part if gave[each] != part[each]] for part in parts)
    return seen, fresh


def _fault(function: _Function, mutation: Mutation, ran: Ran) -> Fault:
    seen, fresh = _different(function, ran)
    target = function.target
    fail = tuple(name for name in function.tests if ran.tests[name])
    now = dict(zip([*function.seen, *function.fresh], ran.said[0], strict=True))
    example = min(seen, key=lambda each: (len(each), each))
    return Fault(
        package=target.package,
        version=Source.of(target.package).version,
        file=target.file,
        sha256=digest_of(target),
        function=function.name,
        mutation=mutation,
        fail=fail,
        left_out=function.left_out,
        seen=_kept(function.seen, seen, SEEN),
        complete=len(seen) <= SEEN and len(function.seen) < MOST_CALLS,
        fresh=_kept(function.fresh, fresh, FRESH),
        issue=issue(
            target.package,
            {name: ran.tests[name] for name in fail},
            f"{function.name}({arguments(example)})",
            shown(now[example]),
            shown(function.said[example]),
        ),
    )


def _kept(calls: Mapping[str, str], telling: Sequence[str], most: int) -> Known:
    """Those that tell, and some others."""
    others = [each for each in calls if each not in set(telling)]
    chosen = [*telling[:most], *others[: max(most // 3, most - len(telling)) // 2]]
    return tuple((each, calls[each]) for each in chosen)


def issue(package: str, failing: Mapping[str, str], call: str, came: str, expected: str) -> str:
    """What somebody would write who ran the tests: nothing of where the fault is."""
    lines = [f"Since the last change of {package} tests of it fail ({len(failing)}):"]
    for name, why in list(failing.items())[:3]:
        file = name.split("::")[0]
        own = [each for each in why.split("\n    ") if each]
        at = next(
            (
                after.split("\n")[0]
                for before, after in itertools.pairwise(own)
                if before.split("\n")[-1].startswith(file)
            ),
            "",
        )
        lines.append(f"- {name}")
        lines.append(f"    {at}" if at else "    it cannot be loaded")
        lines.append(f"    {why.splitlines()[-1].removesuffix(': ')}")
    if len(failing) > 3:
        lines.append(f"- and {len(failing) - 3} more")
    lines.append(f"For instance, {call} gives {came} instead of {expected}.")
    return "\n".join(lines)


def arguments(literal: str) -> str:
    """The arguments of a call as somebody would write them."""
    return ", ".join(_cut(_graph(each) or repr(each)) for each in ast.literal_eval(literal))


def shown(said: Any) -> str:
    """What a call gave: "3", "the error ValueError"."""
    if said[0] == "raised":
        return f"the error {said[1]}"
    if said[0] != "value":
        return "no end" if said[0] == "late" else "no plain data"
    value = decoded(said[1])
    return _cut(_graph(value) or repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= _SHORT else f"{text[:_SHORT]}..."


def _graph(value: Any) -> str:
    if not (isinstance(value, tuple) and len(value) == 5 and value[0] == GRAPH):
        return ""
    nodes, edges = [node for node, _ in value[3]], [edge[:2] for edge in value[4]]
    kind = f"{'Multi' * value[2]}{'Di' * value[1]}Graph"
    return f"<{kind} with nodes {nodes} and edges {edges}>"


def decoded(told: Any) -> Any:
    """The value that `programs_inside.encode` wrote down."""
    kind, parts = told[0], told[1:]
    whole: Mapping[str, Callable[[Any], Any]] = {
        "list": list,
        "tuple": tuple,
        "set": set,
        "frozenset": frozenset,
    }
    if kind in whole:
        return whole[kind](decoded(each) for each in parts)
    if kind == "dict":
        return {decoded(key): decoded(held) for key, held in parts}
    leaves: Mapping[str, Callable[..., Any]] = {
        "none": lambda: None,
        "bool": lambda digit: digit == "1",
        "int": lambda digits: int(digits, 16),
        "float": float.fromhex,
        "complex": lambda a, b: complex(float.fromhex(a), float.fromhex(b)),
        "str": str,
        "bytes": bytes.fromhex,
    }
    return leaves[kind](*parts)


def fresh_inputs(recorded: Sequence[str], draw: random.Random, count: int = 60) -> list[str]:
    """Arguments that the tests did not use, each of a kind that they did.

    Whole arguments of different calls are put together, and a number, a list of numbers or a
    graph is changed a little; so that a right repair, however written, has to know them.
    """
    values = [ast.literal_eval(each) for each in recorded]
    old, new = set(recorded), dict[str, None]()
    for _ in range(count * 8):
        width = len(draw.choice(values))
        alike = [each for each in values if len(each) == width]
        made = [draw.choice(alike)[place] for place in range(width)]
        if made and draw.random() < 0.7:
            place = draw.randrange(len(made))
            made[place] = _near(made[place], draw)
        text = repr(tuple(made))
        if text not in old and len(new) < count:
            new[text] = None
    return list(new)


def _near(value: Any, draw: random.Random) -> Any:
    if type(value) is int:
        return value + draw.choice((-2, -1, 1, 2, 3))
    if type(value) is float:
        return value + draw.choice((-0.5, 0.25, 1.0))
    if type(value) is list and value and all(type(each) is int for each in value):
        place = draw.randrange(len(value))
        return [*value[:place], max(0, value[place] + draw.choice((-1, 1))), *value[place + 1 :]]
    if isinstance(value, tuple) and len(value) == 5 and value[0] == GRAPH and value[4]:
        edges = list(value[4])
        edges.pop(draw.randrange(len(edges)))
        return (*value[:4], edges)
    return value

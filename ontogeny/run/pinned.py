"""Plans pinned in a store: made once for a recipe and a budget, then only read.

The machine is measured by a function that is handed in, so this module needs no torch.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from ontogeny.base.errors import CorruptArtifact, InputError
from ontogeny.base.files import read_json, require_directory, write_json
from ontogeny.base.store import Store
from ontogeny.plan.budget import parse
from ontogeny.plan.plan import Machine, Plan, resolve

DEFAULT_BUDGET = "10m"
CURRENT = "current.json"


def pinned_plan(
    store: Store,
    recipe: str,
    budget: str | None,
    file: Path | None,
    replan: bool,
    calibrate: Callable[[], Machine],
) -> Plan:
    """The plan to use: from `file`, pinned earlier, or made now and pinned.

    Without a budget the last one used for this recipe in this store is meant.

    Raises:
        InputError: when the budget or the plan file is wrong.
    """
    directory = store.plans / recipe
    require_directory(directory)
    if file is not None:
        if budget is not None or replan:
            raise InputError("--plan replays a plan; leave out --budget and --replan")
        return _use(directory, read_plan(file))
    current = directory / CURRENT
    if budget is None:
        last = read_plan(current) if current.exists() else None
        if last is not None and not replan:
            return last
        budget = last.budget if last is not None else DEFAULT_BUDGET
    wanted = parse(budget)
    pinned = directory / f"{wanted.text.replace(':', '_')}.json"
    if pinned.exists() and not replan:
        return _use(directory, read_plan(pinned))
    plan = resolve(wanted, calibrate())
    write_json(pinned, plan.to_dict())
    return _use(directory, plan)


def read_plan(path: Path) -> Plan:
    """The plan in `path`.

    Raises:
        InputError: when there is none or it does not fit.
    """
    if not path.is_file():
        raise InputError("no such plan file; check the path", file=path)
    try:
        values = read_json(path)
    except CorruptArtifact as error:
        raise InputError("not JSON; give a plan file", file=path, line=error.line) from None
    return Plan.from_dict(values, file=str(path))


def _use(directory: Path, plan: Plan) -> Plan:
    current = directory / CURRENT
    if not current.exists() or read_plan(current) != plan:
        write_json(current, plan.to_dict())
    return plan

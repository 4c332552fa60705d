"""Whatever a model can be trained in, by name: tasks with one answer and tasks done with tools.

Knows no model. What each is called stands in `catalogue`; a user's own come from artifacts.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TypeAlias

from ontogeny.base.artifact import Artifact
from ontogeny.environments.catalogue import TOOLED
from ontogeny.environments.environment import Environment
from ontogeny.environments.own import check_names, environments_of
from ontogeny.environments.tooled import ToolEnvironment

Playable: TypeAlias = Environment | ToolEnvironment


def check_playable(names: Iterable[str]) -> None:
    """Refuses names that nothing has; a user's own are not known yet.

    Raises:
        InputError: there is no environment of that name, with tools or without.
    """
    check_names(name for name in names if name not in TOOLED)


def playable(names: Iterable[str], artifacts: Sequence[Artifact] = ()) -> dict[str, Playable]:
    """What is called by these names, in their order.

    Args:
        artifacts: tasks artifacts, which bring the environments called `tasks/NAME`.

    Raises:
        InputError: there is none of that name, or two artifacts bring it.
    """
    names = list(names)
    asked = environments_of([name for name in names if name not in TOOLED], artifacts)
    found: Mapping[str, Playable] = {**TOOLED, **asked}
    return {name: found[name] for name in names}

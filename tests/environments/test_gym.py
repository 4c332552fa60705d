"""Claims about the adapter to reasoning-gym."""

from __future__ import annotations

import pytest

from ontogeny.base.errors import InputError
from ontogeny.environments.environment import SPLITS

pytest.importorskip("reasoning_gym")
gym = pytest.importorskip("ontogeny.environments.gym")


@pytest.mark.parametrize("name", gym.EASY)
def test_gold_scores_one_and_splits_share_no_question(name: str) -> None:
    each = gym.GymEnvironment(name)
    each.validate()
    prompts = [{task.prompt for task in each.tasks(split, 15, 0)} for split in SPLITS]
    assert len(set().union(*prompts)) == sum(map(len, prompts))
    assert each.tasks("train", 5, 3) == each.tasks("train", 5, 3)
    for task in each.tasks("exam", 5, 0):
        assert each.score(task, task.answer) == 1.0
        assert each.score(task, "nothing of the kind") < 1.0


def test_an_unknown_dataset_is_one_line() -> None:
    with pytest.raises(InputError, match="no dataset 'nothing'"):
        gym.GymEnvironment("nothing").tasks("train", 1, 0)

"""Every attack of the battery is contained, gets its verdict, and leaves a worker that serves."""

from __future__ import annotations

import dataclasses

import pytest
from rollout.sandbox.attacks import ATTACKS, Attack
from rollout.sandbox.conftest import LIMITS, Blocking


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
def test_an_attack_is_contained(sandbox: Blocking, attack: Attack) -> None:
    limits = dataclasses.replace(LIMITS, **attack.limits)
    result = sandbox.run(attack.program, stdin=attack.stdin, limits=limits)
    assert b"ESCAPED" not in result.stdout + result.stderr, result.stdout
    assert result.verdict in attack.verdicts, result
    if attack.contained:
        assert result.stdout.endswith(b"contained\n"), result
    if result.verdict == "output limit":
        assert result.truncated
        assert max(len(result.stdout), len(result.stderr)) == limits.output_bytes
    after = sandbox.run("import os; print(os.listdir('/tmp'))")
    assert (after.verdict, after.stdout) == ("ok", b"['main.py']\n")

"""`ontogeny doctor` says whether model-written programs are contained here, and what lacks."""

from __future__ import annotations

import os
import shutil

import pytest

from ontogeny.cli import doctor_machine


def test_without_bubblewrap_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    (finding,) = doctor_machine.sandbox()
    assert finding.state == "note"
    assert "apt-get install bubblewrap" in finding.text or "needs Linux" in finding.text


def test_it_names_the_tier_that_is_reached() -> None:
    if shutil.which("bwrap") is None and os.environ.get("CI_SANDBOX") != "1":
        pytest.skip("bubblewrap is not installed")
    (finding,) = doctor_machine.sandbox()
    assert "are contained (tier " in finding.text
    assert (finding.state == "ok") == ("tier 1" in finding.text)

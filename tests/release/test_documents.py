"""Several documents, one rule: what the card names is there, and what is there is named."""

from pathlib import Path

import pytest
from release.tampering import CARD, check, refused, seal_again

LATER = ("USAGE_POLICY.md", "COSTS.md", "bom.cdx.json")


def test_a_bundle_from_before_these_documents_is_whole(bundle: Path) -> None:
    text = (bundle / CARD).read_text()
    kept = [
        line
        for line in text.split("\n")
        if "It is a draft" not in line and not any(f"({name})" in line for name in LATER)
    ]
    (bundle / CARD).write_text("\n".join(kept))
    for name in LATER:
        (bundle / name).unlink()
    seal_again(bundle, CARD)
    assert "SYSTEM_CARD.md" not in {path.name for path in bundle.iterdir()}
    assert check(bundle)["card"] > 100


@pytest.mark.parametrize("name", ["USAGE_POLICY.md", "COSTS.md"])
def test_a_document_that_the_card_names_is_there(bundle: Path, name: str) -> None:
    (bundle / name).unlink()
    seal_again(bundle)
    assert f"points to '{name}', which is no file of this bundle" in refused(bundle)


def test_a_document_in_no_utf8_is_refused(bundle: Path) -> None:
    (bundle / "COSTS.md").write_bytes(b"# Costs: \xff\n")
    seal_again(bundle, "COSTS.md")
    assert "COSTS.md:1: the document is not UTF-8" in refused(bundle)


def test_costs_that_break_off_are_refused_by_their_line(bundle: Path) -> None:
    lines = (bundle / "COSTS.md").read_text().split("\n")[:9]
    (bundle / "COSTS.md").write_text("\n".join(lines) + "\n")
    seal_again(bundle, "COSTS.md")
    assert "COSTS.md:10: breaks off" in refused(bundle)

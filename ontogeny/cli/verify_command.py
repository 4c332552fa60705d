"""`ontogeny verify`: whether a bundle is what it says."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from ontogeny.base.errors import printable
from ontogeny.base.store import Store
from ontogeny.release.check import check_bundle


def verify(bundle: Path, store: Path | None, *, as_json: bool) -> None:
    """Prints one line for each group of checks that passed, and one at the end.

    Raises:
        InputError: there is no bundle, or no such store.
        CorruptArtifact: FILE:LINE of the first thing that is not as it should be.
    """
    checks = check_bundle(bundle, Store.open(store) if store else None)
    if as_json:
        found = [asdict(check) for check in checks]
        print(json.dumps({"bundle": str(bundle), "whole": True, "checks": found}, indent=1))
        return
    for check in checks:
        print(printable(f"{check.name:<9} {check.line}"), flush=True)
    print(printable(f"{bundle} is whole, and its card says what its evidence says"))

"""`ontogeny verify`: whether a bundle is what it says, who signed it, what measures again."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ontogeny.base.errors import printable
from ontogeny.base.store import Store
from ontogeny.release.check import Check, Signed, check_bundle

if TYPE_CHECKING:
    from ontogeny.cli.rerun import Again


@dataclass(frozen=True)
class Asked:
    """What the command line said: `rerun` are measurements by name or id."""

    key: Path | None
    store: Path | None
    rerun: tuple[str, ...] = ()


def verify(bundle: Path, asked: Asked, *, as_json: bool) -> int:
    """Prints one line for each group of checks that passed, and one at the end.

    Returns:
        0, or 1 where a measurement was made again and came to something else.

    Raises:
        InputError: there is no bundle, no such store, or no such key.
        CorruptArtifact: FILE:LINE of the first thing that is not as it should be.
    """
    store = Store.open(asked.store) if asked.store else None
    checks: list[Check] = []
    for check in check_bundle(bundle, store, signed_by(asked.key)):
        checks.append(check)
        if not as_json:
            print(printable(f"{check.name:<9} {check.line}"), flush=True)
    if not as_json:
        print(printable(f"{bundle} is whole, and its card says what its evidence says"), flush=True)
    again = list(_again(bundle, asked.rerun, store, as_json=as_json))
    if as_json:
        found: dict[str, Any] = {"bundle": str(bundle), "whole": True}
        found["checks"] = [asdict(check) for check in checks]
        if asked.rerun:
            found["rerun"] = [each.values() for each in again]
        print(json.dumps(found, indent=1))
    return 0 if all(each.same for each in again) else 1


def _again(
    bundle: Path, references: Sequence[str], store: Store | None, *, as_json: bool
) -> Iterator[Again]:
    """Makes measurements again, one after the other, and tells each as it is done."""
    if not references:
        return
    from ontogeny.cli.rerun import measure_again

    for reference in references:
        again = measure_again(bundle, reference, store)
        if not as_json:
            for line in again.lines():
                print(printable(f"rerun     {line}"), flush=True)
        yield again


def signed_by(key: Path | None) -> Signed | None:
    """How a signature of this key's owner is checked; the library is asked for only then."""
    if key is None:
        return None
    from ontogeny.release.signing import PublicKey

    return PublicKey(key).signed

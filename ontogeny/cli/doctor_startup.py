"""What `ontogeny doctor` says of files by which code runs at every start of Python.

In a directory of packages each line of a `*.pth` file that begins with `import` is run, and each
other one adds a path to search (module `site` of Python's library); so malware that came with a
package stays. Each is named here with the package that lists it and whether it is as installed.
"""

from __future__ import annotations

import base64
import hashlib
import importlib.util
import site
import sys
from collections.abc import Iterator, Sequence
from importlib import metadata
from pathlib import Path

from ontogeny.cli.amounts import counted
from ontogeny.cli.finding import Finding

SECTION = "startup"
CUSTOM = ("sitecustomize", "usercustomize")
UNKNOWN = "look what it does, and delete it unless you know it"


def startup(directories: Sequence[Path] | None = None) -> Iterator[Finding]:
    """Every `*.pth` file of this Python's package directories, and modules that `site` imports."""
    places = list(dict.fromkeys(_searched() if directories is None else directories))
    owners = _owners(places)
    found = [path for place in places for path in sorted(place.glob("*.pth"))]
    for path in found:
        yield _about(path, owners.get(path.resolve()))
    if not found:
        yield Finding(SECTION, "ok", "no .pth files: no package runs code at every start")
    for name in CUSTOM:
        spec = importlib.util.find_spec(name)
        if spec is not None:
            text = f"{name} ({spec.origin}) runs at every start of Python"
            yield Finding(SECTION, "note", text, UNKNOWN)


def _searched() -> list[Path]:
    """The directories whose `.pth` files this Python reads."""
    places = site.getsitepackages() if hasattr(site, "getsitepackages") else []
    if site.ENABLE_USER_SITE:
        places = [*places, site.getusersitepackages()]
    return [Path(place) for place in places if place in sys.path and Path(place).is_dir()]


def _owners(places: Sequence[Path]) -> dict[Path, tuple[str, str]]:
    """File -> (package and version, sha256 as its RECORD spells it)."""
    owners = {}
    for package in metadata.distributions(path=[str(place) for place in places]):
        for each in package.files or ():
            if each.suffix == ".pth":
                name = f"{package.metadata['Name']} {package.version}"
                value = each.hash.value if each.hash and each.hash.mode == "sha256" else ""
                owners[Path(str(each.locate())).resolve()] = name, value
    return owners


def _about(path: Path, owner: tuple[str, str] | None) -> Finding:
    data = path.read_bytes()
    lines = [line.strip() for line in data.decode("utf-8", "replace").splitlines()]
    runs = [line for line in lines if line.startswith(("import ", "import\t"))]
    adds = [line for line in lines if line and not line.startswith(("#", "import ", "import\t"))]
    does = (
        [f"runs {counted(len(runs), 'line')} of code at every start: {runs[0][:70]}"]
        if runs
        else []
    )
    does += [f"adds {', '.join(adds)} to the places to search"] if adds else []
    what = f"{path.name}: {'; '.join(does) or 'does nothing'}"
    if owner is None:
        return Finding(SECTION, "note", f"{what}; no installed package lists it", UNKNOWN)
    name, expected = owner
    actual = base64.urlsafe_b64encode(hashlib.sha256(data).digest()).decode().rstrip("=")
    if expected and actual != expected:
        return Finding(SECTION, "note", f"{what}; not the file that {name} installed", UNKNOWN)
    return Finding(SECTION, "ok", f"{what}; of {name}")

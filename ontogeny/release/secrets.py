"""Whether something that leaves this machine holds a secret. Knows no bundle but its files.

Two ways to know one: by its form (keys of clouds, hubs and APIs, private keys), and because it
stands in this process's environment under a name that says so.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from ontogeny.base.errors import InputError
from ontogeny.corpus.scrub import KEY

SAYS_SO = re.compile(r"(?i)(^|_)(key|token|secret|password|passwd|credentials?)(_|$)")
SHORTEST = 12  # of a value of the environment; shorter ones stand in texts by chance
NOT_READ = (".safetensors", "tokenizer.json")
"""Weights are numbers, and a vocabulary is pieces of words."""


def refuse_secrets(directory: Path, environment: Mapping[str, str]) -> None:
    """Looks through every file below `directory`.

    Raises:
        InputError: FILE:LINE of the first secret, which is not printed.
    """
    known = {
        value: name
        for name, value in environment.items()
        if SAYS_SO.search(name) and len(value) >= SHORTEST
    }
    for path in sorted(directory.rglob("*")):
        if path.is_file() and not path.name.endswith(NOT_READ):
            for line, what in secrets_in(path.read_text("utf-8", errors="replace"), known):
                raise InputError(
                    f"{what} stands here and would leave this machine; take it out of what this "
                    "comes from (your words, or the config of the artifact, made anew)",
                    file=path.relative_to(directory),
                    line=line,
                )


def secrets_in(text: str, known: Mapping[str, str]) -> Iterator[tuple[int, str]]:
    """(line, what it is) of each secret in a text; `known` are values by the name of each."""
    for found in KEY.pattern.finditer(text):
        yield text.count("\n", 0, found.start()) + 1, f"a key ({found.group()[:4]}...)"
    for value, name in known.items():
        at = text.find(value)
        if at >= 0:
            yield text.count("\n", 0, at) + 1, f"the value of ${name}"

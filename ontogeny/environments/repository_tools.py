"""The tools of who repairs a repository, and what they do to a checkout's text.

Knows no task and no sandbox: whatever runs code is elsewhere.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.environments.checkout import MOST_SHOWN, Checkout
from ontogeny.environments.session import Call
from ontogeny.rollout.tools import TEXT, Tool

LINE = {"type": "integer", "minimum": 0}
LONG = {"type": "string", "maxLength": 20_000}
TOOLS = (
    Tool("list", "Lists the files of a folder.", {"folder": TEXT}, optional=("folder",)),
    Tool(
        "read",
        f"Shows lines of a file, numbered, at most {MOST_SHOWN}.",
        {"file": TEXT, "first": LINE, "last": LINE},
        optional=("first", "last"),
    ),
    Tool(
        "search",
        "Finds the lines that hold a text, literally.",
        {"text": TEXT, "folder": TEXT},
        optional=("folder",),
    ),
    Tool(
        "edit",
        "Puts new text in the place of old text that stands once in a file.",
        {"file": TEXT, "old": LONG, "new": LONG},
        changes=True,
    ),
    Tool(
        "rewrite",
        "Puts new lines in the place of the lines first to last of a file.",
        {"file": TEXT, "first": LINE, "last": LINE, "new": LONG},
        changes=True,
    ),
    Tool(
        "run",
        "Runs tests (FILE::test), or with none named all that belong to the issue.",
        {"tests": {"type": "array", "items": TEXT, "maxItems": 20}},
        optional=("tests",),
    ),
    Tool("submit", "Hands the work in.", {}, ends=True),
)
TOLD = (
    "You repair a Python package. Read the issue, find the fault in the package's source, repair "
    "it there, run the tests, and submit. The tests are put back as they were before your work is "
    "judged, and the function is also tried on other inputs."
)


def act(checkout: Checkout, call: Call) -> str:
    """A tool that only reads or edits text.

    Raises:
        InputError: it cannot be done; the agent reads why.
    """
    given: Mapping[str, Any] = call.arguments
    match call.name:
        case "list":
            return checkout.listed(given.get("folder", ""))
        case "read":
            first = max(1, given.get("first", 1))
            return checkout.window(given["file"], first, given.get("last", first + MOST_SHOWN))
        case "search":
            return checkout.found(given["text"], given.get("folder", ""))
        case "edit":
            return checkout.replace(given["file"], given["old"], given["new"])
        case "rewrite":
            return checkout.rewrite(given["file"], given["first"], given["last"], given["new"])
        case "submit":
            return "submitted"
    raise InputError(f"there is no tool {call.name!r}")

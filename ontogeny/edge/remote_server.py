"""What answers at a URL: which server, which model, how long its context is, whose tokenizer.

Knows no requests; `remote_chat` and `remote_tokens` say how each kind of server is asked.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ontogeny.base.errors import InputError
from ontogeny.edge.remote_asking import Asker
from ontogeny.edge.remote_config import Kind
from ontogeny.edge.remote_usage import count
from ontogeny.text.tokenizer import Tokenizer

_OWNERS: Mapping[str, Kind] = {
    "vllm": "vllm",
    "llamacpp": "llama.cpp",
    "library": "ollama",
}
"""What servers call the owner of their models, in the list of them."""
PROBE = (
    "In 2024, don't panic:\n\tprint(f'{x:>3}')  # 3.14 < 22/7\r\n\n"
    "Größe, наука, 東京都, नमस्ते, 👩‍🚀 — end"
)
"""Letters, digits, spaces, marks and scripts that tokenizers cut in ways of their own."""


@dataclass(frozen=True, slots=True)
class Served:
    """What a server serves.

    Attributes:
        kind: of the server.
        model: its name there.
        context: tokens of prompt and answer together; None where the server does not say.
        notes: what could not be checked, a sentence each.
    """

    kind: Kind
    model: str
    context: int | None
    notes: tuple[str, ...]


async def served(asker: Asker) -> Served:
    """Asks the server for its models, and sees what it is.

    Raises:
        InputError: it cannot be reached, has no such model, or several where none is named.
    """
    config, address = asker.config, asker.client.address
    listed = _entries(await asker.look("GET", f"{address.path}/models"))
    asker.models = tuple(str(each.get("id", ""))[:200] for each in listed)
    notes = []
    model = config.model
    if not listed:
        if not model:
            raise InputError("the server lists no models; name one", file=address.url)
        notes.append("the server lists no models: the name of this one is not checked")
    if not model and len(listed) > 1:
        names = ", ".join(asker.models[:8]) + (", ..." if len(listed) > 8 else "")
        raise InputError(f"the server has several models; name one: {names}", file=address.url)
    entry = next((each for each in listed if model in ("", *_names(each))), None)
    if entry is None and listed:
        if config.server != "other" and not address.host.endswith("openai.com"):
            raise asker.missing()
        notes.append(f"the server does not list '{model}'")  # some answer to more than they list
    if config.key_variable and not address.secure and not address.loopback:
        notes.append(f"the key travels unencrypted to {address.host}")
    kind = config.server if config.server != "auto" else _kind(entry, address.host)
    asker.model = model or str((entry or {}).get("id", ""))
    return Served(kind, asker.model, _context(entry), tuple(notes))


async def check_tokenizer(asker: Asker, server: Served, tokenizer: Tokenizer) -> str:
    """Compares ids and special tokens on both sides; what could not be compared, or "".

    Raises:
        InputError: the server's tokenizer is another.
    """
    root = asker.client.address.root
    special = tokenizer.end_of_turn
    if server.kind == "vllm":
        text = {"model": server.model, "prompt": PROBE, "add_special_tokens": False}
        ids: dict[str, Any] = {"model": server.model, "tokens": [special]}
        spelled_in = "prompt"
    else:
        text = {"content": PROBE, "add_special": False, "parse_special": False}
        ids, spelled_in = {"tokens": [special]}, "content"
    answer = await asker.look("POST", f"{root}/tokenize", text)
    spelled = await asker.look("POST", f"{root}/detokenize", ids)
    if answer is None or spelled is None:
        return (
            "the server has no /tokenize: that its tokenizer is ours is only seen from its "
            "answers' ids lying in our vocabulary"
        )
    said = spelled.get(spelled_in)
    if answer.get("tokens") != tokenizer.encode(PROBE) or (
        said != tokenizer.token_bytes(special).decode("utf-8", "replace")
    ):
        raise InputError(
            "the server's tokenizer gives other ids than ours; serve the model that this tokenizer "
            "came with, or ask by messages (speaks=chat)",
            file=asker.client.address.url,
        )
    return ""


def _entries(answer: Any) -> list[Mapping[str, Any]]:
    found = answer.get("data") if isinstance(answer, dict) else None
    return [each for each in found if isinstance(each, dict)] if isinstance(found, list) else []


def _names(entry: Mapping[str, Any]) -> Sequence[str]:
    """What a model answers to; Gemini's list says "models/NAME"."""
    name, aliases = str(entry.get("id", "")), entry.get("aliases")
    others = [str(each) for each in aliases] if isinstance(aliases, list) else []
    return name, name.removeprefix("models/"), *others


def _kind(entry: Mapping[str, Any] | None, host: str) -> Kind:
    owner = str((entry or {}).get("owned_by", ""))
    return "openai" if host.endswith("openai.com") else _OWNERS.get(owner, "other")


def _context(entry: Mapping[str, Any] | None) -> int | None:
    """vLLM says it beside the model's name, llama.cpp in `meta`."""
    meta = (entry or {}).get("meta")
    found = (entry or {}).get("max_model_len")
    if found is None and isinstance(meta, dict):
        found = meta.get("n_ctx")
    return count(found) or None

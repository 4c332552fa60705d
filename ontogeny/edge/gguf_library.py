"""The one module that imports the gguf library (extra `gguf`). Knows no model."""

from __future__ import annotations

from ontogeny.base.errors import InputError

try:
    import gguf
except ImportError:
    raise InputError(
        "reading and writing GGUF needs gguf; run: pip install 'ontogeny[gguf]'"
    ) from None

__all__ = ["gguf"]

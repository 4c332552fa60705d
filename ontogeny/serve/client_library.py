"""The one module that imports httpx2 (extra `serve`)."""

from __future__ import annotations

from ontogeny.base.errors import InputError

try:
    import httpx2
except ImportError:
    raise InputError("a backend needs httpx2; run: pip install 'ontogeny[serve]'") from None

__all__ = ["httpx2"]

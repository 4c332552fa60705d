"""Open weights, wherever they lie -> form, numbers under Hugging Face's names, tokenizer's files.

Knows no store and no torch. A tensor is read when it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ontogeny.edge.source import Source
from ontogeny.plan.shape import Shape

Floats = npt.NDArray[np.float32]


@dataclass(frozen=True)
class OpenWeights:
    """A model that was trained elsewhere.

    Args:
        shape: its form.
        specials: ids under "bos_token_id", "eos_token_id", "pad_token_id"; absent ones None.
        shapes: Hugging Face name -> shape of every tensor it holds.
        load: the float32 numbers of one of them.
        tokenizer: file name -> bytes, as they are to be written.
        dtypes: types of its matrices, the most frequent first, as its format spells them.
        config: the config.json that it came with; None where there was none.
        title, licence: what it says of itself; "" where it does not. Never where it lies.
        notes: what was left out, one phrase each.
    """

    shape: Shape
    specials: Mapping[str, int | list[int] | None]
    shapes: Mapping[str, tuple[int, ...]]
    load: Callable[[str], Floats]
    tokenizer: Mapping[str, bytes]
    dtypes: tuple[str, ...]
    config: Mapping[str, Any] | None = None
    title: str = ""
    licence: str = ""
    notes: tuple[str, ...] = ()


def open_weights(source: Source) -> OpenWeights:
    """What lies at `source`.

    Raises:
        InputError: it is of a family, a type or a tokenizer that is not read.
        CorruptArtifact: a file is not what it says.
    """
    if source.is_gguf:
        from ontogeny.edge.gguf_file import read_gguf

        return read_gguf(source.path)
    from ontogeny.edge.hf_directory import read_directory

    return read_directory(source)


def by_frequency(kinds: list[str]) -> tuple[str, ...]:
    """Each kind once, the most frequent first."""
    return tuple(sorted(set(kinds), key=lambda kind: (-kinds.count(kind), kind)))

"""What a stage did to the weights: how far, in how many directions, in which.

Knows no data and no text; takes two sets of weights with the same names and shapes.

All differences are taken in float64 of fp32 weights, where they are exact. Stored in bf16, small
changes round to none: shares of "unchanged" weights measured there are an artefact of the format
(Shenfeld et al. 2025, arXiv:2509.04259, section 6), which is why two thresholds are reported.

Shape suffixes: M rows (outputs) and N columns (inputs) of a matrix, K singular values, k leading.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from ontogeny.base.errors import InputError

Kind = Literal["embeddings", "attention", "feed-forward", "norms"]
KINDS: tuple[Kind, ...] = ("embeddings", "attention", "feed-forward", "norms")
VISIBLE = 1e-5
"""A weight moved visibly when it moved by more than this share of its matrix's rms."""
LEADING = 8
"""Singular directions whose overlap is taken."""

EMBEDDING, HEAD = "model.embed_tokens.weight", "lm_head.weight"
_LAYER = re.compile(r"model\.layers\.(\d+)\.")


@dataclass(frozen=True, slots=True)
class Spectrum:
    """The singular values of a matrix's change; all 0 where nothing changed.

    Args:
        spectral: the largest, ||dW||_2.
        stable_rank: ||dW||_F^2 / ||dW||_2^2, between 1 and the rank.
        effective_rank: exp(H(s / sum(s))), H the entropy in nats (Roy and Vetterli 2007, "The
            effective rank", definition 1); 1 for one direction, the width for equal ones.
        overlap: ||U_W^T U_dW||_F^2 / k: the share of the change's k leading left directions that
            lies within W's leading ones.
        chance: the overlap expected of directions drawn at random.
    """

    spectral: float
    stable_rank: float
    effective_rank: float
    overlap: float
    chance: float


@dataclass(frozen=True, slots=True)
class Change:
    """What happened to one weight.

    Args:
        name: under Hugging Face names.
        elements: numbers in it.
        moved: ||dW||_F.
        size: ||W||_F before.
        changed: elements that are not equal to the bit.
        visible: elements that moved by more than `VISIBLE` x the rms of W.
        spectrum: None for vectors, which have one direction by construction.
    """

    name: str
    elements: int
    moved: float
    size: float
    changed: int
    visible: int
    spectrum: Spectrum | None

    @property
    def kind(self) -> Kind:
        """The part of the model that it belongs to."""
        if self.name in (EMBEDDING, HEAD):
            return "embeddings"
        if self.name.endswith("norm.weight"):
            return "norms"
        return "attention" if ".self_attn." in self.name else "feed-forward"

    @property
    def layer(self) -> str:
        """`layer 0`, `layer 1` ..., or `embedding`, `head`, `final norm` outside the layers."""
        inside = _LAYER.match(self.name)
        if inside:
            return f"layer {inside[1]}"
        return {EMBEDDING: "embedding", HEAD: "head"}.get(self.name, "final norm")

    @property
    def relative(self) -> float:
        """||dW||_F / ||W||_F."""
        return relative(self.moved, self.size)


@dataclass(frozen=True, slots=True)
class Group:
    """Several weights taken together.

    Args:
        name: of the group.
        elements: numbers in it.
        relative: ||dW||_F / ||W||_F over all of them.
        changed: share of elements that are not equal to the bit.
        visible: share that moved visibly, see `VISIBLE`.
        spectrum: the largest spectral norm and the plain means of the rest over those of the
            group's matrices that changed; None where it has no matrix.
    """

    name: str
    elements: int
    relative: float
    changed: float
    visible: float
    spectrum: Spectrum | None


def relative(moved: float, size: float) -> float:
    """moved / size; 0 where nothing moved, infinite where something came out of nothing."""
    if moved == 0:
        return 0.0
    return moved / size if size > 0 else math.inf


def weight_changes(before: Mapping[str, Tensor], after: Mapping[str, Tensor]) -> list[Change]:
    """The change of every weight, in the order of `before`.

    Two singular value decompositions a matrix, in float64: 0.1 s for 1.3 M parameters on one
    core, O(M N min(M, N)) beyond.

    Args:
        before: Hugging Face name -> weight.
        after: the same names and shapes.

    Raises:
        InputError: a name or a shape differs.
    """
    for name in sorted(before.keys() ^ after.keys()):
        where = "second" if name in before else "first"
        raise InputError(f"the {where} model has no weight '{name}'; compare models of one shape")
    for name, weight in before.items():
        if weight.shape != after[name].shape:
            raise InputError(
                f"'{name}' is {list(weight.shape)} in the first model and "
                f"{list(after[name].shape)} in the second; compare models of one shape"
            )
    return [_change(name, before[name], after[name]) for name in before]


def by_layer(changes: Iterable[Change]) -> list[Group]:
    """One group a layer; embedding, head and final norm stand beside the layers."""
    groups: dict[str, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.layer, []).append(change)
    return [together(name, members) for name, members in groups.items()]


def by_kind(changes: Iterable[Change]) -> list[Group]:
    """One group each of `KINDS` that there is."""
    groups: dict[Kind, list[Change]] = {}
    for change in changes:
        groups.setdefault(change.kind, []).append(change)
    return [together(kind, groups[kind]) for kind in KINDS if kind in groups]


def together(name: str, changes: Iterable[Change]) -> Group:
    """All of `changes` as one group."""
    members = list(changes)
    elements = sum(change.elements for change in members)
    spectra = [change.spectrum for change in members if change.spectrum is not None]
    return Group(
        name=name,
        elements=elements,
        relative=relative(
            math.hypot(*(change.moved for change in members)),
            math.hypot(*(change.size for change in members)),
        ),
        changed=sum(change.changed for change in members) / elements,
        visible=sum(change.visible for change in members) / elements,
        spectrum=_mean(spectra) if spectra else None,
    )


@torch.no_grad()
def _change(name: str, before: Tensor, after: Tensor) -> Change:
    weight, change = before.double(), after.double() - before.double()
    moved, size = float(change.norm()), float(weight.norm())
    threshold = VISIBLE * size / math.sqrt(weight.numel())
    return Change(
        name=name,
        elements=weight.numel(),
        moved=moved,
        size=size,
        changed=int((change != 0).sum()),
        visible=int((change.abs() > threshold).sum()),
        spectrum=_spectrum(weight, change) if weight.ndim == 2 else None,
    )


def _spectrum(weight_MN: Tensor, change_MN: Tensor) -> Spectrum:
    rows = len(weight_MN)
    change_Mk, values_K = _leading(change_MN)
    weight_Mk, _ = _leading(weight_MN)
    chance = weight_Mk.shape[1] / rows
    if not change_Mk.shape[1]:
        return Spectrum(0.0, 0.0, 0.0, 0.0, chance)
    share_K = values_K / values_K.sum()
    overlap = (weight_Mk.T @ change_Mk).square().sum() / change_Mk.shape[1]
    return Spectrum(
        spectral=float(values_K[0]),
        stable_rank=float((values_K / values_K[0]).square().sum()),
        effective_rank=float(torch.special.entr(share_K).sum().exp()),
        overlap=float(overlap),
        chance=chance,
    )


def _leading(matrix_MN: Tensor) -> tuple[Tensor, Tensor]:
    """(left_Mk, values_K): at most `LEADING` left directions, none that is only rounding."""
    left_MK, values_K, _ = torch.linalg.svd(matrix_MN, full_matrices=False)
    noise = values_K[0] * max(matrix_MN.shape) * torch.finfo(matrix_MN.dtype).eps
    return left_MK[:, : min(LEADING, int((values_K > noise).sum()))], values_K


def _mean(spectra: list[Spectrum]) -> Spectrum:
    spectra = [each for each in spectra if each.spectral > 0] or spectra[:1]
    count = len(spectra)
    return Spectrum(
        spectral=max(each.spectral for each in spectra),
        stable_rank=sum(each.stable_rank for each in spectra) / count,
        effective_rank=sum(each.effective_rank for each in spectra) / count,
        overlap=sum(each.overlap for each in spectra) / count,
        chance=sum(each.chance for each in spectra) / count,
    )

"""Continuous batching over fixed slots: prompts are read, then every row gains a token a step.

Knows no text, no clock and no event loop: somebody submits, steps and reads the handles.

Two ways to admit what waits:

*lockstep* (the default): up to `slots` requests make a wave; nobody joins or leaves the batch
before all of the wave have ended (rows that end early are computed on and ignored). Every tensor
then has a shape that follows from the prompts of the wave alone, so a request's tokens and
log-probs are bitwise the same whatever the seeds and rules of the others in its wave are. They do
depend, in the last bits, on which prompts share the wave and in which order.

*ready*: a request is admitted as soon as a slot is free, and its row leaves when it ends. No work
is wasted; a row's logits differ in the last bits with the company it keeps.

Shapes: B rows, T tokens of a row, V vocabulary.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Literal

import torch
from torch import Tensor

from ontogeny.base.errors import InputError
from ontogeny.infer.sampling import choose
from ontogeny.infer.slots import Slots
from ontogeny.model.transformer import State, Transformer
from ontogeny.plan.sampling import Sampling

Finish = Literal["stop", "length", "context", "cancelled"]
GROWTH = 256
"""Tokens by which the caches' length grows."""


@dataclass(slots=True, eq=False)
class Handle:
    """One submitted request and what it has received so far.

    Attributes:
        ids: sampled tokens, a stop token included.
        log_probs: of each, in nats, under the unmodified distribution.
        versions: of the weights, at each token.
        finish: None while it runs; "context" when prompt and completion fill the slot.
    """

    prompt: tuple[int, ...]
    max_tokens: int
    sampling: Sampling
    stop: frozenset[int]
    ids: list[int] = field(default_factory=list)
    log_probs: list[float] = field(default_factory=list)
    versions: list[int] = field(default_factory=list)
    finish: Finish | None = None
    slot: int = -1
    read: int = 0
    """Prompt tokens that are in the cache."""


class Engine:
    """Generates for many requests at once.

    Args:
        model: on its device, in its dtype; evaluated under `torch.inference_mode`.
        slots: most requests in flight.
        length: most tokens of prompt and completion together, at most the model's context. The
            caches grow with what is asked for, up to `slots` times this.
        admission: see the module.
        prefill_tokens: most prompt tokens (padding included) read by one call of the model.
        version: of the weights; written to every token. Set it when the weights change.
    """

    def __init__(
        self,
        model: Transformer,
        slots: int,
        length: int,
        *,
        admission: Literal["lockstep", "ready"] = "lockstep",
        prefill_tokens: int = 4096,
        version: int = 0,
    ) -> None:
        if slots < 1 or length < 2 or prefill_tokens < 1:
            raise InputError("an engine needs 1 slot or more, of 2 tokens or more each")
        if length > model.shape.context:
            raise InputError(
                f"slots of {length} tokens exceed the model's context of {model.shape.context}; "
                "give a smaller length"
            )
        self.model = model
        self.length = length
        self.lockstep = admission == "lockstep"
        self.prefill_tokens = prefill_tokens
        self.version = version
        self.slots = Slots(slots)
        self._device = next(model.parameters()).device
        self._state = self._empty(0, 0)
        self._waiting: deque[Handle] = deque()
        self._rows: list[Handle] = []

    @property
    def busy(self) -> bool:
        """Whether a step would do something."""
        return bool(self._waiting or self._rows)

    def submit(
        self,
        prompt: Sequence[int],
        max_tokens: int,
        sampling: Sampling | None = None,
        stop: Iterable[int] = (),
    ) -> Handle:
        """Queue a request; it is admitted by a later `step`.

        A prompt that leaves no room in a slot ends at once: finish "context", no ids.

        Raises:
            InputError: when the prompt is empty or holds an id outside the vocabulary.
        """
        vocab_size = self.model.shape.vocab_size
        if not prompt or not 0 <= min(prompt) <= max(prompt) < vocab_size:
            raise InputError(f"a prompt needs one id or more, each of 0 to {vocab_size - 1}")
        handle = Handle(tuple(prompt), max_tokens, sampling or Sampling(), frozenset(stop))
        if len(prompt) >= self.length:
            handle.finish = "context"
        else:
            self._waiting.append(handle)
        return handle

    def cancel(self, handle: Handle) -> None:
        """Stop a request; what it received stays readable. Ended ones are left as they are."""
        if handle.finish is not None:
            return
        handle.finish = "cancelled"
        if handle.slot < 0:
            self._waiting.remove(handle)
        self._leave()

    @torch.inference_mode()
    def step(self) -> list[Handle]:
        """Admit what may come in, then read prompts and give each decoding row one token.

        Returns:
            The handles that gained a token, in the order of their slots; some have ended.

        Raises:
            InputError: when the model's logits are not finite; what is in flight is cancelled.
        """
        self._admit()
        decoding = [row for row in self._rows if row.ids]
        try:
            gained = self._read_prompts()
            if decoding:
                gained += self._decode(decoding)
        except InputError:
            self._begin_anew()
            raise
        self._leave()
        return gained

    def _begin_anew(self) -> None:
        """Cancels all rows and empties the caches: no mask hides a NaN that stays in them."""
        for row in self._rows:
            row.finish = row.finish or "cancelled"
        self._leave()
        self._state = self._empty(len(self._state.lengths), self._state.capacity)

    def _empty(self, slots: int, length: int) -> State:
        with torch.inference_mode():
            return self.model.new_state(slots, length)

    def _make_room(self) -> None:
        """Caches for all rows and for the longest that any of them may become."""
        slots, capacity = len(self._state.lengths), self._state.capacity
        wanted = max((len(row.prompt) + row.max_tokens for row in self._rows), default=0)
        longer = max(capacity, min(self.length, -(-wanted // GROWTH) * GROWTH))
        more = max([slots, *(row.slot + 1 for row in self._rows)])
        if (more, longer) == (slots, capacity):
            return
        old, self._state = self._state, self._empty(0, 0)
        if not any(old.lengths):
            del old  # both at once would be twice the memory
            self._state = self._empty(more, longer)
        else:
            self._state = self._empty(more, longer)
            self._state.take_over(old)

    def _admit(self) -> None:
        if self.lockstep and self._rows:
            return
        while self._waiting and len(self.slots):
            handle = self._waiting.popleft()
            handle.slot = self.slots.take()
            self._rows.append(handle)
        self._rows.sort(key=lambda row: row.slot)
        self._make_room()

    def _leave(self) -> None:
        """Free the slots of rows that ended: in lockstep of the whole wave, and only then."""
        if self.lockstep and any(row.finish is None for row in self._rows):
            return
        for row in self._rows:
            if row.finish is not None:
                self._state.free(row.slot)
                self.slots.give_back(row.slot)
        self._rows = [row for row in self._rows if row.finish is None]

    def _read_prompts(self) -> list[Handle]:
        """Read unread prompts: all of them in lockstep, one call's worth otherwise."""
        gained: list[Handle] = []
        while unread := [row for row in self._rows if row.read < len(row.prompt)]:
            gained += self._read_some(unread)
            if not self.lockstep:
                break
        return gained

    def _read_some(self, unread: list[Handle]) -> list[Handle]:
        """One call of the model: as many rows as fit, shortest rests first; equal prompts once."""
        leaders: dict[tuple[int, ...], list[Handle]] = {}
        for row in sorted(unread, key=lambda row: len(row.prompt) - row.read):
            leaders.setdefault(row.prompt if row.read == 0 else (row.slot,), []).append(row)
        groups: list[list[Handle]] = []
        width = 0
        for group in leaders.values():
            rest = min(len(group[0].prompt) - group[0].read, self.prefill_tokens)
            if groups and (len(groups) + 1) * max(width, rest) > self.prefill_tokens:
                break
            groups.append(group)
            width = max(width, rest)
        rows = [group[0] for group in groups]
        chunks = [row.prompt[row.read : row.read + width] for row in rows]
        logits_BV = self._extend(rows, chunks)
        done: list[Handle] = []
        picked: list[int] = []
        for index, (group, chunk) in enumerate(zip(groups, chunks, strict=True)):
            read = group[0].read + len(chunk)
            for row in group:
                if row is not group[0]:
                    self._state.copy_prefix(group[0].slot, row.slot, read)
                row.read = read
                if read == len(row.prompt):
                    done.append(row)
                    picked.append(index)
        self._give(done, logits_BV[picked])
        return done

    def _decode(self, rows: list[Handle]) -> list[Handle]:
        alive = [row for row in rows if row.finish is None]
        if not alive:
            return []
        for row in rows:
            # only rows that ended come this far; the step at which they do is a matter of the
            # prompt's length alone, so starting anew keeps shapes free of what was sampled
            if self._state.lengths[row.slot] == self._state.capacity:
                self._state.free(row.slot)
        logits_BV = self._extend(rows, [row.ids[-1:] for row in rows])
        self._give(rows, logits_BV)
        return alive

    def _extend(self, rows: list[Handle], chunks: Sequence[Sequence[int]]) -> Tensor:
        width = max(len(chunk) for chunk in chunks)
        padded = [[*chunk, *(0,) * (width - len(chunk))] for chunk in chunks]
        return self.model.extend(
            torch.tensor(padded, device=self._device),
            [len(chunk) for chunk in chunks],
            [row.slot for row in rows],
            self._state,
        )

    def _give(self, rows: list[Handle], logits_BV: Tensor) -> None:
        """Choose each row's next token; rows that have ended choose too, and drop it."""
        if not rows:
            return
        rules, positions = [row.sampling for row in rows], [len(row.ids) for row in rows]
        for row, id_, log_prob in zip(rows, *choose(logits_BV, rules, positions), strict=True):
            if row.finish is not None:
                continue
            row.ids.append(id_)
            row.log_probs.append(log_prob)
            row.versions.append(self.version)
            if id_ in row.stop:
                row.finish = "stop"
            elif len(row.ids) == row.max_tokens:
                row.finish = "length"
            elif len(row.prompt) + len(row.ids) == self.length:
                row.finish = "context"

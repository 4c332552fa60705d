"""Continuous batching over fixed slots: prompts are read, then every row gains a token a step.

Knows no text, no clock and no event loop: somebody submits, steps and reads the handles.

Two ways to admit what waits:

*lockstep* (the default): up to `slots` requests make a wave; nobody joins or leaves the batch
before all of the wave have ended (rows that end early are computed on and ignored). Every tensor
then has a shape that follows from the prompts and `max_tokens` of the wave alone, so a request's
tokens and log-probs are bitwise the same whatever the seeds and rules of the others in its wave
are, and whatever was done before. They do depend, in the last bits, on which prompts share the
wave and in which order.

*ready*: a request is admitted as soon as a slot is free, and its row leaves when it ends. No work
is wasted; a row's logits differ in the last bits with the company it keeps.

Prompts that begin alike are read once: within a wave, or within what is admitted together. Under
ready admission a slot also keeps its tokens after its request has ended, until it is needed.

Shapes: B rows, T tokens of a row, V vocabulary.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from ontogeny.base.errors import InputError, NoSpace
from ontogeny.infer.caches import Caches
from ontogeny.infer.choosing import Chooser
from ontogeny.infer.guide import Guide
from ontogeny.infer.handle import Counts, Handle, readers
from ontogeny.infer.slots import LEAST, Place, Slots
from ontogeny.model.transformer import Transformer
from ontogeny.plan.sampling import Sampling

CALL = 64
"""Prompt tokens that cost as much as one more call of the model (13.8M parameters on a CPU: 50)."""


class Engine:
    """Generates for many requests at once.

    Args:
        model: on its device, in its dtype; evaluated under `torch.inference_mode`.
        slots: most requests in flight.
        length: most tokens of prompt and completion together, at most the model's context. The
            caches grow with what is asked for, up to `slots` times this; under ready admission
            they get there even if few requests run at once, because ended ones are kept.
        admission: see the module.
        prefill_tokens: most prompt tokens (padding included) read by one call of the model.
        version: of the weights; written to every token. Set it when the weights change: what was
            computed under another version is not used for other requests.

    Attributes:
        counts: what was done and what was saved.
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
        self.slots = Slots(slots, length)
        self.counts = Counts()
        self._version = version
        self._device = next(model.parameters()).device
        self._caches = Caches(model, slots, length)
        self._chooser = Chooser(slots, length, model.shape.vocab_size, self._device)
        self._waiting: OrderedDict[Handle, None] = OrderedDict()
        self._rows: list[Handle] = []

    @property
    def busy(self) -> bool:
        """Whether a step would do something."""
        return bool(self._waiting or self._rows)

    @property
    def version(self) -> int:
        """Of the weights."""
        return self._version

    @version.setter
    def version(self, version: int) -> None:
        """Another one makes the engine `forget`."""
        if version != self._version:
            self.forget()
        self._version = version

    def forget(self) -> None:
        """Nothing that was computed so far is used for another request."""
        for slot in self.slots.kept:
            self._caches.begin(slot, slot, 0)
        self.slots.forget()
        for row in self._rows:
            row.keeps = row.read == 0
            row.source = None

    def submit(
        self,
        prompt: Sequence[int],
        max_tokens: int,
        sampling: Sampling | None = None,
        stop: Iterable[int] = (),
        guide: Guide | None = None,
        top: int = 0,
        salt: int = 0,
    ) -> Handle:
        """Queue a request; it is admitted by a later `step`.

        A prompt that leaves no room in a slot ends at once: finish "context", no ids.

        Args:
            guide: says token by token what may follow; it belongs to this request alone.
            top: how many of the likeliest ids are told beside each token.
            salt: who asks. Beginnings are shared among requests of one salt alone, so that how
                soon an answer comes tells nobody what others asked.

        Raises:
            InputError: when the prompt is empty, or it or a bias holds an id outside the
                vocabulary, or `max_tokens` is below 1.
        """
        vocab_size = self.model.shape.vocab_size
        sampling = sampling or Sampling()
        if not prompt or not 0 <= min(prompt) <= max(prompt) < vocab_size:
            raise InputError(f"a prompt needs one id or more, each of 0 to {vocab_size - 1}")
        if any(id_ >= vocab_size for id_, _ in sampling.bias):
            raise InputError(f"a bias names an id outside the vocabulary (0 to {vocab_size - 1})")
        if max_tokens < 1:
            raise InputError(f"max_tokens is {max_tokens}; give at least 1")
        handle = Handle(tuple(prompt), max_tokens, sampling, frozenset(stop), guide, top, salt)
        if len(prompt) >= self.length:
            handle.finish = "context"
        else:
            self._waiting[handle] = None
        return handle

    def cancel(self, handle: Handle) -> None:
        """Stop a request; what it received stays readable. Ended ones are left as they are."""
        if handle.finish is not None:
            return
        handle.finish = "cancelled"
        self._waiting.pop(handle, None)
        self._leave()

    @torch.inference_mode()
    def step(self) -> list[Handle]:
        """Admit what may come in, then read prompts and give each decoding row one token.

        Returns:
            The handles that gained a token or failed (`Handle.error`, no token gained); some have
            ended.

        Raises:
            InputError: when the model's logits are not finite; what is in flight is cancelled.
            NoSpace: when the device has no memory for the caches; the same.
            Exception: whatever a guide raises that is no InputError; the same.
        """
        self.counts.steps += self.busy
        try:
            self._admit()
            decoding = [row for row in self._rows if row.read == len(row.prompt)]
            assert decoding or not self._rows or any(row.reads for row in self._rows)
            gained = self._read_prompts()
            if decoding:
                gained += self._decode(decoding)
        except BaseException:  # rows that were given no token must not go on as if they were
            self._begin_anew()
            raise
        self._leave()
        return gained

    def _begin_anew(self) -> None:
        """Cancels all rows and empties the caches: no mask hides a NaN that stays in them."""
        for row in self._rows:
            row.finish, row.keeps = row.finish or "cancelled", False
        self._leave()
        self.forget()
        self._caches.clear()

    def _admit(self) -> None:
        if not self._waiting or (self.lockstep and self._rows):
            return
        places: list[tuple[Handle, Place]] = []
        for _ in range(min(len(self.slots), len(self._waiting))):
            handle, _ = self._waiting.popitem(last=False)
            place = self.slots.take(np.array(handle.prompt, np.int32), handle.salt)
            handle.slot, handle.number = place.slot, self.counts.requests
            self.counts.requests += 1
            self.counts.prompt_tokens += len(handle.prompt)
            self._chooser.begin(handle)
            places.append((handle, place))
            self._rows.append(handle)
        self._rows.sort(key=lambda row: row.slot)
        self._caches.make_room(
            max(row.slot for row in self._rows) + 1,
            max(len(row.prompt) + row.max_tokens for row in self._rows),
            spare=not self.lockstep,
        )
        # one after the other: what a slot has kept is copied before the slot is another's
        new = {handle for handle, _ in places}
        taken = {row.slot: row for row in self._rows if row not in new}
        for handle, place in places:
            self._begin(handle, place, taken)
            taken[handle.slot] = handle
        # who waits for another's reading needs a call of its own afterwards, or reads nothing
        later = [row for row, _ in places if row.source and row.shared < len(row.prompt)]
        if sum(row.shared for row in later) < CALL:
            for row in later:
                row.source = None

    def _begin(self, handle: Handle, place: Place, taken: dict[int, Handle]) -> None:
        """Copies what the place's source holds, or waits for the one who is reading it."""
        reader = None if place.source == place.slot else taken.get(place.source)
        shared = place.shared
        same = reader is not None and reader.prompt == handle.prompt
        if reader is None or not same or reader.read == len(reader.prompt):
            shared = min(shared, len(handle.prompt) - 1)  # the last one's logits are wanted
            shared *= shared >= LEAST
        if reader is not None and reader.read < shared:
            handle.source, handle.shared = reader, shared
            self._caches.begin(handle.slot, handle.slot, 0)
        else:
            self._copy(handle, place.source, shared)

    def _copy(self, handle: Handle, source: int, shared: int) -> None:
        self._caches.begin(handle.slot, source, shared)
        handle.source, handle.read = None, shared
        self.counts.reused_tokens += shared

    def _leave(self) -> None:
        """Free the slots of rows that ended: in lockstep of the whole wave, and only then."""
        if self.lockstep and any(row.finish is None for row in self._rows):
            return
        ended = [row for row in self._rows if row.finish is not None]
        if not ended:
            return
        for row in self._rows:
            if row.finish is None and row.source is not None and row.source.finish is not None:
                held = row.source.read
                self._copy(row, row.source.slot, min(row.shared, held) if held >= LEAST else 0)
        for row in ended:
            kept = None
            if not self.lockstep and row.keeps:
                held = self._caches.state.lengths[row.slot]
                kept = np.array((*row.prompt, *row.ids), np.int32)[:held]
            else:
                self._caches.begin(row.slot, row.slot, 0)
            self.slots.give_back(row.slot, kept)
        self._rows = [row for row in self._rows if row.finish is None]

    def _read_prompts(self) -> list[Handle]:
        """Read unread prompts: all of them in lockstep, one call's worth otherwise."""
        gained: list[Handle] = []
        while unread := [row for row in self._rows if row.reads]:
            gained += self._read_some(unread)
            if not self.lockstep:
                break
        return gained

    def _read_some(self, unread: list[Handle]) -> list[Handle]:
        """One call of the model, and copies for those who wait for what was read in it."""
        rows, width = readers(unread, self.prefill_tokens, fair=not self.lockstep)
        chunks = [row.prompt[row.read : row.read + width] for row in rows]
        logits_BV = self._extend(rows, chunks)
        followers: dict[Handle, list[Handle]] = {row: [] for row in rows}
        for row in self._rows:
            if row.source in followers:
                followers[row.source].append(row)
        done: list[tuple[Handle, int]] = []
        for index, (row, chunk) in enumerate(zip(rows, chunks, strict=True)):
            row.read += len(chunk)
            self.counts.read_tokens += len(chunk)
            for other in followers[row]:
                if other.shared <= row.read:
                    self._copy(other, row.slot, other.shared)
            done += [(r, index) for r in (row, *followers[row]) if r.read == len(r.prompt)]
        return self._give([row for row, _ in done], logits_BV[[index for _, index in done]])

    def _decode(self, rows: list[Handle]) -> list[Handle]:
        if all(row.finish is not None for row in rows):
            return []
        for row in rows:
            # only rows that ended come this far; the step at which they do is a matter of the
            # wave's lengths alone, so starting anew keeps shapes free of what was sampled
            if self._caches.state.lengths[row.slot] == self._caches.state.capacity:
                self._caches.begin(row.slot, row.slot, 0)
        assert all(row.ids or row.finish is not None for row in rows)
        return self._give(rows, self._extend(rows, [row.ids[-1:] or (0,) for row in rows]))

    def _extend(self, rows: list[Handle], chunks: Sequence[Sequence[int]]) -> Tensor:
        width = max(len(chunk) for chunk in chunks)
        padded = [[*chunk, *(0,) * (width - len(chunk))] for chunk in chunks]
        tokens_BT = torch.tensor(padded, device=self._device)
        counts, slots = [len(chunk) for chunk in chunks], [row.slot for row in rows]
        try:
            return self.model.extend(tokens_BT, counts, slots, self._caches.state)
        except NoSpace:
            if not self.slots.kept:
                raise
            self.forget()  # what was only kept gives way
            return self.model.extend(tokens_BT, counts, slots, self._caches.state)

    def _give(self, rows: list[Handle], logits_BV: Tensor) -> list[Handle]:
        gained = self._chooser.give(rows, logits_BV, self._version)
        self.counts.sampled_tokens += sum(row.error is None for row in gained)
        return gained

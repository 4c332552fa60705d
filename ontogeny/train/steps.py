"""What a training run consumes: one element is one optimizer step. Knows no model.

An element is a list of micro-batches, so accumulation is data. `state()` speaks of the last
element that was *consumed*, whatever was read ahead.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from queue import Empty, Full, Queue
from typing import Any, Protocol

from ontogeny.objectives.batch import Batch
from ontogeny.plan.memory import Load

State = dict[str, Any]
"""JSON values only."""


class Steps(Protocol):
    """An iterator of optimizer steps that can be put back to where it was."""

    def __iter__(self) -> Iterator[list[Batch]]:
        """Itself."""
        ...

    def __next__(self) -> list[Batch]:
        """The micro-batches of the next optimizer step (at least one)."""
        ...

    def load(self) -> Load:
        """The most that a step asks of the model at once."""
        ...

    def state(self) -> State:
        """Where the iterator stands after the last element it gave."""
        ...

    def restore(self, state: State) -> None:
        """Continue behind the element after which `state()` was taken."""
        ...


class ListSteps:
    """Steps that are all in memory; a fake for tests and benchmarks."""

    def __init__(self, steps: Sequence[list[Batch]]) -> None:
        self.steps, self.position = steps, 0

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        if self.position >= len(self.steps):
            raise StopIteration
        self.position += 1
        return self.steps[self.position - 1]

    def load(self) -> Load:
        """Rows of the largest step, and the widest of all."""
        return Load(
            rows=max(sum(len(batch.tokens_BT) for batch in step) for step in self.steps),
            width=max(batch.tokens_BT.shape[1] for step in self.steps for batch in step),
        )

    def state(self) -> State:
        """The number of elements given."""
        return {"position": self.position}

    def restore(self, state: State) -> None:
        """Continue after `position` elements."""
        self.position = int(state["position"])


class Prefetch:
    """See `prefetch`."""

    def __init__(self, steps: Steps, depth: int) -> None:
        assert depth >= 1, depth
        self.steps, self.depth = steps, depth
        self._consumed = steps.state()
        self._queue: Queue[tuple[list[Batch], State] | BaseException] = Queue(depth)
        self._closed = threading.Event()
        self._thread: threading.Thread | None = None

    def __iter__(self) -> Iterator[list[Batch]]:
        return self

    def __next__(self) -> list[Batch]:
        if self._thread is None:
            self._thread = threading.Thread(target=self._read, name="prefetch", daemon=True)
            self._thread.start()
        item = self._take()
        if isinstance(item, BaseException):
            self._queue.put(item)  # every later call gets the same answer
            raise item
        batches, self._consumed = item
        return batches

    def load(self) -> Load:
        """That of the steps themselves."""
        return self.steps.load()

    def state(self) -> State:
        """Of the last element given, not of the last one read."""
        return self._consumed

    def restore(self, state: State) -> None:
        """Before the first element is taken."""
        assert self._thread is None, "restore before the first step"
        self.steps.restore(state)
        self._consumed = self.steps.state()

    def close(self) -> None:
        """Ends the reading thread; the steps give no more."""
        self._closed.set()
        if self._thread is not None:
            self._thread.join()

    def _take(self) -> tuple[list[Batch], State] | BaseException:
        while True:
            try:
                return self._queue.get(timeout=1)
            except Empty:
                assert self._thread is not None
                if not self._thread.is_alive() and self._queue.empty():
                    return RuntimeError("the thread that reads ahead is gone")

    def _read(self) -> None:
        while not self._closed.is_set():
            item: tuple[list[Batch], State] | BaseException
            try:
                item = next(self.steps), self.steps.state()
            except BaseException as error:  # raised again in the consumer
                item = error
            while not self._closed.is_set():
                try:
                    self._queue.put(item, timeout=0.2)
                    break
                except Full:
                    continue
            if isinstance(item, BaseException):
                return


def prefetch(steps: Steps, depth: int) -> Prefetch:
    """Reads up to `depth` elements ahead in a thread.

    Only for steps that do not depend on the model being trained: rollouts would be of an older one.
    """
    return Prefetch(steps, depth)

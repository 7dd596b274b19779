"""Reading ahead: a generator runs in a thread of its own, a few items before whoever takes them.

What takes time without Python's lock (reading, hashing, NumPy on large arrays) is then done beside what
is done with the items. What is left out: what the items are (`charlm.data.symbol_stream`).
"""

from collections.abc import Generator, Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")

QUEUE_DEPTH = 2
"""Items that wait to be taken: little memory, and enough that neither side waits for the other's slower moments."""

POLL_SECONDS = 0.1
"""Seconds after which a reader without room looks whether it is still wanted."""

JOIN_SECONDS = 1.0
"""Seconds that a taker who leaves early waits for the reader, which may itself be waiting for a pipe."""


class Prefetcher(Generic[Item]):
    """Items that are made in another thread; `close` it when done.

    Args:
        items: run and closed in the other thread.
    """

    def __init__(self, items: Generator[Item, None, None]) -> None:
        self._ready: Queue[_Fetched[Item]] = Queue(QUEUE_DEPTH)
        self._left = Event()
        self._reader = Thread(target=_read, args=(items, self._ready, self._left), daemon=True)
        self._reader.start()

    def take(self) -> Item:
        """The next item, waited for.

        Raises:
            StopIteration: there is none; or whatever ended the items.
        """
        found = self._ready.get()
        if found.error is not None:
            raise found.error
        return found.items[0]

    def at_hand(self) -> bool:
        """Whether `take` would not wait."""
        return not self._ready.empty()

    def close(self) -> None:
        """Let the reader go."""
        self._left.set()
        self._reader.join(JOIN_SECONDS)


def prefetch(items: Generator[Item, None, None]) -> Iterator[Item]:
    """The same items in the same order; an exception is raised where it would have been.

    Args:
        items: run and closed in the other thread.
    """
    reader = Prefetcher(items)
    try:
        while True:
            try:
                item = reader.take()
            except StopIteration:
                return
            yield item
    finally:
        reader.close()


class _Fetched(Generic[Item]):
    """One item, or how the generator ended."""

    def __init__(self, items: tuple[Item, ...], error: BaseException | None = None) -> None:
        self.items, self.error = items, error


def _read(items: Generator[Item, None, None], ready: "Queue[_Fetched[Item]]", left: Event) -> None:
    try:
        while _hand_over(_next(items), ready, left):
            pass
    finally:
        items.close()


def _next(items: Generator[Item, None, None]) -> _Fetched[Item]:
    try:
        return _Fetched((next(items),))
    except BaseException as error:
        return _Fetched((), error)


def _hand_over(found: _Fetched[Item], ready: "Queue[_Fetched[Item]]", left: Event) -> bool:
    """Whether more is wanted."""
    while not left.is_set():
        try:
            ready.put(found, timeout=POLL_SECONDS)
            return found.error is None
        except Full:
            continue
    return False

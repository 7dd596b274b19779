"""Prefetching: a generator runs in a thread of its own, a few items ahead of its consumer.

Work that releases Python's global lock (reading, hashing, NumPy on large arrays) then runs in parallel with the
consumer. What is left out: what the items are (`charlm.data.symbol_stream`).
"""

from collections.abc import Generator, Iterator
from queue import Full, Queue
from threading import Event, Thread
from typing import Generic, TypeVar

Item = TypeVar("Item")

QUEUE_DEPTH = 2
"""Items in the queue: little memory, and enough that neither thread waits for a slow item of the other."""

POLL_SECONDS = 0.1
"""Seconds after which a producer with a full queue checks whether the consumer has left."""

JOIN_SECONDS = 1.0
"""Seconds that `close` waits for the producer, which may itself be waiting for a pipe."""


class Prefetcher(Generic[Item]):
    """Items that are produced in another thread; `close` it when done.

    Args:
        items: run and closed in the other thread.
    """

    def __init__(self, items: Generator[Item, None, None]) -> None:
        self._queue: Queue[_Fetched[Item]] = Queue(QUEUE_DEPTH)
        self._closed = Event()
        self._thread = Thread(target=_produce, args=(items, self._queue, self._closed), daemon=True)
        self._thread.start()

    def take(self) -> Item:
        """Wait for the next item.

        Raises:
            StopIteration: there is none. Any other exception that ended the generator is raised too.
        """
        fetched = self._queue.get()
        if fetched.error is not None:
            raise fetched.error
        return fetched.items[0]

    def ready(self) -> bool:
        """Whether `take` would not wait."""
        return not self._queue.empty()

    def close(self) -> None:
        """End the other thread."""
        self._closed.set()
        self._thread.join(JOIN_SECONDS)


def prefetch(items: Generator[Item, None, None]) -> Iterator[Item]:
    """The same items in the same order; an exception of the generator is raised after those before it.

    Args:
        items: run and closed in the other thread.
    """
    prefetcher = Prefetcher(items)
    try:
        while True:
            try:
                item = prefetcher.take()
            except StopIteration:
                return
            yield item
    finally:
        prefetcher.close()


class _Fetched(Generic[Item]):
    """One item, or how the generator ended."""

    def __init__(self, items: tuple[Item, ...], error: BaseException | None = None) -> None:
        self.items, self.error = items, error


def _produce(items: Generator[Item, None, None], queue: "Queue[_Fetched[Item]]", closed: Event) -> None:
    try:
        while _put(_next(items), queue, closed):
            pass
    finally:
        items.close()


def _next(items: Generator[Item, None, None]) -> _Fetched[Item]:
    try:
        return _Fetched((next(items),))
    except BaseException as error:
        return _Fetched((), error)


def _put(fetched: _Fetched[Item], queue: "Queue[_Fetched[Item]]", closed: Event) -> bool:
    """Put an item into the queue; False if there are no more, or the consumer has left."""
    while not closed.is_set():
        try:
            queue.put(fetched, timeout=POLL_SECONDS)
            return fetched.error is None
        except Full:
            continue
    return False

import threading

import pytest

from charlm.data.prefetch import QUEUE_DEPTH, prefetch


def counted(up_to, log, error=None):
    try:
        for number in range(up_to):
            log.append(number)
            yield number
        if error is not None:
            raise error
    finally:
        log.append("closed")


@pytest.mark.parametrize("up_to", [0, 1, QUEUE_DEPTH, QUEUE_DEPTH + 1, 100])
def test_the_items_come_whole_and_in_order(up_to):
    assert list(prefetch(counted(up_to, []))) == list(range(up_to))


def test_an_error_comes_after_the_items_before_it():
    taken = []
    with pytest.raises(OSError, match="gone"):
        for number in prefetch(counted(5, [], OSError("gone"))):
            taken.append(number)
    assert taken == [0, 1, 2, 3, 4]


def test_no_more_is_read_than_waits_to_be_taken():
    log = []
    items = prefetch(counted(100, log))
    assert next(items) == 0
    items.close()
    assert len(log) <= QUEUE_DEPTH + 4, "one taken, those that wait, one in the reader's hand, and the closing"
    assert log[-1] == "closed", "files are closed when the taker leaves"


def test_the_thread_ends_with_the_taker():
    before = threading.active_count()
    for items in [prefetch(counted(100, [])) for _ in range(5)]:
        next(items)
        items.close()
    assert threading.active_count() == before

"""Random numbers and weights that are the same everywhere."""

import pytest

from charlm.synthetic._random import (
    BLOCK_NUMBERS,
    PROBABILITY_ONE,
    endless,
    normalise,
    running,
    shares,
    splitmix64,
    uneven_rows,
)


def slow_splitmix64(state: int, count: int) -> list[int]:
    """The generator as its paper writes it, one number after the other."""
    mask, numbers = (1 << 64) - 1, []
    for _ in range(count):
        state = (state + 0x9E3779B97F4A7C15) & mask
        z = state
        z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & mask
        z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & mask
        numbers.append(z ^ (z >> 31))
    return numbers


@pytest.mark.parametrize("seed", [0, 1, 12345, 2**53, 2**64 - 1])
def test_the_generator_is_splitmix64(seed):
    assert splitmix64(seed, 0, 50).tolist() == slow_splitmix64(seed, 50)
    assert splitmix64(seed, 20, 30).tolist() == slow_splitmix64(seed, 50)[20:]


def test_the_generator_gives_the_published_numbers():
    assert [hex(number) for number in splitmix64(0, 0, 2).tolist()] == ["0xe220a8397b1dcdaf", "0x6e789e6aa1b965f4"]


def test_the_endless_stream_is_the_stream():
    blocks = endless(7)
    assert [*next(blocks).tolist(), *next(blocks).tolist()[:3]] == splitmix64(7, 0, BLOCK_NUMBERS + 3).tolist()


@pytest.mark.parametrize("parts", [[1, 1, 1], [0, 1, 0], [3, 2, 5, 0, 7], [1] * 26, [True, False]])
def test_shares_are_in_proportion_and_sum_to_one_exactly(parts):
    weights = shares(parts)
    assert sum(weights) == PROBABILITY_ONE and [weight == 0 for weight in weights] == [part == 0 for part in parts]
    assert all(
        abs(weight / PROBABILITY_ONE - part / sum(parts)) < len(parts) / PROBABILITY_ONE
        for weight, part in zip(weights, parts, strict=True)
    )


def test_uneven_rows_are_positive_and_sum_to_one_exactly():
    for start in range(10):
        rows = uneven_rows(start, 5, 7)
        assert all(sum(row) == PROBABILITY_ONE and min(row) > 0 for row in rows) and len(set(rows)) == 5
    assert normalise([1, 5, 2]) == (1, PROBABILITY_ONE - 3, 2)


def test_a_number_chooses_the_place_whose_running_sum_is_the_first_above_it():
    from bisect import bisect_right

    weights = (0, 3, 0, PROBABILITY_ONE - 5, 2, 0)
    sums = running(weights)
    assert sums == [0, 3, 3, PROBABILITY_ONE - 2, PROBABILITY_ONE]
    found = [
        bisect_right(sums, number)
        for number in (0, 2, 3, PROBABILITY_ONE - 3, PROBABILITY_ONE - 2, PROBABILITY_ONE - 1)
    ]
    assert found == [1, 1, 3, 3, 4, 4]

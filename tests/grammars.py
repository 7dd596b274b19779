"""Slow twins of the sources: grammars that are checked letter by letter, and probabilities by going through all texts.

Nothing here uses the sources' own laws.
"""

from collections.abc import Iterator
from functools import cache
from itertools import product
from math import log2

import numpy as np

PAIRS = {")": "(", "]": "[", "}": "{", ">": "<"}


def check_copy(line: str, delay: int, copied: int, alphabet: int) -> None:
    string, rest = line[:copied], line[copied:]
    assert len(string) == copied and set(string) <= set("abcdefghijklmnopqrstuvwxyz"[:alphabet])
    assert rest == "." * delay + ":" + string


def check_anbn(line: str) -> int:
    n = len(line) // 2
    assert n >= 1 and line == "a" * n + "b" * n
    return n


def check_brackets(line: str, kinds: int) -> int:
    """The deepest nesting of a well-formed line."""
    assert line
    allowed = "()[]{}<>"[: 2 * kinds]
    stack, deepest, quoted = [], 0, None
    for letter in line:
        if quoted is not None:
            if letter == '"':
                assert quoted
                quoted = None
            else:
                assert letter in "abcd"
                quoted += letter
        elif letter == '"':
            quoted = ""
        else:
            assert letter in allowed
            if letter in PAIRS:
                assert stack.pop() == PAIRS[letter]
            else:
                stack.append(letter)
                deepest = max(deepest, len(stack))
    assert not stack and quoted is None
    return deepest


def copy_lines(delay: int, copied: int, alphabet: int) -> dict[str, float]:
    """Every line, with its end, and its probability."""
    strings = ["".join(letters) for letters in product("abcdefghijklmnopqrstuvwxyz"[:alphabet], repeat=copied)]
    return {f"{string}{'.' * delay}:{string}\n": 1 / len(strings) for string in strings}


def anbn_lines(counts: str, mean: int, longest: int = 400) -> dict[str, float]:
    if counts == "uniform":
        return {"a" * n + "b" * n + "\n": 1 / (2 * mean - 1) for n in range(1, 2 * mean)}
    return {"a" * n + "b" * n + "\n": (1 - 1 / mean) ** (n - 1) / mean for n in range(1, longest)}


def bracket_lines(kinds: int, depth: int, longest: int) -> dict[str, float]:
    """Every line of at most `longest` characters, its end counted, and its probability; by the rules in words."""

    @cache
    def quotes(length: int) -> dict[str, float]:
        """All that begin with the opening mark and have this length."""
        if length < 3:
            return {}
        share = 0.25 ** (length - 2) * 0.75 ** (length - 3) * 0.25
        return {f'"{"".join(letters)}"': share for letters in product("abcd", repeat=length - 2)}

    @cache
    def contents(level: int, length: int) -> dict[str, float]:
        """What may stand at a level in so many characters, with the probability of going on so, and not of ending."""
        if not length:
            return {"": 1.0}
        found: dict[str, float] = {}
        opens, quote = (0.0, 2 / 7) if depth and level >= depth else (0.3, 0.2)
        for first in range(1, length + 1):
            for rest, after in contents(level, length - first).items():
                for text, share in quotes(first).items():
                    found[text + rest] = quote * share * after
                if opens and first >= 2:
                    for inner, share in contents(level + 1, first - 2).items():
                        for kind in range(kinds):
                            text = "([{<"[kind] + inner + ")]}>"[kind]
                            found[text + rest] = opens / kinds * share * ends(level + 1) * after
        return found

    def ends(level: int) -> float:
        return 5 / 7 if depth and level >= depth else 0.5

    return {
        line + "\n": share / 0.5 * ends(0)  # a line that has not begun cannot end: what it may do has half the shares
        for length in range(1, longest)
        for line, share in contents(0, length).items()
    }


def bits(lines: dict[str, float]) -> float:
    """Entropy of a line over its mean length, of a distribution that sums to 1."""
    return -sum(p * log2(p) for p in lines.values()) / sum(p * len(line) for line, p in lines.items())


def next_letters(lines: dict[str, float], before: str, letters: str) -> np.ndarray:
    """What comes after the beginning of a line: the share of each letter in all the lines that go on from it."""
    shares = np.array([sum(p for line, p in lines.items() if line.startswith(before + letter)) for letter in letters])
    return shares / shares.sum()


def prefixes(line: str) -> Iterator[str]:
    return (line[:at] for at in range(len(line)))

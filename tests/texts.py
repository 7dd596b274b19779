"""A text made up of random words, for tests that need one."""

from random import Random

WORDS = "the sea is wide and old ships go home when winds turn cold over grey water 'tis late".split()


def text_of(characters: int, seed: int = 0) -> str:
    """A text of random words in lines, the same for the same seed."""
    random = Random(seed)
    pieces = []
    size = 0
    while size < characters:
        piece = random.choice(WORDS) + ("\n" if random.random() < 0.15 else " ")
        pieces.append(piece)
        size += len(piece)
    return "".join(pieces)[:characters]


def quoting(characters: int, seed: int = 1) -> str:
    """Lines of random words, some of them in double quotes."""
    random = Random(seed)
    lines: list[str] = []
    while sum(map(len, lines)) < characters:
        words = random.choices(WORDS, k=random.randint(2, 9))
        at, end = sorted(random.sample(range(len(words) + 1), 2))
        if random.random() < 0.5:
            words[at] = '"' + words[at]
            words[end - 1] += '"'
        lines.append(" ".join(words) + "\n")
    return "".join(lines)[:characters]

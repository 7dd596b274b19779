"""Specifications of options: kind, range and help, and how a value is parsed and checked.

The command line, `--config` files, saved runs and library calls all use them, so that every value is checked in one
way. The options themselves are in `charlm.config`.
"""

import dataclasses
import difflib
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, fields
from math import inf
from typing import Any, ClassVar, Self

from charlm.errors import UsageError

AUTO: Any = "auto"
"""The value of an option that is chosen by a rule; the chosen value is saved."""

COUNT_SUFFIXES = {"k": 10**3, "m": 10**6, "g": 10**9}
SECONDS_IN = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0}
MAX_INTEGER = 2**53
"""Largest number that an option takes: JSON readers lose digits of larger integers."""


@dataclass(frozen=True)
class Spec:
    """One option, without its name and default.

    Args:
        kind: integer, number, count (12, 500k, 2M), duration (90s, 10m, 2h), text, choice or switch.
        help: one sentence for `--help`.
        low, high: the smallest and the largest accepted value.
        above, below: bounds that are not accepted themselves.
        choices: the values of a choice, or a function that lists them.
        auto: the rule of `auto` in words; None if `auto` is not accepted.
        panel: the heading under which `--help` shows it.
        unknown: what to do about a value that resembles none of the choices.
    """

    kind: str
    help: str
    low: float | None = None
    high: float | None = None
    above: float | None = None
    below: float | None = None
    choices: tuple[str, ...] | Callable[[], tuple[str, ...]] = ()
    auto: str | None = None
    panel: str = "Options"
    unknown: str = ""

    def words(self) -> tuple[str, ...]:
        """The accepted values of a choice."""
        return self.choices() if callable(self.choices) else self.choices

    def range(self) -> str:
        """The accepted values in words: `an integer, at least 1`."""
        noun = {
            "integer": "an integer",
            "number": "a number",
            "count": "a whole number such as 1000, 500k or 2M",
            "duration": "a time such as 90s, 10m or 2h",
            "text": "a text",
            "switch": "true or false",
        }.get(self.kind) or "one of " + ", ".join(self.words())
        bounds = [
            f"{word} {limit:g}"
            for word, limit in (
                ("at least", self.low),
                ("above", self.above),
                ("at most", self.high),
                ("below", self.below),
            )
            if limit is not None
        ]
        return ", ".join([noun, *([" and ".join(bounds)] if bounds else []), *(["or auto"] if self.auto else [])])

    def read(self, name: str, value: Any) -> Any:
        """Parse a string from the command line, or check a value from TOML or Python.

        Raises:
            UsageError: the value is of the wrong kind or out of range.
        """
        if value is None or (value == AUTO and self.auto):
            return value
        try:
            result = _PARSERS[self.kind](value)
        except (ValueError, OverflowError, KeyError, TypeError):
            raise self.refusal(name, value) from None
        if self.kind == "choice" and result not in self.words():
            raise self.refusal(name, value)
        if isinstance(result, int | float) and not isinstance(result, bool) and not self._within(result):
            open_above = self.high is None and self.below is None
            raise self.refusal(name, value, beyond=open_above and MAX_INTEGER < abs(result) < inf)
        return result

    def _within(self, value: float) -> bool:
        return (
            abs(value) <= MAX_INTEGER  # first, as larger integers overflow a float; False for NaN
            and (self.low is None or value >= self.low)
            and (self.high is None or value <= self.high)
            and (self.above is None or value > self.above)
            and (self.below is None or value < self.below)
        )

    def refusal(self, name: str, value: Any, *, beyond: bool = False) -> UsageError:
        """The error for a value that is not accepted; `beyond`: because it is above `MAX_INTEGER`."""
        shown = repr(value) if len(repr(value)) <= 60 else repr(value)[:57] + "..."
        matches = difflib.get_close_matches(str(value), self.words(), n=1) if self.kind == "choice" else []
        hint = f"; did you mean {matches[0]}?" if matches else f"; {self.unknown}" if self.unknown else ""
        if beyond:
            hint = f"; no option takes more than {MAX_INTEGER:,}"
        return UsageError(f"{flag(name)} must be {self.range()}, got {shown}{hint}")


def _integer(value: Any) -> int:
    if isinstance(value, bool) or (isinstance(value, float) and not value.is_integer()):
        raise ValueError
    return int(value)


def _number(value: Any) -> float:
    if isinstance(value, bool):
        raise ValueError
    return float(value)


def _count(value: Any) -> int:
    if isinstance(value, str) and value[-1:].lower() in COUNT_SUFFIXES:
        return _integer(_number(value[:-1]) * COUNT_SUFFIXES[value[-1].lower()])
    return _integer(value)


def _duration(value: Any) -> float:
    if isinstance(value, str) and value[-1:].lower() in SECONDS_IN:
        return _number(value[:-1]) * SECONDS_IN[value[-1].lower()]
    return _number(value)


def _text(value: Any) -> str:
    if isinstance(value, os.PathLike):
        value = os.fspath(value)
    if not isinstance(value, str) or "\0" in value:  # no path and no argument can contain NUL
        raise ValueError
    return value


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    return {"true": True, "false": False}[value]


_PARSERS: dict[str, Callable[[Any], Any]] = {
    "integer": _integer,
    "number": _number,
    "count": _count,
    "duration": _duration,
    "text": _text,
    "choice": _text,
    "switch": _switch,
}


def flag(name: str) -> str:
    """The flag of an option: `--valid-fraction` for `valid_fraction`."""
    return "--" + name.replace("_", "-")


def option(default: Any, kind: str, help: str, **keywords: Any) -> Any:
    """A dataclass field with its `Spec`; typed `Any`, as the default may be `auto`."""
    return field(default=default, metadata={"spec": Spec(kind, help, **keywords)})


def with_auto_rule(spec: Spec, rule: str) -> Any:
    """A field with the spec of another group, and `auto` as its default."""
    return field(default=AUTO, metadata={"spec": dataclasses.replace(spec, auto=rule)})


class Options:
    """Base of the option groups, which check their values when created.

    Attributes:
        alternatives: options that exclude each other.
    """

    alternatives: ClassVar[tuple[str, ...]] = ()

    def __post_init__(self) -> None:
        for name, spec in self.specs().items():
            value = getattr(self, name)
            if value is None and self.default(name) is not None:
                raise spec.refusal(name, value)
            object.__setattr__(self, name, spec.read(name, value))

    @classmethod
    def specs(cls) -> dict[str, Spec]:
        """The `Spec` of each option of this group by name, in order."""
        return {f.name: f.metadata["spec"] for f in fields(cls)}  # type: ignore[arg-type]

    @classmethod
    def default(cls, name: str) -> Any:
        """The default of one option."""
        return next(f.default for f in fields(cls) if f.name == name)  # type: ignore[arg-type]

    @classmethod
    def of(cls, values: Mapping[str, Any], *, where: str = "") -> Self:
        """Create the group from values by name.

        Args:
            values: of some of its options.
            where: added to the message about an unknown name.

        Raises:
            UsageError: a name is unknown or a value is out of range.
        """
        for name in values:
            if name not in cls.specs():
                matches = difflib.get_close_matches(name, cls.specs(), n=1)
                hint = f"; did you mean {matches[0]}?" if matches else ""
                raise UsageError(f"unknown option {name!r}{where}{hint}")
        return cls(**values)

    @classmethod
    def merged(cls, under: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
        """Merge values; `over` takes precedence, and an alternative in it removes the others."""
        replaced = cls.alternatives if any(name in over for name in cls.alternatives) else ()
        return {name: value for name, value in under.items() if name not in replaced} | dict(over)

    def replace(self, **changes: Any) -> Self:
        """A copy with some options changed and checked."""
        return dataclasses.replace(self, **changes)  # type: ignore[type-var]

    def values(self) -> dict[str, Any]:
        """The options that are not None, by name, as a run saves them."""
        return {name: getattr(self, name) for name in self.specs() if getattr(self, name) is not None}

"""Checks of values that are not trusted: what each key of a JSON object or a TOML table may hold."""

from collections.abc import Callable, Mapping
from typing import Any

from charlm.spec import MAX_INTEGER

Check = Callable[[Any], bool]
Schema = Mapping[str, Check]


def misfit(values: Mapping[str, Any], schema: Schema) -> str | None:
    """The first key of `schema` that `values` has with another value than it may hold; None if there is none."""
    return next((key for key, fits in schema.items() if key in values and not fits(values[key])), None)


def check(values: Mapping[str, Any], schema: Schema, *, optional: bool = False) -> None:
    """Check what the keys of `schema` hold in `values`.

    Raises:
        KeyError: a key is missing, and keys are not optional.
        TypeError: a value is not what its key may hold.
    """
    for key, fits in schema.items():
        if (not optional or key in values) and not fits(values[key]):
            raise TypeError(f"{key} is {values[key]!r:.40}")


def of_type(kind: type) -> Check:
    """Values of exactly this type: True is no int."""
    return lambda value: type(value) is kind


def or_null(fits: Check) -> Check:
    """None, and what `fits`."""
    return lambda value: value is None or fits(value)


is_text = of_type(str)
is_int = of_type(int)
is_bool = of_type(bool)
is_object = of_type(dict)
is_list = of_type(list)


def is_count(value: Any) -> bool:
    """A whole number from 0."""
    return type(value) is int and 0 <= value <= MAX_INTEGER


def is_number(value: Any) -> bool:
    """A finite number."""
    return type(value) in (int, float) and abs(value) <= MAX_INTEGER


def is_amount(value: Any) -> bool:
    """A finite number from 0."""
    return is_number(value) and value >= 0


def is_float(value: Any) -> bool:
    """A number, NaN and the infinities among them."""
    return type(value) is float or is_number(value)

"""A radius as people write it: a number, or a fraction of grey levels such as 8/255."""

from __future__ import annotations

from fractions import Fraction

from steelman.errors import InputError


def radius(value: object) -> float:
    """Returns a radius as a number >= 0, inf for none.

    value: a number, or a text such as "0.1" or "8/255".
    Raises InputError for anything else.
    """
    try:
        if isinstance(value, str):
            found = float(Fraction(value)) if "/" in value else float(value)
        elif isinstance(value, int | float) and not isinstance(value, bool):
            found = float(value)
        else:
            raise ValueError
        if not found >= 0:
            raise ValueError
    except (ValueError, ArithmeticError):
        raise InputError(f"expected a radius as a number >= 0 or a fraction such as 8/255, got {value!r}") from None
    return found

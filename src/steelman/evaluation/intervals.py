"""Intervals for shares of images."""

from __future__ import annotations

from scipy.special import betainc, betaincinv

from steelman.errors import InputError


def clopper_pearson(right: int, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """Returns (low, high): the exact interval for the share that `right` of n images estimate.

    confidence: in (0, 1).
    Raises InputError unless 0 <= right <= n and n >= 1.
    Source: Clopper & Pearson 1934.

    >>> low, high = clopper_pearson(95, 100)
    >>> round(low, 4), round(high, 4)
    (0.8872, 0.9836)
    """
    if not 0 <= right <= n or n < 1 or not 0 < confidence < 1:
        raise InputError(f"expected 0 <= right <= n, n >= 1 and a confidence in (0, 1), got {right}, {n}, {confidence}")
    tail = (1 - confidence) / 2
    low = 0.0 if right == 0 else float(betaincinv(right, n - right + 1, tail))
    high = 1.0 if right == n else float(betaincinv(right + 1, n - right, 1 - tail))
    return low, high


def mcnemar(first: int, second: int) -> float:
    """Returns the p-value of the exact McNemar test, two-sided.

    first, second: images that only the one, and only the other of two pipelines gets right.
    Raises InputError for negative counts.
    Source: McNemar 1947; exact, by the binomial distribution of the smaller count.

    >>> mcnemar(5, 5), round(mcnemar(1, 9), 4)
    (1.0, 0.0215)
    """
    if first < 0 or second < 0:
        raise InputError(f"expected counts >= 0, got {first} and {second}")
    less, more = sorted((first, second))
    if less == more:
        return 1.0
    return min(1.0, 2 * float(betainc(more, less + 1, 0.5)))

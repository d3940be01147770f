"""Exact intervals."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, binomtest

from steelman.errors import InputError
from steelman.evaluation.intervals import clopper_pearson


@given(n=st.integers(1, 3000), share=st.floats(0, 1))
def test_it_is_scipys_exact_interval(n: int, share: float) -> None:
    right = round(share * n)
    expected = binomtest(right, n).proportion_ci(0.95, method="exact")
    assert clopper_pearson(right, n) == pytest.approx((expected.low, expected.high), abs=1e-9)


@pytest.mark.parametrize("p", [0.01, 0.3, 0.5, 0.98])
def test_it_covers_at_least_as_often_as_it_says(p: float) -> None:
    n = 60
    covered = sum(binom.pmf(k, n, p) for k in range(n + 1) if clopper_pearson(k, n)[0] <= p <= clopper_pearson(k, n)[1])
    assert covered >= 0.95


@pytest.mark.parametrize(("right", "n", "confidence"), [(5, 4, 0.95), (-1, 4, 0.95), (0, 0, 0.95), (1, 2, 1.0)])
def test_impossible_counts_are_an_error(right: int, n: int, confidence: float) -> None:
    with pytest.raises(InputError, match="expected 0 <= right <= n"):
        clopper_pearson(right, n, confidence)

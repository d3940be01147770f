"""Shipped data sets, decoded once for all tests."""

import pytest

from steelman import data


@pytest.fixture(scope="session")
def shipped():
    return {name: data.load(name) for name in data.SHIPPED}

"""A key is one text for what would do the same, in any process, whatever hangs on it."""

from __future__ import annotations

import logging
from typing import Any

import torch
from torch import nn

from steelman.keys import key_of


class Ring(nn.Module):
    """A module that holds itself, a logger, and a thing of no class that is known."""

    def __init__(self, level: int = 1) -> None:
        super().__init__()
        self.me = self.again
        self.log = logging.getLogger("steelman.ring")
        self.thing: Any = type("Thing", (), {})()
        self.thing.level = level

    def again(self) -> None:
        """Returns nothing."""


def test_circles_and_what_hangs_on_a_logger_end() -> None:
    assert key_of(Ring()) == key_of(Ring())
    assert key_of(Ring(2)) != key_of(Ring())
    assert len(key_of([Ring()])) < 200


def test_equal_parts_are_as_good_as_shared_ones() -> None:
    part = nn.Linear(2, 2)
    other = nn.Linear(2, 2)
    other.load_state_dict(part.state_dict())
    assert key_of(nn.Sequential(part, part)) == key_of(nn.Sequential(part, other))
    assert key_of(nn.Sequential(part, nn.ReLU())) != key_of(nn.Sequential(nn.ReLU(), part))


def test_a_function_of_no_name_is_what_it_does_and_holds() -> None:
    def scaled(by: float) -> Any:
        return lambda x: x * by

    def unbound() -> Any:
        def use() -> object:
            return later

        if use is None:
            later = 1
        return use

    assert key_of(scaled(2.0)) == key_of(scaled(2.0)) != key_of(scaled(3.0))
    assert key_of(unbound()) == key_of(unbound())
    assert key_of(torch.relu) != key_of(torch.tanh)


def test_where_a_class_of_ours_stands_does_not_matter_to_what_is_saved() -> None:
    class Stage(nn.Module):
        pass

    before = key_of(Stage())
    Stage.__module__ = "steelman.defences.stages"
    ours = key_of(Stage())
    Stage.__module__ = "steelman.moved"
    assert before != ours == key_of(Stage())

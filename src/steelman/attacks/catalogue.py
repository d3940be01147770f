"""Every attack by name, with what it needs to know and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from steelman.attacks.attack import Attack
from steelman.attacks.cascade import Cascade
from steelman.attacks.steepest import bim, fgsm, pgd
from steelman.errors import unknown

Knows = Literal["gradients", "scores", "decisions", "another model", "nothing"]
Finds = Literal["within eps", "smallest", "outside every ball"]


@dataclass(frozen=True)
class Entry:
    """An attack of the catalogue: called as its recipe is, it returns the attack.

    norms: that it has.  knows: what it needs of the model.  finds: whether it looks for any change within eps or
    for the smallest.  targeted: whether it can be.  cost: of one sample that holds, at the defaults.
    """

    recipe: Callable[..., Attack | Cascade]
    paper: str
    norms: tuple[str, ...]
    knows: Knows
    finds: Finds
    targeted: bool
    cost: str

    def __call__(self, *arguments: Any, **settings: Any) -> Attack | Cascade:
        """Returns the attack with these settings."""
        return self.recipe(*arguments, **settings)


ALL = ("Linf", "L2", "L1")

catalogue: dict[str, Entry] = {
    "fgsm": Entry(fgsm, "Goodfellow et al. 2015", ALL, "gradients", "within eps", True, "1 gradient"),
    "bim": Entry(bim, "Kurakin et al. 2017", ALL, "gradients", "within eps", True, "1.25 gradients a grey level"),
    "pgd": Entry(pgd, "Madry et al. 2018", ALL, "gradients", "within eps", True, "40 gradients"),
}
"""By name, the simplest first."""


def named(name: str) -> Entry:
    """Returns an attack of the catalogue.

    Raises InputError for another name, with the nearest ones.
    """
    if name not in catalogue:
        raise unknown("attack", name, catalogue)
    return catalogue[name]

"""Every attack by name, with what it needs to know and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from inspect import signature
from typing import Any

from steelman import norms
from steelman.attacks.apgd import apgd, apgd_dlr, apgd_t
from steelman.attacks.attack_like import AttackLike
from steelman.attacks.autoattack import autoattack
from steelman.attacks.carlini_wagner.cw import cw
from steelman.attacks.corruptions.worst_of import corruptions
from steelman.attacks.ddn import ddn
from steelman.attacks.decision_based.boundary import boundary
from steelman.attacks.decision_based.geoda import geoda
from steelman.attacks.decision_based.hopskipjump import hopskipjump
from steelman.attacks.deepfool import deepfool
from steelman.attacks.ead import ead
from steelman.attacks.engine.goals import Finds
from steelman.attacks.engine.problem import Asks
from steelman.attacks.estimates import nes, spsa
from steelman.attacks.fab import fab, fab_t
from steelman.attacks.fmn import fmn
from steelman.attacks.gama import gama, gama_fw
from steelman.attacks.jsma import jsma
from steelman.attacks.lbfgs import lbfgs
from steelman.attacks.momentum import mifgsm
from steelman.attacks.odi import odi
from steelman.attacks.one_pixel import one_pixel
from steelman.attacks.patch import lavan, patch
from steelman.attacks.sigma_zero import sigma_zero
from steelman.attacks.spatial import spatial
from steelman.attacks.square import square
from steelman.attacks.standard import standard
from steelman.attacks.steepest import bim, fgsm, pgd
from steelman.attacks.transfer import transfer
from steelman.attacks.universal import sgd_uap, universal
from steelman.errors import InputError
from steelman.norms import Linf
from steelman.registry import Registry, called, takes, told
from steelman.threat import Threat


@dataclass(frozen=True)
class Entry:
    """An attack of the catalogue: called as its recipe is, it returns the attack.

    norms: that it has.  targeted: whether it can be.  cost: of one sample that holds, at the defaults.
    surrogate: whether it is another attack, made on another model.
    """

    recipe: Callable[..., AttackLike]
    paper: str
    norms: tuple[str, ...]
    targeted: bool
    cost: str
    surrogate: bool = False

    @property
    def asks(self) -> Asks:
        """What the attack asks of the model, as it says itself."""
        return self._usual.asks

    @property
    def finds(self) -> Finds:
        """What the attack looks for, as it says itself."""
        return self._usual.finds

    @cached_property
    def _usual(self) -> AttackLike:
        """The attack at its defaults, in the first norm that it has; of any radius where it is for one."""
        if self.surrogate:
            return self.recipe(fgsm(Linf(1.0)), len)
        return self.recipe() if _is_free(self.recipe) else self.recipe(Threat(getattr(norms, self.norms[0])(1.0)))

    def __call__(self, *arguments: Any, **settings: Any) -> AttackLike:
        """Returns the attack with these settings."""
        return self.recipe(*arguments, **settings)


ALL = ("Linf", "L2", "L1")

SHIPPED: dict[str, Entry] = {
    "fgsm": Entry(fgsm, "Goodfellow et al. 2015", ALL, True, "1 gradient"),
    "bim": Entry(bim, "Kurakin et al. 2017", ALL, True, "1.25 gradients a grey level"),
    "mi-fgsm": Entry(mifgsm, "Dong et al. 2018", ("Linf", "L2"), True, "10 gradients"),
    "pgd": Entry(pgd, "Madry et al. 2018", ALL, True, "40 gradients"),
    "odi": Entry(odi, "Tashiro et al. 2020", ("Linf", "L2"), True, "440 gradients"),
    "gama": Entry(gama, "Sriramanan et al. 2020", ("Linf",), True, "100 gradients"),
    "gama-fw": Entry(gama_fw, "Sriramanan et al. 2020", ("Linf",), True, "100 gradients"),
    "apgd": Entry(apgd, "Croce & Hein 2020, 2021", ALL, True, "100 gradients"),
    "apgd-dlr": Entry(apgd_dlr, "Croce & Hein 2020, 2021", ALL, True, "100 gradients"),
    "apgd-t": Entry(apgd_t, "Croce & Hein 2020, 2021", ALL, False, "900 gradients"),
    "autoattack": Entry(autoattack, "Croce & Hein 2020, 2021", ALL, False, "1,900 gradients, 7,900 queries"),
    "standard": Entry(standard, "ours", ALL, False, "200 gradients, more if near"),
    "square": Entry(square, "Andriushchenko et al. 2020", ALL, True, "5,000 queries"),
    "nes": Entry(nes, "Ilyas et al. 2018", ("Linf", "L2"), True, "10,000 queries"),
    "spsa": Entry(spsa, "Uesato et al. 2018", ("Linf", "L2"), True, "12,900 queries"),
    "one-pixel": Entry(one_pixel, "Su et al. 2019", ("L0",), True, "40,400 queries"),
    "boundary": Entry(boundary, "Brendel et al. 2018", ("L2",), True, "25,000 queries"),
    "geoda": Entry(geoda, "Rahmati et al. 2020", ALL, False, "5,000 queries"),
    "hopskipjump": Entry(hopskipjump, "Chen et al. 2020", ("L2", "Linf"), True, "25,000 queries"),
    "ddn": Entry(ddn, "Rony et al. 2019", ("L2",), True, "100 gradients"),
    "fmn": Entry(fmn, "Pintor et al. 2021", (*ALL, "L0"), True, "100 gradients"),
    "sigma-zero": Entry(sigma_zero, "Cinà et al. 2025", ("L0",), True, "1,000 gradients"),
    "jsma": Entry(jsma, "Papernot et al. 2016", ("L0",), True, "7 % of D gradients a class"),
    "fab": Entry(fab, "Croce & Hein 2020", ALL, False, "100 gradients a wrong class"),
    "fab-t": Entry(fab_t, "Croce & Hein 2020", ALL, False, "900 gradients"),
    "deepfool": Entry(deepfool, "Moosavi-Dezfooli et al. 2016", ("Linf", "L2"), False, "500 gradients"),
    "lbfgs": Entry(lbfgs, "Szegedy et al. 2014", ("L2",), True, "900 gradients"),
    "cw": Entry(cw, "Carlini & Wagner 2017", ("L2", "Linf", "L0"), True, "9,000 gradients"),
    "ead": Entry(ead, "Chen et al. 2018", ("L1",), True, "9,000 gradients"),
    "universal": Entry(universal, "Moosavi-Dezfooli et al. 2017", ("Linf", "L2"), False, "25 to 900 gradients"),
    "sgd-uap": Entry(sgd_uap, "Shafahi et al. 2020", ("Linf", "L2"), True, "20 gradients"),
    "transfer": Entry(transfer, "Papernot et al. 2016", (*ALL, "L0"), False, "1 query", surrogate=True),
    "patch": Entry(patch, "Brown et al. 2017", ("L0",), True, "160 gradients"),
    "lavan": Entry(lavan, "Karmon et al. 2018", ("L0",), True, "500 gradients"),
    "spatial": Entry(spatial, "Engstrom et al. 2019", ("Linf",), True, "775 queries"),
    "corruptions": Entry(corruptions, "Hendrycks & Dietterich 2019", ("Linf",), False, "90 queries"),
}
"""By name, the simplest first."""


def as_entry(what: str, found: object) -> Entry:
    """Returns an `Entry` as it came, and a recipe (threat, **settings) -> attack as one with every norm that it takes.

    what: whose it is, as an error calls it.
    Raises InputError for what makes no attack.
    """
    if isinstance(found, Entry):
        return found
    recipe: Callable[..., Any] = called(what, found)
    made, refused = {}, None
    for norm in (*ALL, "L0"):
        try:
            made[norm] = recipe() if _is_free(recipe) else recipe(Threat(getattr(norms, norm)(1.0)))
        except InputError as error:
            refused = error
        except Exception as error:
            raise InputError(f"expected {what} to make an attack of a threat, but {told(error)}") from error
    if not made:
        raise InputError(f"expected {what} to make an attack of a threat, but {refused}") from refused
    attack = next(iter(made.values()))
    lacking = sorted(name for name in vars(AttackLike) if not name.startswith("_") and not hasattr(attack, name))
    if lacking or not callable(attack):
        wants = f"{', '.join(lacking) or '__call__'}: see steelman.attacks.AttackLike, and Single to build on"
        raise InputError(f"expected an attack of {what}, got {type(attack).__name__} without {wants}")
    own = (attack.threat.ball.name,) if _is_free(recipe) else tuple(made)
    return Entry(recipe, "", own, "targeted" in takes(recipe), "")


def _is_free(recipe: Callable[..., Any]) -> bool:
    """Whether a recipe needs no threat, as one of an attack that no ball describes."""
    given = signature(recipe).parameters.values()
    return all(each.default is not each.empty or each.kind in (each.VAR_POSITIONAL, each.VAR_KEYWORD) for each in given)


catalogue: Registry[Entry] = Registry("attack", SHIPPED, group="steelman.attacks", check=as_entry)
"""What ships, and what plug-ins bring."""


def named(name: str, *, code: bool = False) -> Entry:
    """Returns an attack of the catalogue.

    code: also take "package.module:name" and "path/to/file.py:name", which run.
    Raises InputError for another name, with the nearest ones.
    """
    return catalogue.get(name, code=code)

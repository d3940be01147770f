"""Every attack by name, with what it needs to know and what it costs."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

from steelman.attacks.apgd import apgd, apgd_dlr, apgd_t
from steelman.attacks.attack import Attack
from steelman.attacks.autoattack import autoattack
from steelman.attacks.carlini_wagner.cw import cw
from steelman.attacks.cascade import Cascade
from steelman.attacks.corruptions.worst_of import corruptions
from steelman.attacks.ddn import ddn
from steelman.attacks.decision_based.boundary import boundary
from steelman.attacks.decision_based.geoda import geoda
from steelman.attacks.decision_based.hopskipjump import hopskipjump
from steelman.attacks.deepfool import deepfool
from steelman.attacks.ead import ead
from steelman.attacks.estimates import nes, spsa
from steelman.attacks.fab import fab, fab_t
from steelman.attacks.fmn import fmn
from steelman.attacks.gama import gama, gama_fw
from steelman.attacks.jsma import jsma
from steelman.attacks.lbfgs import lbfgs
from steelman.attacks.learnt import Universal
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
from steelman.registry import Registry

Knows = Literal["gradients", "scores", "decisions", "another model", "nothing"]
Finds = Literal["within eps", "smallest", "outside every ball"]


AnyAttack = Attack | Cascade | Universal
"""What is called as an attack is."""


@dataclass(frozen=True)
class Entry:
    """An attack of the catalogue: called as its recipe is, it returns the attack.

    norms: that it has.  knows: what it needs of the model.  finds: whether it looks for any change within eps or
    for the smallest.  targeted: whether it can be.  cost: of one sample that holds, at the defaults.
    """

    recipe: Callable[..., AnyAttack]
    paper: str
    norms: tuple[str, ...]
    knows: Knows
    finds: Finds
    targeted: bool
    cost: str

    def __call__(self, *arguments: Any, **settings: Any) -> AnyAttack:
        """Returns the attack with these settings."""
        return self.recipe(*arguments, **settings)


ALL = ("Linf", "L2", "L1")

SHIPPED: dict[str, Entry] = {
    "fgsm": Entry(fgsm, "Goodfellow et al. 2015", ALL, "gradients", "within eps", True, "1 gradient"),
    "bim": Entry(bim, "Kurakin et al. 2017", ALL, "gradients", "within eps", True, "1.25 gradients a grey level"),
    "mi-fgsm": Entry(mifgsm, "Dong et al. 2018", ("Linf", "L2"), "gradients", "within eps", True, "10 gradients"),
    "pgd": Entry(pgd, "Madry et al. 2018", ALL, "gradients", "within eps", True, "40 gradients"),
    "odi": Entry(odi, "Tashiro et al. 2020", ("Linf", "L2"), "gradients", "within eps", True, "440 gradients"),
    "gama": Entry(gama, "Sriramanan et al. 2020", ("Linf",), "gradients", "within eps", True, "100 gradients"),
    "gama-fw": Entry(gama_fw, "Sriramanan et al. 2020", ("Linf",), "gradients", "within eps", True, "100 gradients"),
    "apgd": Entry(apgd, "Croce & Hein 2020, 2021", ALL, "gradients", "within eps", True, "100 gradients"),
    "apgd-dlr": Entry(apgd_dlr, "Croce & Hein 2020, 2021", ALL, "gradients", "within eps", True, "100 gradients"),
    "apgd-t": Entry(apgd_t, "Croce & Hein 2020, 2021", ALL, "gradients", "within eps", False, "900 gradients"),
    "autoattack": Entry(
        autoattack, "Croce & Hein 2020, 2021", ALL, "gradients", "within eps", False, "1,900 gradients, 7,900 queries"
    ),
    "standard": Entry(standard, "ours", ALL, "gradients", "within eps", False, "200 gradients, more if near"),
    "square": Entry(square, "Andriushchenko et al. 2020", ALL, "scores", "within eps", True, "5,000 queries"),
    "nes": Entry(nes, "Ilyas et al. 2018", ("Linf", "L2"), "scores", "within eps", True, "10,000 queries"),
    "spsa": Entry(spsa, "Uesato et al. 2018", ("Linf", "L2"), "scores", "within eps", True, "12,900 queries"),
    "one-pixel": Entry(one_pixel, "Su et al. 2019", ("L0",), "scores", "within eps", True, "40,400 queries"),
    "boundary": Entry(boundary, "Brendel et al. 2018", ("L2",), "decisions", "smallest", True, "25,000 queries"),
    "geoda": Entry(geoda, "Rahmati et al. 2020", ALL, "decisions", "smallest", False, "5,000 queries"),
    "hopskipjump": Entry(
        hopskipjump, "Chen et al. 2020", ("L2", "Linf"), "decisions", "smallest", True, "25,000 queries"
    ),
    "ddn": Entry(ddn, "Rony et al. 2019", ("L2",), "gradients", "smallest", True, "100 gradients"),
    "fmn": Entry(fmn, "Pintor et al. 2021", (*ALL, "L0"), "gradients", "smallest", True, "100 gradients"),
    "sigma-zero": Entry(sigma_zero, "Cinà et al. 2025", ("L0",), "gradients", "smallest", True, "1,000 gradients"),
    "jsma": Entry(jsma, "Papernot et al. 2016", ("L0",), "gradients", "smallest", True, "7 % of D gradients a class"),
    "fab": Entry(fab, "Croce & Hein 2020", ALL, "gradients", "smallest", False, "100 gradients a wrong class"),
    "fab-t": Entry(fab_t, "Croce & Hein 2020", ALL, "gradients", "smallest", False, "900 gradients"),
    "deepfool": Entry(
        deepfool, "Moosavi-Dezfooli et al. 2016", ("Linf", "L2"), "gradients", "smallest", False, "500 gradients"
    ),
    "lbfgs": Entry(lbfgs, "Szegedy et al. 2014", ("L2",), "gradients", "smallest", True, "900 gradients"),
    "cw": Entry(cw, "Carlini & Wagner 2017", ("L2", "Linf", "L0"), "gradients", "smallest", True, "9,000 gradients"),
    "ead": Entry(ead, "Chen et al. 2018", ("L1",), "gradients", "smallest", True, "9,000 gradients"),
    "universal": Entry(
        universal,
        "Moosavi-Dezfooli et al. 2017",
        ("Linf", "L2"),
        "gradients",
        "within eps",
        False,
        "25 to 900 gradients",
    ),
    "sgd-uap": Entry(sgd_uap, "Shafahi et al. 2020", ("Linf", "L2"), "gradients", "within eps", True, "20 gradients"),
    "transfer": Entry(transfer, "Papernot et al. 2016", (*ALL, "L0"), "another model", "within eps", False, "1 query"),
    "patch": Entry(patch, "Brown et al. 2017", ("L0",), "gradients", "outside every ball", True, "160 gradients"),
    "lavan": Entry(lavan, "Karmon et al. 2018", ("L0",), "gradients", "outside every ball", True, "500 gradients"),
    "spatial": Entry(
        spatial, "Engstrom et al. 2019", ("Linf",), "decisions", "outside every ball", True, "775 queries"
    ),
    "corruptions": Entry(
        corruptions, "Hendrycks & Dietterich 2019", ("Linf",), "nothing", "outside every ball", False, "90 queries"
    ),
}
"""By name, the simplest first."""

catalogue: Registry[Entry] = Registry("attack", SHIPPED, group="steelman.attacks")
"""What ships, and what plug-ins bring."""


def named(name: str, *, code: bool = False) -> Entry:
    """Returns an attack of the catalogue.

    code: also take "package.module:name" and "path/to/file.py:name", which run.
    Raises InputError for another name, with the nearest ones.
    """
    return catalogue.get(name, code=code)

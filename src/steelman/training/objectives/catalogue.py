"""Every objective of robust training by name."""

from __future__ import annotations

from collections.abc import Callable

from steelman.errors import InputError
from steelman.norms import Ball
from steelman.registry import Registry, make
from steelman.threat import Threat
from steelman.training.fit import Objective
from steelman.training.objectives.adversarial import madry
from steelman.training.objectives.certified import crown_ibp, ibp
from steelman.training.objectives.fast import fast
from steelman.training.objectives.free import free
from steelman.training.objectives.guided import guided
from steelman.training.objectives.mart import mart
from steelman.training.objectives.mixed import mixed
from steelman.training.objectives.pairing import logit_pairing
from steelman.training.objectives.trades import trades

catalogue: Registry[Callable[..., Objective]] = Registry(
    "objective",
    {
        "madry": madry,
        "mixed": mixed,
        "logit-pairing": logit_pairing,
        "trades": trades,
        "mart": mart,
        "guided": guided,
        "fast": fast,
        "free": free,
        "ibp": ibp,
        "crown-ibp": crown_ibp,
    },
    group="steelman.objectives",
)
"""By name; each is called with a threat and settings of its own."""


def objective(name: str | Callable[..., Objective], threat: Threat | Ball, **settings: object) -> Objective:
    """Returns an objective of the catalogue, with the settings that are not None.

    name: or what could stand in the catalogue: it is called with a threat and its settings, and gives an `Objective`.
    Raises InputError for another name, or for a setting that it does not have, with the nearest ones.
    """
    name, kind = catalogue.named(name)
    made = make(name, kind, {key: value for key, value in settings.items() if value is not None}, threat=threat)
    lacking = [word for word in ("loss", "validate") if not callable(getattr(made, word, None))]
    if lacking:
        raise InputError(f"expected an objective of {name}, got {type(made).__name__} without {' and '.join(lacking)}")
    return made

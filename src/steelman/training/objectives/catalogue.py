"""Every objective of robust training by name."""

from __future__ import annotations

import inspect
from collections.abc import Callable

from steelman.errors import unknown
from steelman.norms import Ball
from steelman.registry import Registry
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


def objective(name: str, threat: Threat | Ball, **settings: object) -> Objective:
    """Returns an objective of the catalogue, with the settings that are not None.

    Raises InputError for another name, or for a setting that it does not have, with the nearest ones.
    """
    recipe = catalogue.get(name)
    takes = inspect.signature(recipe).parameters.keys() - {"threat"}
    given = {key: value for key, value in settings.items() if value is not None}
    for key in given.keys() - takes:
        raise unknown(f"setting of {name}", key, takes)
    return recipe(threat, **given)

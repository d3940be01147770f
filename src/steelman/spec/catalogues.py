"""The names that there are, looked up when there is one to check."""

from __future__ import annotations

from collections.abc import Iterable

from steelman.spec.values import Name


def _data() -> Iterable[str]:
    from steelman.data.shipped import SHIPPED

    return SHIPPED


def _like() -> Iterable[str]:
    from steelman.data.sources import KNOWN

    return KNOWN


def _models() -> Iterable[str]:
    from steelman import models

    return [*models.catalogue, *models.shipped()]


def _surrogates() -> Iterable[str]:
    from steelman import models

    return models.shipped()


def _defences() -> Iterable[str]:
    from steelman import defences

    shipped = defences.shipped()
    ready = [name for name in defences.catalogue if name not in defences.purifiers]
    return dict.fromkeys([*shipped, *(each.partition("/")[2] for each in shipped), *ready, "none"])


def _detectors() -> Iterable[str]:
    from steelman.defences import detectors

    return [*detectors.shipped(), *(each for each in detectors.catalogue if each not in detectors.catalogue.shipped)]


def _attacks() -> Iterable[str]:
    from steelman import attacks

    return attacks.catalogue


def _checks() -> Iterable[str]:
    from steelman.evaluation import checks

    return checks.catalogue


DATA = Name(kind="data set", known=_data, file="a folder of images or an .npz")
LIKE = Name(kind="data set that steelman knows", known=_like)
MODEL = Name(kind="model", known=_models, file="the folder of a saved pipeline", code=True)
DEFENCE = Name(kind="defence", known=_defences, file="a safetensors file", code=True)
DETECTOR = Name(kind="detector", known=_detectors, file="a file of steelman train detector", code=True)
ATTACK = Name(kind="attack", known=_attacks, code=True)
CHECK = Name(kind="trust check", known=_checks, code=True)
SURROGATE = Name(kind="surrogate", known=_surrogates, code=True)

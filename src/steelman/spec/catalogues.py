"""The names that there are, looked up when there is one to check."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from steelman.registry import load
from steelman.spec.values import Name


def _names(*places: str) -> Callable[[], Iterable[str]]:
    """The names in catalogues, and those that functions without arguments give."""

    def known() -> Iterable[str]:
        for found in map(load, places):
            names = found() if callable(found) else found
            assert isinstance(names, Iterable)
            yield from names

    return known


def _defences() -> Iterable[str]:
    """Those that can be used: what is trained, which need not say its data set, and what needs no training."""
    from steelman import defences

    trained = defences.shipped()
    ready = [name for name in defences.catalogue if name not in defences.purifiers]
    return dict.fromkeys([*trained, *(each.partition("/")[2] for each in trained), *ready, "none"])


def _detectors() -> Iterable[str]:
    from steelman.defences import detectors

    return [*detectors.shipped(), *(each for each in detectors.catalogue if each not in detectors.catalogue.shipped)]


_MODELS = _names("steelman.models:catalogue", "steelman.models:shipped")

DATA = Name("data set", _names("steelman.data:SHIPPED"), file="a folder of images or an .npz")
LIKE = Name("data set that steelman knows", _names("steelman.data.sources:KNOWN"))
MODEL = Name("model", _MODELS, file="the folder of a saved pipeline", code=True)
SURROGATE = Name("surrogate", _names("steelman.models:shipped"), code=True)
DEFENCE = Name("defence", _defences, file="a safetensors file", code=True)
DETECTOR = Name("detector", _detectors, file="a file of steelman train detector", code=True)
ATTACK = Name("attack", _names("steelman.attacks:catalogue"), code=True)
CHECK = Name("trust check", _names("steelman.evaluation.checks:catalogue"), code=True)

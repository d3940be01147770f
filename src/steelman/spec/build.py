"""The images and the attacks that a run names."""

from __future__ import annotations

import inspect
import math
from typing import TYPE_CHECKING, Any

from steelman.errors import InputError

if TYPE_CHECKING:
    from steelman.attacks import AttackLike
    from steelman.attacks.catalogue import Entry
    from steelman.data import Data, Images
    from steelman.spec.parts import AttackSpec, Parts
    from steelman.threat import Threat


def images(spec: Parts) -> tuple[Data, Images]:
    """Returns the data set of a run, and those of its test images that serve."""
    from steelman.data import load

    data, n = load(spec.data.name, like=spec.data.like), spec.data.images
    return data, data.test if n == 0 or n >= len(data.test) else data.test.sample(n, spec.run.seed)


def attacks(spec: AttackSpec, data: Data, device: str, *, targeted: bool = False) -> list[AttackLike]:
    """Returns every attack of a run at every radius; with a surrogate, made on that, on the device.

    A setting that one of several attacks does not have is for the others.
    targeted: made for labels that are the classes to reach.
    Raises InputError for settings that make no attack, for one that has no targeted form, and for no radius where one
    is needed.
    """
    from steelman.attacks import Finds, named

    made: list[AttackLike] = []
    own = {key: getattr(spec, key) for key in ("steps", "size", "restarts", "queries")}
    given = {key: value for key, value in own.items() if value is not None} | spec.settings
    for name in spec.names:
        entry = named("pgd" if name == "transfer" else name, code=True)
        known = takes(name)
        settings = {key: value for key, value in given.items() if key in known}
        if name == "transfer" and spec.surrogate is None:
            raise InputError("expected --surrogate for transfer, the model that it is made on: say mnist/cnn, …")
        if targeted and not entry.targeted:
            raise InputError(f"expected no --target for {name}, which has no targeted form")
        settings |= {"targeted": True} if targeted else {}
        if spec.eps is None and entry.finds is Finds.WITHIN:
            raise InputError(f"expected --eps for {name}, which works inside a radius: say --eps 0.1")
        if entry.finds is Finds.OUTSIDE:
            made.append(_made(name, entry, **settings))
        else:
            made += [_made(name, entry, _threat(spec, eps), **settings) for eps in spec.eps or [math.inf]]
    return [_through(attack, spec.surrogate, data, device) for attack in made] if spec.surrogate else made


def usual(spec: AttackSpec, data: str) -> float | None:
    """Returns the radius that the field takes on a data set, where the attacks need one and none is said."""
    from steelman import norms
    from steelman.attacks import Finds, named

    needed = any(named(name, code=True).finds is Finds.WITHIN for name in spec.names if name != "transfer")
    return norms.Linf.usual.get(data) if needed and spec.eps is None and spec.norm == "Linf" else None


def takes(name: str) -> set[str]:
    """Returns the names of the settings that a user can give an attack of the catalogue; of transfer, those of pgd.

    Raises InputError for another name.
    """
    from steelman.attacks import named

    recipe = named("pgd" if name == "transfer" else name, code=True).recipe
    parameters = inspect.signature(recipe).parameters.items()
    functions = {key for key, it in parameters if callable(it.default) or "Loss" in str(it.annotation)}
    return {key for key, _ in parameters} - functions - {"threat", "targeted"}


def _made(name: str, entry: Entry, *threat: Threat, **settings: Any) -> AttackLike:
    try:
        return entry(*threat, **settings)
    except InputError:
        raise
    except (TypeError, ValueError, ArithmeticError) as error:
        told = f"{type(error).__name__}: {' '.join(str(error).split())}"
        raise InputError(f"expected settings that make {name}, got {settings}, but {told}") from None


def _threat(spec: AttackSpec, eps: float) -> Threat:
    from steelman import norms
    from steelman.threat import Threat

    return Threat(getattr(norms, spec.norm)(eps), levels=256 if spec.grid else None)


def _through(attack: AttackLike, name: str, data: Data, device: str) -> AttackLike:
    """An attack that is made on the surrogate."""
    from steelman import models
    from steelman.attacks import transfer
    from steelman.pipeline import tried

    if attack.learns_from_all:
        raise InputError(f"expected no --surrogate for {attack.name}, which learns from many images: leave it out")
    if name in models.catalogue.shipped:
        raise InputError(f"expected a trained --surrogate, got {name}: say mnist/cnn, or package.module:factory")
    classes, kind = data.test.num_classes, models.catalogue.resolve(name, code=True)
    surrogate = models.build(kind, channels=data.test.shape[0], classes=classes).to(device)
    tried(surrogate, data, name, f"logits (1, {classes})", (1, classes))
    return transfer(attack, surrogate, called=name)

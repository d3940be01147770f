"""The keys of a configuration file: every option of `steelman evaluate` has one, and every key is an option."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from steelman.cli.bring import NORMS
from steelman.cli.config.kinds import Kind, name, number, one_of, path, setting, several, whole, word, yes_or_no


@dataclass(frozen=True)
class Key:
    """A key: the option that says the same, and what its value must be."""

    option: str
    kind: Kind

    @property
    def dest(self) -> str:
        """Where the parser puts the option."""
        return self.option.removeprefix("--").replace("-", "_")


def _data() -> Iterable[str]:
    from steelman.data.shipped import SHIPPED

    return SHIPPED


def _models() -> Iterable[str]:
    from steelman import models

    return [*models.catalogue, *models.shipped()]


def _surrogates() -> Iterable[str]:
    from steelman import models

    return models.shipped()


def _defences() -> Iterable[str]:
    from steelman import defences

    shipped = defences.shipped()
    usable = (each for each in defences.catalogue if each not in defences.purifiers)
    return dict.fromkeys([*shipped, *(each.partition("/")[2] for each in shipped), *usable, "none"])


def _detectors() -> Iterable[str]:
    from steelman.defences import detectors

    return [*detectors.shipped(), *(each for each in detectors.catalogue if each not in detectors.catalogue.shipped)]


def _attacks() -> Iterable[str]:
    from steelman import attacks

    return attacks.catalogue


KEYS: dict[str, Key] = {
    "data.name": Key("--data", name("data set", _data, file="a folder of images or an .npz")),
    "data.images": Key("--images", whole(0)),
    "model.name": Key("--model", name("model", _models, factory=True)),
    "model.weights": Key("--weights", path()),
    "model.device": Key("--device", word()),
    "defence.name": Key("--defence", name("defence", _defences, file="a safetensors file", factory=True)),
    "defence.settings": Key("--defence", setting(lists=False)),
    "defence.detector": Key(
        "--detector", name("detector", _detectors, file="a file of steelman train detector", factory=True)
    ),
    "defence.fpr": Key("--fpr", number("a number above 0 and below 1", lambda value: 0 < value < 1)),
    "attack.names": Key("--attack", several(name("attack", _attacks, factory=True))),
    "attack.eps": Key("--eps", several(number("a number >= 0", lambda value: value >= 0))),
    "attack.norm": Key("--norm", one_of(NORMS)),
    "attack.steps": Key("--steps", whole(1)),
    "attack.size": Key("--size", number("a number > 0", lambda value: value > 0)),
    "attack.restarts": Key("--restarts", whole(1)),
    "attack.queries": Key("--queries", whole(1)),
    "attack.settings": Key("--set", setting(lists=True)),
    "attack.surrogate": Key("--surrogate", name("surrogate", _surrogates, factory=True)),
    "attack.grid": Key("--grid", yes_or_no()),
    "run.seed": Key("--seed", whole()),
    "run.batch": Key("--batch", whole(1)),
    "run.each": Key("--each", yes_or_no()),
    "run.certify": Key("--certify", yes_or_no()),
    "run.curve": Key("--curve", yes_or_no()),
    "run.checks": Key("--checks", yes_or_no()),
    "run.out": Key("--out", path()),
}
"""By name, table by table, in the order that a file is written."""

TABLES: tuple[str, ...] = tuple(dict.fromkeys(key.partition(".")[0] for key in KEYS))


def named(table: str) -> list[str]:
    """Returns the names of the keys of one table."""
    return [key.partition(".")[2] for key in KEYS if key.startswith(f"{table}.")]

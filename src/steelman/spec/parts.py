"""What a run is made of: data, pipeline, attacks and how it goes, each option stated once."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from steelman.errors import InputError, unknown
from steelman.spec.catalogues import ATTACK, CHECK, DATA, DEFENCE, DETECTOR, LIKE, MODEL, SURROGATE
from steelman.spec.values import (
    Amount,
    Count,
    File,
    Norm,
    Radius,
    Seed,
    Setting,
    Several,
    Share,
    Size,
    Switch,
    Word,
    kind,
    shown,
)


class SpecError(InputError):
    """A value that does not fit.

    key: whose.  sentence: with {what} where whoever says it puts what its door calls the key.
    """

    def __init__(self, key: str, sentence: str) -> None:
        self.key, self.sentence = key, sentence
        super().__init__(self.told(key))

    def told(self, what: str) -> str:
        """Returns the sentence for a door that calls the key so."""
        return self.sentence.replace("{what}", what)


def _option(key: str, option: str, says: str, default: Any = None) -> Any:
    """A field: its key in a file, its option on the command line, its help and its default."""
    return Field(default, description=says, json_schema_extra={"key": key, "option": option})


class Part(BaseModel):
    """Some options of a run: frozen, and with no others than these.

    Raises InputError for a value of another kind, and for an option that there is not.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", ser_json_inf_nan="strings")

    def __init__(self, **values: Any) -> None:
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _error(type(self), error) from None


class DataSpec(Part):
    """Which images."""

    name: Annotated[Word, DATA] = _option(
        "data.name", "--data", "mnist, fashion-mnist, a folder of images, an .npz", "mnist"
    )
    like: Annotated[Word, LIKE] | None = _option(
        "data.like", "--like", "your images are mnist, fashion-mnist or cifar10: its classifier, radii, …"
    )
    images: Amount = _option("data.images", "--images", "how many test images, seeded; 0 for all", 1000)


class PipelineSpec(Part):
    """Which classifier, with what around it, and where it runs."""

    model: Annotated[Word, MODEL] | None = _option(
        "model.name",
        "--model",
        "shipped as in mnist/cnn, cnn, vgg16, paper_vgg, package.module:name, path/to/file.py:name, or the folder of a "
        "pipeline",
    )
    weights: File | None = _option("model.weights", "--weights", "safetensors for the model")
    device: Word = _option("model.device", "--device", "cpu, cuda or auto", "auto")
    defence: Annotated[Word, DEFENCE] | None = _option(
        "defence.name", "--defence", "in front of it: unet, puvae, jpeg:quality=50, …, a safetensors file, or none"
    )
    settings: dict[str, Setting] = _option("defence.settings", "--defence", "of a transform, by their names", {})
    detector: Annotated[Word, DETECTOR] | None = _option(
        "defence.detector",
        "--detector",
        "abstain where it is suspicious: mnist/combined, or a file; --defence is what it compares with",
    )
    detector_settings: dict[str, Setting] = _option(
        "defence.detector_settings", "--detector", "of a plug-in's detector, by their names", {}
    )
    fpr: Share = _option("defence.fpr", "--fpr", "share of clean images that the detector may reject", 0.05)


class AttackSpec(Part):
    """Which attacks, and what they may do."""

    names: Annotated[tuple[Annotated[Word, ATTACK], ...], *Several] = _option(
        "attack.names",
        "--attack",
        "by name; several for evaluate; steelman attack --list has all",
        ("standard",),
    )
    eps: Annotated[tuple[Radius, ...], *Several] | None = _option(
        "attack.eps",
        "--eps",
        "radius or radii, in units of [0, 1] images, as in 0.1 or 8/255; needless for attacks that look for the "
        "smallest change",
    )
    norm: Norm = _option("attack.norm", "--norm", "of what is changed", "Linf")
    steps: Count | None = _option("attack.steps", "--steps", "of attacks that take steps")
    size: Size | None = _option("attack.size", "--size", "of one step of bim and pgd")
    restarts: Count | None = _option("attack.restarts", "--restarts", "of attacks that start at random")
    queries: Count | None = _option(
        "attack.queries", "--queries", "that attacks without gradients may spend on an image"
    )
    settings: dict[str, Setting] = _option(
        "attack.settings", "--set", "other settings of the attack; any key of a file too, as in attack.eps=0.1", {}
    )
    surrogate: Annotated[Word, SURROGATE] | None = _option(
        "attack.surrogate", "--surrogate", "make the attack on another model, mnist/cnn or package.module:name"
    )
    grid: Switch = _option(
        "attack.grid", "--grid", "only images that 8 bits hold, still adversarial as PNG files", False
    )


class RunOptions(Part):
    """How a run goes, and where it is kept."""

    seed: Seed = _option("run.seed", "--seed", "of all that is random", 0)
    batch: Count = _option("run.batch", "--batch", "images that are journaled together", 250)
    each: Switch = _option("run.each", "--each", "make every attack on every image, for a row of its own", False)
    certify: Switch = _option("run.certify", "--certify", "try to prove what holds", True)
    curve: Switch = _option("run.curve", "--curve", "find where accuracy goes at other radii", True)
    checks: Switch = _option("run.checks", "--checks", "check whether the figure can be trusted", True)
    check: Annotated[tuple[Annotated[Word, CHECK], ...], *Several] | None = _option(
        "run.check",
        "--check",
        "trust checks beside those that ship, a plug-in's or one of your own as in my_checks.py:darkness",
    )
    out: File = _option("run.out", "--out", "the run folder", Path("runs/evaluate"))


class Parts(Part):
    """All of a run."""

    data: DataSpec = DataSpec()
    pipeline: PipelineSpec = PipelineSpec()
    attacks: AttackSpec = AttackSpec()
    run: RunOptions = RunOptions()


def _error(part: type[Part], error: ValidationError) -> InputError:
    """The first thing that does not fit, in one sentence."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, InputError):
        return cause
    name, *below = map(str, first["loc"])
    if first["type"] == "extra_forbidden":
        return unknown(f"field of {part.__name__}", name, part.model_fields)
    info = part.model_fields[name]
    extra = info.json_schema_extra
    if not isinstance(extra, dict):
        return InputError(f"expected {name} as {type(info.default).__name__}, got {shown(first['input'])}")
    key = f"{extra['key']}.{below[0]}" if below and isinstance(info.default, dict) else str(extra["key"])
    why = str(cause or "") or f"as {kind(info).wanted}, got {shown(first['input'])}"
    return SpecError(key, f"expected {{what}} {why}")

"""Whole trainings of Defense-GAN: its generator, and an encoder that proposes where to look."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from steelman import weights
from steelman.attacks import Last, fgsm
from steelman.data import Data
from steelman.defences import DefenseGAN
from steelman.norms import Linf
from steelman.progress import OnProgress
from steelman.training.objectives.purify import Purify
from steelman.training.objectives.wgan import Rivals, WassersteinGAN
from steelman.training.purifiers import purifier
from steelman.training.recipe import Recipe
from steelman.training.recipes import DEFENSE_GAN, DEFENSE_GAN_ENCODER
from steelman.training.trained import Trained, fitted

_JUDGED = 200


def defense_gan(
    model: DefenseGAN,
    classifier: nn.Module,
    data: Data,
    *,
    recipe: Recipe = DEFENSE_GAN,
    critic_steps: int = 2,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
) -> Trained:
    """Returns a Defense-GAN whose generator learned from clean images alone, against a critic that is thrown away.

    classifier: judges epochs, by what it reads of 200 validation images behind the defence, clean and under FGSM; the
    generator never learns from it.
    critic_steps: of the critic for each of the generator; the paper's authors take 5, and longer.
    Source: Samangouei et al. 2018, with the WGAN-GP of its authors' code; small networks, a training of minutes, its
    rates and the averaging of weights are ours.
    """
    classifier = classifier.to(device).eval().requires_grad_(False)
    attacks = tuple(fgsm(Linf(eps)).with_goal(Last()) for eps in (0.3, 0.6))
    objective = WassersteinGAN(
        judge=Purify(classifier=classifier, attacks=(), val=attacks),
        critic_steps=critic_steps,
        projection={"steps": 20, "starts": 4},
    )
    rivals = Rivals(model)
    metadata = {"defence": "defense-gan", "classifier": weights.digest(classifier)}
    return fitted(
        model,
        objective,
        data,
        recipe,
        metadata,
        judged=_JUDGED,
        learner=rivals,
        checkpoint=checkpoint,
        device=device,
        progress=progress,
    )


def defense_gan_encoder(
    generator: DefenseGAN,
    model: DefenseGAN,
    classifier: nn.Module,
    data: Data,
    *,
    recipe: Recipe = DEFENSE_GAN_ENCODER,
    steps: int = 3,
    checkpoint: Path | None = None,
    device: str = "cpu",
    progress: OnProgress | None = None,
) -> Trained:
    """Returns `model`, a Defense-GAN with an encoder, whose generator is that of `generator` and stays as it is.

    Ours. The encoder learns to point at the clean image that an attack on the classifier started from, as `purifier`
    learns to give it back: FGSM and PGD of every eps, made beforehand and without knowing the defence.
    steps: of the PGD that it trains on.
    """
    model.generator.load_state_dict(generator.generator.state_dict())
    model.generator.requires_grad_(False)
    learner = model.with_settings(steps=0, gradient="encoder")
    trained = purifier(
        learner,
        classifier,
        data,
        name="defense-gan",
        recipe=recipe,
        steps=steps,
        checkpoint=checkpoint,
        device=device,
        progress=progress,
    )
    model.generator.requires_grad_(True)
    generated = {"arguments": model.settings, "generator": weights.digest(generator)}
    return Trained(model.eval(), trained.history, {**trained.settings, **generated})

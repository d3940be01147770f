"""Every member of the zoo by name; README.md tells the story of each."""

from __future__ import annotations

from functools import partial

from torch import nn

from steelman import defences, models, weights
from steelman.data import load
from steelman.defences.detectors import ReconstructionError

from .classifiers import WEIGHTS, KWinnersNet, LeftInTraining, NoisyFeatures, Scaled, thermometer_net
from .specimen import Builder, Specimen
from .stages import GaussianNoise, HardBitDepth, HardJPEG, NumpyMedian, RootOfExcess, Sawtooth

FALSE_POSITIVES = 0.05
"""The share of clean images that the detector may turn away."""

cnn = partial(models.load, "mnist/cnn")
noise_trained = partial(models.load, "mnist/cnn-noise")
distilled = partial(models.load, "mnist/cnn-distilled")


def before(stage: Builder, classifier: Builder = cnn) -> Builder:
    """Returns a builder of the pipeline: the stage, then the classifier."""
    return lambda: nn.Sequential(stage(), classifier()).eval()


def behind(stage: Builder, classifier: Builder = cnn) -> Builder:
    """Returns a builder of the pipeline: the classifier, then the stage."""
    return lambda: nn.Sequential(classifier(), stage()).eval()


def own(build: Builder, name: str) -> Builder:
    """Returns a builder of a classifier with weights that stand in the zoo."""

    def filled() -> nn.Module:
        model = build()
        weights.fill(model, WEIGHTS / f"{name}.safetensors")
        return model.eval()

    return filled


def noisy_features() -> nn.Module:
    """Returns the shipped classifier that was trained under noise, with more of it behind both of its strides."""
    model = noise_trained()
    model.down1 = NoisyFeatures(model.get_submodule("down1"), 0.5)
    model.down2 = NoisyFeatures(model.get_submodule("down2"), 0.5)
    return model.eval()


def left_in_training() -> nn.Module:
    """Returns the shipped classifier, never in evaluation mode, with dropout on a quarter of its features."""
    return LeftInTraining(cnn(), 0.25)


def suspicious() -> nn.Module:
    """Returns the shipped classifier that abstains where MagNet's auto-encoder changes an image too much."""
    clean = load("mnist").train.sample(400, 1).x
    detector = ReconstructionError(defences.load("mnist/magnet"))
    return defences.reject(detector, cnn(), FALSE_POSITIVES, validation=clean)


zoo: dict[str, Specimen] = {
    specimen.name: specimen
    for specimen in (
        Specimen(
            name="saturated-logits",
            build=behind(partial(Scaled, 1e4)),
            undefended=cnn,
            eps=0.1,
            naive=0.99,
            truth=0.01,
            verdict="no more robust than what stands before the factor",
            source="Carlini & Wagner 2016 (Defensive distillation is not robust to adversarial examples)",
        ),
        Specimen(
            name="distilled",
            build=distilled,
            undefended=cnn,
            eps=0.1,
            naive=0.7,
            truth=0.0,
            verdict="broken on all images by a loss that does not saturate",
            source="Carlini & Wagner 2017 (Towards evaluating the robustness of neural networks), section VIII",
        ),
        Specimen(
            name="jpeg",
            build=before(partial(HardJPEG, 10)),
            undefended=cnn,
            eps=0.1,
            naive=0.98,
            truth=0.06,
            verdict="0 % left by BPDA, with the other transformations of its paper",
            source="Athalye et al. 2018 (Obfuscated gradients), table 1, on Guo et al. 2018",
        ),
        Specimen(
            name="bit-depth",
            build=before(partial(HardBitDepth, 4)),
            undefended=cnn,
            eps=0.15,
            naive=0.98,
            truth=0.0,
            verdict="broken by an attack that looks through it, alone and with other squeezers",
            source="He et al. 2017 (Ensembles of weak defenses are not strong), section 4, on Xu et al. 2018",
        ),
        Specimen(
            name="resize-pad",
            build=before(partial(defences.RandomResizePad, 1.3), noise_trained),
            undefended=noise_trained,
            eps=0.25,
            against="the undefended",
            naive=0.75,
            truth=0.1,
            verdict="0 % left by EOT",
            source="Athalye et al. 2018 (Obfuscated gradients), table 1, on Xie et al. 2018",
        ),
        Specimen(
            name="noise",
            build=before(partial(GaussianNoise, 0.25), noise_trained),
            undefended=cnn,
            eps=0.25,
            against="the undefended",
            naive=0.88,
            truth=0.04,
            verdict="noise at the input hampers attacks, and no more than that: EOT or more steps undo it",
            source="Gao et al. 2022 (On the limitations of stochastic pre-processing defenses)",
        ),
        Specimen(
            name="noisy-features",
            build=noisy_features,
            undefended=cnn,
            eps=0.25,
            against="the undefended",
            naive=0.97,
            truth=0.04,
            verdict="noise inside the network goes the same way: 0 % left by EOT",
            source="Athalye et al. 2018 (Obfuscated gradients), table 1, on Dhillon et al. 2018",
        ),
        Specimen(
            name="thermometer",
            build=own(thermometer_net, "thermometer"),
            eps=0.2,
            naive=0.97,
            truth=0.0,
            verdict="as robust as no code at all once BPDA looks through it",
            source="Athalye et al. 2018 (Obfuscated gradients), section 5, on Buckman et al. 2018",
        ),
        Specimen(
            name="purifier",
            build=before(partial(defences.load, "mnist/unet")),
            undefended=cnn,
            eps=0.3,
            against="the undefended",
            naive=1.0,
            truth=0.0,
            verdict="trained on attacks against the classifier alone; PGD through both leaves 0 %",
            source="Athalye & Carlini 2018 (On the robustness of the CVPR 2018 … defenses), on Liao et al. 2018",
        ),
        Specimen(
            name="k-winners",
            build=own(KWinnersNet, "k-winners"),
            undefended=cnn,
            eps=0.25,
            against="the undefended",
            naive=0.95,
            truth=0.06,
            verdict="nothing left once the gradient is estimated from many points around an image",
            source="Tramèr et al. 2020 (On adaptive attacks), on Xiao et al. 2020",
        ),
        Specimen(
            name="reconstruction-error",
            build=suspicious,
            undefended=cnn,
            eps=0.3,
            naive=1.0,
            truth=0.0,
            verdict="broken by an attack on classifier and detector together",
            source="Carlini & Wagner 2017 (MagNet and “Efficient defenses against adversarial attacks” are not robust)",
        ),
        Specimen(
            name="left-in-training",
            build=left_in_training,
            undefended=cnn,
            eps=0.2,
            against="the undefended",
            naive=0.71,
            truth=0.0,
            verdict="dropout while it is used: 0 % left by EOT, as of stochastic activation pruning",
            source="Athalye et al. 2018 (Obfuscated gradients), table 1, on Dhillon et al. 2018",
        ),
        Specimen(
            name="probabilities",
            build=behind(partial(nn.Softmax, 1), distilled),
            undefended=distilled,
            eps=0.1,
            naive=0.7,
            truth=0.0,
            verdict="attacks belong on logits: behind a softmax the gradient vanishes, and the decisions are the same",
            source="Carlini et al. 2019 (On evaluating adversarial robustness), section 5",
        ),
        Specimen(
            name="nan-gradient",
            build=before(RootOfExcess),
            undefended=cnn,
            eps=0.1,
            naive=0.99,
            truth=0.01,
            verdict="numeric instability is a kind of shattered gradient, and no robustness",
            source="Athalye et al. 2018 (Obfuscated gradients), section 3",
        ),
        Specimen(
            name="detached",
            build=before(NumpyMedian),
            undefended=cnn,
            eps=0.2,
            naive=0.98,
            truth=0.0,
            verdict="broken by an attack that looks through it, alone and with other squeezers",
            source="He et al. 2017 (Ensembles of weak defenses are not strong), on Xu et al. 2018",
        ),
        Specimen(
            name="sawtooth",
            build=before(partial(Sawtooth, 6, 0.5)),
            undefended=cnn,
            eps=0.2,
            naive=1.0,
            truth=0.0,
            verdict="an incorrect gradient is a kind of shattered gradient, and no robustness",
            source="Athalye et al. 2018 (Obfuscated gradients), section 3",
        ),
        *(
            Specimen(
                name=f"undefended-{eps}",
                build=cnn,
                eps=eps,
                naive=naive,
                truth=truth,
                verdict="not robust, and nothing pretends that it is",
                source="Carlini & Wagner 2017 (Towards evaluating the robustness of neural networks), section VI",
                sound=True,
            )
            for eps, naive, truth in ((0.1, 0.03, 0.01), (0.3, 0.0, 0.0))
        ),
        Specimen(
            name="adversarially-trained",
            build=partial(models.load, "mnist/cnn-linf"),
            eps=0.3,
            naive=0.96,
            truth=0.96,
            verdict="robust: no attack known brings it far below what PGD with restarts does",
            source="Madry et al. 2018 (Towards deep learning models resistant to adversarial attacks), table 1",
            sound=True,
        ),
    )
}

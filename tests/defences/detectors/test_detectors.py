"""What holds for every detector of the catalogue."""

import pytest
import torch

from steelman import weights
from steelman.defences import detectors
from steelman.errors import InputError
from steelman.models import CNN
from steelman.testing import check_detector

every = pytest.mark.parametrize("name", detectors.catalogue.shipped)
learns = pytest.mark.parametrize("name", ["mahalanobis", "lid", "kernel-density", "combined"])
OWN = {"lid": {"k": 5, "reference": 10}, "binary": {"width": 4}}


def raw(name, scene, members=True):
    own = dict(OWN.get(name, {}))
    if name == "combined":
        own["members"] = [fitted(one, scene) if members else raw(one, scene) for one in ("mahalanobis", "disagreement")]
    with torch.random.fork_rng():
        torch.manual_seed(0)
        return detectors.build(name, scene.classifier, scene.purifier, **own)


def fitted(name, scene, attacked=True):
    made = raw(name, scene)
    if name == "binary":
        made.trained.fill_(1)
    return made.fit(scene.x, scene.y, scene.attacked if attacked else None).eval()


@every
@pytest.mark.parametrize("attacked", [True, False])
def test_it_is_a_detector(name, attacked, scene):
    check_detector(fitted(name, scene, attacked), on=scene, exact=True)


@every
def test_it_survives_a_file_and_leaves_the_classifier_out(name, scene, tmp_path):
    made, path = fitted(name, scene), tmp_path / "detector.safetensors"
    detectors.save(made, path, (1, 12, 12))
    again = detectors.load(path, scene.classifier, scene.purifier)
    assert not again.training
    with torch.no_grad():
        assert torch.equal(again.score(scene.attacked), made.score(scene.attacked))
    own = {tensor.data_ptr() for tensor in scene.classifier.state_dict().values()}
    assert not own & {tensor.data_ptr() for tensor in made.state_dict().values()}
    if made.watched.classifier is not None:
        with pytest.raises(InputError, match="expected the classifier beside which"):
            detectors.load(path, CNN(1, 2, width=5).eval(), scene.purifier)
    if made.watched.purifier is not None:
        with pytest.raises(InputError, match="expected a purifier for"):
            detectors.load(path, scene.classifier)


@pytest.mark.parametrize("name", ["binary", "mahalanobis", "lid", "kernel-density", "combined"])
def test_before_fitting_it_scores_nothing(name, scene):
    with pytest.raises(InputError, match=r"expected a (fitted|trained) \w+, got one before fitting"):
        raw(name, scene, members=False).score(scene.x)


@learns
def test_bad_material_is_one_error(name, scene):
    made = raw(name, scene)
    with pytest.raises(InputError, match="clean images"):
        made.fit(scene.x[:0], scene.y[:0])
    with pytest.raises(InputError, match="integer labels"):
        made.fit(scene.x, scene.y[:3])
    for attacked in (scene.attacked[:0], torch.rand(4, 1, 8, 8)):
        with pytest.raises(InputError, match="expected attacked images"):
            made.fit(scene.x, scene.y, attacked)


def test_unknown_names_and_settings_are_told(scene):
    with pytest.raises(InputError, match="name of a detector"):
        detectors.build("mahalanobbis", scene.classifier)
    with pytest.raises(InputError, match="setting of lid"):
        detectors.build("lid", scene.classifier, neighbours=3)
    with pytest.raises(InputError, match="expected a purifier for disagreement"):
        detectors.build("disagreement", scene.classifier)
    with pytest.raises(InputError, match="name of a layer"):
        detectors.build("mahalanobis", scene.classifier, layers=("stam",)).fit(scene.x, scene.y)


def test_weights_of_another_are_refused(scene, tmp_path):
    path = tmp_path / "other.safetensors"
    weights.write(scene.purifier, path, {"defence": "unet", "arguments": scene.purifier.settings})
    with pytest.raises(InputError, match="expected a detector in"):
        detectors.load(path, scene.classifier)
    made = fitted("kernel-density", scene)
    weights.write(scene.purifier, path, detectors.record(made, (1, 12, 12)))
    with pytest.raises(InputError, match="those of another"):
        detectors.load(path, scene.classifier)
    made.reference = made.reference[:, :3]
    detectors.save(made, path, (1, 12, 12))
    with pytest.raises(InputError, match="damaged"):
        detectors.load(path, scene.classifier)
    settings = detectors.record(made, (1, 12, 12)) | {"arguments": {"bandwidth": "wide"}}
    weights.write(made, path, settings)
    with pytest.raises(InputError, match="settings of a detector"):
        detectors.load(path, scene.classifier)


def test_a_network_may_look_at_a_layer(scene):
    made = detectors.Binary(scene.classifier, channels=4, width=4, layer="stem")
    made.trained.fill_(1)
    with torch.no_grad():
        assert torch.equal(made.score(scene.x), made.network(scene.classifier.stem(scene.x))[:, 0])
    with pytest.raises(InputError, match="expected a module of the classifier"):
        detectors.Binary(scene.classifier, layer="stam")
    with pytest.raises(InputError, match="network to train"):
        detectors.Binary(scene.classifier).fit(scene.x, scene.y, scene.attacked)


def test_fitting_leaves_the_classifier_as_it_was(scene):
    scene.classifier.train()
    before = weights.digest(scene.classifier)
    scene.classifier.eval()
    fitted("combined", scene)
    assert weights.digest(scene.classifier) == before
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in scene.classifier.modules())

"""The published weights themselves."""

import pytest
import torch

from nst_exp.app.weights_command import read_preset
from nst_exp.weights import load_weights
from nst_exp.weights.architecture import convolutions

# The first bias of each convolution in the authors' release of VGG-16.
FIRST_BIASES = [
    *(0.73429835, -0.30912212, -0.04577766, -0.06418542, -0.07435887, 0.01967502, 0.03541524),
    *(0.01348567, 0.02368046, 0.03757768, 0.09722325, 0.21327873, 0.18837857),
]


@pytest.mark.network
@pytest.mark.slow
def test_vgg16_is_the_authors_release() -> None:
    loaded = load_weights(read_preset("vgg16"))
    assert loaded.sha256.startswith("3be917fb4375d2d5")
    assert "Simonyan" in loaded.credit
    layers = [layer for layer in convolutions("vgg16") if layer.startswith("features.")]
    found = torch.stack([loaded.state_dict[f"{layer}.bias"][0] for layer in layers])
    torch.testing.assert_close(found, torch.tensor(FIRST_BIASES), rtol=0, atol=1e-8)


@pytest.mark.network
@pytest.mark.slow
def test_squeezenet() -> None:
    loaded = load_weights(read_preset("squeezenet1_1"))
    assert loaded.sha256.startswith("308d1afdb450bd28")
    assert loaded.state_dict["features.0.weight"].shape == (64, 3, 3, 3)

"""Input conventions: what is done to an image before the network sees it."""

import torch
from torch import Tensor, nn

from nst_exp.config.schema import InputConvention

Triple = tuple[float, float, float]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)  # RGB; torchvision's models
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)
CAFFE_MEAN: Triple = (103.939, 116.779, 123.68)  # BGR in 0..255; Simonyan and Zisserman's release

NORMALIZATION: dict[InputConvention, tuple[Triple, Triple]] = {
    InputConvention.imagenet: (IMAGENET_MEAN, IMAGENET_STD),
    InputConvention.imagenet_255: (IMAGENET_MEAN, (1 / 255, 1 / 255, 1 / 255)),
    InputConvention.caffe: (CAFFE_MEAN, (1.0, 1.0, 1.0)),
}
"""Mean and divisor of RGB in 0..1; for caffe, of BGR in 0..255."""


class Preprocessing(nn.Module):
    """Convert RGB in 0..1 to the network's input convention."""

    mean: Tensor
    std: Tensor

    def __init__(self, convention: InputConvention) -> None:
        super().__init__()
        self.bgr_255 = convention is InputConvention.caffe
        mean, std = NORMALIZATION[convention]
        self.register_buffer("mean", torch.tensor(mean).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(std).view(1, 3, 1, 1), persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Convert an image of shape (1, 3, H, W)."""
        if self.bgr_255:
            image = image.flip(1) * 255.0
        return (image - self.mean) / self.std

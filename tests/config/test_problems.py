"""Values that a key does not allow, or that do not fit each other, get one clear line each."""

import re
from typing import cast

import pytest
from omegaconf import OmegaConf

from nst_exp.config.keys import walk
from nst_exp.config.schema import LBFGS, Adam, Config, Statistic, StyleLoss
from nst_exp.config.validate import (
    combination_problems,
    objective_notes,
    size_problems,
    value_problems,
)
from nst_exp.config.validate_terms import OF_POSITIONS, term_problems
from nst_exp.core.statistics import build_statistic


def config_of(words: str) -> Config:
    """Return a good config with these keys changed."""
    config = Config(optimizer=Adam() if "optimizer=adam" in words else LBFGS())
    config.backbone.content_layers = ["relu4_2"]
    config.backbone.style_layers = ["relu1_1", "relu2_1"]
    listed = re.split(r" (?=[\w.]+=)", words.replace("optimizer=adam", "").strip())
    changes = OmegaConf.from_dotlist([entry for entry in listed if entry])
    return cast(Config, OmegaConf.to_object(OmegaConf.merge(config, changes)))


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("alpha=-1", "alpha=-1.0: must be at least 0"),
        ("alpha=.nan", "alpha=nan: must be a finite number"),
        ("loss.style.weights=[1,.inf]", "=[1,inf]: every value must be a finite number"),
        ("loss.style.weights=[-1.5,0]", "weights=[-1.5,0]: every value must be at least 0"),
        ("loss.more.std.weights=[-1]", "loss.more.std.weights=[-1]: every value must be at least"),
        ("size=0", "size=0: must be from 1 to 65535"),
        ("size=65536", "size=65536: must be from 1 to 65535"),
        ("optimizer.lr=0", "optimizer.lr=0.0: must be greater than 0"),
        ("bit_depth=12", "bit_depth=12: must be one of 8, 16"),
        ("trainer.accelerator=gpux", "one of auto, cpu, gpu, cuda, mps; did you mean 'gpu'?"),
        ("size=65535 alpha=0 init.noise_ratio=1 trainer.threads=null bit_depth=16", ""),
    ],
)
def test_values(words: str, said: str) -> None:
    found = list(value_problems(config_of(words)))
    assert [said in line for line in found] == [True] * bool(said), found


def test_every_number_of_the_schema_is_bounded() -> None:
    free = {
        name
        for optimizer in (LBFGS(), Adam())
        for name, value, info in walk(Config(optimizer=optimizer))
        for entry in (value if isinstance(value, list) else [value])
        if isinstance(entry, int | float) and not isinstance(entry, bool) and not info.allowed()
    }
    assert free == {"init.noise_mean"}


def test_text_that_is_not_utf_8() -> None:
    (line,) = value_problems(Config(content="caf\udce9.jpg"))
    assert line == r"content=caf\udce9.jpg: must be UTF-8; use another name"


def test_mutable_defaults_are_copied() -> None:
    Config().loss.style.layers.append("relu1_1")
    assert Config().loss.style.layers == []


NEIGHBORS = "loss.style.statistic=neighbors"
SIMILAR = "loss.content.kind=self_similarity"
WASSERSTEIN = "loss.style.statistic=wasserstein2"
PYRAMID = "resolution.pyramid=true"
LEVELS = "resolution.levels"
TV = "loss.tv.weight=2"
RESNET = "backbone.name=resnet18 backbone.style_layers=[maxpool] alpha=0 backbone.content_layers=[]"


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", ""),
        ("optimizer=adam", ""),
        ("optimizer=adam loss.normalize_gradients=true", ""),
        (
            "loss.normalize_gradients=true",
            "gradients=true: L-BFGS needs the gradient",
        ),
        ("alpha=0 beta=0", "alpha=0 beta=0: nothing to optimize"),
        ("alpha=0 loss.style.weights=[0,0]", "alpha=0 beta=5: nothing to optimize"),
        ("alpha=0 beta=0 loss.tv.weight=1", ""),
        ("alpha=0 beta=0 loss.range_weight=1", "alpha=0 beta=0: nothing to optimize"),
        ("loss.style.layers=[relu9_1]", "loss.style.layers: vgg16 has no layer 'relu9_1'"),
        ("loss.content.layers=[relu4_9]", "vgg16 has no layer 'relu4_9'; did you mean 'relu4_"),
        ("loss.content.layers=[bn1_1]", "its layers: conv1_1, relu1_1, "),
        ("loss.content.layers=[relu4_3] loss.style.layers=[features.3]", ""),
        (RESNET, ""),
        ("backbone.name=densenet121", ""),  # its layers are checked by the network
        ("loss.style.layers=[relu1_1,relu1_1]", "=[relu1_1,relu1_1]: 'relu1_1' is given twice"),
        ("loss.style.weights=[1]", "loss.style.weights=[1]: has 1 entries for 2 layers"),
        ("backbone.content_layers=[]", "loss.content.layers=[]: backbone.name=vgg16 has no"),
        ("backbone.content_layers=[] alpha=0", ""),  # content is not measured
        ("backbone.style_layers=[] beta=0", ""),
        ("color=chroma style=[a,b]", "color=chroma: takes the colors of one image"),
        (
            "resolution.style_angles=[90] content_map=a.png style_map=[b.png]",
            "resolution.style_angles=[90]: maps of regions have no copies",
        ),
        (
            "resolution.style_copies=[0.9,1] content_map=a.png style_map=[b.png]",
            "resolution.style_copies=[0.9,1]: maps of regions have no copies",
        ),
        ("loss.tv.channel_std=[0.2]", "channel_std=[0.2]: give three values (R, G, B)"),
        ("loss.tv.channel_std=[0.229,0.224,0.225]", ""),
        ("init.noise_mean=[]", "init.noise_mean=[]: give one value or three"),
        ("init.noise_mean=[0.5,0.5]", "init.noise_mean=[0.5,0.5]: give one value or three"),
        ("init.noise_mean=[-0.1]", ""),
        (WASSERSTEIN, ""),
        (f"{WASSERSTEIN} loss.style.relative=true", "loss.style.relative=true: not with loss."),
        (f"{NEIGHBORS} loss.style.relative=true", ""),
        (
            f"{NEIGHBORS} loss.style.metric=cosine loss.style.relative=true",
            "statistic=neighbors; use",
        ),
        ("loss.style.patch=3", "loss.style.patch=3: only read with loss.style.statistic=neighbors"),
        ("loss.style.metric=cosine", "loss.style.metric=cosine: only read with loss.style.stat"),
        ("loss.style.root_iterations=9", "only read with loss.style.statistic=wasserstein2"),
        (f"{NEIGHBORS} loss.style.redraw=5", "statistic=sliced or relaxed_emd or palette"),
        (f"{NEIGHBORS} loss.style.patch=3 loss.style.stride=2 loss.style.frozen=true", ""),
        ("loss.more.x.shift=-1 loss.more.x.statistic=mean", "loss.more.x.shift=-1.0: only read"),
        ("loss.more.x.statistic=palette", "more.x.layers=[relu1_1,relu2_1]: palette compares"),
        ("loss.more.x.statistic=palette loss.more.x.layers=[rgb]", ""),
        (
            "loss.content.samples=9",
            "loss.content.samples=9: only read with loss.content.kind=self_",
        ),
        (f"{SIMILAR} loss.content.samples=9 loss.content.hypercolumn=4", ""),
        (
            f"{SIMILAR} loss.content.relative=true",
            "loss.content.relative=true: not with loss.content",
        ),
        ("loss.style.layers=[relu1_1,relu1_1:relu2_1]", ""),
        ("loss.style.layers=[relu1_1:relu9_1]", "loss.style.layers: vgg16 has no layer 'relu9_1'"),
        ("loss.style.layers=[relu1_1:relu1_2:relu2_1]", "are more than two layers; name a pair"),
        ("loss.style.layers=[rgb:relu2_1] loss.style.hypercolumn=2", "is a pair of layers, which"),
        (f"{NEIGHBORS} loss.style.layers=[rgb:relu2_1]", "is a pair of layers, which only"),
        ("loss.content.layers=[rgb:relu2_1]", "is a pair of layers, which only statistic=gram"),
        ("loss.content.layers=[rgb]", ""),
        (
            "loss.content.layers=[rgb] loss.style.layers=[rgb]",
            "layers=[rgb]: the network is not used",
        ),
        ("loss.laplacian.weights=[1,2]", "laplacian.weights=[1,2]: has 2 entries for 1 pools"),
        ("loss.laplacian.weights=[1] alpha=0 beta=0", ""),
        ("loss.more.laplacian.weight=1", "loss.more.laplacian: this name has another meaning"),
        ("loss.more.std.layers=[relu9_1]", "loss.more.std.layers: vgg16 has no layer 'relu9_1'"),
        ("loss.more.std.weights=[1]", "=[1]: has 1 entries for 2 layers (relu1_1, relu2_1)"),
        ("loss.more.tv.weight=1", "loss.more.tv: this name has another meaning"),
        ("backbone.calibration=.", "only read with backbone.normalized=true"),
        ("backbone.calibration=/none backbone.normalized=true", "=/none: no such folder; name a"),
        ("backbone.calibration=. backbone.normalized=true", ""),
        (f"{RESNET} backbone.normalized=true", "normalized=true: resnet18 is not a chain"),
        ("trainer.precision=16-mixed", "half precision needs gradient scaling"),
        ("trainer.precision=16-mixed optimizer=adam", ""),
        ("optimizer.clamp=true", "optimizer.clamp=true: clipping the image after"),
        ("optimizer.milestones=[5,3]", "optimizer.milestones=[5,3]: must increase"),
        ("optimizer.milestones=[3,3]", "optimizer.milestones=[3,3]: must increase"),
        ("resolution.sizes=[64,384]", "only a pyramid has several; use resolution=pyramid"),
        (f"{PYRAMID} resolution.sizes=[64,384]", ""),
        (f"{PYRAMID} resolution.sizes=[64,32,384]", "=[64,32,384]: must increase from level to"),
        (f"{PYRAMID} resolution.sizes=[64,128]", "the last level must be size=384, not 128"),
        ("steps=null", "steps=null: resolution.shares=[] gives no steps; give a number"),
        ("steps=null resolution.shares=[5]", ""),
        (
            f"{PYRAMID} steps=null resolution.shares=[5,0.5]",
            "shares=[5,0.5]: with steps=null, shares",
        ),
        (f"{PYRAMID} {LEVELS}=[{{history: 9}},{{lr_factor: 2}}]", ""),
        (f"{LEVELS}=[{{history: 9}}]", ""),
        (f"{LEVELS}=[{{history: 9}},{{}}]", "levels: only a pyramid has several; use"),
        (f"optimizer=adam {LEVELS}=[{{history: 9}}]", "levels[0].history=9: only L-BFGS has a"),
        (f"{PYRAMID} {LEVELS}=[{{size: 64}},{{size: 384}},{{size: 384}}]", ""),
        (f"{PYRAMID} {LEVELS}=[{{size: 384}},{{}}]", "levels[1]: has no size; give it to every"),
        (
            f"{PYRAMID} {LEVELS}=[{{size: 9,scale: 1}}]",
            "levels: has both size and scale; leave one",
        ),
        (f"{PYRAMID} {LEVELS}=[{{size: 9}},{{size: 8}}]", "the sizes 9, 8 must not decrease"),
        (f"{PYRAMID} {LEVELS}=[{{scale: 0.5}}]", "the sizes 192 must end with size=384; give"),
        (f"{PYRAMID} {LEVELS}=[{{scale: 1}}] resolution.sizes=[384]", "levels gives sizes as well"),
        (f"{LEVELS}=[{{steps: 3}}]", "steps=150: resolution.levels gives the steps of levels; use"),
        (f"{LEVELS}=[{{steps: 3}}] steps=null", ""),
        (
            f"{LEVELS}=[{{factors: {{styl: 3}}}}]",
            "levels[0].factors.styl: no such term; use one of",
        ),
        (f"{LEVELS}=[{{factors: {{style: -1}}}}]", "levels[0].factors.style=-1: must be 0 or more"),
        (
            f"{LEVELS}=[{{factors: {{content: 0,style: 0}}}}]",
            "levels[0].factors: nothing to optimize",
        ),
        (f"{LEVELS}=[{{factors: {{content: 0,style: 0}}}}] {TV}", ""),
        (f"{PYRAMID} resolution.min_size=8 steps=3", "steps=3: the 6 levels of the pyramid need"),
    ],
)
def test_combinations(words: str, said: str) -> None:
    config = config_of(words)
    found = [*combination_problems(config), *size_problems(config)]
    assert [said in line for line in found] == [True] * bool(said), found


def test_tables_of_statistics_agree_with_the_classes() -> None:
    """The config knows without torch which have no weights of positions, and which read a, b."""
    for kind in Statistic:
        term = StyleLoss(["rgb"], statistic=kind, relative=True)
        statistic = build_statistic(term)
        assert statistic.additive == (kind not in OF_POSITIONS)
        config = Config()
        config.loss.style, config.loss.content.layers = term, ["relu1_1"]
        assert any("relative" in line for line in term_problems(config)) == statistic.normalized


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("", ""),
        ("alpha=0", ""),
        ("beta=0 init.kind=noise", ""),
        (f"beta=0 {TV}", ""),
        ("beta=0 resolution.pyramid=true", ""),  # each level adds detail
        ("beta=0", "alpha=1 beta=0: init=content is already the minimum"),
        ("beta=0 loss.range_weight=1", "init=content is already the minimum"),
        ("loss.style.weights=[0,0]", "init=content is already the minimum"),
        ("beta=0 init.kind=blend init.noise_ratio=0", "init=blend is already the minimum"),
        ("alpha=0 init.kind=style", ""),  # of another shape
        ("alpha=0 init.kind=style resolution.style_fit=content", "init=style is already the"),
        (f"alpha=0 beta=0 {TV}", "alpha=0 beta=0: content and style have the weight 0; only loss."),
        (f"alpha=0 loss.style.weights=[0,0] {TV} init.kind=noise", "only loss.tv.weight=2 is min"),
        (f"loss.content.weights=[0] beta=0 {TV}", "only loss.tv.weight=2 is minimized"),
    ],
)
def test_objective_without_content_and_style_or_at_its_end(words: str, said: str) -> None:
    lines = list(objective_notes(config_of(words)))
    assert len(lines) == bool(said)
    assert said in "".join(lines)

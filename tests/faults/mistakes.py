"""Wrong command lines, and the words that must be in the answer to each.

The first entry is the command line as it stands in a shell. What it is answered with names the key
or the group, the value, and what is allowed or what to do: written here by hand, from what the
program documents and not from what it prints.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

# Files that the command lines below name; they lie in the folder where the command is run.
FILES: dict[str, bytes] = {
    "notes.txt": b"hello",
    "album/one.png": b"not looked at",
    "own/experiment/typo.yaml": b"# @package _global_\nstepz: 3\n",
    "own/experiment/twice.yaml": b"# @package _global_\nsteps: 3\nsteps: 4\n",
    "own/experiment/open.yaml": b"# @package _global_\nsteps: [3\nsize: 4\n",
    "own/experiment/tab.yaml": b"# @package _global_\nloss:\n\tstyle: 3\n",
    "own/experiment/other.yaml": b"# @package _global_\ndefaults:\n  - override /backbone: vgg18\n",
    "own/experiment/part.yaml": b"# @package _global_\ndefaults:\n  - parts/papr\n",
    "own/experiment/kind.yaml": b"# @package _global_\nsteps: many\n",
    "own/experiment/zero.yaml": b"# @package _global_\nsteps: 0\n",
    "own/experiment/headless.yaml": b"steps: 5\n",
    "own/experiment/list.yaml": b"- a\n- b\n",
    "own/experiment/prose.yaml": b"just words\n",
    "own/experiment/names.yaml": b"# @package _global_\ninit:\n  kind: noize\n",
    "own/experiment/refers.yaml": b"# @package _global_\nalpha: ${bta}\n",
    "own/experiment/hydra.yaml": b"# @package _global_\nhydra:\n  sweperr:\n    params: 1\n",
    "own/experiment/latin.yaml": b"# @package _global_\nout: \xff\xfe\n",
    "own/experiment/grid.yaml": (
        b"# @package _global_\nhydra:\n  sweeper:\n    params:\n      stepz: 1,2\n"
    ),
    "own/experiment/grid0.yaml": (
        b"# @package _global_\nhydra:\n  sweeper:\n    params:\n      steps: 1,0\n"
    ),
    "own/backbone/mine.yaml": b"defaults: [vgg16]\npoool: max\n",
    "own/backbone/pool.yaml": b"pool: avg\n",
}

WHOLE = "must be a whole number"
FINITE = "must be a finite number"
EQUALS = "KEY=VALUE"
QUOTE = "quote the value: "

TYPES: list[tuple[str, ...]] = [
    ("optimizer.lr=abc", "optimizer.lr=abc", "must be a number"),
    ("optimizer.lr=", "optimizer.lr=", "must be a number"),
    ("optimizer.lr=null", "optimizer.lr=null", "needs a value"),
    ("steps=1.5", "steps=1.5", WHOLE),
    ("steps=1e3", "steps=1e3", WHOLE, "1000"),
    ("steps=true", "steps=true", WHOLE),
    ("steps=", "steps=", WHOLE),
    ("++steps=abc", "steps=abc", WHOLE),
    ("seed=abc", "seed=abc", WHOLE),
    ("size=[64]", "size=[64]", WHOLE),
    ("bit_depth=deep", "bit_depth=deep", WHOLE),
    ("optimizer.milestones=5", "optimizer.milestones=5", "must be a list", "=[...]"),
    ("optimizer.milestones=[null]", "optimizer.milestones[0]=null", WHOLE),
    ("alpha=big", "alpha=big", "must be a number"),
    ("alpha=[1]", "alpha=[1]", "must be a number"),
    ("alpha={a:1}", "alpha={a:1}", "must be a number"),
    ("alpha=0x10", "alpha=0x10", "must be a number"),
    ("loss.style.weights=[1,a]", "loss.style.weights[1]=a", "must be a number"),
    ("init.noise_mean=0.5", "init.noise_mean=0.5", "must be a list"),
    ("loss.style.layers=relu1_1", "loss.style.layers=relu1_1", "must be a list"),
    ("loss.style.layers=[null]", "loss.style.layers[0]=null", "must be a text"),
    ("backbone.sources=here", "backbone.sources=here", "must be a list"),
    ("backbone.sources=[{kid:url}]", "backbone.sources", "'kid'", "did you mean 'kind'?"),
    ("backbone.sources=[{kind:urll}]", "backbone.sources", "kind=urll", "url, wheel"),
    ("overwrite=maybe", "overwrite=maybe", "must be true or false"),
    ("overwrite=", "overwrite=", "must be true or false"),
    ("content=null", "content=null", "needs a value"),
    ("content=[a,b]", "content=[a,b]", "must be a single text", "quote"),
    ("panel=[1]", "panel=[1]", "must be a single text"),
    ("loss.style=3", "loss.style=3", "loss.style.KEY=VALUE"),
    ("optimizer.parametrization=pixels", "optimizer.parametrization=pixels", "KEY=VALUE"),
    ("figure.panels=3", "figure.panels=3", "figure.panels.KEY=VALUE"),
    ("alpha.x=3", "alpha.x=3", "alpha has no keys of its own", "alpha=VALUE"),
    ("content=???", "content=???", "needs a value"),
]

# key=value, and the range that the answer must give
RANGES: list[tuple[str, ...]] = [
    ("alpha=-1", "alpha=-1", "at least 0"),
    ("beta=-0.001", "beta=-0.001", "at least 0"),
    ("steps=0", "steps=0", "at least 1"),
    ("steps=99999999999999999999", "steps=99999999999999999999", "from 1 to"),
    ("seed=-1", "seed=-1", "from 0 to 4294967295"),
    ("seed=4294967296", "seed=4294967296", "from 0 to 4294967295"),
    ("size=0", "size=0", "from 1 to 65535"),
    ("size=100000", "size=100000", "from 1 to 65535"),
    ("bit_depth=12", "bit_depth=12", "8 or 16"),
    ("max_megapixels=0", "max_megapixels=0", "greater than 0"),
    ("optimizer.lr=0", "optimizer.lr=0", "greater than 0"),
    ("optimizer.gamma=2", "optimizer.gamma=2", "from 0 to 1"),
    ("optimizer.milestones=[0]", "optimizer.milestones=0", "at least 1"),
    ("optimizer.history=0", "optimizer.history=0", "from 1 to 10000"),
    ("optimizer.first_step=0", "optimizer.first_step=0", "greater than 0"),
    ("optimizer=adam optimizer.beta1=1", "optimizer.beta1=1", "from 0 to 0.999999"),
    ("optimizer=adam optimizer.beta2=1", "optimizer.beta2=1", "from 0 to 0.99999999"),
    ("optimizer=adam optimizer.eps=0", "optimizer.eps=0", "greater than 0"),
    ("optimizer.parametrization.decay=5", "optimizer.parametrization.decay=5", "from 0 to 4"),
    ("resolution.style_size=0", "resolution.style_size=0", "from 1 to 65535"),
    ("resolution.ratio=1", "resolution.ratio=1", "greater than 1"),
    ("resolution.averaging=1", "resolution.averaging=1", "from 0 to 0.999999"),
    ("loss.content.a=100", "loss.content.a=100", "from -10 to 10"),
    ("loss.style.a=1000", "loss.style.a=1000", "from -10 to 10"),
    ("loss.content.c=0", "loss.content.c=0", "greater than 0"),
    ("loss.tv.weight=-1", "loss.tv.weight=-1", "at least 0"),
    ("loss.tv.channel_std=[1,0,1]", "loss.tv.channel_std=0", "greater than 0"),
    ("init.noise_ratio=1.5", "init.noise_ratio=1.5", "from 0 to 1"),
    ("backbone.pool_scale=0", "backbone.pool_scale=0", "greater than 0"),
    ("trainer.threads=0", "trainer.threads=0", "from 1 to 4096"),
    ("logging.every=0", "logging.every=0", "at least 1"),
    ("figure.columns=0", "figure.columns=0", "from 1 to 100"),
    ("optimizer.lr=inf", "optimizer.lr=inf", FINITE),
    ("alpha=1e400", "alpha=inf", FINITE),
    ("init.noise_mean=[nan]", "init.noise_mean=nan", FINITE),
    ("loss.style.weights=[1,1,1,1,inf]", "loss.style.weights=inf", FINITE),
]

# key=value, and the names of which one must be chosen
NAMES: list[tuple[str, ...]] = [
    ("init.kind=noize", "init.kind=noize", "content, style, noise", "did you mean 'noise'?"),
    ("init.kind=Noise", "init.kind=Noise", "did you mean 'noise'?"),
    ("init.kind=", "init.kind=", "content, style, noise"),
    ("init.kind=[noise]", "init.kind=[noise]", "must be one name"),
    ("backbone.pool=avg", "backbone.pool=avg", "max, average, l2", "did you mean 'average'?"),
    ("backbone.weights=imagenet", "backbone.weights=imagenet", "pretrained, random"),
    ("backbone.input=vgg", "backbone.input=vgg", "imagenet, imagenet_255, caffe"),
    ("loss.style.statistic=gramm", "loss.style.statistic=gramm", "did you mean 'gram'?"),
    ("loss.tv.kind=l3", "loss.tv.kind=l3", "l1, l2, l2_interior, l2_nine"),
    ("optimizer.line_search=wolfe", "optimizer.line_search=wolfe", "strong_wolfe, none"),
    ("optimizer.parametrization.kind=fft", "parametrization.kind=fft", "pixels, fourier"),
    ("resolution.size_mode=width", "resolution.size_mode=width", "longest, shortest, area, height"),
    ("trainer.accelerator=cud", "trainer.accelerator=cud", "auto, cpu", "did you mean 'cuda'?"),
    ("trainer.precision=fp16", "trainer.precision=fp16", "32-true, bf16-mixed"),
    ("backbone=vgg18", "backbone=vgg18", "vgg16", "vgg19"),
    ("backbone=VGG16", "backbone=VGG16", "did you mean 'vgg16'?"),
    ("backbone=", "backbone=", "there are: alexnet"),
    ("optimizer=lbgfs", "optimizer=lbgfs", "did you mean 'lbfgs'?", "adam, lbfgs"),
    ("loss=paper_codes", "loss=paper_codes", "did you mean 'paper_code'?"),
    ("loss=[a,b]", "loss=[a,b]", "no such preset"),
    ("loss=3", "loss=3", "name of a preset"),
    ("loss={a:1}", "loss={a:1}", "name of a preset"),
    ("init=noize", "init=noize", "did you mean 'noise'?"),
    ("resolution=piramid", "resolution=piramid", "did you mean 'pyramid'?"),
    ("+experiment=paper_fig33", "experiment=paper_fig33", "did you mean 'paper_fig3'?"),
    ("experiment=paper_fig3", "experiment", "plus sign", "+experiment=paper_fig3"),
    ("+experiment=paper_fig3 panel=Z", "panel=Z", "B, C, D, E, F"),
    ("panel=B", "panel=B", "an experiment that has panels"),
    ("hydra/launcher=jobblib", "hydra/launcher=jobblib", "did you mean 'joblib'?"),
    ("loss.style.layers=[relu4_22]", "loss.style.layers", "relu4_22", "did you mean 'relu4_2'?"),
    ("loss.content.layers=[Relu4_2]", "loss.content.layers", "did you mean 'relu4_2'?"),
    ("backbone=resnet50 loss.style.layers=[layer9]", "loss.style.layers", "'layer9'", "layer1"),
    ("backbone.fallback=vgg_16", "backbone.fallback=vgg_16", "did you mean 'vgg16'?"),
    ("figure.inputs=[stile]", "figure.inputs=[stile]", "did you mean 'style'?"),
    ("background=whit", "background=whit", "did you mean 'white'?"),
    ("'background=\"#ffffff80\"'", "background=#ffffff80", "opaque"),
    ("optimizer.kind=adam", "optimizer.kind=adam", "choose optimizer=adam"),
    ("optimizer.kind=sgd", "optimizer.kind=sgd", "optimizer=adam or optimizer=lbfgs"),
]

KEYS: list[tuple[str, ...]] = [
    ("stepz=10", "stepz", "did you mean 'steps'?"),
    ("++stepz=10", "stepz", "did you mean 'steps'?"),
    ("lr=3", "lr", "did you mean 'optimizer.lr'?"),
    ("optimizer.lrr=1", "optimizer.lrr", "did you mean 'optimizer.lr'?"),
    ("+loss.tv.wieght=1", "loss.tv.wieght", "did you mean 'loss.tv.weight'?"),
    ("loss.stile.layers=[a]", "loss.stile.layers", "did you mean 'loss.style.layers'?"),
    ("loss/style=3", "loss/style", "did you mean 'loss.style'?"),
    ("bakbone=vgg16", "bakbone", "did you mean 'backbone'?"),
    ("optimizer.beta1=0.5", "optimizer.beta1", "only with optimizer=adam"),
    ("optimizer=adam optimizer.history=3", "optimizer.history", "only with optimizer=lbfgs"),
    ("+seed=1", "seed", "without the plus sign: seed=1"),
    ("+loss=tutorial", "loss", "without the plus sign: loss=tutorial"),
    ("++backbone=vgg19", "backbone", "without the plus sign: backbone=vgg19"),
    ("~seed", "seed", "cannot be taken away"),
    ("~seed=3", "seed", "cannot be taken away"),
    ("~stepz", "stepz", "did you mean 'steps'?"),
    ("~loss=tutorial", "~loss=tutorial", "loss"),
    ("hydra.runn.dir=x", "hydra.runn.dir", "did you mean 'hydra.run.dir'?"),
    ("hydra.job.nam=x", "hydra.job.nam", "did you mean 'hydra.job.name'?"),
    ("hydra/launcherr=joblib", "hydra/launcherr", "did you mean 'hydra/launcher'?"),
    ("hydra.launcher.n_jobs=2", "hydra.launcher.n_jobs", "only with hydra/launcher=NAME"),
    ("backbone@foo=vgg16", "backbone@foo=vgg16", "backbone=NAME"),
    ("+from_image=a.png", "from_image", "from_image=PICTURE"),
    ("from_image=nope.png", "from_image=nope.png", "no such file"),
    ("from_image=notes.txt", "from_image=notes.txt"),
    ("from_image=a.png from_image=b.png", "from_image", "twice"),
]

GRAMMAR: list[tuple[str, ...]] = [
    ("steps", "steps", EQUALS),
    ("steps:3", "steps:3", "steps=3"),
    ("'steps =5'", "steps =5", "did you mean 'steps'?"),
    ("'steps=5 size=64'", "steps=5 size=64", "arguments of their own"),
    ("optimizer.lr = 3", "optimizer.lr", "without blanks: optimizer.lr=3"),
    ("optimizer.lr= 3", "3", "without blanks: optimizer.lr=3"),
    ("loss..style=3", "loss..style=3", "did you mean 'loss.style'?"),
    ("alpha[0]=3", "alpha[0]=3", "did you mean 'alpha'?"),
    ("+", "+", EQUALS),
    ("seed=1,2", "seed=1,2", QUOTE, "add -m"),
    ("loss.style.layers=[relu1_1", "loss.style.layers=[relu1_1", QUOTE),
    ("loss.style.layers=relu1_1]", "loss.style.layers=relu1_1]", QUOTE),
    ("content=имя.png", "content=имя.png", QUOTE, 'content="имя.png"'),
    ("content=a=b.png", "content=a=b.png", QUOTE, 'content="a=b.png"'),
    ("'content=wave (1).png'", "content=wave (1).png", QUOTE, 'content="wave (1).png"'),
    ("content=a{b.png", "content=a{b.png", QUOTE),
    ("content=~/b.png", "content=~/b.png", QUOTE),
    ('"content=it\'s.png"', "content=it's.png", QUOTE),
    ("content='\"a'", 'content="a', QUOTE),
    ("content='${x}'", "content=${x}", "there is no key 'x'", r"\$"),
    ("alpha='${bta}'", "alpha=${bta}", "did you mean 'beta'?"),
    ("content='${oc.env:NOPE}'", "content=${oc.env:NOPE}", "'NOPE'", "not found"),
    ("--config-dir nowhere", "--config-dir", "nowhere", "no such folder"),
    ("--config-dir notes.txt", "--config-dir", "notes.txt", "no such folder"),
    ("--config-name confg", "--config-name confg", "no such file"),
]

TOGETHER: list[tuple[str, ...]] = [
    ("loss.style.weights=[1,2]", "loss.style.weights=[1,2]", "2 entries", "has 5", "relu1_1"),
    ("loss.style.weights=[-1,1,1,1,1]", "loss.style.weights", "-1 is negative", "at least 0"),
    ("loss.style.layers=[relu1_1,relu1_1]", "loss.style.layers", "'relu1_1'", "twice"),
    ("loss.tv.channel_std=[1]", "loss.tv.channel_std=[1]", "1 values", "three"),
    ("init.noise_mean=[]", "init.noise_mean=[]", "0 values", "one value or three"),
    ("alpha=0 beta=0 loss.tv.weight=0", "alpha=0 beta=0", "nothing to optimize"),
    (
        "alpha=0 loss.style.weights=[0,0,0,0,0] loss.tv.weight=0",
        "alpha=0",
        "nothing to optimize",
    ),
    ("trainer.precision=16-mixed", "trainer.precision=16-mixed", "L-BFGS", "optimizer=adam"),
    (
        "trainer.precision=16-mixed optimizer=adam trainer.accelerator=cpu",
        "trainer.precision=16-mixed",
        "needs a GPU",
        "bf16-mixed",
    ),
    ("trainer.accelerator=cpu trainer.device=1", "trainer.device=1", "one device"),
    ("optimizer.clamp=true", "optimizer.clamp=true", "line search", "optimizer=adam"),
    (
        "loss.style.statistic=wasserstein2 loss.style.relative=true",
        "loss.style.relative=true",
        "loss.style.statistic=gram",
    ),
    ("size=8", "size=8", "relu5_1", "at least 16", "size=16"),
    ("size=31 loss.content.layers=[pool5]", "size=31", "pool5", "at least 32"),
    ("resolution=pyramid resolution.sizes=[4,384]", "resolution.sizes=[4,384]", "at least 16"),
    ("resolution=pyramid resolution.min_size=4", "resolution.min_size=4", "at least 16"),
    ("resolution=pyramid resolution.sizes=[64,32] size=32", "sizes=[64,32]", "must grow"),
    ("resolution=pyramid resolution.sizes=[64,128]", "sizes=[64,128]", "size=384"),
    ("resolution=pyramid resolution.sizes=[0,384]", "sizes=[0,384]", "from 1"),
    ("resolution.sizes=[64,384]", "resolution.sizes=[64,384]", "resolution=pyramid"),
    ("resolution=pyramid resolution.shares=[0,1]", "resolution.shares=[0,1]", "greater than 0"),
    ("resolution=pyramid steps=1", "steps=1", "2 levels", "steps=2"),
    ("resolution.style_size=4", "resolution.style_size=4", "relu5_1", "at least 16"),
    ("resolution.style_scale=0.01", "resolution.style_scale=0.01", "at least 16"),
    ("optimizer.milestones=[500]", "optimizer.milestones=[500]", "never be reached", "150 steps"),
    ("steps=100 optimizer.milestones=[50,100]", "milestones=[50,100]", "100 would never"),
    ("resolution=pyramid optimizer.milestones=[120]", "milestones=[120]", "the longest level"),
    ("optimizer.milestones=[5,3]", "optimizer.milestones=[5,3]", "must grow"),
    ("backbone.normalized=true backbone=resnet50", "backbone.normalized=true", "vgg16", "resnet50"),
    ("backbone.calibration=album", "backbone.calibration=album", "backbone.normalized=true"),
    ("backbone.name=", "backbone.name=", "densenet121"),
    ("backbone=torchvision backbone.name=densenet121", "loss.style.layers=[]", "densenet121"),
    # several at once
    ("steps=0 size=0 beta=-1 content=nope", "steps=0", "size=0", "beta=-1", "content=nope"),
    ("stepz=3 sise=64 alpha=x", "'steps'", "'size'", "alpha=x", "must be a number"),
    ("alpha=x beta=-1 bit_depth=9", "alpha=x", "beta=-1", "bit_depth=9"),
    ("backbone=vgg99 seed=x", "backbone=vgg99", "seed=x", WHOLE),
    ("content=a=b.png style=c=d.png", "content=a=b.png", "style=c=d.png"),
    ("+contnt=a ++loss.tv.wieght=1", "'content'", "'loss.tv.weight'"),
    ("trainer.precision=8 trainer.accelerator=tpu", "trainer.precision=8", "accelerator=tpu"),
]

PATHS: list[tuple[str, ...]] = [
    ("content=", "content=", "is empty"),
    ("content=nope.png", "content=nope.png", "no such file", "looked for"),
    ("content=chelse", "content=chelse", "did you mean 'chelsea'?"),
    ("content=album", "content=album", "folder", "name one picture"),
    ("content=album/on.png", "content=album/on.png", "did you mean 'one.png'?"),
    ("init=file", "init.kind=file", "init.file=PATH"),
    ("init=file init.file=", "init.file=", "is empty"),
    ("init=file init.file=nope.png", "init.file=nope.png", "no such file"),
    ("init=file init.file=album", "init.file=album", "folder"),
    ("init.file=chelsea", "init.file=chelsea", "init=file"),
    ("images=nowhere", "images=nowhere", "no such folder"),
    ("images=notes.txt", "images=notes.txt", "not a folder"),
    ("backbone.file=nope.pth", "backbone.file=nope.pth", "no such file"),
    ("backbone.file=notes.txt", "backbone.file=notes.txt", ".pth", ".safetensors"),
    ("backbone.file=album", "backbone.file=album", "folder"),
    ("backbone=vgg16_normalized backbone.calibration=nope", "backbone.calibration=nope", "folder"),
    ("image=", "image=", ".png"),
    ("image=.png", "image=.png", ".png", ".jpg"),
    ("image=image.gif", "image=image.gif", ".png", ".jpg"),
    ("image=result.json", "image=result.json", ".png"),
    ("image=album/", "image=album/", "without a folder", "out=DIR"),
    ("image=../image.png", "image=../image.png", "without a folder", "out=DIR"),
    ("image=" + "a" * 300 + ".png", "image=aaa", "longer than"),
    ("bit_depth=16 image=a.jpg", "bit_depth=16", "image=a.jpg", "image=image.png"),
    ("--config-dir own +experiment=typo", "stepz", "did you mean 'steps'?", "experiment/typo"),
    ("--config-dir own +experiment=twice", "twice.yaml", "line 3", "duplicate key steps"),
    ("--config-dir own +experiment=open", "open.yaml", "line 3", "expected"),
    ("--config-dir own +experiment=tab", "tab.yaml", "line 3", "character"),
    ("--config-dir own +experiment=other", "backbone=vgg18", "no such preset"),
    ("--config-dir own +experiment=part", "experiment/part", "parts/papr", "does not exist"),
    ("--config-dir own +experiment=zero", "steps=0", "at least 1"),
    ("--config-dir own +experiment=headless", "experiment", "# @package _global_"),
    ("--config-dir own +experiment=list", "experiment", "# @package _global_"),
    ("--config-dir own +experiment=names", "init.kind=noize", "did you mean 'noise'?"),
    ("--config-dir own +experiment=refers", "alpha=${bta}", "did you mean 'beta'?"),
    ("--config-dir own +experiment=hydra", "hydra.sweperr", "did you mean 'hydra.sweeper'?"),
    ("--config-dir own +experiment=typoo", "experiment=typoo", "did you mean 'typo'?"),
    ("--config-dir own backbone=mine", "backbone.poool", "did you mean 'backbone.pool'?"),
    ("--config-dir own backbone=pool", "backbone.pool=avg", "max, average, l2"),
]

SWEEPS: list[tuple[str, ...]] = [
    ("-m steps=5,0,6 out=s", "steps=0", "at least 1", "in 1 of 3 jobs"),
    ("-m steps=1,2,x,4 out=s", "steps=x", WHOLE),
    ("-m stepz=1,2 out=s", "stepz", "did you mean 'steps'?"),
    ("-m +stepz=1,2 out=s", "stepz", "did you mean 'steps'?"),
    ("-m size=64,8 steps=3,0 out=s", "size=8", "steps=0", "in 2 of 4 jobs"),
    ("-m backbone=vgg16,vgg18 out=s", "backbone=vgg18", "no such preset"),
    ("-m content=chelsea,chelse out=s", "content=chelse", "'chelsea'", "in 1 of 2 jobs"),
    ("-m init=noise,file out=s", "init.kind=file", "init.file=PATH", "in 1 of 2 jobs: init=file"),
    ("-m +experiment=quick,quik out=s", "experiment=quik", "did you mean 'quick'?"),
    ("-m 'steps=range(0,3)' out=s", "steps=0", "in 1 of 3 jobs"),
    ("-m 'steps=range(0,3' out=s", "steps=range(0,3", "cannot be read"),
    ("-m 'steps=choise(1,2)' out=s", "steps=choise(1,2)", "cannot be read"),
    ("--config-dir own -m +experiment=grid out=s", "stepz", "did you mean 'steps'?"),
    ("--config-dir own -m +experiment=grid0 out=s", "steps=0", "in 1 of 2 jobs"),
    (
        "-m hydra/launcher=joblib steps=5,6 hydra.launcher.n_jobs=0 out=s",
        "hydra.launcher.n_jobs=0",
        "1 or more",
    ),
    ("-m hydra/launcher=joblib steps=5,0 out=s", "steps=0", "in 1 of 2 jobs"),
]

# What Hydra takes, or answers in words of its own, unless it is looked at before.
BEFORE_HYDRA: list[tuple[str, ...]] = [
    ("--lr 3", "--lr", "optimizer.lr=VALUE"),
    ("--steps=5", "--steps=5", "steps=VALUE"),
    ("-x", "-x", EQUALS),
    ("--config-dirr own", "--config-dirr", "did you mean '--config-dir'?"),
    ("--config-dir", "--config-dir", "expected one argument"),
    ("--cfg jobb", "--cfg jobb", "'job', 'hydra', 'all'"),
    ("--run --multirun", "--run --multirun", "exclude one another"),
    ("=3", "=3", EQUALS),
    ("+=3", "+=3", EQUALS),
    ("~=3", "~=3", EQUALS),
    ("~loss", "~loss", "loss=NAME"),
    ("~optimizer", "~optimizer", "optimizer=NAME"),
    ("~backbone=vgg16", "~backbone=vgg16", "backbone=NAME"),
    ("hydra.sweeper.params.steps=3", "hydra.sweeper.params.steps=3", "-m steps="),
    ("-m 'steps=range(1,10,0)' out=s", "steps=range(1,10,0)", "range(START,STOP,STEP)"),
    ("-m 'steps=range(3,1)' out=s", "steps=range(3,1)", "no value"),
    ("-m 'steps=glob(*)' out=s", "steps=glob(*)", "steps=1,2,3"),
    ("-m out=a,b", "out=a,b", "out=DIR"),
    ("--config-dir own +experiment=latin", "latin.yaml", "UTF-8"),
]

OUTPUTS: list[tuple[str, ...]] = [
    ("out=notes.txt", "notes.txt", "out="),
    ("out=notes.txt/run", "notes.txt/run", "out="),
]

# Known only to torch and torchvision; Hydra has made its folder by then.
LATE: list[tuple[str, ...]] = [
    ("trainer.accelerator=cuda", "trainer.accelerator=cuda", "available: cpu"),
    ("trainer.accelerator=mps", "trainer.accelerator=mps", "available: cpu"),
    (
        "trainer.precision=16-mixed optimizer=adam",
        "trainer.precision=16-mixed",
        "available: cpu",
        "bf16-mixed",
    ),
    ("loss.style.layers=[features.99]", "features.99", "its layers: "),
    (
        "backbone=torchvision backbone.name=densnet121 loss.style.layers=[features.conv0] "
        "loss.content.layers=[features.conv0]",
        "backbone.name=densnet121",
        "did you mean 'densenet121'?",
    ),
    ("backbone=squeezenet1_1 size=8 style=chelsea", "content: 8x5 pixels", "raise size"),
]


@dataclass(frozen=True)
class Mistake:
    """A wrong command line and what must become of it."""

    line: str  # as in a shell
    words: tuple[str, ...]  # that the answer must hold
    code: int = 2
    late: bool = False  # judged only when torch is there


def mistakes() -> Iterator[Mistake]:
    """All of them."""
    early = (TYPES, RANGES, NAMES, KEYS, GRAMMAR, TOGETHER, PATHS, SWEEPS, BEFORE_HYDRA)
    for entries in early:
        for line, *words in entries:
            yield Mistake(line, tuple(words))
    for line, *words in OUTPUTS:
        yield Mistake(line, tuple(words), code=5)
    for line, *words in LATE:
        quick = "backbone.weights=random logging.progress=false"
        yield Mistake(f"{line} {quick}", tuple(words), late=True)

"""Commands as other programs have them: the answer is the command that was meant."""

import shlex
from pathlib import Path

import pytest
from helpers_run import TINY, picture

from nst_exp.app.compose import make_config
from nst_exp.app.known_keys import SYNONYMS, known_keys
from nst_exp.app.other_forms import refuse_other_forms
from nst_exp.config.presets import groups
from nst_exp.utils.errors import ConfigError

NO_KEY, DASHES = "no such key", "a key has no dashes"
IMAGE, BLANKS = "an image needs its key", "blanks need quotation marks"
RESUME = "a run resumes by itself if its settings and its folder, out=DIR, are given"
MEANT = {
    "iterations=300": (NO_KEY, "steps=300"),
    "epochs=100 size=64 lr=0.5": (NO_KEY, "steps=100 size=64 optimizer.lr=0.5"),
    "+learning_rate=0.5": (NO_KEY, "optimizer.lr=0.5"),
    "num_steps=5": (NO_KEY, "steps=5"),
    "style_weight=1e6": (f"{NO_KEY}, beta has another scale (default 5)", "beta=1e6"),
    "image_size=512": (NO_KEY, "size=512"),
    "output_dir=a": (NO_KEY, "out=a"),
    "output_image=a.png": (NO_KEY, "out=a.png"),
    "model=VGG-19": (NO_KEY, "backbone=vgg19"),
    "gpu=0": (NO_KEY, "trainer.device=0"),
    "gpu=-1": (NO_KEY, "trainer.accelerator=cpu"),
    "device=cuda:1": (NO_KEY, "trainer.accelerator=cuda trainer.device=1"),
    "--cuda 1": (NO_KEY, "trainer.accelerator=gpu"),
    "--preserve-color": (NO_KEY, "color=luminance"),
    "resume=true seed=1": (RESUME, "seed=1"),
    "--resume own/last.ckpt": (RESUME, "out=own"),
    "list": ("options have dashes", "--help"),
    "--list": ("no such option", "--help"),
    "save=x.png": (NO_KEY, "out=x.png"),
    "cat.jpg wave.jpg": (IMAGE, "content=cat.jpg style=wave.jpg"),
    "cat.jpg style=wave.jpg new.png": (IMAGE, "content=cat.jpg style=wave.jpg out=new.png"),
    "-m cat.jpg beta=1,2": (IMAGE, "-m content=cat.jpg beta=1,2"),
    "--content cat.jpg": (DASHES, "content=cat.jpg"),
    "--style a.jpg b.jpg": (DASHES, "'style=[a.jpg,b.jpg]'"),
    "-style_image a.jpg,b.jpg -init random": (
        f"{NO_KEY}, {DASHES}",
        "'style=[a.jpg,b.jpg]' init=noise",
    ),
    "--style_layers relu1_1 relu2_1 -m": (NO_KEY, "'loss.style.layers=[relu1_1,relu2_1]' -m"),
    "--overwrite": (DASHES, "overwrite=true"),
    "content=my cat.jpg": (BLANKS, "'content=my cat.jpg'"),
    "content=no such cat.jpg seed=1": (BLANKS, "'content=no such cat.jpg' seed=1"),
    "out=my results": (BLANKS, "'out=my results'"),
    "loss.style.layers=[relu1_1, relu2_1]": (BLANKS, "'loss.style.layers=[relu1_1, relu2_1]'"),
    "size=1024x768": ("size is the longest side", "size=1024"),
    "resolution=512": ("the key is size", "size=512"),
    "steps 300": ("a setting is KEY=VALUE", "steps=300"),
    "beta = 3": ("a setting is KEY=VALUE", "beta=3"),
    "quick": ("an experiment needs its key", "+experiment=quick"),
}


@pytest.mark.parametrize("typed", MEANT)
def test_answer_is_the_command_that_was_meant(
    typed: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("my cat.jpg", "cat.jpg", "own/last.ckpt"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    fact, meant = MEANT[typed]
    with pytest.raises(ConfigError) as caught:
        refuse_other_forms(typed.split())
    (said,) = caught.value.problems
    words, _, answer = said.partition(f": {fact}; write ")
    assert set(words.split()) <= set(typed.split())
    assert answer == f"python -m nst_exp {meant}"
    refuse_other_forms(shlex.split(answer)[3:])


@pytest.mark.parametrize(
    "typed",
    [
        *("content=chelsea style=wave.jpg seed=1", "seed", "--steps", "--nonsense 3", "=3"),
        *("-m beta=1,2 -cd own out=a", "--cfg job steps=3", "hydra.verbose=true --multirun"),
        "+experiment=quick +loss.more.std.statistic=std init={kind:noise} images=a",
    ],
)
def test_other_arguments_are_left_to_the_checks_of_keys(typed: str) -> None:
    refuse_other_forms(typed.split())


def test_other_problems_come_with_the_answer() -> None:
    with pytest.raises(ConfigError) as caught:
        refuse_other_forms(["iterations=4", "stepz=3"])
    assert caught.value.problems == [
        "iterations=4: no such key; write python -m nst_exp steps=4 stepz=3",
        "stepz: no such key; did you mean 'steps'?",
    ]


def test_synonyms_mean_keys_that_exist_and_are_none_themselves() -> None:
    known = {*known_keys(), *groups()}
    assert not known & set(SYNONYMS)
    assert {key.partition("=")[0] for key in SYNONYMS.values()} <= known


def test_synonym_from_python() -> None:
    with pytest.raises(ConfigError, match=r"^iterations: no such key; did you mean 'steps'\?$"):
        make_config(["iterations=3"])


def test_on_the_command_line(run_here, tmp_path: Path) -> None:
    picture(tmp_path / "a cat.jpg", (48, 32))
    code, out, err = run_here(*TINY, "content=a", "cat.jpg", "--iterations", "3")
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert err.startswith("error: content=a cat.jpg --iterations 3: ")
    assert err.rstrip().endswith("'content=a cat.jpg' steps=3")
    assert [path.name for path in tmp_path.iterdir()] == ["a cat.jpg"]

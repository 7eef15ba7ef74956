"""What a person reads after a mistake on the command line: key, value, what is allowed."""

from __future__ import annotations

import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.errors import HydraException
from omegaconf.errors import OmegaConfBaseException

from nst_exp.app.api import make_config
from nst_exp.app.arguments import check_arguments
from nst_exp.app.complaints import complaint
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.paths import CONFIGS

WHOLE = "must be a whole number, written out (1000, not 1e3)"
MISTAKES = {
    # a key that does not exist, in every way to write it
    "contnt=a": "contnt: no such key; did you mean 'content'?",
    "+contnt=a": "contnt: no such key; did you mean 'content'?",
    "++contnt=a": "contnt: no such key; did you mean 'content'?",
    "optimizer.lrr=1": "optimizer.lrr: no such key; did you mean 'optimizer.lr'?",
    "++optimizer.lrr=1": "optimizer.lrr: no such key; did you mean 'optimizer.lr'?",
    "loss.style.wieghts=[1]": "loss.style.wieghts: no such key; did you mean 'loss.style.weights'?",
    "bakbone=vgg16": "bakbone: no such key; did you mean 'backbone'?",
    "~contnt": "contnt: no such key; did you mean 'content'?",
    "~contnt=a": "contnt: no such key; did you mean 'content'?",
    # a key that exists, in the wrong way
    "~seed": "seed: this key cannot be taken away",
    "~optimizer.lr": "optimizer.lr: this key cannot be taken away",
    "~loss=tutorial": "~loss=tutorial: a group needs a preset; choose another one, loss=NAME",
    "+seed=1": "seed: it is there already; write it without the plus sign: seed=1",
    "+loss=tutorial": "loss: it is there already; write it without the plus sign: loss=tutorial",
    "experiment=nope": "experiment: write it with a plus sign: +experiment=nope",
    "optimizer.beta1=0.5": "optimizer.beta1: only with optimizer=adam",
    "optimizer=adam optimizer.history=3": "optimizer.history: only with optimizer=lbfgs",
    "from_image=a.png": "from_image: only on the command line, as from_image=PICTURE",
    "hydra.launcher.n_jobs=2": "hydra.launcher.n_jobs: only with hydra/launcher=NAME",
    "hydra/launcher=basic hydra.launcher.n_jobs=2": (
        "hydra.launcher.n_jobs: hydra/launcher=basic has no such key"
    ),
    # a value of the wrong type
    "steps=abc": f"steps=abc: {WHOLE}",
    "steps=1e3": f"steps=1e3: {WHOLE}",
    "steps=1.5": f"steps=1.5: {WHOLE}",
    "seed=true": f"seed=true: {WHOLE}",
    "steps=": f"steps=: {WHOLE}",
    "size=[1]": f"size=[1]: {WHOLE}",
    "alpha=big": "alpha=big: must be a number",
    "loss.style.weights=[1,x]": "loss.style.weights[1]=x: must be a number",
    "optimizer.clamp=maybe": "optimizer.clamp=maybe: must be true or false",
    "steps=null": "steps=null: needs a value",
    "backbone.content_layers=relu4_2": (
        "backbone.content_layers=relu4_2: must be a list: backbone.content_layers=[...]"
    ),
    "loss.content=3": "loss.content=3: it has keys of its own; set loss.content.KEY=VALUE",
    # a name that is not among those that exist
    "init.kind=noize": (
        "init.kind=noize: must be one of content, style, noise, file, blend; did you mean 'noise'?"
    ),
    # an argument that Hydra's grammar cannot read
    "seed": "seed: cannot be read; write KEY=VALUE",
    "=": "=: cannot be read; write KEY=VALUE",
    "content=a=b.jpg": """content=a=b.jpg: cannot be read; quote the value: 'content="a=b.jpg"'""",
}


@pytest.mark.parametrize(("typed", "said"), MISTAKES.items())
def test_mistake(typed: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(typed.split())
    assert str(caught.value) == said


@pytest.mark.parametrize(
    ("typed", "nearest", "listed"),
    [
        ("backbone=vgg_16", "did you mean 'vgg16'?", "alexnet"),
        ("optimizer=adamm", "did you mean 'adam'?", "there are: adam, lbfgs"),
        ("loss=paper_codes", "did you mean 'paper_code'?", "paper_text"),
        ("+experiment=zzz", "", "there are: "),
        ("hydra/launcher=zzz", "", "there are: basic"),
    ],
)
def test_unknown_preset_lists_those_that_exist(typed: str, nearest: str, listed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config([typed])
    message = str(caught.value)
    assert message.startswith(f"{typed.lstrip('+')}: no such preset")
    assert nearest in message
    assert listed in message
    assert "_schema" not in message  # the groups' bases are not for choosing


@pytest.mark.parametrize(
    "value", ["a=b.jpg", "wave (1).jpg", "it's.jpg", 'a"b.jpg', "ü.jpg", "[a", "a,b.jpg", "~no/a"]
)
def test_advised_quoting_works_when_pasted_into_a_shell(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(["seed=1", f"content={value}", "size=64"])
    message = str(caught.value)
    assert message.startswith(f"content={value}: cannot be read; quote the value: ")
    advised = message.partition("quote the value: ")[2].partition("; for a sweep")[0]
    assert make_config(shlex.split(advised)).content == value


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        (
            ["stepz=3", "sise=4", "alpha=x"],
            [
                "stepz: no such key; did you mean 'steps'?",
                "sise: no such key; did you mean 'size'?",
                "alpha=x: must be a number",
            ],
        ),
        # also what other checks say, where it has to do with what was typed
        (
            ["alpha=x", "beta=-1", "seed=3"],
            ["alpha=x: must be a number", "beta=-1.0: must be at least 0"],
        ),
        # but not what follows from the first mistake
        (["optimizer=adamm", "optimizer.beta1=0.5"], ["optimizer=adamm: no such preset"]),
        (["init=fil", "init.file=chelsea"], ["init=fil: no such preset; did you mean 'file'?"]),
        (
            ["content=a=b", "style=c=d"],
            [
                "content=a=b: cannot be read; quote the value: 'content=\"a=b\"'",
                "style=c=d: cannot be read; quote the value: 'style=\"c=d\"'",
            ],
        ),
        (["-m", "steps=1,x,3,y"], [f"steps=x: {WHOLE}", f"steps=y: {WHOLE}"]),
    ],
)
def test_every_problem_is_told_at_once(typed: list[str], said: list[str]) -> None:
    told = complaint(_refusal(typed), typed)
    assert [line.splitlines()[0][: len(s)] for line, s in zip(told, said, strict=True)] == said


def _refusal(typed: list[str]) -> Exception:
    """What Hydra raises."""
    values = [text.split(",")[0] + text[-2:] if "," in text else text for text in typed]
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
            compose("config", [value for value in values if value != "-m"])
    except (HydraException, OmegaConfBaseException) as error:
        return error
    return RuntimeError("a job of the sweep cannot be composed")


def test_the_hydra_of_this_process_stays_as_it_is() -> None:
    """A sweep is refused while Hydra is at work."""
    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        before = GlobalHydra.instance().hydra
        complaint(RuntimeError("stepz"), ["stepz=1", "size=4"])
        assert GlobalHydra.instance().hydra is before is not None
        compose("config", ["size=64"])


ARGUMENTS = {
    "--lr 3": "--lr: no such option; settings have no dashes: optimizer.lr=VALUE",
    "--content=a": "--content=a: no such option; settings have no dashes: content=VALUE",
    "--multirunn": "--multirunn: no such option; did you mean '--multirun'?",
    "--run --multirun": "--run --multirun: these exclude one another; choose one",
    "=3": "=3: cannot be read; write KEY=VALUE",
    "~loss": "~loss: a group needs a preset; choose another one, loss=NAME",
    "-m steps=range(1,9,0)": "steps=range(1,9,0): range() arg 3 must not be zero; give range(",
    "-m steps=range(9,1)": "steps=range(9,1): holds no value; give range(START,STOP,STEP)",
    "-m steps=glob(*)": "steps=glob(*): glob() is for presets; write the values out, steps=1,2,3",
    "-m out=a,b": "out=a,b: a sweep has one folder, with one for each job in it; give one out=DIR",
}


@pytest.mark.parametrize("typed", ARGUMENTS)
def test_what_hydra_would_take_is_refused_before_it(typed: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_arguments(typed.split())
    (said,) = caught.value.problems
    assert said.startswith(ARGUMENTS[typed])


@pytest.mark.parametrize(
    "typed",
    [
        "-m steps=1,2 size=range(64,128,32) +experiment=glob(paper*) out=s",
        "--cfg job steps=3",
        "--help",
        "~hydra.callbacks.sweep_jobs",
        "from_image=a=b.png",
        "loss=tutorial backbone.pool=max ++seed=3",
        "steps=1 steps=2",  # the last one counts, as in other programs
    ],
)
def test_what_is_right_is_left_to_hydra(typed: str) -> None:
    check_arguments(typed.split())


def test_a_chosen_preset_that_is_not_utf_8_is_named(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "latin.yaml").write_bytes(b"out: \xff")
    check_arguments(["--config-dir", str(tmp_path), "+experiment=quick"])
    with pytest.raises(ConfigError, match=r"latin\.yaml: is not UTF-8; save it as UTF-8"):
        check_arguments(["--config-dir", str(tmp_path), "+experiment=latin"])


def test_every_message_is_one_problem_on_one_line() -> None:
    for typed, said in MISTAKES.items():
        assert "\n" not in said, typed


@pytest.mark.parametrize(
    ("typed", "extra"),
    [
        ("hydra/launcher=joblib", "joblib"),
        ("hydra/launcher=submitit_local", "submitit"),
        ("hydra/launcher=submitit_slurm", "submitit"),
        ("hydra/launcher=ray", "ray"),
        ("hydra/sweeper=optuna", "optuna"),
    ],
)
def test_missing_plugin_names_the_extra_that_installs_it(
    typed: str, extra: str, tmp_path: Path
) -> None:
    code = (
        "import sys\n"
        "sys.modules['hydra_plugins'] = None\n"  # as if there were none
        "from nst_exp.app.main import main\n"
        "main()\n"
    )
    run = subprocess.run(
        [sys.executable, "-c", code, "-m", "beta=1,2", "out=s", typed, "hydra.launcher.n_jobs=2"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
    )
    assert run.returncode == 2
    said = f"error: {typed}: its plugin is not installed: pip install 'nst_exp[{extra}]'"
    assert run.stderr.splitlines() == [said]
    assert not (tmp_path / "s").exists()

"""What a user reads after a mistake on the command line: key, value, what is allowed."""

import random
import string
from pathlib import Path

import pytest

from nst_exp.app import hydra_options
from nst_exp.app.compose import make_config
from nst_exp.app.known_keys import known_keys, type_of, unknown_key
from nst_exp.app.overrides import check_arguments
from nst_exp.config.presets import groups
from nst_exp.utils.errors import ConfigError

WHOLE = "must be a whole number, written out (1000, not 1e3)"
MISTAKES = {
    # a key that does not exist, in every way to write it
    "contnt=a": "contnt: no such key; did you mean 'content'?",
    "+contnt=a": "contnt: no such key; did you mean 'content'?",
    "bakbone=vgg16": "bakbone: no such key; did you mean 'backbone'?",
    "~contnt=a": "contnt: no such key; did you mean 'content'?",
    # a key that exists, in the wrong way
    "~seed": "~seed: cannot be removed; give another one, seed=...",
    "+seed=1": "+seed=1: this key exists; leave out the plus sign",
    "content@x=a": "content@x=a: only presets have a package; write content=VALUE",
    "backbone.fallback.name=vgg11": "backbone.fallback.name=vgg11: is set by a preset; choose "
    "+backbone@backbone.fallback=NAME",
    "loss.style.layers=[[a]]": "loss.style.layers=[[a]]: every entry must be a single text",
    "experiment=nope": "experiment: needs a plus sign; write +experiment=nope",
    "optimizer.beta1=0.5": "optimizer.beta1: only with optimizer=adam",
    "optimizer=adam optimizer.history=3": "optimizer.history: only with optimizer=lbfgs",
    "+experiment=crowsonkb optimizer.history=3": "optimizer.history: only with optimizer=lbfgs",
    "optimizer.kind=sgd": "optimizer.kind=sgd: is set by the preset; choose optimizer=lbfgs or "
    "optimizer=adam or optimizer=rmsprop",
    "from_image=a.png": "from_image: only on the command line, as from_image=IMAGE",
    "+loss.more.std.statistik=std": (
        "loss.more.std.statistik: no such key; did you mean 'loss.more.std.statistic'?"
    ),
    # a value of the wrong type
    "steps=abc": f"steps=abc: {WHOLE}",
    "steps=1e3": f"steps=1e3: {WHOLE}",
    "size=[1]": f"size=[1]: {WHOLE}",
    "alpha=big": "alpha=big: must be a number",
    "content=[a,b]": "content=[a,b]: must be a single text; quote the value: 'content=\"[a,b]\"'",
    "init={file:1_2}": "init={file:1_2}: init.file reads as a number; write quotation marks around "
    "this text",
    "steps={a:1}": f"steps={{a:1}}: {WHOLE}",
    "steps=1=2": f"steps=1=2: {WHOLE}",
    "loss.style.weights=[1,x]": "loss.style.weights=[1,x]: every entry must be a number",
    "optimizer.clamp=maybe": "optimizer.clamp=maybe: must be true or false",
    "size=null": "size=null: needs a value",
    "backbone.content_layers=relu4_2": (
        "backbone.content_layers=relu4_2: must be a list: backbone.content_layers=[...]"
    ),
    "loss.content=3": "loss.content=3: has keys of its own; set loss.content.KEY=VALUE",
    "loss=null": "loss=null: a group needs the name of a preset; choose loss=NAME",
    "init.kind=noize": (
        "init.kind=noize: must be one of content, style, noise, file, blend, details; did you mean "
        "'noise'?"
    ),
    # what Hydra's grammar does not accept
    "seed": "seed: cannot be read; write KEY=VALUE without blanks",
    "=3": "=3: cannot be read; write KEY=VALUE without blanks",
    "content=a,b": "content=a,b: for a sweep over several values add -m; quote the value: "
    "'content=\"a,b\"'",
    "beta=1,2": "beta=1,2: for a sweep over several values add -m",
    # options
    "--lr 3": "--lr: no such option; write optimizer.lr=VALUE without dashes",
    "--multirunn": "--multirunn: no such option; did you mean '--multirun'?",
    "-r --multirun": "--run --multirun: exclude one another; choose one",
    "--multirun=3": "--multirun=3: takes no value; write --multirun",
    "--cfg jop": "--cfg=jop: must be one of job, hydra, all",
    "--info": "--info=: must be one of all, config, defaults, defaults-tree, plugins, searchpath",
    "--config-dir nope": "--config-dir=nope: no such folder; name a folder of presets",
    "--resolve": "--resolve: only with --cfg job; add that, or leave it out",
    "--package loss": "--package: only with --cfg job; add that, or leave it out",
    "--config-path a/.hydra -cn config": "--config-path --config-name: is not used here; repeat a "
    "run with from_image=IMAGE, or with the overrides in its result.json; for presets of your own "
    "use --config-dir DIR",
    "--experimental-rerun a/.hydra/config.pickle": "--experimental-rerun: is not used here; repeat "
    "a run with from_image=IMAGE, or with the overrides in its result.json; for presets of your "
    "own use --config-dir DIR",
    # Hydra's own keys
    **{
        f"{key}=x": f"{key}=x: cannot be set here; choose the folder with out=DIR{more}"
        for key, more in {
            "hydra.run.dir": "",
            "hydra.sweep.dir": ", in which each job has one of its own",
            "hydra.sweep.subdir": ", in which each job has one of its own",
        }.items()
    },
    "hydra.job.chdir=true": "hydra.job.chdir=true: cannot be set here; paths are relative to the "
    "folder where the command starts; leave it out",
    "hydra.mode=MULTIRUN": "hydra.mode=MULTIRUN: cannot be set here; add -m for a sweep, or leave "
    "it out",
    "hydra/job_logging=none": "hydra/job_logging=none: cannot be set here; hydra.verbose=true logs "
    "more",
    "hydra.searchpath=[a]": "hydra.searchpath=[a]: cannot be set here; add a folder of presets "
    "with --config-dir DIR",
    **{
        text: f"{text}: cannot be set here; leave it out"
        for text in (
            *("hydra.output_subdir=x", "hydra.job.name=x", "hydra.job.env_copy=[A]"),
            *("~hydra.callbacks.sweep_session", "hydra.job.config.override_dirname.kv_sep=_"),
        )
    },
    "hydra/launcher=basic": "hydra/launcher=basic: only for a sweep; add -m",
    "-m hydra/launcher=null": "hydra/launcher=null: cannot be removed; choose another one with "
    "hydra/launcher=NAME",
    "-m hydra.launcher._target_=a": "hydra.launcher._target_=a: choose one with "
    "hydra/launcher=NAME",
    "-m hydra.sweeper.params.a=1": "hydra.sweeper.params.a=1: vary a key on the command line: "
    "KEY=A,B",
    "hydra.verbose=3": "hydra.verbose=3: must be true, false or the names of loggers",
    "hydra.job.env_set.A=b": "hydra.job.env_set.A=b: write +hydra.job.env_set.NAME=VALUE",
    "-m hydra.launcher.a=1,2": "hydra.launcher.a=1,2: a sweep cannot vary Hydra's own keys; give "
    "hydra.launcher.a one value",
    # sweeps
    "-m content=a,,b": "content=a,,b: a value is empty; remove a comma, or quote the value: "
    "'content=\"a,,b\"'",
    "-m content=glob(*)": "content=glob(*): glob() is for presets; of files give the pattern, "
    "'content=DIR/*'",
    "-m content=sort(1e3,2)": "content=sort(1e3,2): converts texts to numbers; list them, "
    "content=A,B",
    "-m beta=shuffle(1,2)": "beta=shuffle(1,2): a sweep keeps the order of its values; leave "
    "shuffle out",
    "-m steps=range(1,9,0)": "steps=range(1,9,0): has no values; give range(START,STOP,STEP)",
    "-m out=a,b": "out=a,b: a sweep has one folder, with one for each job in it; give one out=DIR",
}


@pytest.mark.parametrize("typed", MISTAKES)
def test_mistake_is_answered_in_one_line(typed: str) -> None:
    hydras = typed.startswith(("-", "hydra", "~hydra"))
    check = check_arguments if hydras else make_config
    with pytest.raises(ConfigError) as caught:
        check(typed.split())
    assert MISTAKES[typed] in caught.value.problems
    assert len(caught.value.problems) == 1


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
        (["alpha=x", "beta=-1"], ["alpha=x: must be a number", "beta=-1.0: must be at least 0"]),
        (["optimizer=adamm", "optimizer.beta1=0.5"], ["optimizer=adamm: no such preset"]),
        (
            ["content=[a]", "style=[b]", "panel=[c]"],
            [
                "content=[a]: must be a single text; quote the value: 'content=\"[a]\"'",
                "panel=[c]: must be a single text; quote the value: 'panel=\"[c]\"'",
            ],
        ),
        (["-m", "steps=1,x,3,y"], [f"steps=x: {WHOLE}", f"steps=y: {WHOLE}"]),
        (["-m", "loss=tutoril,default"], ["loss=tutoril: no such preset; did you mean 'tutorial'"]),
    ],
)
def test_every_problem_comes_at_once(typed: list[str], said: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        check_arguments(typed)
    for line, expected in zip(caught.value.problems, said, strict=True):
        assert line.startswith(expected)


@pytest.mark.parametrize(
    ("typed", "said"),
    [
        ("backbone=vgg_16", "backbone=vgg_16: no such preset; did you mean 'vgg16'?"),
        ("+experiment=zzz", "experiment=zzz: no such preset"),
    ],
)
def test_unknown_preset_lists_those_that_exist(typed: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config([typed])
    group = typed.lstrip("+").partition("=")[0]
    assert caught.value.problems == [f"{said}\n    presets: {', '.join(groups()[group])}"]


@pytest.mark.parametrize(
    "typed",
    [
        "-m steps=1,2 size=range(64,128,32) +experiment=glob(paper*) out=s",
        "-m hydra/sweeper=optuna beta=tag(log,interval(0.1,100))",
        "--cfg job steps=3",
        "-sc query=bash",
        "hydra.output_subdir=null hydra.verbose=true +hydra.job.env_set.A=b",
        "loss=tutorial backbone.pool=max ++seed=3 init={kind:noise}",
        "+figure.panels.b.weights=[1,0.5] backbone.pool=${loss.x}",
        "steps=1 steps=2",
    ],
)
def test_what_is_right_is_left_to_hydra(typed: str) -> None:
    check_arguments(typed.split())


def test_own_presets_are_known_and_their_mistakes_are_named(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_text("tv: {weight: 0.1}\n")
    check_arguments(["--config-dir", str(tmp_path), "loss=mine"])
    with pytest.raises(ConfigError, match="did you mean 'mine'"):
        check_arguments([f"--config-dir={tmp_path}", "loss=mien"])


def test_options_may_stand_anywhere(tmp_path: Path) -> None:
    """Hydra's parser refuses one between two overrides."""
    found = check_arguments(["seed=1,2", "-cd", str(tmp_path), "size=64", "-m"])
    assert found == ["--config-dir", str(tmp_path), "--multirun", "seed=1,2", "size=64"]


@pytest.mark.parametrize("name", ["hydra/launcher=joblib", "hydra/sweeper=optuna"])
def test_missing_plugin_names_the_extra_that_installs_it(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hydra_options, "is_installed", lambda plugin: False)
    extra = name.partition("=")[2]
    with pytest.raises(ConfigError, match=rf"{name}: .* pip install 'nst-exp\[{extra}\]'"):
        check_arguments(["-m", "beta=1,2", name])


def test_names_of_another_encoding_are_refused() -> None:
    """No record could hold them."""
    with pytest.raises(ConfigError, match=r"^content=caf\\udce9: is not UTF-8"):
        check_arguments(["content=caf\udce9"])


def _one_edit(key: str, rng: random.Random) -> str:
    """Delete, insert, replace one letter, or swap two."""
    at, letter = rng.randrange(len(key)), rng.choice(string.ascii_lowercase)
    swapped = key[:at] + key[at + 1 : at + 2] + key[at] + key[at + 2 :]
    edits = [key[:at] + key[at + 1 :], key[:at] + letter + key[at:], swapped]
    return rng.choice([*edits, key[:at] + letter + key[at + 1 :]])


def test_one_typing_mistake_is_recognized() -> None:
    """At least nine in ten: a few typos are as near to another key (loss.style.a, b, c)."""
    rng = random.Random(0)
    typos = [(key, _one_edit(key, rng)) for key in known_keys() for _ in range(3)]
    typos = [(key, typo) for key, typo in typos if typo and type_of(typo) is None]
    assert len(typos) >= 200
    right = sum(f"did you mean '{key}'?" in unknown_key(typo) for key, typo in typos)
    assert right / len(typos) >= 0.9


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("lr", "optimizer.lr"),  # right, but for the group
        ("tv.weight", "loss.tv.weight"),
        ("loss.stile.layers", "loss.style.layers"),  # not loss.content.layers
        ("intit.kind", "init.kind"),  # not loss.tv.kind
        ("optimizer.bet1", "optimizer.beta1"),  # not beta
        ("Content", "content"),
    ],
)
def test_nearest_key(key: str, meant: str) -> None:
    assert unknown_key(key) == f"{key}: no such key; did you mean '{meant}'?"

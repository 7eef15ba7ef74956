"""Composition: unknown keys, the nearest known one, and quoting."""

from __future__ import annotations

import random
import re
import string

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from nst_exp.app.api import make_config
from nst_exp.app.complaints import complaint
from nst_exp.app.compose import known_keys, quoted, unknown_key
from nst_exp.config.schema import InitKind
from nst_exp.runner.validate import validate
from nst_exp.utils.errors import ConfigError


def _one_edit(key: str, rng: random.Random) -> str:
    """Delete, insert, replace one letter, or swap two."""
    at = rng.randrange(len(key))
    letter = rng.choice(string.ascii_lowercase)
    return rng.choice(
        [
            key[:at] + key[at + 1 :],
            key[:at] + letter + key[at:],
            key[:at] + letter + key[at + 1 :],
            key[:at] + key[at + 1 : at + 2] + key[at] + key[at + 2 :],
        ]
    )


def test_one_typing_mistake_is_recognized() -> None:
    """At least nine in ten: a few typos are as near to another key (loss.style.a, b, c)."""
    rng = random.Random(0)
    known = known_keys()
    typos = [(key, _one_edit(key, rng)) for key in known for _ in range(3)]
    typos = [(key, typo) for key, typo in typos if typo and typo not in known]
    assert len(typos) >= 200
    right = sum(f"did you mean '{key}'?" in unknown_key(typo) for key, typo in typos)
    assert right / len(typos) >= 0.9


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("lr", "optimizer.lr"),  # right, but for the group
        ("averaging", "resolution.averaging"),
        ("tv.weight", "loss.tv.weight"),
        ("style.layers", "loss.style.layers"),
        ("loss.stile.layers", "loss.style.layers"),  # not loss.content.layers
        ("intit.kind", "init.kind"),  # not loss.tv.kind
        ("optimizer.bet1", "optimizer.beta1"),  # not beta
        ("Content", "content"),
    ],
)
def test_nearest_key(key: str, meant: str) -> None:
    assert unknown_key(key) == f"{key}: no such key; did you mean '{meant}'?"


def test_far_from_every_key_points_to_the_help() -> None:
    assert unknown_key("zzz") == "zzz: no such key; see python -m nst_exp --help"


def test_key_of_the_other_optimizer() -> None:
    assert unknown_key("optimizer.history") == "optimizer.history: only with optimizer=lbfgs"
    assert unknown_key("optimizer.beta1") == "optimizer.beta1: only with optimizer=adam"


def test_all_added_keys_come_in_one_message() -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(["+contnt=a", "++loss.tv.wieght=1", "+optimizer.beta1=0.5"])
    assert caught.value.problems == [
        "contnt: no such key; did you mean 'content'?",
        "loss.tv.wieght: no such key; did you mean 'loss.tv.weight'?",
        "optimizer.beta1: only with optimizer=adam",
    ]


def test_added_branch_is_named_once() -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(["+los.style.a=1", "+los.style.b=1"])
    assert len(caught.value.problems) == 1
    assert "did you mean 'loss'?" in caught.value.problems[0]


def test_missing_interpolation_is_not_called_a_missing_value() -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(["alpha=${bet}"])
    assert str(caught.value) == "alpha=${bet}: there is no key 'bet'; did you mean 'beta'?"


@pytest.mark.parametrize(
    "text",
    [
        "a b",
        "it's",
        'say "cheese"',
        "a=b,c",
        r"C:\pics\a.jpg",
        "end\\",
        r"odd\'",
        r"\\",
        "",
        "ü[1]",
    ],
)
@pytest.mark.parametrize("quote", ["'", '"'])
def test_quoted_text_is_read_back_by_hydra(text: str, quote: str) -> None:
    override = OverridesParser.create().parse_override(f"content={quoted(text, quote)}")
    assert override.value() == text


def test_a_panel_sets_what_the_experiment_leaves_to_it() -> None:
    for panel, style, ratio in (("B", "shipwreck", 1e-3), ("F", "composition_vii", 5e-4)):
        config = make_config(["+experiment=paper_fig3", f"panel={panel}"])
        assert (config.panel, config.style, config.alpha) == (panel, style, ratio)
        assert config.figure.label.startswith(f"{panel}  ")
        assert config.figure.panels == {}  # all of it is in its place


def test_lists_of_a_panel_arrive_as_lists_of_the_right_type() -> None:
    experiment = ["+experiment=paper_fig1_style", "panel=b"]
    assert make_config(experiment).loss.style.layers == ["relu1_1", "relu2_1"]
    more = ["+figure.panels.b.weights=[1,0.5]", "loss.style.weights=${panel:weights}"]
    style = make_config([*experiment, *more]).loss.style
    assert style.weights == [1.0, 0.5]
    assert isinstance(style.weights[0], float)  # as the schema has it
    # A value inside a list, and one of an enumeration.
    content = make_config(["+experiment=paper_fig1_content", "panel=e"]).loss.content
    assert content.layers == ["relu5_2"]
    assert make_config(["+experiment=paper_fig6", "panel=B"]).init.kind is InitKind.style


def test_a_key_of_the_command_line_goes_before_the_panels() -> None:
    config = make_config(["+experiment=paper_fig3", "panel=B", "style=chelsea", "alpha=0.5"])
    assert (config.style, config.alpha) == ("chelsea", 0.5)


@pytest.mark.parametrize(
    ("panel", "hint"),
    [("Z", ""), ("b", "; did you mean 'B'?"), ("null", ""), ("1", "")],
)
def test_unknown_panel_is_answered_with_those_that_there_are(panel: str, hint: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(["+experiment=paper_fig3", f"panel={panel}"])
    said = "None" if panel == "null" else panel
    assert caught.value.problems == [f"panel={said}: must be one of B, C, D, E, F{hint}"]


def test_a_value_that_the_panel_lacks_is_a_line() -> None:
    """In a person's own experiment."""
    with pytest.raises(ConfigError) as caught:
        make_config(["+experiment=paper_fig3", "seed=${panel:sede}"])
    assert len(caught.value.problems) == 1
    assert "sede" in caught.value.problems[0]


def test_group_set_to_a_number() -> None:
    error = ValueError("Config group override must be a string or a list. Got int")
    said = "loss=3: a group is set to the name of a preset, or its keys one by one"
    assert complaint(error, ["seed=1", "loss=3"]) == [said]


def test_unforeseen_exception_still_gives_a_line() -> None:
    assert complaint(RuntimeError("one\n\ntwo"), []) == ["one; two"]
    assert complaint(RuntimeError(), []) == ["RuntimeError"]


@pytest.mark.parametrize(
    ("key", "meant"),
    [
        ("hydra.runn.dir", "hydra.run.dir"),
        ("hydra.job.nam", "hydra.job.name"),  # not backbone.name
        ("hydrca.sweep.dir", "hydra.sweep.dir"),
        ("hydra/launcherr", "hydra/launcher"),
    ],
)
def test_hydras_own_keys_are_known(key: str, meant: str) -> None:
    assert unknown_key(key) == f"{key}: no such key; did you mean '{meant}'?"


def test_an_added_branch_with_a_single_key_is_named_by_it() -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(["+optimizr.lr=1"])
    assert caught.value.problems == ["optimizr.lr: no such key; did you mean 'optimizer.lr'?"]


@pytest.mark.parametrize("typed", ["optimizer.kind=adam", "optimizer.kind=sgd"])
def test_the_kind_of_an_optimizer_is_its_presets(typed: str) -> None:
    """It was taken, and L-BFGS used in its place."""
    with pytest.raises(ConfigError) as caught:
        make_config([typed])
    assert caught.value.problems == [
        f"{typed}: the preset sets it; choose optimizer=adam or optimizer=lbfgs"
    ]


def test_an_optimizer_taken_away_is_one_line() -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(["~optimizer"])
    assert caught.value.problems == [
        "~optimizer: a group needs a preset; choose another one, optimizer=NAME"
    ]


def test_a_variable_that_is_not_set_is_named_with_the_key() -> None:
    with pytest.raises(ConfigError, match=r"^content=\$\{oc.env:NOPE\}: .*'NOPE' not found"):
        make_config(["content=${oc.env:NOPE}"])


@pytest.mark.parametrize(
    "name", ["a${style}.jpg", r"a\${b", r"\\${seed}\\", "${", r"a\b$c{d}", "$$${x}$", r"\$"]
)
def test_a_dollar_sign_may_stand_for_itself(name: str) -> None:
    """With a backslash in front, as the message about a wrong one says; files are called so."""
    typed = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", name)
    assert make_config([f"content={quoted(typed)}"]).content == name


def test_names_of_another_encoding_are_refused() -> None:
    """No record could hold them."""
    with pytest.raises(ConfigError, match=r"^content=caf\\udce9: is not UTF-8"):
        make_config(["content=caf\udce9"])
    config = make_config()
    config.style = "caf\udce9"
    with pytest.raises(ConfigError, match=r"style=caf\\udce9: is not UTF-8"):
        validate(config)

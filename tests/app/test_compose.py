"""From composed configs to typed ones."""

import re
from pathlib import Path

import pytest

from nst_exp.app.compose import make_config
from nst_exp.app.messages import quote
from nst_exp.config.schema import InitKind
from nst_exp.utils.errors import ConfigError


def problems(*overrides: str) -> list[str]:
    with pytest.raises(ConfigError) as caught:
        make_config(overrides)
    return caught.value.problems


def test_all_added_keys_come_in_one_message() -> None:
    """Hydra accepts them and ignores them."""
    assert problems("+contnt=a", "++loss.tv.wieght=1") == [
        "contnt: no such key; did you mean 'content'?",
        "loss.tv.wieght: no such key; did you mean 'loss.tv.weight'?",
    ]
    assert problems("++loss={content: {wieghts: [1]}}")  # inside a value


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("# @package _global_\nstepz: 3\n", "stepz: no such key; did you mean 'steps'?"),
        ("# @package _global_\nsteps: x\n", "steps: Value 'x'"),
        ("stepz: 3\n", "experiment: its file must begin with the line '# @package _global_'"),
        ("# @package _global_\nsteps: [\n", "mine.yaml, line 3, column 1"),
        ("# @package _global_\nhydra: {run: {dir: x}}\n", "hydra.run.dir: is set in a file"),
    ],
)
def test_mistake_in_a_file_of_presets(run_here, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(text)
    code, _, err = run_here("--config-dir", str(tmp_path), "+experiment=mine")
    assert code == 2
    assert err.count("error: ") == len(err.splitlines()) == 1
    assert said in err
    assert not (tmp_path / "outputs").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"\xff", "mine.yaml: cannot be read ('utf-8' codec"),
        (b"3\n", "mine.yaml: cannot be read (Invalid loaded object type: int)"),
        (b"defaults: [mine]\n", "too deep: a preset includes itself"),
    ],
)
def test_file_that_is_no_preset(run_here, tmp_path: Path, content: bytes, said: str) -> None:
    (tmp_path / "loss").mkdir()
    (tmp_path / "loss" / "mine.yaml").write_bytes(content)
    code, _, err = run_here("--config-dir", str(tmp_path), "loss=mine")
    assert code == 2
    assert err.count("error: ") == len(err.splitlines()) == 1
    assert said in err


def test_a_panel_sets_what_the_experiment_leaves_to_it() -> None:
    for panel, style, ratio in (("B", "shipwreck", 1e-3), ("F", "composition_vii", 5e-4)):
        config = make_config(["+experiment=paper_fig3", f"panel={panel}"])
        assert (config.panel, config.style, config.alpha) == (panel, [style], ratio)
        assert config.figure.label.startswith(f"{panel}  ")
        assert config.figure.panels == {}
    config = make_config(["+experiment=paper_fig3", "panel=B", "style=chelsea", "alpha=0.5"])
    assert (config.style, config.alpha) == (["chelsea"], 0.5)


def test_lists_and_enums_of_a_panel_get_the_types_of_the_schema() -> None:
    experiment = ["+experiment=paper_fig1_style", "panel=b"]
    more = ["+figure.panels.b.weights=[1,0.5]", "loss.style.weights=${nst_panel:weights}"]
    style = make_config([*experiment, *more]).loss.style
    assert style.layers == ["relu1_1", "relu2_1"]
    assert style.weights == [1.0, 0.5]
    assert isinstance(style.weights[0], float)
    assert make_config(["+experiment=paper_fig6", "panel=B"]).init.kind is InitKind.style


@pytest.mark.parametrize(
    ("panel", "hint"), [("Z", ""), ("b", "; did you mean 'B'?"), ("null", ""), ("1", "")]
)
def test_unknown_panel_is_answered_with_those_that_exist(panel: str, hint: str) -> None:
    said = "None" if panel == "null" else panel
    assert problems("+experiment=paper_fig3", f"panel={panel}") == [
        f"panel={said}: must be one of B, C, D, E, F{hint}"
    ]
    assert problems("panel=B")[0].startswith("panel=B: the experiment has no panels")


def test_references_to_nothing_are_named_with_their_key() -> None:
    (problem,) = problems("alpha=${bet}")
    assert problem.startswith("alpha: ")
    assert "'bet' not found" in problem
    assert "write \\$ for a dollar sign" in problem
    assert problems("content=${oc.env:NOPE}")[0].startswith("content: ")
    assert "sede" in problems("+experiment=paper_fig3", "seed=${nst_panel:sede}")[0]


@pytest.mark.parametrize(
    "name", ["a${style}.jpg", r"a\${b", r"\\${seed}\\", "${", r"a\b$c{d}", "$$${x}$", r"\$"]
)
def test_an_escaped_dollar_sign_is_meant_literally(name: str) -> None:
    typed = re.sub(r"(\\*)\$\{", lambda match: match[1] * 2 + r"\${", name)
    assert make_config([f"content={quote(typed)}"]).content == name


@pytest.mark.parametrize("plus", ["", "+", "++"])
def test_terms_of_the_loss_are_added_key_by_key(plus: str) -> None:
    config = make_config([f"{plus}loss.more.std.statistic=std", f"{plus}loss.more.std.weight=2"])
    term = config.loss.more["std"]
    assert (term.statistic.name, term.weight, term.c) == ("std", 2.0, 1.0)
    assert problems(f"{plus}loss.more.std.wieght=2") == [
        "loss.more.std.wieght: no such key; did you mean 'loss.more.std.weight'?"
    ]
    assert problems(f"{plus}loss.more.std.weight=x") == ["loss.more.std.weight=x: must be a number"]


def test_content_of_a_texture_is_the_first_style() -> None:
    """It sets the size only."""
    for style, first in (("chelsea", "chelsea"), ("[starry_night,chelsea]", "starry_night")):
        config = make_config(["+experiment=texture_synthesis", f"style={style}"])
        assert config.content == first

"""Texts of the command line and of presets reach the run as they were typed."""

import re
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser

from nst_exp.app.compose import make_config
from nst_exp.app.messages import quote
from nst_exp.app.overrides import check_arguments
from nst_exp.config.serialize import config_as_dict, flat
from nst_exp.utils.errors import ConfigError

TEXTS = r"""
1_2 1e3 1.10 0x10 0o17 007 .5 1_000 nan inf -0 +1 true TRUE yes on None 2024-01-15 12:30 ~ ~/x ~no/a
$HOME {a} (b) a(1) a[1] { # #fff .. x\y a=b it's a"b ' @x *.jpg ? a; & < ` % ü 日本 [a choice(a a\
"""
KEYS = (
    *("content", "style", "images", "out", "image", "background", "init.file", "backbone.file"),
    *("backbone.calibration", "figure.title", "figure.label"),
)


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("loss/mine.yaml", "content: {layers: [1.10]}", "loss.content.layers"),
        ("experiment/mine.yaml", "# @package _global_\ncontent: 1_2", "content"),
        ("experiment/mine.yaml", "# @package _global_\ninit: {file: true}", "init.file"),
        ("backbone/mine.yaml", "name: 0x10", "backbone.name"),
    ],
)
def test_texts_of_own_presets_that_yaml_converts_are_refused(
    tmp_path: Path, file: str, content: str, said: str
) -> None:
    path = tmp_path / file
    path.parent.mkdir()
    group = path.parent.name
    chosen = [f"--config-dir={tmp_path}", f"{'+' * (group == 'experiment')}{group}=mine"]
    path.write_text(re.sub(r"(1.10|1_2|true|0x10)", r"'\1'", content))
    check_arguments(chosen)
    path.write_text(content)
    with pytest.raises(ConfigError) as caught:
        check_arguments(chosen)
    assert str(caught.value) == f"{path}: {said} reads as a number; quote it there: '...'"


@pytest.mark.parametrize("first", range(0, len(TEXTS.split()), len(KEYS)))
def test_texts_stay_as_they_were_typed(first: int) -> None:
    texts = [*TEXTS.split(), "wave (1).jpg", " a", "a ", "", "a\tb"][first:]
    typed = dict(zip(KEYS, texts, strict=False))
    config = make_config([f"{key}={text}" for key, text in typed.items()])
    found = flat(config_as_dict(config))
    assert {key: found[key] for key in typed} == typed


def test_texts_of_a_sweep_stay_as_they_were_typed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # "." and ".." are no folders of images
    listed = [*TEXTS.split()[:-3], "wave (1).jpg", "a b"]
    parser = OverridesParser.create()
    for typed in (",".join(listed), f"choice({','.join(listed[-5:])})"):
        *_, content = check_arguments(["-m", f"content={typed}"])
        jobs = parser.parse_override(content).sweep_string_iterator()
        assert [parser.parse_override(f"content={job}").value() for job in jobs] == listed[
            -len(typed.split(",")) :
        ]


def test_texts_of_a_list_stay_as_they_were_typed() -> None:
    typed = "loss.content.layers=[1_2,1.10, a b,'c,d',ü]"
    assert make_config([typed]).loss.content.layers == ["1_2", "1.10", "a b", "c,d", "ü"]
    (_, swept) = check_arguments(["-m", "loss.content.layers=[1_2,1e3],[true]"])
    assert swept == "loss.content.layers=['1_2','1e3'],['true']"


def test_presets_are_named_as_they_were_typed(tmp_path: Path) -> None:
    (tmp_path / "loss").mkdir()
    for name in ("1_2", "1e3", "true", "2024-01-15"):
        (tmp_path / "loss" / f"{name}.yaml").write_text("tv: {weight: 0.1}\n")
    own = f"--config-dir={tmp_path}"
    assert check_arguments([own, "loss=1_2"])[-1] == "loss='1_2'"
    check_arguments([own, "-m", "loss=1_2,1e3,true,2024-01-15"])
    with pytest.raises(ConfigError, match="loss=12: no such preset"):
        check_arguments([own, "loss=12"])


@pytest.mark.parametrize("value", ["a,b.jpg", "[a]", "{a:1}", "range(3)", '[a,"b"]'])
def test_advised_quoting_works_when_pasted_into_a_shell(value: str) -> None:
    with pytest.raises(ConfigError) as caught:
        make_config(["seed=1", f"content={value}", "size=64"])
    advised = str(caught.value).partition("quote the value: ")[2]
    assert make_config(shlex.split(advised)).content == value


@pytest.mark.parametrize("mark", ["'", '"'])
@pytest.mark.parametrize(
    "text",
    ["a b", "it's", 'say "cheese"', "a=b,c", r"C:\pics\a.jpg", "end\\", r"odd\'", "", "ü[1]"],
)
def test_quoted_text_is_read_back(text: str, mark: str) -> None:
    assert make_config([f"content={quote(text, mark)}"]).content == text

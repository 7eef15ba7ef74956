"""Commands, messages, keys and links of the documentation are right."""

import re
import shlex
import sys
from pathlib import Path

import pytest
from helpers_run import picture

from nst_exp.app.api import make_config
from nst_exp.app.main import main
from nst_exp.app.overrides import check_arguments
from nst_exp.results.record import Record, compute_fingerprint
from nst_exp.runner.validate import validate
from nst_exp.utils.hashing import sha256_of

ROOT = Path(__file__).resolve().parent.parent
PAGES = [
    ROOT / "README.md",
    ROOT / "configs" / "config.yaml",
    *sorted(set(ROOT.glob("docs/*.md")) - {ROOT / "docs" / "extending.md"}),  # test_extending.py
]
IMAGE_KEYS = ("content", "style", "init.file", "content_map", "style_map")


def commands() -> list[str]:
    """Return every ``python -m nst_exp KEY=VALUE ...`` line of the pages without its comment."""
    found = []
    for page in PAGES:
        text = page.read_text(encoding="utf-8").replace("\\\n", " ")
        for line in re.findall(r"^[#\s]*python -m nst_exp( .*)$", text, re.M):
            # Explanations follow a "#" or several spaces.
            command = re.split(r"\s#|\s{3,}", line)[0].strip()
            if command and command not in found:
                found.append(command)
    assert len(found) >= 8
    return found


@pytest.mark.slow
@pytest.mark.parametrize("command", commands())
def test_documented_command_is_accepted(command: str) -> None:
    arguments = shlex.split(command)
    if arguments[0].startswith("--"):
        pytest.skip("an option of Hydra's, not a run")
    if sweep := arguments[0] == "-m":
        check_arguments(arguments)
    overrides = []
    for argument in arguments[1:] if sweep else arguments:
        key, _, value = argument.partition("=")
        if key in IMAGE_KEYS:  # the reader's own images
            value = re.sub(r"[\w/*-]+(\.(jpg|png)|/)", "chelsea", value)
        elif key in ("from_image", "pair") or key.startswith("hydra"):
            continue
        if sweep:
            value = re.split(r",(?![^[]*\])", value)[0]  # not within a list
        overrides.append(f"{key}={value}")
    validate(make_config(overrides))


def test_page_of_keys_is_up_to_date(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "scripts")
    from write_config_docs import TARGET, page

    assert TARGET.read_text(encoding="utf-8") == page(), "run scripts/write_config_docs.py"
    rows = re.findall(r"^\| `([^`]+)` \|(.*)\|(.*)\|$", page(), re.M)
    assert len(rows) > 80
    assert all(meaning.strip() for _, _, meaning in rows), "a key without an explanation"


def test_links_between_pages_lead_somewhere() -> None:
    for page in [ROOT / "README.md", *ROOT.glob("docs/*.md")]:
        for target in re.findall(r"\]\((?!https?://)([^)#]+)\)", page.read_text(encoding="utf-8")):
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def shown_messages() -> list[tuple[str, str]]:
    """Return command and output of each example that can be run without weights."""
    text = (ROOT / "docs" / "troubleshooting.md").read_text(encoding="utf-8")
    found: list[tuple[str, str]] = []
    for note, block in re.findall(r"(<!-- not run[^\n]*\n)?```console\n(.*?)```", text, re.S):
        for command, said in re.findall(r"^\$ (.*)\n((?:[^$].*\n)*)", block, re.M):
            if not note:
                found.append((command, said))
    assert len(found) >= 20
    return found


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Make the folder that the examples were run in."""
    folder = tmp_path_factory.mktemp("home")
    for name in ("cat.jpg", "wave.jpg", "cut.jpg", "cat (1).jpg"):
        picture(folder / name, (320, 240))
    picture(folder / "panorama.jpg", (2000, 200))
    whole = (folder / "cut.jpg").read_bytes()
    (folder / "cut.jpg").write_bytes(whole[: len(whole) // 2])
    (folder / "page.jpg").write_text("<!doctype html><title>Not found</title>")
    (folder / "done").mkdir()
    config = make_config(["content=cat.jpg", "style=wave.jpg"])
    hashes = [sha256_of(folder / name) for name in ("cat.jpg", "wave.jpg")]
    fingerprint = compute_fingerprint(config, hashes)
    Record(folder / "done", config, fingerprint=fingerprint).save("done")
    return folder


@pytest.mark.parametrize(("command", "said"), shown_messages(), ids=lambda text: text[:60])
def test_message_is_as_documented(
    command: str,
    said: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(home)
    monkeypatch.setattr(sys, "argv", shlex.split(command)[2:])
    with pytest.raises(SystemExit):
        main()
    printed = capsys.readouterr().err.replace(str(home), "/home/you")
    # Another version of Pillow may write files of another size.
    printed, said = (re.sub(r"\d+ bytes", "N bytes", text) for text in (printed, said))
    assert printed == said

"""Wrong settings: every one is refused in one message, and nothing is begun.

Each command line runs in a forked child that can reach neither the network nor torch: whatever
passes the checks breaks there, instead of beginning a run.
"""

from __future__ import annotations

import gc
import os
import shlex
import socket
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import NoReturn

from hydra import compose, initialize_config_dir

from tests.faults import children
from tests.faults.mistakes import FILES, Mistake, mistakes
from tests.faults.outcome import Outcome, part

PROMISE = "exit code 2, every wrong key and value named with what is allowed, nothing begun"
PLAIN = 5  # in processes of their own, for which torch must be as good as not installed
SECONDS = 60.0

_ALONE = """
import sys
from nst_exp.app.main import main
try:
    main()
finally:
    if "torch" in sys.modules:
        print("torch was imported")
"""


def torture(share: float, folder: Path) -> Outcome:
    """Some 280 wrong command lines."""
    outcome = Outcome("wrong settings", PROMISE)
    every = list(mistakes())
    count = part(len(every), share)
    chosen = [every[i * len(every) // count] for i in range(count)]
    warm_up()
    for number, mistake in enumerate(m for m in chosen if not m.late):
        outcome.expect(*_judged(mistake, folder / f"{number}"))
    early = [mistake for mistake in chosen if not mistake.late and mistake.code == 2]
    for number, mistake in enumerate(early[:: max(1, len(early) // part(PLAIN, share))]):
        if number < PLAIN:
            outcome.expect(*_alone(mistake, folder / f"alone{number}"))
    if late := [mistake for mistake in chosen if mistake.late]:
        children.prepare()
        for number, mistake in enumerate(late):
            outcome.expect(*_judged(mistake, folder / f"late{number}"))
    outcome.notes.append(f"{sum(len(m.words) for m in chosen):,} words looked for")
    return outcome


def warm_up() -> None:
    """Pay once for what every child would pay for: imports, Hydra's plugins, its parser's tables.

    Torch is not among them.
    """
    import nst_exp.app.main  # noqa: F401  (which also registers the schema)
    from nst_exp.utils.paths import CONFIGS

    with initialize_config_dir(version_base="1.3", config_dir=str(CONFIGS)):
        compose("config", ["+experiment=quick", "loss.style.layers=[relu1_1]", "alpha=0.5"])
    gc.freeze()  # memory that children share is not copied for the garbage collector's marks


def _judged(mistake: Mistake, folder: Path) -> tuple[bool, str]:
    """Whether the command ended as promised; which one, and what happened."""
    place = _laid_out(folder)
    output = folder / "output.txt"
    child = children.run(
        shlex.split(mistake.line),
        output,
        SECONDS,
        folder=place,
        environment=_surroundings(folder),
        before=_no_network if mistake.late else nothing_begins,
    )
    return _verdict(mistake, child.code, child.text(), [] if mistake.late else _left(place))


def _alone(mistake: Mistake, folder: Path) -> tuple[bool, str]:
    """The same in a process that shares nothing with this one."""
    place = _laid_out(folder)
    done = subprocess.run(
        [sys.executable, "-c", _ALONE, *shlex.split(mistake.line)],
        cwd=place,
        env=os.environ | _surroundings(folder),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        encoding="utf-8",
        timeout=SECONDS,
    )
    return _verdict(mistake, done.returncode, done.stdout, _left(place))


def _verdict(
    mistake: Mistake, code: int | None, text: str, left: Sequence[str]
) -> tuple[bool, str]:
    lines = text.splitlines()
    problems = []
    if code != mistake.code:
        problems.append(f"exit code {code}, not {mistake.code}")
    if not lines or not all(line.startswith(("error: ", "    ")) for line in lines):
        problems.append("more than errors is said")
    if "Traceback" in text or "torch was imported" in text:
        problems.append("a traceback, or torch")
    problems += [f"no '{word}'" for word in mistake.words if word not in text]
    problems += [f"left behind: {name}" for name in left]
    said = lines[0] if lines else "nothing"
    return not problems, f"{mistake.line}: {'; '.join(problems)}; it said: {said[:300]}"


def _laid_out(folder: Path) -> Path:
    """A folder with the files that the command lines name."""
    place = folder / "place"
    for name, content in FILES.items():
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        (place / name).write_bytes(content)
    return place


def _left(place: Path) -> list[str]:
    """What lies in the folder that did not before; also what was loaded into the cache."""
    found = [path for path in place.rglob("*") if not path.is_dir()]
    found += [path for path in place.iterdir() if path.name not in {n.split("/")[0] for n in FILES}]
    names = [path.relative_to(place).as_posix() for path in found]
    cache = place.parent / "cache"
    return sorted({*names} - set(FILES)) + (["the cache"] if cache.exists() else [])


def _surroundings(folder: Path) -> dict[str, str]:
    root = str(Path(__file__).resolve().parents[2])
    return {"NST_EXP_CACHE": str(folder / "cache"), "NST_EXP_DATA": "", "PYTHONPATH": root}


def _refuse(*arguments: object, **options: object) -> NoReturn:
    raise AssertionError("the network is asked")


def _no_network() -> None:
    """In the child: whoever asks for an address is found out."""
    socket.getaddrinfo = _refuse


def nothing_begins() -> None:
    """In the child: what would begin a run cannot be imported."""
    _no_network()
    for name in ("torch", "nst_exp.runner.run"):
        sys.modules[name] = None  # type: ignore[assignment]

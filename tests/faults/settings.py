"""Wrong and nasty command lines, and names with one slip of the fingers.

Each runs in a forked process in which neither the network nor a run can be reached.
"""

import random
import shlex
import socket
import string
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import nst_exp.runner.run
from nst_exp.config.keys import walk
from nst_exp.config.presets import groups
from nst_exp.config.schema import Config
from tests.faults.commands import run
from tests.faults.outcome import Outcome, part

PRESETS = {
    "typo": "stepz: 3",
    "open": "steps: [3\nsize: 4",
    "zero": "steps: 0",
    "grid": "hydra:\n  sweeper:\n    params:\n      steps: 1,0",
}
# The command line, and the words that must be in its answer.
WRONG = r"""
optimizer.lr=abc                    | optimizer.lr=abc | number
steps=1.5                           | steps=1.5 | whole number
overwrite=maybe                     | overwrite=maybe | true or false
steps=0                             | steps=0 | from 1 to
optimizer.lr=inf                    | optimizer.lr=inf | finite
init.kind=noize                     | init.kind=noize | did you mean 'noise'?
+experiment=paper_fig33             | experiment=paper_fig33 | did you mean 'paper_fig3'?
experiment=paper_fig3               | experiment | +experiment=paper_fig3
backbone@backbone.fallback=vgg16     | plus sign | +backbone@backbone.fallback=vgg16
+experiment=paper_fig3 panel=Z      | panel=Z | B, C, D, E, F
loss.style.layers=[relu4_22]        | loss.style.layers | relu4_22 | did you mean 'relu4_2'?
background=whit                     | background=whit | did you mean 'white'?
+loss.tv.wieght=1                   | loss.tv.wieght | did you mean 'loss.tv.weight'?
hydra.run.dir=x                     | hydra.run.dir=x | out=DIR
steps                               | steps | KEY=VALUE
content='${x}'                      | content
from_image=nope.png                 | from_image=nope.png | no such file
loss.style.weights=[1,2]            | loss.style.weights | 2 | 5
alpha=0 beta=0 loss.tv.weight=0     | alpha=0 beta=0
trainer.precision=16-mixed          | trainer.precision=16-mixed | optimizer=adam
size=8                              | size=8 | at least 16
resolution=pyramid resolution.sizes=[64,32] size=32 | resolution.sizes
alpha=-1 steps=0 content=nope.png   | alpha=-1 | steps=0 | content=nope.png
-m steps=1,2,x,4                    | steps=x
-m seed=1,2 alpha=-1,1              | alpha=-1
-m stepz=1,2                        | stepz | did you mean 'steps'?
--config-dir own +experiment=typo   | stepz | did you mean 'steps'?
--config-dir own +experiment=open   | open
--config-dir own +experiment=zero   | steps=0
-m --config-dir own +experiment=grid | steps=0
"""
# Nothing of this may end in a traceback.
NASTY = r"""
""
=
+
~
--
-x=3
--seed 3
--cfg
--cfg job --package nope
--cfg job --resolve 'content=${nope}'
--info nope
--config-dir nope
--config-path own --config-name config
--experimental-rerun x
~~seed=1
+++seed=1
+content=a
content@x=a
loss@x=tutorial
@loss=a
a/b/c=d
loss..tv=1
loss.tv.weight.x=1
loss.tv=[1]
loss=[tutorial]
loss='{a: 1}'
loss=..
loss=/etc/passwd
loss=${x}
+experiment=quick,fine
+experiment=???
content='"'
content='"a'
content={
content='[[[['
content='{a:'
content='{a:1}'
content='a,(,b'
'content=${'
'content=${content}'
'content=${loss}'
'content=${oc.env:NOPE}'
'content=${hydra:run.dir}'
'content=${oc.decode:"{"}'
'content=${oc.create:1}'
content=???
'content= '
content=own
content=*
content=http://x/y.jpg
content=~nobody-x/a
out=~nobody-x/a
out=
out=[a]
size=${content}
size='\${steps}'
size=-0
size=99999999999999999999
size=1e2
size=true
size='1 2'
seed=-1
alpha=1e400
alpha=1,5
loss.style.layers=[[a]]
loss.style.layers=[{a:1}]
loss.style.layers=[null]
loss.style.layers=[relu1_1
loss.style.layers=${content}
loss.style.weights=[nan]
+loss.more=3
+loss.more.a={nope:1}
loss.more=[]
optimizer={kind:[a]}
optimizer.milestones=3
init={kind:file,file:1_2}
backbone.fallback.name=x
backbone.sources=[1]
backbone.sources=[{kind:ftp}]
backbone.sources.0.url=x
backbone.file=own
background='rgb(999999999999,0,0)'
background=[1,2,3]
image=..
image=a/b.png
images=nope
panel=[a]
figure.panels=3
-m out=a,b
-m content=own,
-m seed=range(3,1)
-m seed=choice(1,
-m seed=nope(1)
-m seed=shuffle(1,2)
-m seed=interval(1,2)
-m content=glob(*)
-m loss=glob(zzz*)
-m loss=tutorial,null
-m hydra/launcher=null
-m hydra/sweeper=nope
-m hydra.sweeper=null
-m ~hydra.launcher
-m hydra.launcher._target_=os.system
-m hydra.sweeper.max_batch_size=0
-m hydra.sweeper.params={seed:1}
-m +hydra.sweeper.params.seed=3
hydra.run.dir=x
hydra.verbose=3
hydra.verbose=[1]
hydra.job.env_set=3
hydra.mode=MULTIRUN
hydra={}
from_image=
from_image=own
from_image=/dev/null
from_image=a from_image=b
-m from_image=a,b
--config-dir own loss=bin
--config-dir own loss=list
--config-dir own loss=self
--config-dir own loss=number
--config-dir own loss=deep
--config-dir own loss=folder
"""
FILES = {
    **{"bin": b"\xff\xfe\x00", "list": b"- 1\n", "self": b"defaults: [self]\n", "number": b"3\n"},
    "deep": b"tv: {weight: {a: 1}}\n",
}
LONG = ("seed=" + "9" * 10_000, "loss.style.layers=" + "[" * 500 + "]" * 500, "x" * 100_000 + "=1")
TYPOS, RIGHT = 100, 0.9  # of which so many must be answered with the name that was meant


def inject(scale: float, folder: Path) -> Outcome:
    """Give each of WRONG, then the typos."""
    outcome = Outcome(
        "wrong settings and one-edit typos",
        "exit code 2, every wrong key and value named, nothing begun; the name that was meant is "
        "offered for nine typos in ten",
    )
    own = folder / "place" / "own" / "experiment"
    own.mkdir(parents=True)
    for name, text in PRESETS.items():
        (own / f"{name}.yaml").write_text(f"# @package _global_\n{text}\n", encoding="utf-8")
    (own.parent / "loss" / "folder.yaml").mkdir(parents=True)
    for name, content in FILES.items():
        (own.parent / "loss" / f"{name}.yaml").write_bytes(content)
    wrong = [line.split("|") for line in WRONG.strip().splitlines()]
    count = part(len(wrong), scale)
    for line, *words in [wrong[i * len(wrong) // count] for i in range(count)]:
        answer, problems = _answer(shlex.split(line), folder)
        missing = [f"no {w.strip()!r}" for w in words if w.strip() not in answer]
        outcome.expect(line.strip(), [*problems, *missing])
    nasty = [*map(shlex.split, NASTY.strip().splitlines()), *([text] for text in LONG)]
    count = part(len(nasty), scale)
    for arguments in [nasty[i * len(nasty) // count] for i in range(count)]:
        outcome.expect(str(arguments)[:80], _answer(arguments, folder)[1])
    missed = []
    count = part(TYPOS, scale)
    for argument, meant in typos(count):
        answer, problems = _answer([argument], folder)
        outcome.expect(argument, problems)
        if f"did you mean '{meant}'?" not in answer:
            missed.append(f"{argument} for {meant}")
    outcome.notes.append(f"the name that was meant is offered for {1 - len(missed) / count:.0%}")
    if len(missed) > max(1, (1 - RIGHT) * count):
        outcome.failures.append(f"not offered: {', '.join(missed)}")
    return outcome


def _answer(arguments: list[str], folder: Path) -> tuple[str, list[str]]:
    """Return what the command prints, and what is wrong with its end."""
    command = run(
        arguments,
        folder / "output.txt",
        folder=folder / "place",
        environment={"NST_EXP_CACHE": str(folder / "place" / "cache"), "NST_EXP_DATA": ""},
        before=_allow_nothing,
    )
    text = command.text
    problems = [f"left: {path}" for path in (folder / "place").iterdir() if path.name != "own"]
    lines = text.splitlines()
    if command.code != 2 or not all(line.startswith(("error: ", " ")) for line in lines):
        problems.append(f"exit code {command.code}, printed {text[-300:]!r}")
    return text, problems


def _allow_nothing() -> None:
    def refuse(*_: object, **__: object) -> NoReturn:
        raise AssertionError("the network is used, or a run begins")

    socket.getaddrinfo = refuse
    nst_exp.runner.run.run = refuse


def typos(count: int) -> Iterator[tuple[str, str]]:
    """Yield arguments with one edit in the name of a key or of a preset, and the name meant."""
    chance = random.Random(20)
    keys = [key for key, *_ in walk(Config())]
    presets = [(group, name) for group, names in groups().items() for name in names]
    known = {*keys, *groups(), *(name for _, name in presets)}
    for number in range(count):
        while True:
            group, meant = chance.choice(presets) if number % 2 else ("", chance.choice(keys))
            slip = _one_edit(meant, chance)
            if slip not in known and len(meant) > 3:
                break
        plus = "+" if group == "experiment" else ""
        yield (f"{plus}{group}={slip}" if group else f"{slip}=1"), meant


def _one_edit(name: str, chance: random.Random) -> str:
    at = chance.choice([i for i, letter in enumerate(name[:-1]) if letter.isalpha()])
    new = chance.choice(string.ascii_lowercase)
    kept = chance.choice(["", new, new + name[at], name[at + 1] + name[at], name[at].upper()])
    return name[:at] + kept + name[at + (2 if kept == name[at + 1] + name[at] else 1) :]

"""Names with one slip of the fingers: the right one is offered.

Each typo is one deletion, insertion, substitution or transposition, or another case, in a name that
exists, drawn with a fixed seed. The command line runs as in ``settings``: in a forked child, where
neither torch nor the network can be reached.
"""

from __future__ import annotations

import random
import string
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.faults import children
from tests.faults.outcome import Outcome, part
from tests.faults.settings import nothing_begins, warm_up

FULL = 200
RIGHT = 0.9  # of the suggestions, at least
SECONDS = 60.0
PROMISE = "exit code 2, one error; the name that was meant is offered for nine in ten"

# Names that exist and how they are used, {} for the name: written here by hand, since what the
# program takes for its own names is what is in question.
_KEYS = """
content style images stand_ins alpha beta steps size out image bit_depth max_megapixels
background overwrite fail_fast optimizer.lr optimizer.clamp optimizer.milestones
optimizer.history optimizer.line_search optimizer.max_evaluations optimizer.first_step
optimizer.max_restarts optimizer.parametrization.decay loss.content.layers
loss.content.weights loss.style.layers loss.style.weights loss.style.statistic
loss.tv.weight loss.tv.kind loss.tv.reduction loss.range_weight init.kind init.noise
init.noise_scale init.noise_ratio resolution.size_mode resolution.style_fit
resolution.style_size resolution.style_scale resolution.sizes resolution.averaging
trainer.accelerator trainer.precision trainer.threads trainer.channels_last
logging.tensorboard logging.every logging.snapshots logging.metrics backbone.weights
backbone.pool backbone.normalized hydra.run.dir hydra.sweep.dir hydra.job.name
hydra.launcher
"""
KEYS = _KEYS.split()
VALUES: dict[str, str] = {
    "backbone={}": "alexnet resnet50 squeezenet1_1 vgg16 vgg19 vgg16_normalized torchvision",
    "optimizer={}": "adam lbfgs lbfgs_plain",
    "loss={}": "default tutorial paper_code paper_text pystiche udacity jcjohnson",
    "init={}": "content noise blend file",
    "resolution={}": "pyramid single",
    "+experiment={}": "quick paper_fig3 texture_synthesis gatys_notebook post_udacity crowsonkb",
    "content={}": "chelsea summer_palace tuebingen the_scream shipwreck composition_vii",
    "style={}": "starry_night the_scream femme_nue_assise shipwreck",
    "loss.style.layers=[{}]": "relu1_1 relu3_2 conv4_2 pool3",
    "backbone=resnet50 loss.content.layers=[{}]": "layer1 layer3 relu1 layer2_1",
    "init.kind={}": "content style noise blend",
    "init.noise={}": "normal uniform",
    "backbone.pool={}": "average max",
    "backbone.input={}": "imagenet imagenet_255 caffe",
    "backbone.weights={}": "pretrained random",
    "loss.style.statistic={}": "gram wasserstein2",
    "loss.tv.kind={}": "l2_interior l2_nine",
    "resolution.size_mode={}": "longest shortest area height",
    "optimizer.line_search={}": "strong_wolfe none",
    "trainer.accelerator={}": "auto cuda",
    "trainer.precision={}": "bf16-mixed 32-true 64-true",
    "hydra/launcher={}": "basic joblib submitit_local",
    "background={}": "white black orange",
}


@dataclass(frozen=True)
class Typo:
    """One slip."""

    arguments: tuple[str, ...]
    meant: str


def torture(share: float, folder: Path) -> Outcome:
    """``FULL`` typos, half of them in keys."""
    outcome = Outcome("one-edit typos", PROMISE)
    warm_up()
    folder.mkdir(parents=True, exist_ok=True)
    right = 0
    chosen = typos(part(FULL, share))
    for number, typo in enumerate(chosen):
        place = folder / str(number)
        place.mkdir()
        child = children.run(
            typo.arguments,
            folder / f"{number}.txt",
            SECONDS,
            folder=place,
            environment={"NST_EXP_DATA": ""},
            before=nothing_begins,
        )
        lines = child.text().splitlines()
        errors = [line for line in lines if line.startswith("error: ")]
        clean = all(line.startswith(("error: ", "    ")) for line in lines)
        kept = child.code == 2 and len(errors) == 1 and clean and not any(place.iterdir())
        said = lines[0][:200] if lines else "nothing"
        outcome.expect(kept, f"{' '.join(typo.arguments)}: exit code {child.code}, said: {said}")
        offered = f"did you mean '{typo.meant}'?" in "\n".join(lines)
        right += offered
        if not offered:
            outcome.notes.append(f"'{' '.join(typo.arguments)}' for {typo.meant}")
    missed, outcome.notes = outcome.notes, []
    rate = right / len(chosen)
    outcome.notes.append(f"the name that was meant is offered for {rate:.0%}")
    outcome.expect(rate >= RIGHT, f"offered for {rate:.1%} alone; not for {', '.join(missed)}")
    return outcome


def typos(count: int) -> list[Typo]:
    """The first ``count``, alternately in a key and in a value."""
    rng = random.Random(20)
    keys = _shuffled([(key, "{}") for key in KEYS], rng)
    values = _shuffled(
        [(name, form) for form, names in VALUES.items() for name in names.split()], rng
    )
    known = {*KEYS, *(name for name, _ in values)}
    made: list[Typo] = []
    while len(made) < count:
        source = keys if len(made) % 2 == 0 else values
        name, form = source[(len(made) // 2) % len(source)]
        slip = _one_edit(name, rng)
        if slip in known or slip == name:
            continue
        arguments = form.format(slip)
        if form == "{}":
            arguments = f"{rng.choice(('', '', '+', '++'))}{slip}=1"
        made.append(Typo(tuple(arguments.split()), name))
    return made


def _shuffled(entries: list[tuple[str, str]], rng: random.Random) -> list[tuple[str, str]]:
    rng.shuffle(entries)
    return entries


def _one_edit(name: str, rng: random.Random) -> str:
    edits: list[Callable[[str, int, str], str]] = [
        lambda word, at, letter: word[:at] + word[at + 1 :],
        lambda word, at, letter: word[:at] + letter + word[at:],
        lambda word, at, letter: word[:at] + letter + word[at + 1 :],
        lambda word, at, letter: word[:at] + word[at + 1 : at + 2] + word[at] + word[at + 2 :],
        lambda word, at, letter: word[:at] + word[at].upper() + word[at + 1 :],
    ]
    letters = [i for i, letter in enumerate(name) if letter.isalnum()]  # dots stay where they are
    swappable = [i for i in letters if i + 1 in letters]
    kind = rng.randrange(len(edits))
    at = rng.choice(swappable if kind == 3 else letters)
    alphabet = string.digits if name[at].isdigit() else string.ascii_lowercase
    return edits[kind](name, at, rng.choice(alphabet))

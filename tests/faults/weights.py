"""Faults of weights: servers, networks, caches and files that are not what they should be.

Every trial is the whole command line in a process of its own with a cache of its own, then the same
command once more without the fault. The weights are random ones that a local server publishes; what
the pictures must be is told by a run that read them from a file and never saw a server or a cache.
"""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import safetensors.torch

from tests.faults import children
from tests.faults.outcome import Outcome, part
from tests.faults.server import PAGE, serving
from tests.faults.weight_places import (
    flip,
    forge,
    four_at_once,
    four_of_which_one_is_killed,
    full,
    gone,
    into_brackets,
    into_pipe,
    killed_at,
    killed_in_the_middle,
    no_cache,
    other_member,
    plant,
    plant_with_record,
    read_only,
    rename,
    replaced,
    spoilt,
    torch_home,
    untouched,
    wheel,
)
from tests.faults.weight_servers import (
    Fault,
    address,
    fails,
    heals,
    no_dns,
    no_hash,
    no_range,
    not_finite,
    one_too_few,
    own_file,
    published,
    redirected,
    refused,
)
from tests.faults.weight_trial import (
    NETWORK,
    Payload,
    Trial,
    gist,
    pixels,
    random_state,
    torch_file,
)

KILLS = 20

FAULTS: dict[str, Fault] = {
    "no DNS": no_dns,
    "connection refused": refused,
    "HTTP 404": fails("404", words="HTTP 404"),
    "HTTP 403": fails("403", words="HTTP 403"),
    "HTTP 401": fails("401", words="HTTP 401"),
    "HTTP 500 that passes": heals("500"),
    "HTTP 503 twice": heals("503", "503"),
    "HTTP 500 always": fails("500", "500", "500", words="HTTP 500"),
    "a stall": heals("stall", ranges=1),
    "stalls always": fails("stall", "stall", "stall", words="no answer for"),
    "a byte now and then": fails("drip", "drip", "drip", words="bytes in 0.5 s"),
    "a cut transfer": heals("cut", ranges=1),
    "two cuts": heals("cut", "cut", ranges=2),
    "cut always": fails("cut", "cut", "cut", words="broke off"),
    "a cut, and no resuming": no_range,
    "another part than asked for": heals("cut", "part", ranges=1),
    "a bit flipped": fails("flip", words="SHA-256"),
    "a login page": fails("html", words="a web page"),
    "less than there is": fails("short", words="SHA-256"),
    "more announced than there is": heals("long", ranges=1),
    "a transfer without an end": fails("endless", words="larger than", more=",megabytes:1"),
    "redirected": redirected,
    "redirected in a circle": fails(*["to:/again"] * 30, words="HTTP 302"),
    "redirected to a file": fails("to:file:///etc/hostname", words="HTTP 302"),
    "redirected to another protocol": fails("to:data:,weights", words="HTTP 302"),
    "an address that is none": address("http://[::1/w.pth", "names no file"),
    "an address with other letters": address("http://127.0.0.1:9/\u00fc.pth", "not valid"),
    "an address of a file": address("file:///etc/hostname", "only http and https"),
    "no hash": no_hash,
    "published: malicious pickle": published(lambda t: t.evil, "would execute code"),
    "published: wrong architecture": published(
        lambda _: torch_file(random_state("squeezenet1_0")), "not the weights of"
    ),
    "published: not finite": published(not_finite, "not finite"),
    "published: a tensor too few": published(one_too_few, "found nothing"),
    "own file: malicious pickle": own_file(lambda t: t.evil, "would execute code"),
    "own file: cut": own_file(lambda t: t.good[: len(t.good) // 2], "damaged"),
    "own file: empty": own_file(lambda _: b"", "empty"),
    "own file: a web page": own_file(lambda _: PAGE, "a web page"),
    "own file: not finite": own_file(not_finite, "not finite"),
    "own file: a pickle by another name": own_file(lambda t: t.evil, "damaged", ".safetensors"),
    "cached file flipped": spoilt(flip, "SHA-256"),
    "cached file cut": spoilt(lambda t: os.truncate(t.cached, 999_999), "SHA-256"),
    "cached file empty": spoilt(lambda t: os.truncate(t.cached, 0), "SHA-256"),
    "cached file: malicious pickle": spoilt(plant, "SHA-256"),
    "cached file and record: malicious pickle": spoilt(plant_with_record, "not used"),
    "cached file: of another source": spoilt(rename, "its record is of"),
    "cached file: of another network": spoilt(lambda t: forge(t, name="vgg16"), "is of vgg16"),
    "cached file: a pipe": spoilt(into_pipe, "not a regular file"),
    "cached record missing": spoilt(lambda t: t.cached.with_suffix(".json").unlink(), "missing"),
    "cached record: brackets without end": spoilt(into_brackets, "cannot be read"),
    "torchvision's file: malicious pickle": torch_home,
    "no cache": no_cache,
    "read-only cache": read_only,
    "full disk at once": full(0.05),
    "full disk in the middle": full(0.5),
    "full disk at the end": full(0.999),
    "a wheel": wheel(untouched, 0),
    "another wheel": wheel(replaced, 4, "wrong content"),
    "a wheel with another member": wheel(other_member, 4, "wrong content"),
    "no such wheel": wheel(gone, 4, "No matching distribution"),
    "four processes at once": four_at_once,
    "four processes, the first killed": four_of_which_one_is_killed,
    "kill -9 in the middle": killed_in_the_middle,
}
# Those that a small share keeps, one of each family.
_FIRST = ("cached file flipped", "published: malicious pickle", "cut always")


def torture(share: float, folder: Path) -> Outcome:
    """Every fault of FAULTS, and KILLS kills at random moments, each followed by sound runs."""
    outcome = Outcome(
        "weights: faulty servers, damaged or planted files, full disks, kills",
        "exit 4 with what to do, or healed; no foreign code run, nothing damaged kept; afterwards "
        "the picture of a run without a fault",
    )
    children.prepare()
    state = random_state(NETWORK)
    good, conversion = torch_file(state), safetensors.torch.save(state)
    victim = folder / "victim"
    evil = torch_file({"state_dict": Payload(victim)})
    numbers = random.Random(0)
    faults = dict(FAULTS)
    for _ in range(part(KILLS, share)):
        moment = round(numbers.uniform(0.02, 0.8), 3)
        faults[f"kill -9 after {moment} s"] = killed_at(moment)
    others = [name for name in faults if name not in _FIRST]
    numbers.shuffle(others)
    chosen = [*_FIRST, *others][: max(len(_FIRST), part(len(faults), share))]
    with serving() as server:
        server.content = good
        blank = Trial("no fault", server, folder, good, b"", b"", evil, victim)
        own = folder / "own.pth"
        own.write_bytes(good)
        child = blank.start(f"backbone.file={own}")
        child.wait()
        expected = pixels(folder / "run1")
        if child.code != 0 or not expected:
            outcome.expect(False, f"a run without any fault: {gist(child.text())}")
            return outcome
        for name in chosen:
            place = folder / "trial"
            place.mkdir()
            server.content = good
            trial = Trial(name, server, place, good, conversion, expected, evil, victim)
            faults[name](trial)
            victim.unlink(missing_ok=True)
            outcome.expect(not trial.wrongs, f"{name}: {'; '.join(trial.wrongs)}")
            shutil.rmtree(place)
    outcome.notes.append(f"{len(FAULTS)} kinds of fault")
    return outcome

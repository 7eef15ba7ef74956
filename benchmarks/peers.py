"""neural-style-pt and this program, on the same objective: ``python benchmarks/peers.py``.

    python benchmarks/peers.py [--sizes 256 512] [--starts noise content] [--steps 300]
        [--memory-sizes 1024] [--threads 2] [--with KEY=VALUE ...] [--folder outputs/peers]

The package neural-style 0.5.7 from PyPI, which is neural-style-pt, is installed into an environment
of its own in the folder, which shares this one's torch. Both programs get the same weights (VGG-16,
Caffe's convention), the same images and neural-style-pt's objective; each run is a process of its
own. neural-style-pt runs with its defaults, this program with its own optimizer and the keys of
``--with``. Printed are the total loss over evaluations and over CPU seconds since the first
evaluation began, the ratio of the times to neural-style-pt's last total, and the peak memory of
short runs. As a check, this program evaluates neural-style-pt's last image.

Runs that are in the folder already are not repeated, so that the command may be interrupted;
``--again`` repeats this program's. Run it on a quiet machine.
"""

import argparse
import json
import os
import subprocess
import sys
import sysconfig
import time
import venv
from pathlib import Path
from typing import Any
from unittest import mock

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from benchmarks.memory import status

PEER = "neural-style==0.5.7"
STARTS = {"noise": "random", "content": "image"}  # of init, and of -init
COUNTS = (25, 50, 100, 150, 200, 300)  # evaluations that are printed
MEMORY_STEPS = 5
OURS = ("+experiment=neural_style_pt", "backbone=vgg16", "optimizer=lbfgs", "loss.range_weight=0")
MEAN = torch.tensor([103.939, 116.779, 123.68]).view(1, 3, 1, 1)  # of BGR

Trace = list[tuple[float, float, float]]  # CPU seconds, seconds and total of each evaluation


def make_environment(folder: Path) -> Path:
    """Install neural-style-pt and return the Python that it runs with."""
    place = folder / "environment"
    python = place / "bin" / "python"
    if not (place / "done").is_file():
        venv.create(place, with_pip=True, clear=True)
        query = "import sysconfig; print(sysconfig.get_path('purelib'))"
        packages = subprocess.check_output([python, "-c", query], text=True).strip()
        (Path(packages) / "torch.pth").write_text(sysconfig.get_path("purelib"))
        subprocess.check_call([python, "-m", "pip", "install", "--quiet", "--no-deps", PEER])
        (place / "done").touch()
    return python


def save_weights(folder: Path) -> Path:
    """Save the weights of ``backbone=vgg16`` as torchvision names them."""
    from nst_exp.app.api import make_config
    from nst_exp.weights import load_weights

    path = folder / "vgg16.pth"  # the peer finds the architecture in the name
    if not path.is_file():
        weights = load_weights(make_config(["backbone=vgg16"]).backbone)
        torch.save(dict(weights.state_dict), path)
    return path


def run_peer(case: dict[str, Any]) -> dict[str, Any]:
    """Run neural-style-pt in this process."""
    sys.argv[1:] = [
        *("-content_image", case["content"], "-style_image", case["style"], "-gpu", "c"),
        *(
            "-model_file",
            Path(case["weights"]).name,
            "-disable_check",
            "-image_size",
            str(case["size"]),
        ),
        *("-init", STARTS[case["start"]], "-num_iterations", str(case["steps"]), "-seed", "0"),
        *("-print_iter", "0", "-save_iter", "0", "-output_image", case["folder"] + "/peer.png"),
    ]
    from neural_style import neural_style as program  # type: ignore[import-not-found]

    trace: Trace = []
    images: list[torch.Tensor] = []
    step: Any = torch.optim.LBFGS.step
    preprocess = program.preprocess

    def preprocess_255(*arguments: Any) -> torch.Tensor:
        """Scale pixels by 255, as its repository does, and not by the release's 256."""
        scaled: torch.Tensor = (preprocess(*arguments) + MEAN) * (255 / 256) - MEAN
        return scaled

    def record_step(optimizer: torch.optim.LBFGS, closure: Any) -> Any:
        start = time.process_time(), time.perf_counter()
        (parameter,) = optimizer.param_groups[0]["params"]

        def evaluate() -> Any:
            images[:] = [parameter.detach().clone()]
            loss = closure()
            clocks = time.process_time() - start[0], time.perf_counter() - start[1]
            trace.append((*clocks, float(loss)))
            return loss

        return step(optimizer, evaluate)

    with (
        mock.patch.object(torch.optim.LBFGS, "step", record_step),
        mock.patch.object(program, "preprocess", preprocess_255),
    ):
        program.main()
    torch.save(((images[0] + MEAN) / 255).flip(1), case["image"])
    return {"trace": trace}


def run_ours(case: dict[str, Any]) -> dict[str, Any]:
    """Run this program in this process, as its command line does."""
    from nst_exp.app.main import main
    from nst_exp.runner.module import StyleTransfer

    sys.argv[1:] = [
        *OURS,
        *(f"content={case['content']}", f"style={case['style']}", f"size={case['size']}"),
        *(f"backbone.file={case['weights']}", f"init={case['start']}", f"steps={case['steps']}"),
        *("trainer.accelerator=cpu", f"trainer.threads={case['threads']}", "logging=none"),
        *("overwrite=true", f"out={case['folder']}/ours", *case["with"]),
    ]
    trace: Trace = []
    modules: list[StyleTransfer] = []  # of the levels
    sizes: list[int] = []
    start: list[float] = []
    evaluate, backward = StyleTransfer.training_step, StyleTransfer.backward

    def begin(module: StyleTransfer, *arguments: Any) -> torch.Tensor:
        if not start:
            start.extend((time.process_time(), time.perf_counter()))
        if module not in modules:
            modules.append(module)
            sizes.append(max(module.image().shape))
        return evaluate(module, *arguments)

    def end(module: StyleTransfer, loss: torch.Tensor, *arguments: Any, **options: Any) -> None:
        backward(module, loss, *arguments, **options)
        total = float(loss.detach()) / module.loss_scale
        whole = sizes[-1] == case["size"]  # smaller levels have another objective
        clocks = time.process_time() - start[0], time.perf_counter() - start[1]
        trace.append((*clocks, total if whole else float("inf")))

    with (
        mock.patch.object(StyleTransfer, "training_step", begin),
        mock.patch.object(StyleTransfer, "backward", end),
    ):
        main()
    found: dict[str, Any] = {"trace": trace}
    if os.path.isfile(case["image"]):
        with torch.no_grad():
            losses = modules[-1].evaluate(torch.load(case["image"]))
        found["of_peer"] = float(losses.total)
    return found


def measure(python: Path | str, who: str, case: dict[str, Any], again: bool) -> dict[str, Any]:
    """Return what a run found, from its file or from a new process."""
    path = Path(case["folder"]) / f"{who}-{case['size']}-{case['start']}-{case['steps']}.json"
    if path.is_file() and not again:
        found: dict[str, Any] = json.loads(path.read_text())
        if found["case"] == case:
            return found
    done = subprocess.run(
        [python, Path(__file__).resolve(), "--child", who, json.dumps(case)],
        env=os.environ | {"OMP_NUM_THREADS": str(case["threads"])},
        cwd=case["folder"],
        capture_output=True,
        text=True,
    )
    if done.returncode:
        sys.exit(f"{who} failed:\n{done.stdout[-2000:]}{done.stderr[-2000:]}")
    found = {"case": case, **json.loads(done.stdout.splitlines()[-1])}
    path.write_text(json.dumps(found))
    return found


def lowest(trace: Trace, evaluations: int | None = None, cpu: float = float("inf")) -> float:
    """Return the lowest total within so many evaluations or CPU seconds."""
    return min((loss for s, _, loss in trace[:evaluations] if s <= cpu), default=float("inf"))


def describe(size: int, start: str, peer: dict[str, Any], ours: dict[str, Any]) -> str:
    """Return the table of a size and a start, and the ratio of times."""
    theirs, own = peer["trace"], ours["trace"]
    lines = [
        f"\n{size} px, from {start}, total in thousands\n",
        "| evaluations | neural-style-pt | CPU s | here | CPU s | here after the peer's CPU s |",
        "|---|---|---|---|---|---|",
    ]
    for count in (count for count in COUNTS if count <= len(theirs)):
        cpu = theirs[count - 1][0]
        cells = [f"{lowest(theirs, count) / 1e3:.0f}", f"{cpu:.0f}"]
        cells += [f"{lowest(own, count) / 1e3:.0f}", f"{own[min(count, len(own)) - 1][0]:.0f}"]
        cells += [f"{lowest(own, cpu=cpu) / 1e3:.0f}"]
        lines.append(f"| {count} | {' | '.join(cells)} |")
    goal = lowest(theirs)
    reached = [index for index, (_, _, loss) in enumerate(own) if loss <= goal]
    if reached:
        spent, evaluations = own[reached[0]], reached[0] + 1
        before = next(point for point in theirs if point[2] <= goal)
        lines.append(
            f"\nneural-style-pt's lowest total after {evaluations} evaluations here: "
            f"{spent[0] / before[0]:.2f} of its CPU seconds, {spent[1] / before[1]:.2f} of its time"
        )
    else:
        lines.append(f"\nneural-style-pt's lowest total is not reached: {lowest(own) / goal:.3f}")
    agree = abs(ours["of_peer"] / theirs[-1][2] - 1)
    lines.append(f"totals of both programs at neural-style-pt's last image differ by {agree:.0e}")
    return "\n".join(lines)


def parse(arguments: list[str] | None = None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    data = Path(__file__).resolve().parent.parent / "nst_exp" / "images" / "data"
    parser.add_argument("--sizes", type=int, nargs="*", default=[256, 512])
    parser.add_argument("--starts", nargs="+", choices=STARTS, default=list(STARTS))
    parser.add_argument("--steps", type=int, default=300, help="evaluations of neural-style-pt")
    parser.add_argument("--memory-sizes", type=int, nargs="*", default=[1024])
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--content", type=Path, default=data / "summer_palace.jpg")
    parser.add_argument("--style", type=Path, default=data / "starry_night.jpg")
    parser.add_argument("--with", nargs="+", default=[], dest="others", metavar="KEY=VALUE")
    parser.add_argument("--folder", type=Path, default=Path("outputs/peers"))
    parser.add_argument("--again", action="store_true", help="repeat the runs of this program")
    return parser.parse_args(arguments)


def child(who: str, case: dict[str, Any]) -> None:
    """Do the run of a child process and print what it found."""
    torch.set_num_threads(case["threads"])
    found = {"peer": run_peer, "ours": run_ours}[who](case)
    print("\n" + json.dumps(found | {"peak_mb": status("VmHWM") / 1e6}))


def main(arguments: list[str] | None = None) -> None:
    """Print the tables."""
    given = parse(arguments)
    folder: Path = given.folder.resolve()
    folder.mkdir(parents=True, exist_ok=True)
    python, weights = make_environment(folder), save_weights(folder)

    def both(size: int, start: str, steps: int) -> tuple[dict[str, Any], dict[str, Any]]:
        case = {
            **{"folder": str(folder), "weights": str(weights), "size": size, "start": start},
            **{"content": str(given.content.resolve()), "style": str(given.style.resolve())},
            **{"steps": steps, "threads": given.threads},
            "image": str(folder / f"peer-{size}-{start}-{steps}.pt"),
        }
        return (
            measure(python, "peer", case, again=False),
            measure(sys.executable, "ours", case | {"with": given.others}, given.again),
        )

    for size in given.sizes:
        for start in given.starts:
            print(describe(size, start, *both(size, start, given.steps)), flush=True)
    for size in given.memory_sizes:
        peer, ours = (found["peak_mb"] for found in both(size, "content", MEMORY_STEPS))
        print(
            f"\n{size} px, {MEMORY_STEPS} evaluations: peak memory of neural-style-pt {peer:.0f} "
            f"MB, here {ours:.0f} MB ({ours / peer:.2f})",
            flush=True,
        )


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(sys.argv[2], json.loads(sys.argv[3]))
    else:
        main()

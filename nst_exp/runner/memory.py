"""How much memory a run needs, and what to say where the machine has less."""

from __future__ import annotations

import errno
import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from nst_exp.config.schema import LBFGS, Config
from nst_exp.core.encoder import Encoder
from nst_exp.core.winograd import WinogradConv2d
from nst_exp.utils.errors import ConfigError, NstError

IMAGE = 12  # bytes per pixel of one image: three float32
# Images that an optimizer and the module hold beside the history of L-BFGS.
LBFGS_IMAGES, ADAM_IMAGES = 20, 12
PER_STEP = 3  # images per step of the history: two, and the holes they leave in the heap
# Per byte of a map that the loss reads: a copy as a matrix, its gradient, the gradient of the map,
# and what a difference or a convolution backwards takes for a while: benchmarks/memory.py.
PER_MAP_READ = 4
# Convolutions in float64 unroll their windows into matrices.
DOUBLE = 3
_WORDS = re.compile(r"not enough memory|can't allocate memory|out of memory|bad alloc", re.I)


def estimate(
    backbone: Encoder, config: Config, picture: tuple[int, int], style: tuple[int, int]
) -> int:
    """Bytes that a run takes beside its network, good to a third from 256 pixels on.

    Nothing is computed. ``picture`` and ``style`` are width and height at the last level.
    """
    pixels, of_style = picture[0] * picture[1], style[0] * style[1]
    saved, read, quick = _maps(backbone, *picture)
    if config.trainer.precision in ("bf16-mixed", "16-mixed"):
        saved //= 2  # the objective has its maps in float32
    evaluation = saved + PER_MAP_READ * read
    optimizer = config.optimizer
    if isinstance(optimizer, LBFGS):
        images = LBFGS_IMAGES + PER_STEP * min(optimizer.history, config.steps)
    else:
        images = ADAM_IMAGES
    kept = read * of_style // pixels  # the style's maps, for the next run of a sweep
    factor = 1
    if config.trainer.precision == "64-true":
        evaluation, factor = DOUBLE * evaluation, 2
    else:
        evaluation += quick
    targets = factor * 2 * kept  # while they are made, which takes no gradients
    return max(targets, evaluation + factor * (kept + images * IMAGE * pixels))


def _maps(backbone: Encoder, width: int, height: int) -> tuple[int, int, int]:
    """Bytes of all maps that an evaluation keeps for its gradient, of those the loss reads, and of
    what quick convolutions take more than torch's."""
    tensors = [*backbone.named_parameters(), *backbone.named_buffers()]
    shadow = {name: values.to("meta") for name, values in tensors}
    storages: dict[int, torch.UntypedStorage] = {}

    def keep(values: Tensor) -> Tensor:
        storage = values.untyped_storage()
        storages[storage._cdata] = storage
        return values

    for values in shadow.values():
        keep(values)
    weights = set(storages)
    quick: list[tuple[int, int]] = []

    def note(module: WinogradConv2d, arguments: tuple[Tensor, ...]) -> None:
        quick.append(module.bytes_for(*arguments[0].shape[2:]))

    modules = [module for module in backbone.modules() if isinstance(module, WinogradConv2d)]
    hooks = [module.register_forward_pre_hook(note) for module in modules]
    image = torch.empty(1, 3, height, width, device="meta", requires_grad=True)
    try:
        with torch.enable_grad(), torch.autograd.graph.saved_tensors_hooks(keep, lambda kept: kept):
            maps: dict[str, Tensor] = torch.func.functional_call(backbone, shadow, (image,))
    finally:
        for hook in hooks:
            hook.remove()
    for values in maps.values():
        keep(values)
    saved = sum(s.nbytes() for key, s in storages.items() if key not in weights)
    more = sum(kept for kept, _ in quick) + max((between for _, between in quick), default=0)
    return saved, sum(values.nbytes for values in maps.values()), more


def available() -> int | None:
    """Bytes that this process may still take, as Linux tells; None where it does not."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        found = next(int(line.split()[1]) for line in lines if line.startswith("MemAvailable:"))
    except (OSError, ValueError, StopIteration):
        return None
    return min([found * 1024, *_of_groups()])


def _of_groups(root: Path = Path("/sys/fs/cgroup")) -> Iterator[int]:
    """What containers and schedulers leave to this process (control groups, version 2)."""
    try:
        line = Path("/proc/self/cgroup").read_text(encoding="utf-8").splitlines()[-1]
    except (OSError, IndexError):
        return
    group = root / line.rpartition(":")[2].lstrip("/")
    for folder in (group, *group.parents):
        if not folder.is_relative_to(root):
            return
        try:
            limit = int((folder / "memory.max").read_text())
            used = int((folder / "memory.current").read_text())
            cached = re.search(r"^inactive_file (\d+)", (folder / "memory.stat").read_text(), re.M)
        except (OSError, ValueError):  # the root has none, and "max" is no limit
            continue
        yield max(0, limit - used + (int(cached[1]) if cached else 0))


def warn_if_scarce(
    backbone: Encoder,
    config: Config,
    picture: tuple[int, int],
    style: tuple[int, int],
    warn: Callable[[str], None],
) -> None:
    """Say so if a run on the CPU will probably not fit; both sizes are width and height."""
    gpu = torch.cuda.is_available() or torch.backends.mps.is_available()
    has = available()
    if has is None or (gpu and config.trainer.accelerator != "cpu"):
        return
    try:
        needs = estimate(backbone, config, picture, style)
    except RuntimeError:  # a picture too small for the network, which is said where it is used
        return
    if needs > has:
        warn(
            f"size={config.size}: {picture[0]}x{picture[1]} pixels need about {needs / 1e9:.1f} GB "
            f"of memory, and {has / 1e9:.1f} GB are free; {remedies(config)}"
        )


def remedies(config: Config) -> str:
    """The keys that lower what a run needs, with their present values."""
    words = f"lower size (now {config.size})"
    if isinstance(config.optimizer, LBFGS):
        words += f" or optimizer.history (now {config.optimizer.history}), or use optimizer=adam"
    if config.trainer.precision == "64-true":
        words += ", or trainer.precision=32-true"
    return words


def is_out_of_memory(error: BaseException) -> bool:
    """Whether this is Python's or torch's way to say that there is no memory left."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    if isinstance(error, OSError):
        return error.errno == errno.ENOMEM
    # On the CPU torch raises a plain RuntimeError.
    return isinstance(error, RuntimeError) and _WORDS.search(str(error)) is not None


def out_of_memory(config: Config, saved: str = "") -> ConfigError:
    """What to raise then; ``saved`` says what could be saved."""
    return ConfigError(f"size={config.size}: out of memory; {remedies(config)}{saved}")


@contextmanager
def memory_errors(config: Config) -> Iterator[None]:
    """Within, running out of memory is a ConfigError with the keys to lower."""
    try:
        yield
    except NstError:
        raise
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        raise out_of_memory(config) from error

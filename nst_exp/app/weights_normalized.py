"""A normalized network's weights as a file, for ``backbone.file`` and for other programs."""

from __future__ import annotations

import os
from pathlib import Path
from typing import BinaryIO

import safetensors.torch

from nst_exp.config import layer_names as layers
from nst_exp.config.schema import Backbone
from nst_exp.config.validate import CHAINS
from nst_exp.core.encoder import build_encoder
from nst_exp.core.normalized import FLOOR, Normalization, normalize_encoder
from nst_exp.runner.calibration import files_in, load_pictures, packaged
from nst_exp.utils.atomic_files import write_atomically
from nst_exp.utils.errors import ConfigError, OutputError
from nst_exp.weights.fetch import Report
from nst_exp.weights.load import load_weights


def write_normalized(
    backbone: Backbone, images: str | None, out: Path, force: bool, *, report: Report
) -> Normalization:
    """Write the weights of ``backbone``, normalized on the pictures in the folder ``images``.

    None means the packaged pictures. ``out`` gets the convolutions of the whole network under
    torchvision's names, float32, and what was done as metadata. Raises ConfigError for what cannot
    be normalized or measured on, WeightsError where there are no weights, and OutputError if the
    file cannot be written, or is there already and ``force`` is not set.
    """
    out = out.expanduser()
    if out.suffix != ".safetensors":
        raise ConfigError(f"--out={out}: must end in .safetensors")
    if not out.parent.is_dir():
        raise OutputError(f"--out={out}: there is no folder {out.parent}")
    if os.path.lexists(out) and not force:
        raise OutputError(f"--out={out}: is there already; --force replaces it")

    if backbone.name not in CHAINS:  # said before anything is fetched
        raise ConfigError(
            f"normalize: needs a chain of convolutions, ReLUs and pooling ({', '.join(CHAINS)}), "
            f"which {backbone.name or 'a preset without a network'} is not"
        )

    def warn(line: str) -> None:
        report(f"warning: {line}")

    files = packaged() if images is None else files_in(images, key="--images")
    pictures = load_pictures(files, warn)
    weights = load_weights(backbone, report=report)
    last = list(layers.aliases(backbone.name))[-1]  # so that only the classifier is cut off
    network = build_encoder(
        backbone, [last], weights.state_dict, channels_last=False, winograd=False
    )
    result = normalize_encoder(network, backbone, weights.sha256, pictures, warn)
    metadata = {
        "format": "pt",
        "network": backbone.name,
        "input": backbone.input.name,
        "pool": backbone.pool.name,
        "pool_scale": f"{backbone.pool_scale:g}",
        "mean_activation": f"1; scales at least {FLOOR:g} of their layer's mean",
        "pictures": ", ".join(picture.sha256 for picture in result.pictures),
        "weights": f"sha256 {weights.sha256}; {weights.credit}",
    }
    data = safetensors.torch.save(network.trunk.state_dict(), metadata)

    def put(file: BinaryIO) -> None:
        file.write(data)

    write_atomically(out, put)
    return result

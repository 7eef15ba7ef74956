"""What a run made, as Python gets it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from nst_exp.config.output import SUFFIXES
from nst_exp.images import LoadedImage, save_image
from nst_exp.report.frame import losses_frame
from nst_exp.report.result_html import reduced, render_result
from nst_exp.results.losses_csv import Row
from nst_exp.utils.errors import ConfigError

if TYPE_CHECKING:
    import pandas as pd

_PREVIEW = 192  # longest side of the inputs that a result keeps


@dataclass(frozen=True, repr=False)
class Result:
    """What a run made; a notebook shows it with content, style and the losses over time.

    Attributes:
        image: The result, PIL.
        losses: Those of the image; all but "total" are without alpha, beta and the weight of the
            total variation. Of a run that ended early, those of its last step.
        record: The content of ``result.json``.
        folder: Where everything was written, or None.
        path: The file of the image, or None.
        rows: Losses over time, in the order of ``nst_exp.results.losses_csv.COLUMNS``.
        previews: Content and styles, small, by config key.
    """

    image: Image.Image
    losses: dict[str, float]
    record: dict[str, Any]
    folder: Path | None
    path: Path | None
    rows: Sequence[Row] = ()
    previews: Mapping[str, Image.Image] = field(default_factory=dict)

    @property
    def status(self) -> str:
        """Either ``"done"``, or ``"interrupted"`` for a run that ended early."""
        return str(self.record["status"])

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the image; empty if the run ended early or did not measure them."""
        return dict(self.record.get("metrics") or {})

    @property
    def history(self) -> "pd.DataFrame":
        """The losses over time, one row per step; needs pandas."""
        return losses_frame(self.rows)

    def save(self, path: str | Path) -> None:
        """Save the image: .png, .jpg, .webp or .tif.

        Raises:
            ConfigError: If the suffix is none of these.
            OutputError: If the file cannot be written.
        """
        place = Path(path).expanduser()
        if place.suffix.lower() not in SUFFIXES:
            names = ", ".join(sorted(SUFFIXES))
            raise ConfigError(f"path={path}: must end in one of {names}; change the suffix")
        save_image(np.asarray(self.image, np.float32) / 255.0, place)

    def __repr__(self) -> str:
        width, height = self.image.size
        total = f", total {self.losses['total']:.3e}" if "total" in self.losses else ""
        place = f", {self.path}" if self.path else ""
        step = f"{self.record.get('step')} steps"
        return f"<Result {width}x{height}, {self.status}, {step}{total}{place}>"

    def _repr_html_(self) -> str:
        return render_result(repr(self), self.previews, self.image, self.rows)


def make_previews(images: Mapping[str, LoadedImage]) -> dict[str, Image.Image]:
    """Make small copies of the images of a run."""
    return {key: reduced(image.image, _PREVIEW) for key, image in images.items()}

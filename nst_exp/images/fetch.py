"""Download of named images, and their substitutes."""

import hashlib
import logging
import os
import tempfile
from functools import lru_cache
from pathlib import Path
from urllib.parse import urlsplit

from nst_exp.images.catalog import catalog, find_entry
from nst_exp.images.load import load_image
from nst_exp.images.lookup import (
    FOLDER_VARIABLE,
    ResolvedImage,
    downloads_folder,
    find_image,
    images_folder,
)
from nst_exp.utils.errors import ConfigError, NstError, reason_of

TIMEOUT_S = 10.0
MAX_BYTES = 60_000_000
# Wikimedia refuses clients that do not describe themselves.
_AGENT = "nst-exp (neural style transfer; fetches a paper's example images once)"

log = logging.getLogger(__name__)


def resolve_image(
    value: str, key: str, images: str | None = None, stand_ins: bool = True
) -> ResolvedImage:
    """Find the file for an image key, download it, or choose its substitute with a warning.

    Args:
        value: A path or a name. An unknown name is returned as a path, which cannot be loaded.
        key: Config key, for messages and the record.
        images: The key ``images`` of the config.
        stand_ins: Whether a named image that is not available may be replaced.

    Raises:
        ConfigError: If a named image is not available and must not be replaced.
    """
    found, entry = find_image(value, images), find_entry(value)
    if found is not None or entry is None:
        return found or ResolvedImage(Path(os.path.expanduser(value)))
    reason = download_once(entry.name)
    found = find_image(entry.name, images)
    if found is not None:
        return found
    folder = images_folder(images)
    where = f"the folder {folder} does not hold it" if folder else "no folder of images is given"
    reason = f"{where}, and {reason}"
    advice = f"put {entry.name}.jpg into the folder of images=DIR or {FOLDER_VARIABLE}"
    instead = entry.substitute or ""
    substitute = find_image(instead, images)
    if not stand_ins or substitute is None:
        raise ConfigError(f"{key}={value}: {reason}; {advice}, or set stand_ins=true")
    log.warning(
        f"{key}={value}: {reason}, so {instead} is used instead; {advice}, or make this an error "
        "with stand_ins=false"
    )
    record = {key: entry.name, "by": instead, "because": reason}
    return ResolvedImage(substitute.path, substitute.credit, record)


@lru_cache  # one try per process, since each job of a sweep asks for its images
def download_once(name: str) -> str:
    """Download a named image into the cache; return why that failed, or ""."""
    entry = catalog()[name]
    if entry.url is None:
        return "it has no address to download it from"
    from nst_exp.utils import download  # brings requests, which most runs do without

    folder, suffix = downloads_folder(), Path(urlsplit(entry.url).path).suffix.lower()
    log.info(f"downloading {name} from {entry.url}")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=folder) as temporary:
            partial = Path(temporary) / f"{name}{suffix}"
            download.download(
                entry.url,
                partial,
                max_bytes=MAX_BYTES,
                timeout_s=TIMEOUT_S,
                retries=0,
                user_agent=_AGENT,
            )
            sha256 = load_image(partial, key=name).sha256  # decodes all of it
            # MD5 identifies a file here; systems that ban it for security allow this.
            md5 = hashlib.md5(partial.read_bytes(), usedforsecurity=False).hexdigest()
            path = partial.replace(folder / f"{name}-{sha256}{suffix}")
    except (NstError, OSError) as error:
        # load_image names the temporary file first
        reason = (
            str(error).partition(": ")[2] if isinstance(error, ConfigError) else reason_of(error)
        )
        return f"its download from {urlsplit(entry.url).hostname} failed ({reason})"
    log.info(f"{name}: {entry.credit}; saved as {path}")
    if entry.md5 not in (None, md5):
        log.warning(
            f"{name}: the MD5 of the downloaded file is {md5}, not {entry.md5}: it was replaced at "
            "its address; check that it is the image you want"
        )
    return ""

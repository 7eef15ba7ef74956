"""Images by name: the catalog, the order of places, downloads, substitutes."""

import hashlib
import io
import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from helpers_run import picture
from image_files import smooth

from nst_exp.config.schema import Config, Init, InitKind
from nst_exp.images import catalog, fetch, input_hashes, named_images, resolve_image
from nst_exp.images.lookup import ResolvedImage, find_image
from nst_exp.utils import download
from nst_exp.utils.errors import ConfigError
from nst_exp.utils.hashing import sha256_of

_buffer = io.BytesIO()
smooth(40, 30).save(_buffer, "JPEG")
JPEG = _buffer.getvalue()


class Web:
    """What every address answers, and the addresses that were asked for."""

    def __init__(self) -> None:
        self.answer: bytes | Exception = download.DownloadError("HTTP 404")
        self.asked: list[str] = []

    def download(self, url: str, target: Path, **_: object) -> None:
        self.asked.append(url)
        if isinstance(self.answer, Exception):
            raise self.answer
        target.write_bytes(self.answer)


@pytest.fixture(autouse=True)
def web(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Iterator[Web]:
    """A web instead of the real one; the current folder and the cache are empty."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_EXP_CACHE", str(tmp_path / "cache"))
    caplog.set_level(logging.INFO, "nst_exp")
    web = Web()
    monkeypatch.setattr(download, "download", web.download)
    yield web
    fetch.download_once.cache_clear()


def resolve(value: str, images: Path | None = None, stand_ins: bool = True) -> ResolvedImage:
    return resolve_image(value, "content", str(images) if images else None, stand_ins)


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [r.getMessage() for r in caplog.records if r.levelno == logging.WARNING]


def cached(tmp_path: Path) -> list[Path]:
    """All files in the cache."""
    return [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]


def test_catalog_is_consistent() -> None:
    entries = catalog.catalog().values()
    credits = (Path(catalog.__file__).parent / "data" / "CREDITS.md").read_text(encoding="utf-8")
    names = [name for entry in entries for name in (entry.name, *entry.stems)]
    assert len(names) == len(set(names))
    assert set(named_images()) == {entry.name for entry in entries if entry.substitute is None}
    for entry in entries:
        assert f"`{entry.name}`" in credits
        assert entry.substitute in (None, *named_images())
        assert (entry.url or "https://").startswith("https://")
    assert catalog.catalog()["femme_nue_assise"].url is None  # under copyright in some countries


def test_order_of_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, web: Web) -> None:
    """A path, the images folder (the key before the variable), a packaged image."""
    Path("chelsea").mkdir()  # a folder, such as an earlier run's out=chelsea, is not an image
    assert resolve("chelsea").path == named_images()["chelsea"]
    folders = [tmp_path / name for name in ("variable", "key")]
    for folder in folders:
        folder.mkdir()
        picture(folder / "starry_night.png", (8, 8))
    monkeypatch.setenv("NST_EXP_DATA", str(folders[0]))
    assert resolve("starry_night").path == folders[0] / "starry_night.png"
    assert resolve("starry_night", folders[1]).path == folders[1] / "starry_night.png"
    Path("starry_night").write_bytes(b"a file")
    assert resolve("starry_night", folders[1]) == ResolvedImage(Path("starry_night"))  # no credit
    assert resolve("nobody") == ResolvedImage(Path("nobody"))  # cannot be loaded
    assert web.asked == []


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("tuebingen_neckarfront.jpg", "tuebingen"),
        ("Tuebingen_Neckarfront.JPG", "tubingen"),  # as Wikimedia Commons names it
        ("the_scream.webp", "scream"),
        ("seated_nude.tif", "femme_nue_assise"),
        ("my.holiday.png", "my.holiday"),  # not in the catalog
    ],
)
def test_found_in_the_folder_by_stem(tmp_path: Path, file: str, value: str) -> None:
    path = picture(tmp_path / file, (8, 8))
    entry = catalog.find_entry(value)
    assert find_image(value, str(tmp_path)) == ResolvedImage(path, entry.credit if entry else "")


def test_only_images_are_found_and_the_exact_spelling_first(tmp_path: Path) -> None:
    for name in ("a.txt", "b.eps", "c"):
        (tmp_path / name).write_text("not an image")
    (tmp_path / "d.png").mkdir()
    assert {find_image(value, str(tmp_path)) for value in ("a", "b", "d", "", "..")} == {None}
    for name in ("scream.HEIC", "the_scream.png", "The_Scream.jpg"):
        (tmp_path / name).touch()
    for value, expected in (("the_scream", "the_scream.png"), ("scream", "scream.HEIC")):
        assert getattr(find_image(value, str(tmp_path)), "path", None) == tmp_path / expected


def test_download_is_kept_under_its_hash(
    web: Web, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    web.answer, entry = JPEG, catalog.catalog()["tuebingen"]
    same = replace(entry, md5=hashlib.md5(JPEG).hexdigest())
    monkeypatch.setitem(catalog.catalog(), "tuebingen", same)
    got = resolve("tubingen")
    assert got == ResolvedImage(got.path, entry.credit)
    assert got.path.read_bytes() == JPEG
    assert got.path.name == f"tuebingen-{sha256_of(got.path)}.jpg"
    assert entry.credit in caplog.text
    assert warnings(caplog) == []
    assert cached(tmp_path) == [got.path]
    fetch.download_once.cache_clear()  # as in the next process
    assert resolve("tuebingen") == got
    assert web.asked == [entry.url]


def test_a_damaged_download_is_fetched_again(web: Web) -> None:
    web.answer = JPEG
    resolve("tuebingen").path.write_bytes(JPEG[:-1])
    fetch.download_once.cache_clear()
    assert resolve("tuebingen").path.read_bytes() == JPEG
    assert len(web.asked) == 2


def test_another_md5_is_used_with_a_warning(web: Web, caplog: pytest.LogCaptureFixture) -> None:
    web.answer = JPEG
    assert resolve("the_scream").path.read_bytes() == JPEG
    (line,) = warnings(caplog)
    found = hashlib.md5(JPEG).hexdigest()
    assert line.startswith(f"the_scream: the MD5 of the downloaded file is {found}, not ")


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (b"<!DOCTYPE html><title>Log in</title>", "it is a web page (HTML)"),
        (JPEG[:-200], "the file is damaged or cut off"),
        (download.DownloadError("HTTP 404"), "HTTP 404"),
        (OSError(28, "No space left on device"), "No space left on device"),
    ],
)
def test_a_failed_download_leaves_nothing_and_is_tried_once(
    web: Web, tmp_path: Path, answer: bytes | Exception, reason: str
) -> None:
    web.answer = answer
    for _ in range(2):
        because = resolve("the_scream").substituted["because"]
        assert f"its download from upload.wikimedia.org failed ({reason}" in because
    assert cached(tmp_path) == []
    assert len(web.asked) == 1


def test_first_use_by_several_at_once(web: Web, tmp_path: Path) -> None:
    web.answer = JPEG
    with ThreadPoolExecutor(4) as pool:
        paths = {got.path for got in pool.map(lambda _: resolve("tuebingen"), range(4))}
    assert cached(tmp_path) == list(paths)


def test_substitute(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    got = resolve("tubingen", tmp_path)
    assert got.path == named_images()["summer_palace"]
    assert got.credit == catalog.catalog()["summer_palace"].credit  # of the image that is used
    reason = (
        f"the folder {tmp_path} does not hold it, and its download from upload.wikimedia.org "
        "failed (HTTP 404)"
    )
    assert got.substituted == {"content": "tuebingen", "by": "summer_palace", "because": reason}
    advice = "put tuebingen.jpg into the folder of images=DIR or NST_EXP_DATA"
    assert warnings(caplog) == [
        f"content=tubingen: {reason}, so summer_palace is used instead; {advice}, or make this an "
        "error with stand_ins=false"
    ]
    with pytest.raises(ConfigError) as caught:
        resolve("shipwreck", stand_ins=False)
    assert str(caught.value) == (
        "content=shipwreck: no folder of images is given, and it has no address to download it "
        "from; put shipwreck.jpg into the folder of images=DIR or NST_EXP_DATA, or set "
        "stand_ins=true"
    )


def test_hashes_of_the_files_that_a_run_will_read(web: Web, tmp_path: Path) -> None:
    own = picture(tmp_path / "own.png", (8, 8))
    config = Config(content="shipwreck", style=["chelsea"], init=Init(InitKind.file, str(own)))
    files = [named_images()["starry_night"], named_images()["chelsea"], own]
    assert input_hashes(config) == [sha256_of(path) for path in files]
    config.images = str(tmp_path)
    assert input_hashes(replace(config, style=["own"]))[1] == sha256_of(own)
    for unknown in (replace(config, stand_ins=False), replace(config, content="tuebingen")):
        with pytest.raises(OSError, match="no such file"):
            input_hashes(unknown)
    assert web.asked == []

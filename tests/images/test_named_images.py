"""Pictures by name: the order in which they are looked up, downloads, stand-ins."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from helpers_run import picture, tiny_run
from PIL import Image

from nst_exp.config.schema import Config, Init, InitKind
from nst_exp.images import catalog as table
from nst_exp.images import fetch as obtain
from nst_exp.images import load, load_image
from nst_exp.images.lookup import SUFFIXES, find_stand_in
from nst_exp.images.named import (
    Picture,
    Resolved,
    find_image,
    image_path,
    input_hashes,
    known_names,
    known_picture,
    named_images,
    resolve_image,
)
from nst_exp.utils.errors import ConfigError


@pytest.fixture(autouse=True)
def _own_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An empty current folder, an empty cache, no folder of pictures, nothing tried so far."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("NST_EXP_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv("NST_EXP_DATA", raising=False)
    monkeypatch.setattr(obtain, "_failed", {})


@pytest.fixture
def no_network(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were asked for; none of them answers."""
    asked: list[str] = []

    def refuse(url: str, **_: object) -> None:
        asked.append(url)
        raise requests.ConnectionError("refused by the test")

    monkeypatch.setattr(requests, "get", refuse)
    return asked


class Server(ThreadingHTTPServer):
    """Serves ``content`` at every path, or an error ``code``."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.content = b""
        self.code = 200
        self.promised = 0  # bytes more than are sent
        self.length = True  # whether it is said beforehand
        self.agents: list[str] = []  # User-Agent of each request


class _Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.agents.append(self.headers["User-Agent"])
        if self.server.code != 200:
            self.send_error(self.server.code)
            return
        self.send_response(200)
        if self.server.length:
            length = len(self.server.content) + self.server.promised
            self.send_header("Content-Length", str(length))
        self.end_headers()
        self.wfile.write(self.server.content)

    def log_message(self, format: str, *args: object) -> None:
        pass


def jpeg(size: tuple[int, int] = (40, 30)) -> bytes:
    buffer = io.BytesIO()
    Image.radial_gradient("L").resize(size).convert("RGB").save(buffer, "JPEG")
    return buffer.getvalue()


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    """A server of the picture ``wave``, which the table then has beside its own."""
    with Server() as httpd:
        httpd.content = jpeg()
        wave = Picture(
            "wave",
            "The Wave, 1831",
            "Hokusai",
            "public domain",
            url=f"http://127.0.0.1:{httpd.server_port}/a/The_Wave.JPG",
            md5=hashlib.md5(httpd.content).hexdigest(),
            stems=("great_wave",),
            stand_in="starry_night",
        )
        entries = {**table.pictures(), "wave": wave}
        monkeypatch.setattr(table, "pictures", lambda: entries)
        threading.Thread(target=httpd.serve_forever, args=(0.02,), daemon=True).start()
        yield httpd
        httpd.shutdown()


class Heard:
    """``resolve_image`` for ``content``, and what it said."""

    def __init__(self) -> None:
        self.warnings: list[str] = []
        self.reports: list[str] = []

    def __call__(
        self, value: str, images: str | Path | None = None, stand_ins: bool = True
    ) -> Resolved:
        folder = None if images is None else str(images)
        return resolve_image(
            value,
            "content",
            folder,
            stand_ins,
            warn=self.warnings.append,
            report=self.reports.append,
        )


@pytest.fixture
def heard() -> Heard:
    return Heard()


def cached(tmp_path: Path) -> list[str]:
    """All that is in the cache."""
    return [p.name for p in (tmp_path / "cache").rglob("*") if p.is_file()]


def test_table_is_whole() -> None:
    entries = table.pictures()
    assert set(named_images()) <= set(entries)  # each packaged picture has its credit
    names = [name for entry in entries.values() for name in (entry.name, *entry.stems)]
    assert len(names) == len(set(names))
    for entry in entries.values():
        assert entry.title
        assert entry.author
        assert entry.license
        assert (entry.stand_in is None) == (entry.name in named_images())
        assert entry.url is None or Path(entry.url).suffix.lower() in SUFFIXES
        assert entry.url is None or entry.url.startswith("https://")
    assert entries["femme_nue_assise"].url is None  # not ours to fetch for anybody


def test_table_and_credits_name_the_same_pictures() -> None:
    text = (Path(table.__file__).parent / "data" / "CREDITS.md").read_text(encoding="utf-8")
    for entry in table.pictures().values():
        assert f"`{entry.name}`" in text


def test_every_stand_in_is_a_packaged_picture() -> None:
    for entry in table.pictures().values():
        if entry.stand_in is not None:
            stand_in = find_stand_in(entry)
            assert stand_in is not None
            assert stand_in[1].path == named_images()[stand_in[0]]


def test_stand_ins_are_followed_to_one_that_is_here(monkeypatch: pytest.MonkeyPatch) -> None:
    def entry(name: str, stand_in: str) -> Picture:
        return Picture(name, name, "a", "l", stand_in=stand_in)

    chain = {"a": entry("a", "b"), "b": entry("b", "chelsea"), "c": entry("c", "c")}
    monkeypatch.setattr(table, "pictures", lambda: chain)
    monkeypatch.setattr("nst_exp.images.lookup.pictures", lambda: chain)
    stand_in = find_stand_in(chain["a"])
    assert stand_in is not None
    assert stand_in[0] == "chelsea"
    assert find_stand_in(chain["c"]) is None  # itself: no end without a picture, and no loop


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("tuebingen", "tuebingen"),
        ("tubingen", "tuebingen"),
        ("tuebingen_neckarfront", "tuebingen"),
        ("scream", "the_scream"),
        ("seated_nude", "femme_nue_assise"),
    ],
)
def test_other_names(value: str, name: str) -> None:
    found = known_picture(value)
    assert found is not None
    assert found.name == name
    assert name in known_names()
    assert value in known_names(others=True)


def test_order_of_the_places(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Path, the folder (``images`` before the variable), packaged."""
    assert image_path("starry_night") == named_images()["starry_night"]
    folders = [tmp_path / name for name in ("variable", "key")]
    for folder in folders:
        folder.mkdir()
        picture(folder / "starry_night.png", (8, 8))
    monkeypatch.setenv("NST_EXP_DATA", str(folders[0]))
    assert image_path("starry_night") == folders[0] / "starry_night.png"
    assert image_path("starry_night", str(folders[1])) == folders[1] / "starry_night.png"
    Path("starry_night").write_bytes(b"")
    found = find_image("starry_night", str(folders[1]))
    assert found is not None
    assert found.path == Path("starry_night")
    assert found.credit == ""  # a person's file: what it shows is not known


def test_packaged_goes_before_the_cache_and_the_cache_before_a_download(
    tmp_path: Path, heard: Heard, no_network: list[str]
) -> None:
    cache = tmp_path / "cache" / "pictures"
    cache.mkdir(parents=True)
    for name in ("chelsea", "tuebingen"):
        picture(cache / f"{name}.jpg", (8, 8))
    assert heard("chelsea").path == named_images()["chelsea"]
    assert heard("tubingen").path == cache / "tuebingen.jpg"
    assert no_network == []


@pytest.mark.parametrize(
    ("file", "value"),
    [
        ("tuebingen_neckarfront.jpg", "tuebingen"),
        ("Tuebingen_Neckarfront.JPG", "tubingen"),  # as Wikimedia Commons names it
        ("shipwreck.webp", "shipwreck"),
        ("seated_nude.tiff", "femme_nue_assise"),
        ("the_scream.bmp", "scream"),
        ("IMG_0815.png", "IMG_0815"),  # of no table
        ("my.holiday.png", "my.holiday"),
    ],
)
def test_found_in_the_folder_by_stem(tmp_path: Path, file: str, value: str) -> None:
    (tmp_path / "folder").mkdir()
    path = picture(tmp_path / "folder" / file, (8, 8))
    found = find_image(value, str(tmp_path / "folder"))
    assert found is not None
    assert found.path == path
    entry = known_picture(value)
    assert found.credit == (entry.credit if entry else "")


def test_only_pictures_in_the_folder_are_found(tmp_path: Path) -> None:
    for name in ("a.txt", "b.eps", "c"):
        (tmp_path / name).write_text("no picture")
    (tmp_path / "d.png").mkdir()
    found = [find_image(value, str(tmp_path)) for value in ("a", "b", "d", "", "..")]
    assert found == [None] * 5


def test_the_first_stem_and_the_very_spelling_go_first(tmp_path: Path) -> None:
    folder = tmp_path / "folder"
    folder.mkdir()
    picture(folder / "scream.jpg", (8, 8))
    picture(folder / "the_scream.png", (8, 8))
    assert image_path("the_scream", str(folder)).name == "the_scream.png"
    assert image_path("scream", str(folder)).name == "scream.jpg"
    picture(folder / "The_Scream.jpg", (8, 8))
    assert image_path("the_scream", str(folder)).name == "the_scream.png"


def test_a_folder_of_that_name_is_not_the_picture() -> None:
    Path("chelsea").mkdir()  # such as an earlier run's out=chelsea
    assert image_path("chelsea") == named_images()["chelsea"]


def test_suffixes_are_those_of_the_loaders_formats() -> None:
    loaded = {*load._FORMATS, "MPO", "TGA"}
    known = {s for s, kind in Image.registered_extensions().items() if kind in loaded}
    assert SUFFIXES - known <= {".heic", ".heif", ".hif"}  # of a library that may be missing
    assert known <= SUFFIXES


def test_download(server: Server, heard: Heard, tmp_path: Path) -> None:
    got = heard("great_wave")
    assert got == Resolved(
        tmp_path / "cache" / "pictures" / "wave.jpg", "The Wave, 1831, Hokusai, public domain"
    )
    assert got.path.read_bytes() == server.content
    assert any("The Wave, 1831, Hokusai, public domain" in line for line in heard.reports)
    assert heard.warnings == []
    assert cached(tmp_path) == ["wave.jpg", "wave.jpg.sha256"]
    assert heard("wave") == got
    (agent,) = server.agents  # once; and it says who is asking
    assert agent.startswith("nst-exp/")
    assert "style transfer" in agent


def test_a_file_with_another_md5_is_used_and_said_each_time(
    server: Server, heard: Heard, tmp_path: Path
) -> None:
    server.content = jpeg((41, 30))
    found = hashlib.md5(server.content).hexdigest()
    for _ in range(2):  # downloaded, then from the cache
        assert heard("wave").path.read_bytes() == server.content
    assert len(heard.warnings) == 2
    for warning in heard.warnings:
        assert warning.startswith(f"content=wave: the downloaded file's MD5 is {found}, not ")


def test_a_picture_that_was_damaged_in_the_cache_is_fetched_again(
    server: Server, heard: Heard, tmp_path: Path
) -> None:
    path = heard("wave").path
    path.write_bytes(jpeg((9, 9)))
    assert heard("wave").path.read_bytes() == server.content
    (warning,) = heard.warnings
    assert f"content=wave: {path} is not what was downloaded" in warning
    assert len(server.agents) == 2
    path.with_name("wave.jpg.sha256").unlink()  # a cache of an older version
    assert heard("wave").path == path
    assert len(server.agents) == 2


def _page(server: Server) -> None:
    server.content = b"<!DOCTYPE html><title>Log in</title>"


def _missing(server: Server) -> None:
    server.code = 404


def _busy(server: Server) -> None:
    server.code = 429


def _cut(server: Server) -> None:
    server.promised = 100


def _half(server: Server) -> None:
    server.content = jpeg((400, 300))[:2000]


def _large(server: Server) -> None:
    server.content = jpeg() + bytes(100_000)


def _large_unsaid(server: Server) -> None:
    _large(server)
    server.length = False


@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        (_page, "what came is no picture: it is a web page (HTML)"),
        (_missing, "HTTP 404"),
        (_busy, "HTTP 429"),
        (_cut, "the connection failed"),
        (_half, "what came is no picture: the file is cut off"),
        (_large, "the file is larger than 0.05 MB"),
        (_large_unsaid, "the file is larger than 0.05 MB"),
    ],
)
def test_a_download_that_fails_leaves_nothing_and_is_tried_once(
    server: Server,
    heard: Heard,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    fault: Callable[[Server], None],
    reason: str,
) -> None:
    monkeypatch.setattr(obtain, "MOST_BYTES", 50_000)
    fault(server)
    for _ in range(2):
        got = heard("wave")
        assert got.path == named_images()["starry_night"]
        assert got.substituted["because"].count(reason) == 1
    assert cached(tmp_path) == []
    assert len(server.agents) == 1
    server.code, server.promised, server.content = 200, 0, jpeg()
    with pytest.raises(ConfigError) as caught:  # another value is told the same
        heard("great_wave", stand_ins=False)
    assert reason in str(caught.value)
    assert len(server.agents) == 1


def test_a_stall_ends(
    heard: Heard, monkeypatch: pytest.MonkeyPatch, server: Server, tmp_path: Path
) -> None:
    monkeypatch.setattr(obtain, "TIMEOUT_S", 0.2)
    released = threading.Event()
    monkeypatch.setattr(_Handler, "do_GET", lambda handler: released.wait(20))
    assert "no answer for 0.2 s" in heard("wave").substituted["because"]
    released.set()


def test_a_cache_that_cannot_be_written(server: Server, heard: Heard, tmp_path: Path) -> None:
    (tmp_path / "cache").write_text("a file in the place of the folder")
    got = heard("wave")
    assert got.substituted["by"] == "starry_night"
    assert server.agents == []  # nothing is downloaded that cannot be kept


def test_first_use_by_several_at_once(server: Server, tmp_path: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        paths = {got.path for got in pool.map(lambda _: Heard()("wave"), range(4))}
    (path,) = paths
    assert path.read_bytes() == server.content
    assert cached(tmp_path) == ["wave.jpg", "wave.jpg.sha256"]


def test_stand_in(heard: Heard, no_network: list[str], tmp_path: Path) -> None:
    got = heard("tubingen", tmp_path)
    assert got.path == named_images()["summer_palace"]
    assert got.credit == table.pictures()["summer_palace"].credit  # of what is used
    assert got.substituted == {
        "content": "tuebingen",
        "by": "summer_palace",
        "because": f"the folder {tmp_path} does not hold it, and its download from "
        "upload.wikimedia.org failed (the connection failed: refused by the test)",
    }
    (warning,) = heard.warnings
    assert got.substituted["because"] in warning
    assert "summer_palace stands in; put the file as tuebingen.jpg into the folder of" in warning
    assert no_network == [table.pictures()["tuebingen"].url]
    heard("femme_nue_assise")
    assert len(no_network) == 1
    assert "no address is kept to download it from" in heard.warnings[1]


def test_without_stand_ins_it_is_an_error(heard: Heard, no_network: list[str]) -> None:
    with pytest.raises(ConfigError) as caught:
        heard("tuebingen", stand_ins=False)
    first, tried = str(caught.value).splitlines()
    assert first.startswith("content=tuebingen: no folder of pictures is given, and its download")
    assert "put the file as tuebingen.jpg into the folder of images=DIR or NST_EXP_DATA" in first
    url = table.pictures()["tuebingen"].url
    assert url is not None
    for place in (str(Path("tuebingen").absolute()), "tubingen in the folder", url):
        assert place in tried
    assert heard.warnings == []


def test_an_unknown_name_is_a_path_that_loading_refuses(
    heard: Heard, no_network: list[str]
) -> None:
    assert heard("nobody").path == Path("nobody")
    assert no_network == []


def test_hashes_of_what_a_run_will_read(no_network: list[str], tmp_path: Path) -> None:
    def sha(path: Path) -> str:
        return hashlib.sha256(path.read_bytes()).hexdigest()

    own = picture(tmp_path / "own.png", (8, 8))
    config = Config(content="shipwreck", style="chelsea", init=Init(InitKind.file, str(own)))
    files = [named_images()["starry_night"], named_images()["chelsea"], own]
    assert input_hashes(config) == [sha(path) for path in files]
    config.images = str(tmp_path)
    assert input_hashes(replace(config, style="own"))[1] == sha(own)
    for unsure in (replace(config, stand_ins=False), replace(config, content="tuebingen")):
        with pytest.raises(OSError, match="No such file"):
            input_hashes(unsure)
    assert no_network == []


def test_record_of_a_run(tmp_path: Path) -> None:
    folder = tmp_path / "pictures"
    folder.mkdir()
    path = picture(folder / "Scream.png", (60, 60))
    record = tiny_run(
        None, "content=london", "style=the_scream", f"images={folder}", "steps=1"
    ).record
    (entry,) = record["substituted"]
    assert (entry["content"], entry["by"]) == ("london", "summer_palace")
    assert any(entry["because"] in warning for warning in record["warnings"])
    assert record["config"]["content"] == "london"
    assert record["inputs"]["style"] == {
        "path": str(path),
        "sha256": load_image(path, key="style").sha256,
        "credit": "Der Schrei, 1893, Edvard Munch, public domain",
    }
    assert record["inputs"]["content"]["credit"] == table.pictures()["summer_palace"].credit


def test_a_persons_own_file_has_no_credit_in_the_record(tmp_path: Path) -> None:
    own = picture(tmp_path / "own.png", (60, 60))
    record = tiny_run(None, f"content={own}", "steps=1").record
    assert set(record["inputs"]["content"]) == {"path", "sha256"}

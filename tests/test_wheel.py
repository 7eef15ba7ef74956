"""The package as a wheel: everything is in it, nothing else, and it runs where it is installed."""

import subprocess
import sys
import venv
import zipfile
from pathlib import Path

import pytest
from helpers_run import TINY, environment

pytestmark = pytest.mark.slow

ROOT = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel without network."""
    pytest.importorskip("hatchling")
    folder = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation"]
    command += ["-w", str(folder), "."]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    (path,) = folder.glob("*.whl")
    return path


def test_wheel_holds_everything_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    (info,) = {name.split("/")[0] for name in names if ".dist-info/" in name}
    assert {name.split("/")[0] for name in names} == {"nst_exp", "hydra_plugins", info}
    for folder, inside in (("nst_exp", "nst_exp"), ("configs", "nst_exp/configs")):
        for path in (ROOT / folder).rglob("*"):
            if path.is_file() and path.suffix in (".py", ".yaml", ".jpg", ".md", ".typed"):
                assert f"{inside}/{path.relative_to(ROOT / folder).as_posix()}" in names
    assert f"{info}/licenses/LICENSE" in names
    assert not [name for name in names if "__pycache__" in name or name.endswith(".pyc")]


def test_installed_wheel_runs_from_another_folder(wheel: Path, tmp_path: Path) -> None:
    venv.create(tmp_path / "venv", with_pip=False)
    scripts = tmp_path / "venv" / ("Scripts" if sys.platform == "win32" else "bin")
    python = scripts / "python"
    query = "import sysconfig; print(sysconfig.get_path('purelib'))"
    done = subprocess.run([python, "-c", query], capture_output=True, text=True, check=True)
    site = Path(done.stdout.strip())
    pip = [sys.executable, "-m", "pip", "--python", str(python), "install", "--no-deps"]
    subprocess.run([*pip, "--no-index", str(wheel)], check=True, capture_output=True)
    # The dependencies of this interpreter, after the installed wheel on the path.
    own = [path for path in sys.path if "site-packages" in path or "dist-packages" in path]
    (site / "dependencies.pth").write_text("\n".join(own), encoding="utf-8")

    where = "import nst_exp.utils.paths as p; print(p.__file__, p.CONFIGS)"
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()

    def call(*command: str | Path) -> str:
        done = subprocess.run(
            [str(part) for part in command],
            cwd=elsewhere,
            env=environment(PYTHONPATH=""),
            capture_output=True,
            text=True,
            timeout=240,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    assert call(python, "-c", where).count(str(site)) == 2
    assert "python -m nst_exp" in call(scripts / "nst-exp", "--help")
    out = call(scripts / "nst-exp", *TINY, "out=o")
    assert out.splitlines()[-1] == "result: o/image.png"
    assert (elsewhere / "o" / "image.png").is_file()

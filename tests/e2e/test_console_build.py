"""The console's built files are what its sources make with the pinned tools, and they are small."""

import gzip
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
CONSOLE = ROOT / "console"


@pytest.fixture(scope="module")
def rebuilt(tmp_path_factory):
    """dist/ made anew from src/ in a folder of its own, with the tools that `npm ci` installed from the lock file."""
    folder = tmp_path_factory.mktemp("console")
    for name in ("package.json", "package-lock.json", "tsconfig.json", "build.mjs"):
        shutil.copy(CONSOLE / name, folder)
    shutil.copytree(CONSOLE / "src", folder / "src")
    os.symlink(pathlib.Path(os.environ["E2E_CONSOLE"]) / "node_modules", folder / "node_modules")
    subprocess.run(["npm", "run", "--silent", "check"], cwd=folder, check=True)
    subprocess.run(["npm", "run", "--silent", "build"], cwd=folder, check=True)
    return folder / "dist"


def files(folder):
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_the_committed_files_are_what_the_sources_make(rebuilt):
    committed, made = files(CONSOLE / "dist"), files(rebuilt)
    assert committed.keys() == made.keys()
    different = [name for name in made if committed[name] != made[name]]
    assert not different, f"run `npm ci && npm run build` in console/: {different}"


def test_the_page_is_under_150_kb_compressed():
    total = sum(len(gzip.compress(content, 9)) for content in files(CONSOLE / "dist").values())
    assert total < 150_000, total


def test_the_lock_file_names_no_registry():
    lock = (CONSOLE / "package-lock.json").read_text()
    assert '"resolved"' not in lock and "registry" not in lock
    assert '"integrity"' in lock

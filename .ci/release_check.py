"""Build the packages of a release and try them as a user would: `make release-check`.

The packages are built from a copy of the files that git tracks, the wheel out of the sdist; the
wheel is installed in an environment of its own, and used in an empty folder outside the checkout.
The first problem ends the check. The packages stay in build/dist.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
DIST = ROOT / "build" / "dist"
WORK = ROOT / "build" / "release"
NETWORK = "HarDNet39_ds"
# paddle2onnx has no wheel for Python 3.13.
ONNX = sys.version_info < (3, 13)
IMAGE = "from PIL import Image; Image.radial_gradient('L').convert('RGB').save('image.png')"


def run(*command: str | Path, folder: Path) -> str:
    """Run a command, show it, and return what it printed; one that fails ends the check."""
    print("$", *command, flush=True)
    # Nothing of the environment may make the checkout importable.
    clean = {key: value for key, value in os.environ.items() if not key.startswith("PYTHON")}
    done = subprocess.run(
        command,
        cwd=folder,
        env=clean | {"PPCLS_HOME": str(WORK / "home")},
        stdout=subprocess.PIPE,
        text=True,
    )
    print(done.stdout, end="", flush=True)
    if done.returncode:
        sys.exit(f"release-check: exit status {done.returncode} of {command[0]}")
    return done.stdout


def require(holds: object, problem: str) -> None:
    """End the check with the problem unless the condition holds."""
    if not holds:
        sys.exit(f"release-check: {problem}")


def tracked() -> list[str]:
    """Return the files of the checkout that git tracks, relative to its root."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    return [name for name in listed.stdout.split("\0") if name and (ROOT / name).is_file()]


def build(names: list[str]) -> Path:
    """Build sdist and wheel; return the wheel, which holds all files of the package alone."""
    shutil.rmtree(WORK, ignore_errors=True)
    shutil.rmtree(DIST, ignore_errors=True)
    source = WORK / "source"
    for name in names:
        (source / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, source / name)
    run(sys.executable, "-m", "build", "--outdir", DIST, source, folder=WORK)
    (wheel,) = DIST.glob("*.whl")
    require(len(list(DIST.iterdir())) == 2, f"{DIST} should hold an sdist and a wheel")

    expected = {name for name in names if name.startswith("ppcls/")}
    expected |= {f"ppcls/{name}" for name in names if name.startswith("configs/")}
    packed = set(zipfile.ZipFile(wheel).namelist())
    packed = {name for name in packed if ".dist-info/" not in name}
    require(packed >= expected, f"missing in the wheel: {sorted(expected - packed)}")
    require(packed <= expected, f"should not be in the wheel: {sorted(packed - expected)}")
    return wheel


def install(wheel: Path) -> Path:
    """Install the wheel in a new environment and return the folder of its programs."""
    run(sys.executable, "-m", "venv", WORK / "venv", folder=WORK)
    programs = WORK / "venv" / "bin"
    run(programs / "pip", "install", "--quiet", f"{wheel}[cpu,onnx]", folder=WORK)
    return programs


def use(programs: Path, version: str, folder: Path) -> None:
    """Ask for the version, export an untrained network, and predict with it on each backend."""
    said = run(programs / "ppcls", "--version", folder=folder)
    require(said == f"ppcls {version}\n", f"`ppcls --version` should say {version}: {said!r}")
    where = run(programs / "python", "-c", "import ppcls; print(ppcls.__file__)", folder=folder)
    require(Path(where).is_relative_to(WORK / "venv"), f"imported from {where}")

    export = ("export", NETWORK, "bundle", "--allow-random", "--input-size", "64")
    run(programs / "ppcls", *export, *["--onnx"] * ONNX, folder=folder)
    run(programs / "python", "-c", IMAGE, folder=folder)
    for backend in ["paddle", *["onnxruntime"] * ONNX]:
        to = f"{backend}.jsonl"
        predict = ("predict", "bundle", "image.png", "--backend", backend, "--jsonl", to)
        run(programs / "ppcls", *predict, folder=folder)
        (line,) = (folder / to).read_text("utf-8").splitlines()
        answer = json.loads(line)
        print(line, flush=True)
        require(not answer.get("error") and len(answer["label_names"]) == 5, "no prediction")
        require(all(answer["label_names"]), "a class has no name")


def main() -> None:
    """Build, install and use."""
    wheel = build(tracked())
    programs = install(wheel)
    with tempfile.TemporaryDirectory() as folder:
        use(programs, wheel.name.split("-")[1], Path(folder))
    print(f"release-check: {', '.join(sorted(p.name for p in DIST.iterdir()))} are good")


if __name__ == "__main__":
    main()

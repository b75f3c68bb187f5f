"""Several processes train as one, really started by Paddle's launcher, on CPUs."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import kill_and_resume
import numpy as np
import pytest
from conftest import ROOT

from ppcls.cli import main
from ppcls.config import load_config
from ppcls.models.weight_files import read_weights
from ppcls.training.train import train

pytestmark = pytest.mark.process

# A time that no machine needs, so that a test that hangs ends.
HANGS = 600
# What does not depend on how a batch is shared out: no dropout, no mixing, frozen statistics.
EXACT = [
    "Arch.dropout=0.0",
    "DataLoader.Train.dataset.batch_transform_ops=[]",
    'Arch.freeze=["*norm*"]',
    "EMA.decay=0.5",
    # The rates of an epoch are the same however many come after it.
    "Optimizer.lr={name: Constant, learning_rate: 0.02}",
]
# The epochs of a run that are compared with those of another.
COMPARED = 3


def launch(config: Path, output: Path, *more: str) -> subprocess.Popen:
    """Start a training of two processes; what they say goes to the folder of the output's."""
    asked = ["-c", str(config), "-o", f"Global.output_dir={output}", *more]
    return launch_tool(output.parent, [str(ROOT / "tools/train.py")], *asked)


def launch_tool(folder: Path, tool: Sequence[str], *arguments: str) -> subprocess.Popen:
    """Start two processes of a tool by Paddle's launcher; what they say goes to the folder."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"),
            *("--log_dir", str(folder / "log"), *tool, *arguments),
        ],
        stdout=(folder / "launch.txt").open("a"),
        stderr=subprocess.STDOUT,
        env=os.environ | {"OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


@pytest.fixture
def config(tmp_path: Path) -> Path:
    (tmp_path / "data").mkdir()
    return kill_and_resume.write_data(tmp_path / "data")


def said(folder: Path) -> str:
    """Return what the processes have said, in one text."""
    return "\n".join(
        path.read_text(errors="replace")
        for path in [folder / "launch.txt", *sorted((folder / "log").glob("workerlog.*"))]
        if path.exists()
    )


def records(folder: Path, kind: str) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if r["kind"] == kind]


def workers(run: subprocess.Popen) -> list[int]:
    """Return the processes that a launcher has started, by rank."""
    found = {}
    for path in Path("/proc").glob("[0-9]*/environ"):
        try:
            variables = path.read_bytes().split(b"\0")
        except OSError:
            continue
        pid = int(path.parent.name)
        rank = [v for v in variables if v.startswith(b"PADDLE_TRAINER_ID=")]
        if rank and f"\nPPid:\t{run.pid}\n" in (path.parent / "status").read_text():
            found[int(rank[0].partition(b"=")[2])] = pid
    return [found[rank] for rank in sorted(found)]


class TwoProcesses(NamedTuple):
    """A run of two processes, one of which was killed; and which was resumed."""

    config: Path
    folder: Path
    killed: int
    status: int
    said: str
    last: int


@pytest.fixture(scope="module")
def run_of_two(tmp_path_factory: pytest.TempPathFactory) -> TwoProcesses:
    """Train 90 images by two processes, until one is killed; and then to an epoch's end."""
    root = tmp_path_factory.mktemp("two")
    (root / "data").mkdir()
    config = kill_and_resume.write_data(root / "data")
    folder = root / "out/HarDNet39_ds"
    asked = [*EXACT, "Global.checkpoints=auto", "DataLoader.Train.sampler.batch_size=6"]
    # More epochs than it does before it is killed, however late that is.
    run = launch(config, root / "out", *asked, "Global.epochs=100000")
    deadline = time.monotonic() + HANGS
    while not (folder / "latest.json").exists():
        assert time.monotonic() < deadline, said(root)
        time.sleep(0.05)
    pids = workers(run)
    assert len(pids) == 2
    os.kill(pids[1], signal.SIGKILL)
    status, first = run.wait(HANGS), said(root)
    last = max(COMPARED, json.loads((folder / "latest.json").read_text())["epoch"] + 1)
    resumed = launch(config, root / "out", *asked, f"Global.epochs={last}")
    assert resumed.wait(HANGS) == 0, said(root)
    return TwoProcesses(config, folder, pids[1], status, first, last)


def test_a_killed_process_ends_the_run_which_is_resumed(run_of_two: TwoProcesses) -> None:
    # It ends; what rank 0 has said shows that it did not wait for the launcher to end it.
    assert run_of_two.status != 0
    assert f"rank 0: rank 1 (process {run_of_two.killed}) has ended" in run_of_two.said
    assert "resuming" in (run_of_two.folder / "train.log").read_text()
    steps = [(r["epoch"], r["step"]) for r in records(run_of_two.folder, "train")]
    assert steps == sorted(set(steps))
    assert steps[-1][0] == run_of_two.last


@pytest.mark.training
def test_two_processes_train_as_one_with_the_joint_batch(
    run_of_two: TwoProcesses, tmp_path: Path
) -> None:
    # 90 images: 4 updates an epoch of 2 x 2 x 6 images, the last of 18.
    asked = [*EXACT, f"Global.epochs={COMPARED}", f"Global.output_dir={tmp_path / 'one'}"]
    joint = "DataLoader.Train.sampler.batch_size=12"
    folders = [train(load_config(run_of_two.config, [*asked, joint])).folder, run_of_two.folder]
    for suffix in ("pdparams", "pdema"):
        expected, found = (read_weights(f / f"epoch_{COMPARED}.{suffix}") for f in folders)
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-5)
    first, second = (
        [r for r in records(folder, "train") if r["epoch"] <= COMPARED] for folder in folders
    )
    assert len(first) == 4 * COMPARED
    assert [(r["epoch"], r["step"], r["lr"]) for r in first] == [
        (r["epoch"], r["step"], r["lr"]) for r in second
    ]
    for ours, theirs in zip(second, first, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    for ours, theirs in zip(*(records(f, "eval")[:COMPARED] for f in folders), strict=True):
        assert ours["top1"] == theirs["top1"]
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)


@pytest.mark.training
def test_one_process_goes_on_with_a_run_of_two(run_of_two: TwoProcesses, tmp_path: Path) -> None:
    folder = shutil.copytree(run_of_two.folder, tmp_path / "out" / run_of_two.folder.name)
    more = ["Global.checkpoints=auto", f"Global.epochs={run_of_two.last + 1}"]
    more += [f"Global.output_dir={folder.parent}", "DataLoader.Train.sampler.batch_size=12"]
    train(load_config(run_of_two.config, [*EXACT, *more]))
    log = (folder / "train.log").read_text()
    for change in ("processes 2 -> 1", "DataLoader.Train.sampler.batch_size 6 -> 12"):
        assert change in log.partition("changed since the run was last started: ")[2]


def test_two_processes_find_what_one_finds(
    run_of_two: TwoProcesses, colours: Path, tmp_path: Path
) -> None:
    # Nine images: the processes have shares of different sizes, and last batches that are not full.
    asked = ["-c", str(run_of_two.config), "--data", str(colours), "-o"]
    asked += [f"Global.pretrained_model={run_of_two.folder / 'best_model'}"]
    asked += ["DataLoader.Eval.sampler.batch_size=2"]
    # The installed command, as it is started without a checkout.
    command = [str(Path(sys.executable).with_name("ppcls")), "eval"]
    run = launch_tool(tmp_path, command, *asked, "--report", str(tmp_path / "two"))
    assert run.wait(HANGS) == 0, said(tmp_path)
    assert main(["eval", *asked, "--report", str(tmp_path / "one")]) == 0
    one, two = (
        json.loads((tmp_path / name / "report.json").read_text(encoding="utf-8"))
        for name in ("one", "two")
    )
    assert one["images"] == 9
    # Batches of other sizes are summed in another order; an image too much or too few would be seen
    # in the counts below, and here in the third digit.
    assert two.pop("loss") == pytest.approx(one.pop("loss"), rel=1e-4)
    assert two.pop("calibration_error") == pytest.approx(one.pop("calibration_error"), rel=1e-4)
    for each in (one, two):
        del each["seconds"]
    assert one == two
    for name in ("classes.csv", "confused.csv", "confusion.csv"):
        assert (tmp_path / "one" / name).read_text() == (tmp_path / "two" / name).read_text()


@pytest.mark.slow
def test_a_signal_to_the_launcher_saves(config: Path, tmp_path: Path) -> None:
    run = launch(config, tmp_path / "out", "Global.save_steps=null", "Global.epochs=100000")
    deadline = time.monotonic() + HANGS
    while not (tmp_path / "out/HarDNet39_ds/epoch_1.json").exists():
        assert time.monotonic() < deadline, said(tmp_path)
        time.sleep(0.05)
    run.send_signal(signal.SIGTERM)
    assert run.wait(HANGS) != 0
    assert "and saved as" in said(tmp_path)
    assert "has ended" not in said(tmp_path)


def start_ranks(configs: list[Path], output: Path, port: int) -> list[subprocess.Popen]:
    """Start processes without a launcher, as a scheduler of several nodes would."""
    addresses = ",".join(f"127.0.0.1:{port + i}" for i in range(len(configs)))
    return [
        subprocess.Popen(
            [
                *(sys.executable, str(ROOT / "tools/train.py"), "-c", str(config)),
                *("-o", f"Global.output_dir={output}"),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            env=os.environ
            | {
                "PADDLE_TRAINER_ID": str(rank),
                "PADDLE_TRAINERS_NUM": str(len(configs)),
                "PADDLE_TRAINER_ENDPOINTS": addresses,
                "PADDLE_CURRENT_ENDPOINT": addresses.split(",")[rank],
                "PADDLE_MASTER": f"127.0.0.1:{port}",
                "OMP_NUM_THREADS": "1",
                "PYTHONPATH": str(ROOT),
            },
        )
        for rank, config in enumerate(configs)
    ]


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_another_configuration_on_a_rank_is_named(config: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.yaml"
    other.write_text(config.read_text().replace("0.0001", "0.001"))
    runs = start_ranks([config, other], tmp_path / "out", free_port())
    texts = [run.communicate(timeout=HANGS)[0] for run in runs]
    assert [run.returncode for run in runs] == [2, 2]
    for text in texts:
        assert "rank 1: the configuration differs from rank 0" in text
    assert not (tmp_path / "out").exists()


@pytest.mark.slow
def test_a_port_in_use_is_named(config: Path, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = start_ranks([config, config], tmp_path / "out", taken.getsockname()[1])[0]
        try:
            text = run.communicate(timeout=HANGS)[0]
        finally:
            run.kill()
    assert run.returncode == 1
    assert re.search(r"rank 0: cannot reach the other 1 processes at .*: the port is in use", text)

"""Several processes train as one, really started by Paddle's launcher, on CPUs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import kill_and_resume
import numpy as np
import pytest
from conftest import ROOT

from ppcls.models.weights import read_weights

# A time that no machine needs, so that a test that hangs ends.
HANGS = 600
# What does not depend on how a batch is shared out: no dropout, no mixing, frozen statistics.
EXACT = [
    "Arch.dropout=0.0",
    "DataLoader.Train.dataset.batch_transform_ops=[]",
    'Arch.freeze=["*norm*"]',
    "EMA.decay=0.5",
]


def launch(config: Path, output: Path, *more: str, command: str = "train") -> subprocess.Popen:
    """Start two processes by Paddle's launcher; their logs go to `output/../log`."""
    return subprocess.Popen(
        [
            *(sys.executable, "-m", "paddle.distributed.launch", "--nproc_per_node", "2"),
            *("--log_dir", str(output.parent / "log"), str(ROOT / f"tools/{command}.py")),
            *("-c", str(config), "-o", f"Global.output_dir={output}", *more),
        ],
        stdout=(output.parent / "launch.txt").open("a"),
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


def test_two_processes_train_as_one_with_the_joint_batch(config: Path, tmp_path: Path) -> None:
    # 90 images: 4 updates an epoch of 2 x 2 x 6 images, the last of 18; 20 updates in all.
    asked = [*EXACT, "Global.epochs=5", "Global.save_steps=null"]
    two = launch(config, tmp_path / "two", *asked, "DataLoader.Train.sampler.batch_size=6")
    assert two.wait(HANGS) == 0, said(tmp_path)
    one = kill_and_resume.start(
        config, tmp_path / "one", *asked, "DataLoader.Train.sampler.batch_size=12"
    )
    assert one.wait(HANGS) == 0
    folders = [tmp_path / name / "HarDNet39_ds" for name in ("one", "two")]
    for suffix in ("pdparams", "pdema"):
        expected, found = (read_weights(folder / f"latest.{suffix}") for folder in folders)
        for key, value in expected.items():
            np.testing.assert_allclose(found[key], value, rtol=0, atol=1e-5)
    first, second = (records(folder, "train") for folder in folders)
    assert len(first) == 20
    assert [(r["epoch"], r["step"], r["lr"]) for r in first] == [
        (r["epoch"], r["step"], r["lr"]) for r in second
    ]
    for ours, theirs in zip(second, first, strict=True):
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    for ours, theirs in zip(*(records(f, "eval") for f in folders), strict=True):
        assert ours["top1"] == theirs["top1"]
        assert ours["loss"] == pytest.approx(theirs["loss"], rel=1e-4)
    # Gone on with by one process: what has changed is told.
    more = ["Global.checkpoints=auto", "Global.epochs=6", "DataLoader.Train.sampler.batch_size=12"]
    assert kill_and_resume.start(config, tmp_path / "two", *asked, *more).wait(HANGS) == 0
    log = (tmp_path / "two/HarDNet39_ds/train.log").read_text()
    for change in ("processes 2 -> 1", "DataLoader.Train.sampler.batch_size 6 -> 12"):
        assert f"changed since the run was last started: {change}\n" in log


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


def test_a_killed_process_ends_the_run_which_is_resumed(config: Path, tmp_path: Path) -> None:
    asked = [*EXACT, "Global.checkpoints=auto"]
    # More epochs than it does before it is killed, however late that is.
    run = launch(config, tmp_path / "out", *asked, "Global.epochs=100000")
    folder = tmp_path / "out/HarDNet39_ds"
    deadline = time.monotonic() + HANGS
    while not (folder / "latest.json").exists():
        assert time.monotonic() < deadline, said(tmp_path)
        time.sleep(0.05)
    pids = workers(run)
    assert len(pids) == 2
    os.kill(pids[1], signal.SIGKILL)
    # It ends; what rank 0 has said shows that it did not wait for the launcher to end it.
    assert run.wait(HANGS) != 0
    assert f"rank 0: rank 1 (process {pids[1]}) is gone" in said(tmp_path)
    last = json.loads((folder / "latest.json").read_text())["epoch"] + 2
    resumed = launch(config, tmp_path / "out", *asked, f"Global.epochs={last}")
    assert resumed.wait(HANGS) == 0, said(tmp_path)
    assert "resuming" in (folder / "train.log").read_text()
    steps = [(r["epoch"], r["step"]) for r in records(folder, "train")]
    assert steps == sorted(set(steps))
    assert steps[-1][0] == last


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
    assert "is gone" not in said(tmp_path)


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
        assert "rank 1: the configuration is not that of rank 0" in text
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
    assert re.search(r"rank 0: cannot meet the other 1 processes at .*: the port is in use", text)

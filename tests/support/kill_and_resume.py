"""Kill a training run with SIGKILL at random points, resume it, and compare with a whole run.

    python tests/support/kill_and_resume.py --trials 20 --seed 0

HarDNet39_ds at 32 px with batch norm, dropout, augmentation, mixup, averaged weights, accumulation
and two workers. Each trial kills the run once to three times, at a random moment or in the middle
of a save, goes on with `Global.checkpoints=auto`, and must end with the files of the whole run,
byte for byte: weights, averages, optimizer, progress, and every number in metrics.jsonl but times.
"""

from __future__ import annotations

import argparse
import json
import os
import pickle
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import cv2
import numpy as np

ROOT = Path(__file__).resolve().parents[2]

CONFIG = """\
Global:
  epochs: 5
  image_shape: [3, 32, 32]
  print_batch_step: 1
  save_steps: 2
  update_freq: 2
  device: cpu
Arch: {name: HarDNet39_ds, class_num: 3, dropout: 0.2}
EMA: {decay: 0.9}
Optimizer:
  name: Momentum
  lr: {name: Cosine, learning_rate: 0.02, warmup_epoch: 1}
  regularizer: {name: L2, coeff: 0.0001}
DataLoader:
  Train:
    dataset:
      image_root: DATA
      cls_label_path: DATA/train_list.txt
      transform_ops:
        - DecodeImage:
        - RandCropImage: {size: 32}
        - RandFlipImage: {}
        - NormalizeImage: {}
      batch_transform_ops:
        - MixupOperator: {alpha: 0.2}
    sampler: {batch_size: 8, shuffle: true}
    loader: {num_workers: 2}
  Eval:
    dataset:
      image_root: DATA
      cls_label_path: DATA/val_list.txt
      transform_ops:
        - DecodeImage:
        - ResizeImage: {size: 32}
        - NormalizeImage: {}
    sampler: {batch_size: 16}
"""

TIMES = ("batch_cost", "reader_cost", "ips", "eta", "max_mem_resident")
SUFFIXES = (".pdparams", ".pdopt", ".pdstates", ".pdema")


def write_data(folder: Path) -> Path:
    """Write images of three classes, their lists, and a configuration; return that."""
    folder.mkdir(exist_ok=True)
    rng = np.random.default_rng(0)
    for name, count in (("train", 90), ("val", 24)):
        lines = []
        for i in range(count):
            image = rng.integers(0, 120, (40, 40, 3))
            image[..., i % 3] += 60
            cv2.imwrite(str(folder / f"{name}{i}.png"), image.astype(np.uint8))
            lines.append(f"{name}{i}.png {i % 3}\n")
        (folder / f"{name}_list.txt").write_text("".join(lines))
    config = folder / "config.yaml"
    config.write_text(CONFIG.replace("DATA", str(folder)))
    return config


def start(config: Path, output: Path, *more: str) -> subprocess.Popen:
    """Start a run in a session of its own, so that whatever it leaves behind can be found."""
    command = [sys.executable, "-m", "ppcls", "train", "-c", str(config)]
    command += ["-o", f"Global.output_dir={output}", "Global.checkpoints=auto", *more]
    log = (output.parent / f"{output.name}.txt").open("a")
    return subprocess.Popen(
        command,
        stdout=log,
        stderr=log,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
        start_new_session=True,
    )


def results(output: Path) -> dict[str, object]:
    """Return everything about a finished run that must not depend on its having been killed."""
    folder = output / "HarDNet39_ds"
    files = [folder / f"{n}{s}" for n in ("latest", "best_model", "epoch_2") for s in SUFFIXES]
    found: dict[str, object] = {path.name: path.read_bytes() for path in files}
    for path in files:
        if path.suffix == ".pdstates":
            found[path.name] = pickle.loads(found[path.name])  # plain values, easy to read
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    found["metrics.jsonl"] = [
        {k: v for k, v in json.loads(line).items() if k not in TIMES} for line in lines
    ]
    return found


def survivors(session: int) -> list[int]:
    """Return the processes of a session that are still running."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if int(fields[3]) == session and fields[0] not in "ZX":
            found.append(int(path.parent.name))
    return found


def kill(run: subprocess.Popen, moment: float, folder: Path, in_save: bool) -> str:
    """Kill the main process some seconds after its start, or in its next save after that."""
    try:
        run.wait(moment)
        return "had ended"
    except subprocess.TimeoutExpired:
        pass
    while in_save and run.poll() is None:
        # A file of a checkpoint that is not in place yet: the save is under way.
        if any(folder.glob("*.new.*")) or any(folder.glob(".*.tmp")):
            break
    if run.poll() is not None:
        return "had ended"
    run.kill()
    run.wait()
    half_written = sorted(p.name for p in [*folder.glob("*.new.*"), *folder.glob(".*.tmp")])
    deadline = time.monotonic() + 120
    while survivors(run.pid) and time.monotonic() < deadline:
        time.sleep(0.1)
    assert not survivors(run.pid), "the killed run has left processes behind"
    return f"killed in a save ({half_written[0]})" if half_written else "killed"


def trial(config: Path, output: Path, whole: dict, seconds: float, rng: random.Random) -> str:
    """Run with kills and resumes to the end, and compare; return what happened."""
    happened = []
    for _ in range(rng.randint(1, 3)):
        run = start(config, output)
        moment = rng.uniform(0.3, 0.95) * seconds
        how = kill(run, moment, output / "HarDNet39_ds", rng.random() < 0.5)
        happened.append(f"{how} after {moment:.1f} s")
        if how == "had ended":
            break
    else:
        run = start(config, output)
        if run.wait() != 0:
            raise AssertionError((output.parent / f"{output.name}.txt").read_text()[-2000:])
    found = results(output)
    differing = [name for name in whole if whole[name] != found[name]]
    states = {n: (whole[n], found[n]) for n in differing if n.endswith(".pdstates")}
    assert not differing, f"{differing} differ after: {happened} {states}"
    return ", ".join(happened)


def main(arguments: list[str] | None = None) -> None:
    """Run the trials and print their tally."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--epochs", type=int, default=5)
    args = parser.parse_args(arguments)
    rng = random.Random(args.seed)
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        config = write_data(folder / "data")
        config.write_text(config.read_text().replace("epochs: 5", f"epochs: {args.epochs}"))
        begun = time.monotonic()
        assert start(config, folder / "whole").wait() == 0, (folder / "whole.txt").read_text()
        seconds = time.monotonic() - begun
        whole = results(folder / "whole")
        print(f"the whole run took {seconds:.1f} s", flush=True)
        same, kills, in_saves = 0, 0, 0
        for i in range(args.trials):
            try:
                happened = trial(config, folder / f"trial{i}", whole, seconds, rng)
                same += 1
                kills += happened.count("killed")
                in_saves += happened.count("in a save")
                print(f"{i + 1}: the same ({happened})", flush=True)
            except AssertionError as error:
                print(f"{i + 1}: NOT THE SAME: {error}", flush=True)
        print(
            f"{same} of {args.trials} trials ended as the whole run did, after {kills} kills, "
            f"{in_saves} of them in a save"
        )
        if same != args.trials:
            sys.exit(1)


if __name__ == "__main__":
    main()

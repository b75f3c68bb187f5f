"""A run survives: kills, signals, full disks, other runs; and is resumed to the same end."""

from __future__ import annotations

import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import kill_and_resume
import numpy as np
import paddle
import pytest
from conftest import ROOT

import ppcls
from ppcls.checkpoints.files import newest_checkpoint, open_checkpoint, write_checkpoint
from ppcls.checkpoints.run_folder import locked
from ppcls.checkpoints.weights import find_weights
from ppcls.config import load_config
from ppcls.errors import ConfigError, DataError, RunError, WeightsError
from ppcls.evaluation.evaluate import evaluate
from ppcls.models.weight_files import read_pickle, read_weights
from ppcls.training.precision import Precision
from ppcls.training.state import TrainState
from ppcls.training.train import train


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """The configuration of the kill-and-resume test, and its data."""
    (tmp_path / "data").mkdir()
    return kill_and_resume.write_data(tmp_path / "data")


@pytest.mark.process
def test_a_killed_run_ends_as_the_whole_run_does() -> None:
    kill_and_resume.main(["--trials", "1", "--seed", "5", "--epochs", "3"])


# More epochs than a run does before it is stopped, however long this process has to wait for a
# processor; and a time that no machine needs, so that a test that hangs ends.
ENDLESS = "Global.epochs=100000"
HANGS = 600


def wait_for(path: Path) -> None:
    deadline = time.monotonic() + HANGS
    while not path.exists():
        assert time.monotonic() < deadline, f"{path} did not appear"
        time.sleep(0.02)


@pytest.mark.process
@pytest.mark.parametrize(("number", "status"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_signal_lets_the_step_end_and_saves(
    small: Path, tmp_path: Path, number: int, status: int
) -> None:
    run = kill_and_resume.start(small, tmp_path / "out", "Global.save_steps=null", ENDLESS)
    folder = tmp_path / "out/HarDNet39_ds"
    wait_for(folder / "epoch_1.json")
    run.send_signal(number)
    assert run.wait(HANGS) == status
    said = (tmp_path / "out.txt").read_text()
    assert "and saved as" in said
    assert "resume with -o Global.checkpoints=auto" in said
    assert "Traceback" not in said
    found, notes = newest_checkpoint(folder)
    assert found is not None
    assert not notes
    # In the second epoch, or at its end.
    assert (found.epoch, found.step) > (1, 0)


def test_a_full_disk_leaves_the_last_checkpoint_whole(tmp_path: Path) -> None:
    def contents(value: int) -> dict:
        return {
            ".pdparams": {"weight": np.full([50_000], value, "float32")},
            ".pdopt": {},
            ".pdstates": {"value": value},
        }

    prefix = tmp_path / "latest"
    write_checkpoint(prefix, contents(1), epoch=1, step=0)
    before = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
    try:
        with pytest.raises(RunError, match=r"latest\.new\.pdparams: cannot write: File too large"):
            write_checkpoint(prefix, contents(2), epoch=2, step=0)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert {p.name: p.read_bytes() for p in tmp_path.iterdir()} == before
    assert open_checkpoint(prefix).epoch == 1


@pytest.mark.process
def test_a_folder_that_vanishes_is_named(small: Path, tmp_path: Path) -> None:
    run = kill_and_resume.start(small, tmp_path / "out", ENDLESS)
    wait_for(tmp_path / "out/HarDNet39_ds/epoch_1.json")
    # At once: to delete file by file would race with the run, which makes new ones.
    (tmp_path / "out").rename(tmp_path / "gone")
    assert run.wait(HANGS) == 1
    assert (
        "out/HarDNet39_ds: cannot save: the folder of the run is gone"
        in (tmp_path / "out.txt").read_text()
    )
    assert not (tmp_path / "out").exists()


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(RunError, match=r"\.lock: cannot write: Not a directory"),
        locked(tmp_path / "file/run"),
    ):
        pass


HOLD = """
import os, sys, time
from pathlib import Path
from ppcls.checkpoints.run_folder import locked
with locked(Path(sys.argv[1])):
    if os.fork() == 0:
        time.sleep(3600)
    print("held", flush=True)
    time.sleep(3600)
"""


@pytest.mark.process
def test_a_second_run_is_refused_until_the_first_is_gone(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLD, str(tmp_path)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    first = subprocess.Popen(
        command, stdout=subprocess.PIPE, env=environment, start_new_session=True
    )
    try:
        assert first.stdout is not None
        assert first.stdout.readline() == b"held\n"
        refused = rf"another run is writing here \(process {first.pid} on "
        with pytest.raises(RunError, match=refused), locked(tmp_path):
            pass
        first.kill()
        first.wait()
        # Its child is an orphan now, and still running.
        assert kill_and_resume.survivors(first.pid)
        with locked(tmp_path):
            pass
    finally:
        os.killpg(first.pid, signal.SIGKILL)


def test_auto_finds_the_newest_whole_checkpoint(tmp_path: Path) -> None:
    assert newest_checkpoint(tmp_path) == (None, [])
    contents = {".pdparams": {}, ".pdopt": {}, ".pdstates": {}}
    write_checkpoint(tmp_path / "epoch_1", contents, epoch=1, step=0)
    write_checkpoint(tmp_path / "latest", contents, epoch=1, step=7)
    found, _ = newest_checkpoint(tmp_path)
    assert found is not None
    assert (found.prefix.name, found.step) == ("latest", 7)
    (tmp_path / "latest.pdopt").write_bytes(b"damaged")
    found, notes = newest_checkpoint(tmp_path)
    assert found is not None
    assert found.prefix.name == "epoch_1"
    assert "skipped: " in notes[0]
    assert "latest.pdopt" in notes[0]


@pytest.mark.training
def test_auto_starts_fresh_and_leaves_a_finished_run_as_it_is(
    config_file: Path, overrides: list[str]
) -> None:
    asked = [*overrides, "Global.checkpoints=auto", "Global.epochs=1"]
    first = train(load_config(config_file, asked))
    folder = first.folder
    log = (folder / "train.log").read_text()
    assert "no checkpoint in" in log
    assert "pretrained weights: none, training from scratch\n" in log
    before = {p: p.read_bytes() for p in folder.glob("[!.]*")}
    again = train(load_config(config_file, asked))
    assert again.was_finished
    assert not first.was_finished
    assert (again.best, again.best_metric) == (first.best, first.best_metric)
    assert {p: p.read_bytes() for p in folder.glob("[!.]*")} == before
    named = [*asked, f"Global.checkpoints={folder / 'latest'}"]
    with pytest.raises(ConfigError, match=r"this run is finished \(1 of 1 epochs\); raise"):
        train(load_config(config_file, named))
    with pytest.raises(ConfigError, match="leave one out"):
        train(load_config(config_file, asked), overwrite=True)
    train(load_config(config_file, [*asked, "Global.epochs=2"]))
    assert "resuming" in (folder / "train.log").read_text()
    (folder / "curves.png").unlink()  # What a killed run lacks.
    with pytest.raises(ConfigError, match=r"this run has already trained 2 epochs, of 1; raise"):
        train(load_config(config_file, asked))


@pytest.mark.training
def test_what_a_kill_between_two_names_left_undone_is_done(
    config_file: Path, overrides: list[str]
) -> None:
    folder = train(load_config(config_file, [*overrides, "Global.epochs=2"])).folder
    expected = (folder / "epoch_2.pdparams").read_bytes()
    # `latest` was written, its other names were not.
    for path in [*folder.glob("epoch_2.*"), *folder.glob("best_model.*")]:
        path.unlink()
    more = [*overrides, "Global.epochs=2", "Global.checkpoints=auto"]
    train(load_config(config_file, more))
    assert (folder / "epoch_2.pdparams").read_bytes() == expected
    assert train(load_config(config_file, more)).was_finished
    assert open_checkpoint(folder / "epoch_2").epoch == 2


@pytest.mark.parametrize("optimizer", ["Momentum", "AdamW"])
def test_published_checkpoints_are_resumed(tmp_path: Path, optimizer: str) -> None:
    make = getattr(paddle.optimizer, optimizer)

    def parts() -> TrainState:
        model = ppcls.create_model("SqueezeNet1_1", class_num=3)
        model.eval()
        return TrainState(
            model, make(0.01, parameters=model.parameters()), Precision(None, "cpu"), None
        )

    def step(state: TrainState) -> None:
        paddle.seed(0)
        state.model(paddle.ones([2, 3, 32, 32])).square().mean().backward()
        state.optimizer.step()
        state.optimizer.clear_grad()

    first = parts()
    step(first)
    # What PaddleClas writes, with Paddle's own generated names.
    prefix = str(tmp_path / "best_model")
    paddle.save(first.model.state_dict(), prefix + ".pdparams")
    paddle.save(
        first.optimizer.state_dict() | {"LR_Scheduler": {"last_epoch": 3, "last_lr": 0.01}},
        prefix + ".pdopt",
    )
    paddle.save({"metric": 0.75, "epoch": 4}, prefix + ".pdstates")
    second = parts()
    checkpoint = open_checkpoint(prefix)
    assert checkpoint.published
    second.load_model(checkpoint, strict=True)
    second.load(checkpoint)
    assert (second.progress.epoch, second.progress.best_metric) == (4, 0.75)
    step(first)
    step(second)
    expected, found = first.model.state_dict(), second.model.state_dict()
    assert all(np.array_equal(expected[k].numpy(), found[k].numpy()) for k in expected)
    other = parts()
    other.optimizer = paddle.optimizer.RMSProp(0.01, parameters=other.model.parameters())
    with pytest.raises(WeightsError, match=r"for another optimizer: it holds .*; RMSProp needs"):
        other.load(checkpoint)


@pytest.mark.training
def test_averages_do_not_come_and_go_within_a_run(config_file: Path, overrides: list[str]) -> None:
    first = [*overrides, "Global.epochs=1", "EMA.decay=0.9"]
    folder = train(load_config(config_file, first)).folder
    raw, averaged = (read_weights(folder / f"latest.{s}") for s in ("pdema", "pdparams"))
    assert any((raw[k] != averaged[k]).any() for k in raw)
    more = [*overrides, "Global.epochs=2", "Global.checkpoints=auto"]
    with pytest.raises(WeightsError, match=r"lacks the section EMA; add it \(-o EMA\.decay"):
        train(load_config(config_file, more))
    train(load_config(config_file, [*more, "EMA.decay=0.9"]))
    assert read_pickle(folder / "latest.pdstates")["epoch"] == 2


@pytest.mark.training
def test_resuming_says_which_settings_have_changed(
    config_file: Path,
    overrides: list[str],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    here = [o.replace(str(tmp_path), ".") for o in overrides]
    folder = train(load_config(config_file, [*here, "Global.epochs=1"])).folder
    resume = ["Global.checkpoints=auto", "Global.epochs=1", "Global.save_interval=9"]
    train(load_config(config_file, [*here, *resume, "Global.epochs=2"]))

    def changes() -> list[str]:
        lines = (folder / "train.log").read_text().splitlines()
        return [line.partition("changed since the run was last started: ")[2] for line in lines]

    assert [line for line in changes() if line] == [
        "Global.epochs 1 -> 2",
        "Global.save_interval 1 -> 9",
    ]
    # From another place, with the run's own configuration: nothing has changed but the epochs.
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    again = ["Global.checkpoints=auto", "Global.epochs=3"]
    (tmp_path / folder / "train.log").unlink()
    train(load_config(tmp_path / folder / "config.yaml", again))
    monkeypatch.chdir(tmp_path)
    assert [line for line in changes() if line] == ["Global.epochs 2 -> 3"]


@pytest.mark.training
def test_a_checkpoint_of_another_network_is_named(
    config_file: Path, overrides: list[str], finished_run: Path
) -> None:
    folder = finished_run
    asked = [*overrides, f"Global.checkpoints={folder}/latest"]
    of = r"latest: a checkpoint of SqueezeNet1_1 with 3 classes, but Arch is AlexNet with 3"
    with pytest.raises(WeightsError, match=rf"{of}; resume it with -c .*yaml$"):
        train(load_config(config_file, [*asked, "Arch.name=AlexNet"]))
    more = [*asked, "Arch.class_num=4", "Infer.PostProcess.class_id_map_file=null"]
    anew = rf"-o Global.checkpoints=null Global.pretrained_model={folder}/latest"
    of = r"latest: the checkpoint has 3 classes, but the configuration and its data have 4; "
    with pytest.raises(WeightsError, match=rf"{of}.* {anew}"):
        train(load_config(config_file, more))


@pytest.mark.training
def test_a_checkpoint_with_other_class_names_is_refused(
    config_file: Path, overrides: list[str], finished_run: Path, tmp_path: Path
) -> None:
    (tmp_path / "names.txt").write_text("0 bleu pâle\n1 red\n2 green\n", encoding="utf-8")
    names = f"Infer.PostProcess.class_id_map_file={tmp_path / 'names.txt'}"
    more = [*overrides, "Global.epochs=2", "Global.checkpoints=auto", names]
    other = r"class 1 is 'green' in the checkpoint, but 'red' in .*; a run keeps its classes"
    with pytest.raises(DataError, match=other):
        train(load_config(config_file, more))
    assert "green" in (finished_run / "label_list.txt").read_text(encoding="utf-8").splitlines()[1]


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("Auto", r"; did you mean 'auto'\?$"),
        ("latest", "; the run's own is .*Net1_1/latest$"),
    ],
)
def test_a_mistyped_checkpoint_is_guessed(
    config_file: Path, overrides: list[str], tmp_path: Path, name: str, hint: str
) -> None:
    contents = {".pdparams": {}, ".pdopt": {}, ".pdstates": {}}
    (tmp_path / "output/SqueezeNet1_1").mkdir(parents=True)
    write_checkpoint(tmp_path / "output/SqueezeNet1_1/latest", contents, epoch=1, step=0)
    with pytest.raises(WeightsError, match=hint):
        find_weights(load_config(config_file, [*overrides, f"Global.checkpoints={name}"]))


@pytest.mark.training
def test_the_configuration_of_a_run_says_what_it_is_and_not_what_it_began_from(
    config_file: Path,
    ready: list[str],
    tmp_path: Path,
    capsys: pytest.CaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    one = [*ready, "Global.epochs=1", "Global.checkpoints=auto", "Global.save_inference_dir=inf"]
    folder = train(load_config(config_file, one)).folder
    assert f"pretrained weights: {tmp_path / 'w.pdparams'}" in (folder / "train.log").read_text()
    kept = load_config(folder / "config.yaml").Global
    assert (kept.checkpoints, kept.pretrained_model) == (None, None)
    assert kept.save_inference_dir == str(tmp_path / "inf")
    # Gone on with otherwise, it is what it was last.
    more = ["Global.epochs=2", "DataLoader.Eval.dataset.transform_ops.1.ResizeImage.size=48"]
    train(load_config(config_file, [*one, *more]))
    with pytest.raises(ConfigError, match="needs trained weights"):
        evaluate(load_config(folder / "config.yaml"))
    capsys.readouterr()
    weights = f"Global.pretrained_model={folder / 'best_model'}"
    found = evaluate(load_config(folder / "config.yaml", [weights]))
    assert f"weights  {folder / 'best_model.pdparams'}\n" in capsys.readouterr().err
    expected = load_config(config_file, [*ready, *more, "Global.checkpoints=null", weights])
    assert found.means == evaluate(expected).means


@pytest.mark.training
def test_a_run_that_goes_on_elsewhere_names_weights_that_are_there(
    config_file: Path, overrides: list[str], finished_run: Path, tmp_path: Path
) -> None:
    first = finished_run
    progress = read_pickle(first / "latest.pdstates")
    progress["progress"]["best_metric"] = 2.0  # No evaluation will be better.
    contents = {
        ".pdparams": read_pickle(first / "latest.pdparams"),
        ".pdopt": read_pickle(first / "latest.pdopt"),
        ".pdstates": progress,
    }
    write_checkpoint(first / "latest", contents, epoch=1, step=0)
    more = [f"Global.output_dir={tmp_path / 'on'}", f"Global.checkpoints={first / 'latest'}"]
    result = train(load_config(config_file, [*overrides, *more]))
    assert result.best == tmp_path / "on/SqueezeNet1_1/latest.pdparams"
    assert result.best.is_file()


def test_a_refused_run_leaves_no_folder(config_file: Path, overrides: list[str], tmp_path) -> None:
    with pytest.raises(WeightsError, match="no checkpoint to resume"):
        train(load_config(config_file, [*overrides, "Global.checkpoints=gone"]))
    assert not (tmp_path / "output/SqueezeNet1_1").exists()


@pytest.mark.training
def test_auto_begins_again_where_a_kill_left_no_checkpoint(
    config_file: Path, overrides: list[str], shared_run: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "output/SqueezeNet1_1"
    folder.mkdir(parents=True)
    for name in ("config.yaml", "label_list.txt", "runs.jsonl", "train.log"):
        shutil.copy(shared_run / name, folder)
    (folder / "metrics.jsonl").write_text((shared_run / "metrics.jsonl").read_text()[:99])
    (folder / "latest.new.pdparams").write_text("half")
    (folder / ".latest.new.pdopt.7.tmp").write_text("half")
    one = [*overrides, "Global.epochs=1"]
    with pytest.raises(
        ConfigError, match=r"holds an earlier run \(config\.yaml\).*checkpoints=auto"
    ):
        train(load_config(config_file, one))
    assert not list(folder.glob("*.new.*"))
    train(load_config(config_file, [*one, "Global.checkpoints=auto"]))
    assert "starting a new run" in (folder / "train.log").read_text()
    assert open_checkpoint(folder / "latest").epoch == 1
    # What has no manifest is neither resumed nor overwritten.
    for path in folder.glob("*.json"):
        path.unlink()
    before = {p.name: p.read_bytes() for p in folder.glob("*.pd*")}
    with pytest.raises(ConfigError, match=r"holds best_model, without a manifest"):
        train(load_config(config_file, [*one, "Global.checkpoints=auto"]))
    assert {p.name: p.read_bytes() for p in folder.glob("*.pd*")} == before


@pytest.mark.training
def test_a_list_that_changed_behind_its_path_is_named(
    config_file: Path, overrides: list[str], finished_run: Path, colours: Path, tmp_path: Path
) -> None:
    def lists(train_lines: list[str], val_lines: list[str]) -> list[str]:
        for name, lines in (("Train", train_lines), ("Eval", val_lines)):
            (tmp_path / f"{name}.txt").write_text("".join(lines), encoding="utf-8")
        keys = [
            f"DataLoader.{n}.dataset.cls_label_path={tmp_path / n}.txt" for n in ("Train", "Eval")
        ]
        return [*overrides, *keys, "Global.checkpoints=auto"]

    seen, val = (
        (colours / name).read_text(encoding="utf-8").splitlines(keepends=True)
        for name in ("train_list.txt", "val_list.txt")
    )
    result = train(load_config(config_file, [*lists(seen, val), "Global.epochs=2"]))
    assert result.warnings == ()
    result = train(load_config(config_file, [*lists(seen[1:], val[::-1]), "Global.epochs=3"]))
    said = "changed since the checkpoint was saved: the images or labels of DataLoader."
    assert result.warnings == (
        f"{said}Train (27 images, now 26)",
        f"{said}Eval (9 images)",
    )
    assert all(line in (finished_run / "train.log").read_text() for line in result.warnings)
    # Within an epoch, a place among other images means nothing.
    states = read_pickle(finished_run / "latest.pdstates")
    states["progress"] |= {"step": 2, "totals": {"count": 16, "sums": [1.0, 2.0, 3.0]}}
    contents = {
        ".pdparams": read_pickle(finished_run / "latest.pdparams"),
        ".pdopt": read_pickle(finished_run / "latest.pdopt"),
        ".pdstates": states,
    }
    write_checkpoint(finished_run / "latest", contents, epoch=3, step=2)
    with pytest.raises(
        DataError, match=r"latest: at step 2 of an epoch of 26 images, but .* has 27"
    ):
        train(load_config(config_file, [*lists(seen, val), "Global.epochs=4"]))
    larger = [*lists(seen[1:], val), "DataLoader.Train.sampler.batch_size=26", "Global.epochs=4"]
    with pytest.raises(WeightsError, match=r"progress\.step is 2, but an epoch has 1 updates"):
        train(load_config(config_file, larger))
    other = [*lists(seen[1:], val), "Metric.Train=null", "Global.epochs=4"]
    with pytest.raises(
        WeightsError, match=r"progress\.totals\.sums has 3 numbers, but the run sums"
    ):
        train(load_config(config_file, other))


def test_a_run_that_moved_with_its_data_is_read_where_it_is(
    shared_run: Path, colours: Path, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    gone, here = tmp_path / "gone", tmp_path / "here"
    run = shutil.copytree(shared_run, here / "project/output" / shared_run.name)
    shutil.copytree(colours, here / "photos")
    text = (run / "config.yaml").read_text(encoding="utf-8")
    text = text.replace(str(shared_run.parents[1]), str(gone / "project"))
    (run / "config.yaml").write_text(text.replace(str(colours), str(gone / "photos")))
    config = load_config(run / "config.yaml")
    assert config.Global.output_dir == str(here / "project/output")
    for part in (config.DataLoader.Train, config.DataLoader.Eval):
        assert part.dataset.image_root == str(here / "photos")
    assert config.Infer.PostProcess.class_id_map_file == str(run / "label_list.txt")
    (note,) = config.notes
    assert f"the run has moved from {gone / 'project/output'}" in note
    assert note.count(str(here)) > 5
    capsys.readouterr()
    found = evaluate(load_config(run / "config.yaml", [f"Global.pretrained_model={run}/latest"]))
    assert found.count == 9
    assert note in capsys.readouterr().err
    assert train(load_config(run / "config.yaml", ["Global.checkpoints=auto"])).was_finished
    assert not gone.exists()
    # What the user names is not replaced.
    own = f"DataLoader.Eval.dataset.image_root={gone / 'photos'}"
    assert load_config(run / "config.yaml", [own]).DataLoader.Eval.dataset.image_root == str(
        gone / "photos"
    )
    # A configuration alone is no run.
    shutil.copy(run / "config.yaml", here / "config.yaml")
    assert load_config(here / "config.yaml").notes == ()


@pytest.mark.training
@pytest.mark.parametrize("name", ["train.log", "runs.jsonl", "metrics.jsonl"])
def test_a_run_does_not_write_through_a_link(
    config_file: Path, overrides: list[str], finished_run: Path, tmp_path: Path, name: str
) -> None:
    shutil.move(finished_run / name, tmp_path / name)
    (finished_run / name).symlink_to(tmp_path / name)
    before = (tmp_path / name).read_bytes()
    more = [*overrides, "Global.checkpoints=auto", "Global.epochs=2"]
    if name == "metrics.jsonl":  # replaced as a whole, and the link with it
        train(load_config(config_file, more))
        assert not (finished_run / name).is_symlink()
    else:
        with pytest.raises(RunError, match=f"{name}: cannot write: a symbolic link"):
            train(load_config(config_file, more))
    assert (tmp_path / name).read_bytes() == before

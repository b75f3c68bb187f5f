"""What is read back from a run's folder is checked, and nothing outside of it is written."""

from __future__ import annotations

import json
import math
import os
import pickle
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import paddle
import pytest

from ppcls.checkpoints.files import copy_checkpoint, open_checkpoint, write_checkpoint
from ppcls.checkpoints.records import Manifest, SamplesRecord
from ppcls.checkpoints.run_folder import RunFolder, locked
from ppcls.errors import PpclsError, RunError, WeightsError
from ppcls.files import move, open_log, replacing, sha256
from ppcls.training.ema import WeightAverage
from ppcls.training.log import MetricsFile
from ppcls.training.precision import Precision
from ppcls.training.provenance import changed_machine
from ppcls.training.resume import changed_samples, check_place
from ppcls.training.state import TrainState

STEPS, METRICS = 4, ["top1", "top5"]
RECORDS: Any = {
    "Train": SamplesRecord(count=32, sha256="0" * 64),
    "Eval": SamplesRecord(count=8, sha256="1" * 64),
}


def new_state() -> TrainState:
    paddle.seed(0)
    model: Any = paddle.nn.Sequential(paddle.nn.Linear(3, 4), paddle.nn.Linear(4, 2))
    model.name, model.head, model.first_conv = "Small", "", ""
    adam = paddle.optimizer.AdamW(0.01, parameters=model.parameters())
    state = TrainState(model, adam, Precision(None, "cpu"), WeightAverage(model, 0.9))
    state.samples = dict(RECORDS)
    return state


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder whose sub-folder `run` holds a checkpoint at step 2 of the second epoch."""
    state, root = new_state(), tmp_path_factory.mktemp("trained")
    state.model(paddle.ones([2, 3])).square().mean().backward()
    state.optimizer.step()
    progress = state.progress
    progress.epoch, progress.step, progress.best_metric, progress.best_epoch = 1, 2, 0.5, 1
    progress.watched = [0.5]
    names = ("best_model", "epoch_1")
    contents = state.state_dict()
    contents[".pdstates"]["progress"]["totals"] = {"count": 16, "sums": [3.5, 2.0, 4.0]}
    (root / "run").mkdir()
    write_checkpoint(root / "run/latest", contents, epoch=1, step=2, names=names)
    (root / "victim.json").write_text("precious")
    (root / "victim.pdparams").write_text("precious")
    return root


def resume(run: Path) -> TrainState:
    """Do what a resumed run does with its folder before it trains."""
    with locked(run):
        checkpoint = open_checkpoint(run / "latest")
        state = new_state()
        state.load_model(checkpoint, strict=True)
        known = state.load(checkpoint)
        changed_samples(known, state.samples, checkpoint)
        check_place(state.progress, checkpoint, STEPS, METRICS)
        for name in checkpoint.names:
            copy_checkpoint(checkpoint, RunFolder(run).checkpoint(name))
        return state


def outside(root: Path) -> dict[str, bytes]:
    return {p.name: p.read_bytes() for p in root.iterdir() if p.is_file()}


def set_at(data: Any, key: tuple[str, ...], value: Any) -> None:
    for part in key[:-1]:
        data = data[part]
    if value is MISSING:
        del data[key[-1]]
    else:
        data[key[-1]] = value


MISSING = object()
ODD = ["../../victim", "/etc/passwd", [1], {"a": 1}, True, -1, 10**30, math.nan, math.inf, b"x"]
NAMES = ["../victim", "../../X", "/abs/Y", "a/b", "..", ".", "", ".lock", "config", "latest"]
NAMES += ["epoch_x", "epoch_0", "epoch_1\n", "best_model\0", "e" * 5000, 1, None, ["best_model"]]
MANIFEST = [
    *((("epoch",), value) for value in [*ODD[:-1], None, "1", 0, 7]),
    *((("step",), value) for value in [*ODD[:-1], None, 1.5, 0, 3]),
    *((("names",), value) for value in ("best_model", 1, None, {"best_model": 1})),
    *((("names",), [name]) for name in NAMES),
    (("names",), ["best_model"] * 1000),
    *((("sha256",), value) for value in (MISSING, None, [], "x", {})),
    *((("sha256", ".pdopt"), value) for value in (1, None, "0" * 63, "G" * 64, "0" * 64, MISSING)),
    (("sha256", ".pdstates"), MISSING),
    (("sha256", ".pdparams"), MISSING),
    (("sha256", ".pdema"), MISSING),
    *((("sha256", s), "0" * 64) for s in ("/../../victim", "", ".exe", "../victim", ".lock")),
    (("more",), 1),
]
PROGRESS = [("progress", key) for key in ("epoch", "step", "best_epoch", "stale", "skipped")]
STATES = [
    *((key, value) for key in (("epoch",), *PROGRESS) for value in [*ODD, None, "1", 0.5]),
    *((("progress", key), 2) for key in ("epoch", "best_epoch", "stale")),
    (("progress", "step"), STEPS + 1),
    (("epoch",), 2),
    *((("metric",), value) for value in ODD if value not in (-1, 10**30)),
    *((("progress", "best_metric"), v) for v in ODD if v not in (-1, 10**30)),
    *((("progress", "watched"), value) for value in (None, "x", 1, ["x"], [None], [0.5, 0.5])),
    *((("progress", "totals"), value) for value in (None, {}, [], 1, {"count": 1}, "x")),
    *((("progress", "totals", "count"), value) for value in [*ODD, None, MISSING]),
    *((("progress", "totals", "sums"), value) for value in [*ODD, None, [], [1.0], [1.0] * 4]),
    (("progress", "totals", "sums"), [1.0, math.nan, 1.0]),
    (("progress", "totals", "sums"), [1.0, "x", 1.0]),
    (("progress", "more"), 1),
    *((("progress",), value) for value in (MISSING, None, [], "x", 1)),
    *((("optimizer",), value) for value in (MISSING, None, 1, "SGD", "x" * 10**5)),
    *((("pdparams",), value) for value in (MISSING, None, "other", "raw")),
    *((("scaler",), value) for value in ([], "x", {"scale": 1.0}, {"scale": math.nan})),
    *((("without_accumulators",), v) for v in (None, "x", [1], ["../victim"], {"0.weight": 1})),
    *((("samples",), v) for v in (None, [], {"Train": 1}, {"Test": RECORDS["Train"].model_dump()})),
    *((("samples", "Train", "count"), v) for v in [*ODD, 33]),
    (("samples", "Train", "sha256"), "../victim"),
    (("more",), 1),
]


def ids(cases: list[tuple[tuple[str, ...], Any]]) -> list[str]:
    return [f"{'.'.join(key)}-{i}" for i, (key, _) in enumerate(cases)]


def refuse(root: Path, file: str) -> str:
    before = outside(root)
    with pytest.raises(PpclsError) as error:
        resume(root / "run")
    assert outside(root) == before
    message = str(error.value)
    assert message.startswith(str(root / "run" / file)), message
    assert len(message) < 1000
    assert "\n" not in message
    return message


def rewrite(root: Path, suffix: str, content: bytes) -> None:
    """Replace a file of the checkpoint, and let the manifest say so."""
    path = root / f"run/latest{suffix}"
    path.write_bytes(content)
    manifest = json.loads((root / "run/latest.json").read_text())
    manifest["sha256"][suffix] = sha256(path)
    (root / "run/latest.json").write_text(json.dumps(manifest))


def pickled(root: Path, suffix: str) -> Any:
    return pickle.loads((root / f"run/latest{suffix}").read_bytes())


@pytest.fixture
def root(trained: Path, tmp_path: Path) -> Path:
    return shutil.copytree(trained, tmp_path / "root")


def test_an_unchanged_checkpoint_is_resumed(root: Path) -> None:
    before = outside(root)
    state = resume(root / "run")
    assert (state.progress.epoch, state.progress.step) == (1, 2)
    assert state.progress.totals.sums == [3.5, 2.0, 4.0]
    assert open_checkpoint(root / "run/best_model").epoch == 1
    assert outside(root) == before
    again = state.state_dict()
    found = pickled(root, ".pdopt")
    assert {k: sorted(v) for k, v in again[".pdopt"].items()} == {
        k: sorted(v) for k, v in found.items()
    }
    for key, accumulators in found.items():
        for name, value in accumulators.items():
            assert np.array_equal(again[".pdopt"][key][name], value)
    assert again[".pdstates"] == pickled(root, ".pdstates")


@pytest.mark.parametrize(("key", "value"), MANIFEST, ids=ids(MANIFEST))
def test_a_wrong_manifest_is_named(root: Path, key: tuple[str, ...], value: Any) -> None:
    path = root / "run/latest.json"
    manifest = json.loads(path.read_text())
    set_at(manifest, key, value)
    path.write_text(json.dumps(manifest))
    refuse(root, "latest")
    assert sorted(p.name for p in (root / "run").iterdir()) == sorted(
        [".lock", *(f"latest{s}" for s in (".json", ".pdparams", ".pdopt", ".pdstates", ".pdema"))]
    )


@pytest.mark.parametrize(
    "text",
    [b"", b"[]", b"null", b"1", b'"x"', b"{", b"\xff\xfe", b"[" * 10**5, b"9" * 5000, b"{}"],
    ids=lambda text: repr(text[:6]),
)
def test_what_is_no_manifest_is_named(root: Path, text: bytes) -> None:
    (root / "run/latest.json").write_bytes(text)
    refuse(root, "latest.json: not the manifest of a checkpoint: ")


def test_a_manifest_without_end_is_not_read(root: Path) -> None:
    with (root / "run/latest.json").open("wb") as file:
        file.truncate(1 << 40)
    assert "larger than 16 MiB" in refuse(root, "latest.json: cannot read the manifest")


@pytest.mark.parametrize(("key", "value"), STATES, ids=ids(STATES))
def test_a_wrong_state_is_named(root: Path, key: tuple[str, ...], value: Any) -> None:
    states = pickled(root, ".pdstates")
    set_at(states, key, value)
    rewrite(root, ".pdstates", pickle.dumps(states, protocol=4))
    message = refuse(root, "latest")
    part = "DataLoader.Train" if key == ("samples", "Train", "count") and value == 33 else key[-1]
    # A record that is missing is named by what is left without it.
    assert part in message or key[0] in message


@pytest.mark.parametrize("content", [None, [], "x", 1, {}, {1: 2}, np.zeros(3)], ids=repr)
def test_what_is_no_state_is_named(root: Path, content: Any) -> None:
    rewrite(root, ".pdstates", pickle.dumps(content, protocol=4))
    refuse(root, "latest.pdstates: ")


def emptied(found: Any) -> Any:
    return {}


def change(name: str, to: Callable[[np.ndarray], Any]) -> Callable[[Any], Any]:
    def changed(found: Any) -> Any:
        found["1.weight"][name] = to(found["1.weight"][name])
        return found

    return changed


def without(*keys: str) -> Callable[[Any], Any]:
    def removed(found: Any) -> Any:
        inner = found
        for key in keys[:-1]:
            inner = inner[key]
        del inner[keys[-1]]
        return found

    return removed


OPTIMIZER: list[tuple[Callable[[Any], Any], str]] = [
    (emptied, "lacks .* of 0.weight"),
    (without("1.bias"), "lacks .* of 1.bias"),
    (without("1.weight", "moment2_0"), "lacks moment2_0 of 1.weight"),
    (change("moment1_0", lambda a: a[:1]), r"moment1_0 of 1.weight: its shape is \(1, 2\)"),
    (change("moment1_0", lambda a: a.astype("f8")), "its type is float64; expected float32"),
    (change("moment1_0", lambda a: a * np.float32(np.nan)), "not finite"),
    (change("moment1_0", lambda a: a.tolist()), "expected an array, not list"),
    (change("beta1_pow_acc_0", lambda a: a.reshape(1, 1)), "beta1_pow_acc_0 of 1.weight: its sh"),
    (lambda found: found | {"other": found["1.bias"]}, "for another model: other is not in this"),
    (lambda found: {k: {"velocity_0": v["moment1_0"]} for k, v in found.items()}, "another optim"),
    (lambda found: found | {"1.bias": None}, "1.bias: expected a map of arrays, found NoneType"),
    (lambda found: list(found), "expected a map of parameters, found list"),
    (lambda found: found | {7: {}}, ""),
]


@pytest.mark.parametrize(
    ("edit", "problem"), OPTIMIZER, ids=[f"{i}" for i in range(len(OPTIMIZER))]
)
def test_an_optimizer_that_does_not_fit_the_run_is_named(
    root: Path, edit: Callable[[Any], Any], problem: str
) -> None:
    rewrite(root, ".pdopt", pickle.dumps(edit(pickled(root, ".pdopt")), protocol=4))
    message = refuse(root, "latest.pdopt: ")
    assert re.search(problem, message), message


@pytest.mark.parametrize("key", ["0.weight", "1.bias"])
def test_averages_that_do_not_fit_are_named(root: Path, key: str) -> None:
    averages = pickled(root, ".pdparams")
    averages[key] = averages[key][:1]
    rewrite(root, ".pdparams", pickle.dumps(averages, protocol=4))
    assert f"{key}: " in refuse(root, "latest.pdparams: ")
    del averages[key]
    rewrite(root, ".pdparams", pickle.dumps(averages, protocol=4))
    assert f"{key}: missing" in refuse(root, "latest.pdparams: ")


def test_a_parameter_without_gradient_yet_is_resumed(root: Path) -> None:
    state = new_state()
    state.model[1](paddle.ones([2, 4])).square().mean().backward()
    state.optimizer.step()
    contents = state.state_dict()
    assert contents[".pdstates"]["without_accumulators"] == ["0.weight", "0.bias"]
    write_checkpoint(root / "run/latest", contents, epoch=0, step=0)
    resumed = resume(root / "run")
    for each in (state, resumed):
        each.optimizer.clear_grad()
        each.model(paddle.ones([2, 3])).square().mean().backward()
        each.optimizer.step()
    ours, theirs = state.model.state_dict(), resumed.model.state_dict()
    assert all(np.array_equal(ours[key].numpy(), theirs[key].numpy()) for key in ours)


# Links --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("make", [os.symlink, os.link])
def test_a_lock_that_is_another_file_is_not_written(root: Path, make: Any) -> None:
    make(root / "victim.json", root / "run/.lock")
    assert "link" in refuse(root, ".lock: cannot write: ")


@pytest.mark.parametrize("name", ["latest", "best_model", "vdl", "0"])
def test_a_folder_that_leads_out_of_the_run_is_refused(root: Path, name: str) -> None:
    (root / "elsewhere").mkdir()
    (root / "elsewhere/ppcls.pdparams").write_text("precious")
    (root / "elsewhere/.ppcls.json.1.tmp").write_text("precious")
    (root / "run" / name).symlink_to(root / "elsewhere")
    refuse(root, f"{name}: a symbolic link")
    assert len(list((root / "elsewhere").iterdir())) == 2
    assert RunFolder(root / "run", "flat").prefixes() == [root / "run/latest"]


def test_links_in_place_of_what_a_run_writes_are_replaced(root: Path) -> None:
    before, run = outside(root), root / "run"
    names = ["best_model.json", "best_model.pdparams", "best_model.new.pdparams", "epoch_1.json"]
    names += [f".best_model.json.{os.getpid()}.tmp", f".config.yaml.{os.getpid()}.tmp"]
    for name in names:
        (run / name).symlink_to(root / "victim.json")
    resume(run)
    (run / f".config.yaml.{os.getpid()}.tmp").symlink_to(root / "victim.json")
    with replacing(run / "config.yaml") as file:
        file.write_text("new")
    assert outside(root) == before
    assert not any(path.is_symlink() for path in run.iterdir())
    assert open_checkpoint(run / "best_model").epoch == 1


@pytest.mark.parametrize("name", ["train.log", "metrics.jsonl", "runs.jsonl"])
@pytest.mark.parametrize("append", [True, False])
def test_a_log_never_grows_in_another_file(tmp_path: Path, name: str, append: bool) -> None:
    victim, log = tmp_path / "victim", tmp_path / name
    victim.write_text("precious\n")
    log.symlink_to(victim)
    with pytest.raises(RunError, match=rf"{name}: cannot write: a symbolic link"):
        open_log(log, append=append)
    log.unlink()
    os.link(victim, log)
    with open_log(log, append=append) as file:
        file.write("more\n")
    assert victim.read_text() == "precious\n"
    assert log.read_text() == ("precious\nmore\n" if append else "more\n")
    log.unlink()
    os.mkfifo(log)
    with pytest.raises(RunError, match=f"{name}: cannot write: "):
        open_log(log, append=append)


# Renames ------------------------------------------------------------------------------------------


def test_no_new_file_stays_between_names_of_the_same_file(root: Path) -> None:
    run = root / "run"
    for _ in range(2):
        resume(run)
    assert not list(run.glob("*.new.*"))
    (run / "a").write_text("x")
    os.link(run / "a", run / "b")
    move(run / "a", run / "b")
    assert not (run / "a").exists()
    assert (run / "b").read_text() == "x"


def test_what_a_kill_left_is_moved_or_removed(root: Path) -> None:
    run = root / "run"
    resume(run)
    # Killed between the manifest and the second file, and before another manifest.
    (run / "latest.pdopt").rename(run / "latest.new.pdopt")
    (run / "epoch_1.new.pdparams").write_text("half")
    (run / "best_model.new.pdema").write_text("half")
    (run / ".latest.new.pdparams.7.tmp").write_text("half")
    (run / "mine.new.pdparams").write_text("a user's own")
    resume(run)
    assert [p.name for p in run.glob("*.new.*")] == ["mine.new.pdparams"]
    assert not list(run.glob(".*.tmp"))
    assert open_checkpoint(run / "latest").files[".pdopt"].name == "latest.pdopt"


# Logs ---------------------------------------------------------------------------------------------


class _Trainer:
    def __init__(self, epoch: int, step: int):
        self.state = new_state()
        self.state.progress.epoch, self.state.progress.step = epoch, step


EVAL = '{"kind": "eval", "epoch": 1, "loss": 0.5, "top1": 1.0}\n'


@pytest.mark.parametrize(
    "line",
    [
        "[]",
        "1",
        "{}",
        "half",
        '{"kind": "eval", "epoch": "x", "loss": 1.0}',
        '{"kind": "eval", "epoch": -1, "loss": 1.0}',
        '{"kind": "eval", "epoch": 1}',
        '{"kind": "train", "epoch": 1, "loss": 1.0}',
        '{"kind": "other", "epoch": 1, "loss": 1.0}',
        '{"kind": "eval", "epoch": 1, "loss": 1.0, "top1": "x"}',
        "[" * 10**5,
    ],
    ids=lambda line: line[:40],
)
def test_a_line_that_is_no_record_is_named(tmp_path: Path, line: str) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(f"{EVAL}{line}\n{EVAL}")
    trainer: Any = _Trainer(1, 0)
    with pytest.raises(RunError, match=r"metrics\.jsonl:2: not a record of a run: "):
        MetricsFile(tmp_path).on_start(trainer)
    assert path.read_text() == f"{EVAL}{line}\n{EVAL}"


def test_records_after_the_checkpoint_and_half_a_line_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    lines = [
        f'{{"kind": "train", "epoch": 2, "step": {i}, "lr": 0.1, "loss": NaN}}\n' for i in "012"
    ]
    path.write_text("".join([EVAL, *lines]) + '{"kind": "tra')
    trainer: Any = _Trainer(1, 2)
    log = MetricsFile(tmp_path)
    log.on_start(trainer)
    log.on_end(trainer, None)
    assert path.read_text() == "".join([EVAL, *lines[:2]])


@pytest.mark.parametrize(
    "line", ["", "x", "[]", '{"device": 1}', '{"device": "cpu", "processes": "x"}', "[" * 10**5]
)
def test_a_start_that_cannot_be_read_is_told(tmp_path: Path, line: str) -> None:
    good = '{"device": "cpu", "processes": 1, "more": [1]}'
    (tmp_path / "runs.jsonl").write_text(f"{good}\n")
    assert changed_machine(tmp_path, "cpu", 1) == []
    assert changed_machine(tmp_path, "gpu", 2) == ["device cpu -> gpu", "processes 1 -> 2"]
    (tmp_path / "runs.jsonl").write_text(f"{good}\n{line}\n")
    (found,) = changed_machine(tmp_path, "cpu", 1)
    assert "runs.jsonl: cannot read its end" in found


def test_a_manifest_is_written_as_it_is_read(root: Path) -> None:
    text = (root / "run/latest.json").read_text()
    assert Manifest.model_validate_json(text).model_dump() == json.loads(text)
    assert list(json.loads(text)) == ["epoch", "step", "names", "sha256"]


def test_a_checkpoint_is_found_by_any_of_its_files(root: Path) -> None:
    for suffix in ("", ".pdparams", ".pdopt", ".json"):
        assert open_checkpoint(root / f"run/latest{suffix}").prefix == root / "run/latest"


@pytest.mark.parametrize("name", ["/", ".", "..", "", "./", "//", "a\0b", "x" * 5000, ".pdparams"])
def test_a_place_without_a_checkpoint_is_named(name: str) -> None:
    with pytest.raises(
        WeightsError,
        match=r"a folder, not a checkpoint|no checkpoint to resume|Global\.pretrained_model",
    ):
        open_checkpoint(name)


@pytest.mark.parametrize(("kind", "name"), [("Momentum", "velocity"), ("AdamW", "moment1")])
def test_weights_of_16_bits_resume_with_their_accumulators(
    tmp_path: Path, kind: str, name: str
) -> None:
    """As far as a CPU can: it has no kernels for the step itself."""

    def new() -> TrainState:
        model: Any = paddle.nn.Linear(3, 4)
        model.to(dtype="bfloat16")
        make = getattr(paddle.optimizer, kind)
        optimizer = make(0.1, parameters=model.parameters(), multi_precision=True)
        return TrainState(model, optimizer, Precision(None, "cpu"), None)

    first, second = new(), new()
    block = paddle.static.default_main_program().global_block()
    first.optimizer._create_accumulators(block, first.model.parameters())
    contents = first.state_dict()
    write_checkpoint(tmp_path / "latest", contents, epoch=0, step=0)
    second.load(open_checkpoint(tmp_path / "latest"))
    again = second.state_dict()[".pdopt"]
    for key, accumulators in contents[".pdopt"].items():
        assert "master_weight" in accumulators
        for each, value in accumulators.items():
            assert np.array_equal(again[key][each], value)
    # What the step looks up.
    for parameter in second.model.parameters():
        second.optimizer._get_accumulator_master(name, parameter)

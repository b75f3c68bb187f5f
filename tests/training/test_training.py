"""Training learns, schedules follow the published ones, evaluation is exact."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import paddle
import pytest
from conftest import ROOT
from pydantic import TypeAdapter

import ppcls
from ppcls.checkpoints.files import checkpoint_weights, open_checkpoint, write_checkpoint
from ppcls.checkpoints.weights import find_weights
from ppcls.config import load_config
from ppcls.data.lists import read_label_names
from ppcls.devices import select_device
from ppcls.errors import ConfigError, RunError, Stopped, WeightsError
from ppcls.evaluation.evaluate import evaluate
from ppcls.losses.base import weighted_sum
from ppcls.losses.classification import CELoss
from ppcls.metrics.single_label import TopkAcc
from ppcls.models.weight_files import read_pickle, read_weights
from ppcls.models.weights import save_weights
from ppcls.optim.schedules import ScheduleOption
from ppcls.training.dry_run import check_training
from ppcls.training.profile import ProfileOptions
from ppcls.training.totals import Totals
from ppcls.training.train import train

SCHEDULES = json.loads((ROOT / "tests/facts/learning_rates.json").read_text())


@pytest.mark.parametrize("name", SCHEDULES)
def test_learning_rates_are_the_published_ones(name: str) -> None:
    facts = SCHEDULES[name]
    options = dict(facts["lr"])
    if "values" in options:
        # The published file states the first value twice.
        assert options.pop("learning_rate") == options["values"][0]
    schedule = TypeAdapter(ScheduleOption).validate_python(options)
    rate = schedule.curve(facts["epochs"], facts["steps_per_epoch"])
    for step, expected in facts["lr_at_step"]:
        if schedule.name == "Cosine" and not schedule.warmup_epoch:
            # Without a warmup the published code runs one step ahead after the first.
            assert rate(step + 1) * (1 - 1e-9) <= expected <= rate(step) * (1 + 1e-9)
        else:
            assert rate(step) == pytest.approx(expected, rel=1e-6)


def records(folder: Path, kind: str) -> list[dict]:
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [r for r in map(json.loads, lines) if r["kind"] == kind]


@pytest.mark.training
def test_a_run_learns_and_leaves_what_it_says(config_file: Path, overrides: list[str]) -> None:
    asked = [
        *overrides,
        "Global.epochs=12",
        "Global.save_interval=8",
        "Optimizer={name: AdamW, lr: {name: Cosine, learning_rate: 0.001, warmup_epoch: 1}}",
    ]
    result = train(load_config(config_file, asked))
    checkpoints = {
        f"{name}.{suffix}"
        for name in ("latest", "best_model", "epoch_8")
        for suffix in ("pdparams", "pdopt", "pdstates", "json")
    }
    others = {".lock", "classes.csv", "config.yaml", "curves.png", "label_list.txt"}
    others |= {"metrics.jsonl", "runs.jsonl", "train.log"}
    assert {p.name for p in result.folder.iterdir()} == checkpoints | others
    names = f"Infer.PostProcess.class_id_map_file={result.folder / 'label_list.txt'}"
    assert load_config(result.folder / "config.yaml") == load_config(config_file, [*asked, names])
    assert read_label_names(result.folder / "label_list.txt") == ["bleu pâle", "green", "red"]
    steps, evals = records(result.folder, "train"), records(result.folder, "eval")
    assert [r["step"] for r in steps if r["epoch"] == 1] == [0, 2, 3]
    assert steps[-1]["loss"] < 0.8 * steps[0]["loss"]
    assert [r["epoch"] for r in evals] == list(range(1, 13))
    assert result.best_metric == max(r["top1"] for r in evals)
    log = (result.folder / "train.log").read_text()
    assert "[Train][Epoch 12/12][Iter: 3/4]lr(Cosine): 0.0000" in log
    for part in ("top1: ", "CELoss: ", "loss: ", "batch_cost: ", "reader_cost: ", "ips: ", "eta: "):
        assert part in log
    assert "[Eval][Epoch 12][Avg]loss: " in log

    found = evaluate(
        load_config(config_file, [*overrides, f"Global.pretrained_model={result.best}"])
    )
    best = next(r for r in reversed(evals) if r["top1"] == result.best_metric)
    assert found.count == 9
    assert found.means["top1"] == best["top1"]
    assert found.means["loss"] == pytest.approx(best["loss"], rel=1e-6)


@pytest.mark.training
def test_the_same_seed_gives_the_same_run(
    config_file: Path, overrides: list[str], tmp_path
) -> None:
    weights = []
    for name, workers, seed in (("a", 2, 1), ("b", 0, 1), ("c", 2, 2)):
        more = [
            f"Global.output_dir={tmp_path / name}",
            f"Global.seed={seed}",
            f"DataLoader.Train.loader.num_workers={workers}",
        ]
        result = train(load_config(config_file, [*overrides, *more]))
        weights.append(read_weights(result.folder / "latest"))
    first, again, other = weights
    assert all((first[k] == again[k]).all() for k in first)
    assert not all((first[k] == other[k]).all() for k in first)


# The state of any optimizer is kept in the same way; Momentum and AdamW have the two kinds of it.
@pytest.mark.training
@pytest.mark.parametrize(
    "optimizer",
    ["Momentum", "AdamW"]
    + [pytest.param(name, marks=pytest.mark.slow) for name in ("SGD", "Adam", "RMSProp")],
)
def test_a_resumed_run_is_the_run_that_never_stopped(
    config_file: Path, overrides: list[str], tmp_path: Path, optimizer: str
) -> None:
    lr = "{name: Cosine, learning_rate: 0.001}"
    asked = [*overrides, "Global.epochs=4", f"Optimizer={{name: {optimizer}, lr: {lr}}}"]
    asked.append(
        "DataLoader.Train.dataset.batch_transform_ops="
        "[{MixupOperator: {alpha: 0.2}}, {CutmixOperator: {alpha: 1.0}}]"
    )
    whole = train(load_config(config_file, asked)).folder
    # What a run leaves that is killed in its third epoch.
    killed = tmp_path / "killed/SqueezeNet1_1"
    shutil.copytree(whole, killed)
    for path in [*killed.glob("best*"), *killed.glob("epoch_[34]*"), *killed.glob("latest*")]:
        path.unlink()
    lines = (whole / "metrics.jsonl").read_text().splitlines(keepends=True)
    third = next(i for i, line in enumerate(lines) if json.loads(line)["epoch"] == 3)
    (killed / "metrics.jsonl").write_text("".join(lines[: third + 1]) + '{"kind": "tr')
    ppcls.create_model("SqueezeNet1_1")  # another model first: Paddle's own names are now others
    more = [f"Global.output_dir={tmp_path / 'killed'}", f"Global.checkpoints={killed / 'epoch_2'}"]
    resumed = train(load_config(config_file, [*asked, *more]))
    assert resumed.folder == killed
    for name in ("latest", "epoch_4"):
        expected, found = read_weights(whole / name), read_weights(killed / name)
        assert all((expected[k] == found[k]).all() for k in expected)
    times = ("batch_cost", "reader_cost", "ips", "eta", "max_mem_resident")
    for kind in ("train", "eval"):
        expected, found = (
            [{k: v for k, v in r.items() if k not in times} for r in records(folder, kind)]
            for folder in (whole, killed)
        )
        assert expected == found


def test_a_checkpoint_is_whole_at_any_instant_or_refused(tmp_path: Path) -> None:
    def contents(epoch: int) -> dict:
        weights = {"weight": np.full([2], epoch, "float32")}
        return {".pdparams": weights, ".pdopt": {"epoch": epoch}, ".pdstates": {"epoch": epoch}}

    prefix = tmp_path / "latest"
    write_checkpoint(prefix, contents(1), epoch=1, step=0)
    first = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    write_checkpoint(prefix, contents(2), epoch=2, step=0)
    second = {p.name: p.read_bytes() for p in tmp_path.iterdir()}
    names = ["latest.pdparams", "latest.pdopt", "latest.pdstates"]
    new = {n: n.replace("latest", "latest.new") for n in names}
    # Every instant of a save: new files come one by one, the manifest, then the renames one by one.
    instants = [dict(first)]
    for name in names:
        instants.append(instants[-1] | {new[name]: second[name]})
    instants.append(instants[-1] | {"latest.json": second["latest.json"]})
    for name in names:
        after = instants[-1] | {name: second[name]}
        del after[new[name]]
        instants.append(after)
    epochs = []
    for i, files in enumerate(instants):
        folder = tmp_path / str(i)
        folder.mkdir()
        for name, content in files.items():
            (folder / name).write_bytes(content)
        found = open_checkpoint(folder / "latest")
        assert read_weights(checkpoint_weights(folder / "latest"))["weight"][0] == found.epoch
        for suffix in (".pdopt", ".pdstates"):
            assert read_pickle(found.files[suffix]) == {"epoch": found.epoch}
        epochs.append(found.epoch)
    assert epochs == [1] * 4 + [2] * 4
    (tmp_path / "latest.pdopt").write_bytes(first["latest.pdopt"][:-1])
    with pytest.raises(WeightsError, match=r"latest\.pdopt: missing, or not the file that the run"):
        open_checkpoint(prefix)
    with pytest.raises(WeightsError, match=r"no checkpoint to resume: there is no gone\.json"):
        open_checkpoint(tmp_path / "gone")


def test_the_order_of_weights(config_file: Path, overrides: list[str], tmp_path: Path) -> None:
    model = ppcls.create_model("SqueezeNet1_1", class_num=3)
    contents = {".pdparams": {}, ".pdopt": {}, ".pdstates": {}}
    write_checkpoint(tmp_path / "run", contents, epoch=1, step=0)
    save_weights(model, tmp_path / "w.pdparams")
    asked = ["Arch.pretrained=true", f"Global.pretrained_model={tmp_path / 'w'}"]
    found = find_weights(load_config(config_file, [*overrides, *asked]))
    file = tmp_path / "w.pdparams"
    assert found == (file, [f"Global.pretrained_model wins over Arch.pretrained: {file}"])
    asked.append(f"Global.checkpoints={tmp_path / 'run'}")
    path, notes = find_weights(load_config(config_file, [*overrides, *asked]))
    assert path == tmp_path / "run.pdparams"
    assert notes == [
        f"Global.checkpoints wins over Global.pretrained_model: {path}",
        f"Global.checkpoints wins over Arch.pretrained: {path}",
    ]


@pytest.mark.training
def test_an_earlier_run_is_not_written_over(
    config_file: Path, overrides: list[str], finished_run: Path
) -> None:
    config = load_config(config_file, [*overrides, "Global.epochs=1"])
    folder = finished_run
    before = {p: p.read_bytes() for p in folder.glob("[!.]*")}
    with pytest.raises(ConfigError, match=r"holds an earlier run \(config\.yaml\); choose"):
        train(config)
    assert {p: p.read_bytes() for p in folder.glob("[!.]*")} == before
    train(config, overwrite=True)
    assert (folder / "train.log").read_bytes() != before[folder / "train.log"]


@pytest.mark.training
def test_fine_tuning_starts_with_a_new_head(
    config_file: Path, overrides: list[str], finished_run: Path, tmp_path: Path
) -> None:
    more = [
        "Arch.class_num=5",
        "Infer.PostProcess.class_id_map_file=null",
        f"Global.pretrained_model={finished_run / 'latest'}",
        f"Global.output_dir={tmp_path / 'second'}",
        "Global.epochs=1",
        "Global.eval_during_train=false",
        "DataLoader.Eval=null",
    ]
    second = train(load_config(config_file, [*overrides, *more]))
    assert "3 classes in the file, 5 in the model" in (second.folder / "train.log").read_text()
    assert second.best_metric is None
    assert second.best.name == "latest.pdparams"
    assert read_weights(second.best)["_conv9.bias"].shape == (5,)


def test_a_loss_that_is_not_finite_stops_the_run(config_file: Path, overrides: list[str]) -> None:
    config = load_config(config_file, [*overrides, "Loss.Train=[{CELoss: {weight: 1e39}}]"])
    with pytest.raises(
        RunError,
        match=r"the loss is inf in epoch 1, step 0 \(learning rate 0\.02\), in the batch .*PNG",
    ):
        train(config)


def test_weights_that_are_no_numbers_are_no_success(
    config_file: Path, overrides: list[str], tmp_path: Path
) -> None:
    model = ppcls.create_model("HarDNet39_ds", class_num=3)
    # Finite weights whose outputs are not.
    stem = model.state_dict()[f"{model.first_conv}.weight"]
    stem.set_value(paddle.full(stem.shape, 3e38))
    save_weights(model, tmp_path / "huge.pdparams")
    more = ["Arch.name=HarDNet39_ds", f"Global.pretrained_model={tmp_path / 'huge'}"]
    config = load_config(config_file, [*overrides, *more])
    with pytest.raises(RunError, match="the loss of the evaluation is nan"):
        evaluate(config)
    with pytest.raises(RunError, match="the model's own outputs are not finite"):
        ppcls.export(config)


def test_totals_are_exact_for_any_batches() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(size=(23, 6))
    labels = rng.integers(0, 6, 23)
    loss_of = weighted_sum([CELoss()])
    shifted = np.exp(logits)
    expected = -np.log(shifted[np.arange(23), labels] / shifted.sum(1)).mean()
    ranks = (logits > logits[np.arange(23), labels][:, None]).sum(1)
    for size in (1, 5, 23):
        totals = Totals(TopkAcc(topk=[1, 3]).parts(6))
        for i in range(0, 23, size):
            x, y = paddle.to_tensor(logits[i : i + size]), paddle.to_tensor(labels[i : i + size])
            totals.add(loss_of(x, y), x, y)
        means = totals.means()
        assert means["top1"] == (ranks < 1).mean()
        assert means["top3"] == (ranks < 3).mean()
        assert means["loss"] == pytest.approx(expected, rel=1e-12)
        assert totals.count == 23


def test_label_smoothing_and_weights_of_losses() -> None:
    logits = np.array([[2.0, 0.0, -1.0]])
    log_p = logits - np.log(np.exp(logits).sum())
    target = np.array([0.9 + 0.1 / 3, 0.1 / 3, 0.1 / 3])
    smooth, plain = -(target * log_p).sum(), -log_p[0, 0]
    loss = weighted_sum([CELoss(epsilon=0.1, weight=2.0), CELoss()])
    found = loss(paddle.to_tensor(logits), paddle.to_tensor([0]))
    assert found.item() == pytest.approx(2 * smooth + plain, rel=1e-6)


def test_topk_is_limited_to_the_classes() -> None:
    for topk, class_num, keys in (([1, 5], 3, ["top1", "top3"]), ([5, 1], 9, ["top1", "top5"])):
        assert [part.key for part in TopkAcc(topk=topk).parts(class_num)] == keys


def test_a_gpu_that_is_not_there_is_named() -> None:
    if paddle.is_compiled_with_cuda() and paddle.device.cuda.device_count():
        pytest.skip("there is a GPU")
    assert select_device("auto") == "cpu"
    with pytest.raises(RunError, match=r"Global\.device is gpu, but the installed PaddlePaddle"):
        select_device("gpu")


@pytest.mark.training
def test_sign_language_digits_are_learned(shared: Path, tmp_path: Path) -> None:
    data = shared / "data/sign_digits"
    images = (data / "train_list.txt").read_text().splitlines()[::27]
    (tmp_path / "train_list.txt").write_text("\n".join(images))
    config = load_config(
        "quick_start/folder",
        [
            "Arch.class_num=10",
            "Optimizer={name: AdamW, lr: {name: Constant, learning_rate: 0.001}}",
            "DataLoader.Train.dataset.transform_ops.1={ResizeImage: {keep_ratio: false}}",
            "Global.image_size=32",
            "Global.epochs=12",
            "Global.eval_during_train=false",
            "Global.print_batch_step=1",
            f"Global.output_dir={tmp_path}",
            f"DataLoader.Train.dataset.image_root={data}",
            f"DataLoader.Train.dataset.cls_label_path={tmp_path / 'train_list.txt'}",
            "DataLoader.Eval=null",
            "Infer.PostProcess.class_id_map_file=null",
        ],
    )
    losses = [r["loss"] for r in records(train(config).folder, "train")]
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


@pytest.mark.training
def test_visualdl_gets_numbers_images_and_gradients(
    config_file: Path, overrides: list[str]
) -> None:
    asked = ["Global.epochs=1", "Global.use_visualdl=true", "Global.vdl_gradients=true"]
    folder = train(load_config(config_file, [*overrides, *asked])).folder
    (log,) = (folder / "vdl").iterdir()
    content = log.read_bytes()
    for tag in ("train/loss", "eval/top1", "train/images", "gradients/_conv9.weight"):
        assert tag.encode() in content


def test_a_profile_that_the_run_never_reaches_is_refused(
    config_file: Path, overrides: list[str]
) -> None:
    config = load_config(config_file, overrides)
    with pytest.raises(ConfigError, match=r"batch_range=\[1, 3000\]: the run ends after \d+ steps"):
        train(config, profile=ProfileOptions.parse("batch_range=[1, 3000]"))
    assert not list(Path(config.Global.output_dir).rglob("runs.jsonl"))


@pytest.mark.training
def test_some_steps_are_profiled(config_file: Path, overrides: list[str], tmp_path: Path) -> None:
    config = load_config(config_file, overrides)
    asked = ProfileOptions.parse(
        f"batch_range=[1, 3]; profile_path={tmp_path / 'trace'}; tracer_option=Default"
    )
    with pytest.raises(Stopped, match="profiled; the run ends here") as stopped:
        train(config, profile=asked)
    assert stopped.value.exit_status == 0
    (trace,) = (tmp_path / "trace").glob("*.json")
    names = {event.get("name") for event in json.loads(trace.read_text())["traceEvents"]}
    assert any("conv2d" in str(name) for name in names)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("batch_rang=[1, 2]", "did you mean 'batch_range'"),
        ("batch_range=[3, 2]", "expected two ascending steps"),
        ("sorted_key=totl", "did you mean 'total'"),
        ("timer_only=perhaps", "expected true or false"),
        ("profile", "expected a map of options"),
    ],
)
def test_a_wrong_profiler_option_is_named(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        ProfileOptions.parse(text)


@pytest.mark.training
def test_a_run_without_a_whole_checkpoint_says_which_are_damaged(
    config_file: Path, overrides: list[str], finished_run: Path
) -> None:
    for path in finished_run.glob("*.pdparams"):
        path.write_bytes(b"damaged")
    resume = load_config(config_file, [*overrides, "Global.checkpoints=auto"])
    with pytest.raises(WeightsError, match=r"are damaged \(skipped: .*pdparams"):
        train(resume)


def test_what_could_not_be_exported_is_said_before_it_is_trained(
    config_file: Path, overrides: list[str]
) -> None:
    lines = check_training(load_config(config_file, [*overrides, "Global.image_shape=[3,64,64]"]))
    assert "`ppcls export` will refuse this" in lines[-1]
    assert "is [3, 64, 64], but the evaluation transforms give [3, 32, 32]" in lines[-1]
    other = "DataLoader.Eval.dataset.transform_ops.2.NormalizeImage.mean=[0, 0, 0]"
    lines = check_training(load_config(config_file, [*overrides, other]))
    assert "Infer.transforms differ from DataLoader.Eval.dataset.transform_ops" in lines[-1]


def test_a_run_of_few_updates_is_told_how_to_make_more(
    config_file: Path, overrides: list[str], tmp_path: Path
) -> None:
    def said(*more: str) -> list[str]:
        lines = check_training(load_config(config_file, [*overrides, *more]))
        return [line for line in lines if " updates in all " in line]

    (line,) = said("Global.epochs=5")
    assert "20 updates in all (4 an epoch) are too few" in line
    assert "use a smaller batch (-o DataLoader.Train.sampler.batch_size=4)" in line
    assert not said("Global.epochs=25")
    assert not said("DataLoader.Train.sampler.batch_size=4")
    save_weights(ppcls.create_model("SqueezeNet1_1", class_num=3), tmp_path / "w.npz")
    assert not said(f"Global.pretrained_model={tmp_path / 'w.npz'}")

"""The flat dialect of PaddleClas 2.0: what it means, and what is said where it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import paddle
import pytest
from conftest import ROOT

from ppcls.checkpoints.weights import build_model
from ppcls.cli import main
from ppcls.config import data_overrides, dump_config, load_config
from ppcls.config.printing import show_config
from ppcls.errors import ConfigError, WeightsError
from ppcls.evaluation.evaluate import evaluate
from ppcls.models.weight_files import read_weights
from ppcls.training.dry_run import check_training
from ppcls.training.train import train

FLAT = """\
mode: 'train'
ARCHITECTURE:
  name: 'HarDNet39_ds'
pretrained_model: ""
model_save_dir: "./output/"
classes_num: 10
total_images: 36
epochs: 20
topk: 5
image_shape: [3, 32, 32]
use_mix: True
ls_epsilon: 0.1
LEARNING_RATE:
  function: 'Piecewise'
  params:
    lr: 0.1
    decay_epochs: [8, 16]
    gamma: 0.2
OPTIMIZER:
  function: 'Momentum'
  params:
    momentum: 0.8
  regularizer:
    function: 'L2'
    factor: 0.0003
TRAIN:
  batch_size: 8
  num_workers: 1
  file_list: "./train.txt"
  data_dir: "./data"
  shuffle_seed: 3
  transforms:
    - DecodeImage: {to_rgb: True, to_np: False, channel_first: False}
    - RandCropImage: {size: 32}
    - RandFlipImage: {flip_code: 1}
    - NormalizeImage: {scale: 1./255., order: ''}
    - ToCHWImage:
  mix:
    - MixupOperator: {alpha: 0.2}
VALID:
  batch_size: 4
  num_workers: 1
  file_list: "./val.txt"
  data_dir: "./data"
  shuffle_seed: 0
  transforms:
    - DecodeImage: {to_rgb: True, to_np: False, channel_first: False}
    - ResizeImage: {size: 32}
    - NormalizeImage: {scale: 1./255., order: ''}
    - ToCHWImage:
"""


@pytest.fixture
def flat_file(tmp_path: Path) -> Path:
    path = tmp_path / "flat.yaml"
    path.write_text(FLAT, encoding="utf-8")
    return path


def test_it_means_what_its_tables_say(flat_file: Path) -> None:
    config = load_config(flat_file)
    assert (config.Arch.name, config.Arch.class_num) == ("HarDNet39_ds", 10)
    assert config.Global.pretrained_model is None
    assert (config.Global.seed, config.Global.device) == (3, "auto")
    assert config.Optimizer.lr.values == pytest.approx([0.1, 0.02, 0.004])
    assert config.Optimizer.lr.decay_epochs == [8, 16]
    assert config.Optimizer.momentum == 0.8
    assert config.Optimizer.regularizer.model_dump() == {"name": "L2", "coeff": 0.0003}
    assert config.Loss.Train[0].epsilon == 0.1
    assert config.Loss.Eval[0].epsilon == 0
    assert config.Metric.Train == []
    assert config.Metric.Eval[0].topk == [1, 5]
    train, val = config.DataLoader.Train, config.DataLoader.Eval
    assert (train.sampler.batch_size, train.sampler.shuffle, train.sampler.drop_last) == (
        8,
        True,
        True,
    )
    assert val.sampler.batch_size == 4
    assert train.dataset.batch_transform_ops[0].alpha == 0.2
    assert config.transforms("Infer") == val.dataset.transform_ops
    assert config.Global.checkpoint_layout == "flat"


def test_the_batch_is_shared_by_the_processes(flat_file: Path) -> None:
    config = load_config(flat_file, processes=4)
    assert config.DataLoader.Train.sampler.batch_size == 2
    assert config.DataLoader.Eval.sampler.batch_size == 1
    with pytest.raises(ConfigError) as error:
        load_config(flat_file, processes=3)
    assert f"{flat_file}:27: TRAIN.batch_size: 8 images over all cards cannot be shared" in str(
        error.value
    )
    assert "by 3 processes; use a multiple of 3" in str(error.value)
    assert "VALID.batch_size" in str(error.value)


@pytest.mark.parametrize(
    ("override", "key", "value"),
    [
        ("use_mix=False", lambda c: c.DataLoader.Train.dataset.batch_transform_ops, []),
        ("ls_epsilon=-1", lambda c: c.Loss.Train[0].epsilon, 0),
        ("use_gpu=False", lambda c: c.Global.device, "cpu"),
        ("use_gpu=True", lambda c: c.Global.device, "gpu"),
        ("pretrained_model='output/x/best_model/ppcls'", lambda c: c.Global.pretrained_model, ...),
        ("load_static_weights=False", lambda c: c.Global.strict, True),
        ("validate=False", lambda c: c.Global.eval_during_train, False),
        ("valid_interval=3", lambda c: c.Global.eval_interval, 3),
        ("save_interval=4", lambda c: c.Global.save_interval, 4),
        ("print_interval=7", lambda c: c.Global.print_batch_step, 7),
        ("vdl_dir=./vdl", lambda c: (c.Global.use_visualdl, c.Global.vdl_dir), (True, "./vdl")),
        ("OPTIMIZER.function=RmsProp", lambda c: c.Optimizer.name, "RMSProp"),
        ("OPTIMIZER.regularizer=null", lambda c: c.Optimizer.regularizer, None),
        ("LEARNING_RATE={function: Cosine}", lambda c: c.Optimizer.lr.learning_rate, 0.1),
        ("LEARNING_RATE={function: CosineWarmup}", lambda c: c.Optimizer.lr.warmup_epoch, 5),
        ("LEARNING_RATE={function: Linear}", lambda c: c.Optimizer.lr.name, "Linear"),
        ("last_epoch=3 checkpoints=x", lambda c: c.Global.last_epoch, 3),
        ("ARCHITECTURE.params.dropout=0.4", lambda c: c.Arch.dropout, 0.4),
        ("total_images=5 mode=valid", lambda c: c.Arch.class_num, 10),
        ("Arch.class_num=3 epochs=30", lambda c: (c.Arch.class_num, c.Global.epochs), (3, 30)),
        ("device=cpu", lambda c: c.Global.device, "cpu"),
        ("use_gpu=True device=cpu", lambda c: c.Global.device, "cpu"),
        ("use_gpu=None checkpoints=None", lambda c: c.Global.device, "auto"),
        ("use_dali=False is_distributed=True", lambda c: c.Arch.class_num, 10),
        ("EMA={decay: 0.9}", lambda c: c.EMA.decay, 0.9),
    ],
)
def test_overrides_speak_its_language(flat_file: Path, override: str, key, value) -> None:
    found = key(load_config(flat_file, override.split() if "{" not in override else [override]))
    assert found == ("output/x/best_model/ppcls" if value is ... else value)


MISTAKES = [
    ("batchsize=3", "batchsize: unknown key"),
    ("TRAIN.batchsize=3", "TRAIN.batchsize: unknown key; did you mean 'batch_size'?"),
    ("Global.epoch=3", "Global.epoch: unknown key; did you mean 'epochs'?"),
    ("Global.epochs=ten", "epochs: expected an integer, not 'ten'"),
    ("load_static_weights=True", "weights of static graphs"),
    ("epochs=ten", "epochs: expected an integer, not 'ten'"),
    (
        "ARCHITECTURE.name=HarDNet68s",
        "no architecture is called 'HarDNet68s'; did you mean 'HarDNet68'?",
    ),
    ("ls_epsilon=1.5", "ls_epsilon: expected less than 1, not 1.5"),
    ("ls_epsilon=-0.5", "ls_epsilon: expected a share from 0 to below 1, or -1 for none, not -0.5"),
    ("mode=test", "mode: expected 'train' or 'valid', not 'test'"),
    ("LEARNING_RATE.function=Cosin", "LEARNING_RATE.function: expected 'Piecewise', 'Cosine', "),
    ("LEARNING_RATE.params.gama=0.1", "gama: unknown key; did you mean 'gamma'?"),
    ("LEARNING_RATE.params.decay_epochs=[16, 8]", "decay_epochs: must ascend; found [16, 8]"),
    (
        "LEARNING_RATE={function: CosineWarmup, params: {warmup_epoch: 20}}",
        "LEARNING_RATE.params.warmup_epoch: a warm-up of 20 epochs leaves nothing of epochs (20)",
    ),
    ("OPTIMIZER.function=Adagrad", "OPTIMIZER.function: expected"),
    ("OPTIMIZER.params.beta1=0.9", "OPTIMIZER.params.beta1: unknown key"),
    ("OPTIMIZER.regularizer.function=L3", "regularizer.function: expected 'L1' or 'L2', not 'L3'"),
    ("TRAIN.mix=[]", "use_mix: True needs TRAIN.mix"),
    ("VALID.transforms.1={RandCropImage: {size: 32}}", "RandCropImage is random"),
    ("VALID.transforms.1={ResizeImage: {siez: 32}}", "siez: unknown key; did you mean 'size'?"),
    ("TRAIN.transforms.0.DecodeImage.to_rgb=False", "to_rgb: expected True, not False"),
    ("last_epoch=3", "last_epoch: needs checkpoints"),
    ("use_distillation=True", "needs ARCHITECTURE.name: TEACHER_distill_STUDENT"),
    ("ARCHITECTURE.name=DPN68_distill_AlexNet", "use_distillation: True needs"),
    ("ARCHITECTURE.name=DPN6_distill_AlexNet", "did you mean 'DPN68'?"),
]


@pytest.mark.parametrize(("override", "message"), MISTAKES, ids=lambda value: value[:40])
def test_mistakes_are_named_in_its_language(flat_file: Path, override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        load_config(flat_file, [override])
    assert f"-o {override}: " in str(error.value)
    assert message in str(error.value)


def test_a_distillation_is_named_by_its_models(flat_file: Path, colours: Path) -> None:
    overrides = ["use_distillation=True", "ARCHITECTURE.name=SqueezeNet1_0_distill_SqueezeNet1_1"]
    config = load_config(flat_file, [*overrides, "use_mix=False"], data=colours)
    teacher, student = config.Arch.by_name["Teacher"], config.Arch.by_name["Student"]
    assert (teacher.name, teacher.pretrained, student.name) == (
        "SqueezeNet1_0",
        True,
        "SqueezeNet1_1",
    )
    assert config.Arch.frozen == {"Teacher"}
    assert config.Arch.infer_model_name == "Student"
    assert config.Loss.Train[0].model_name_pairs == [["Student", "Teacher"]]
    weights = flat_file.parent / "teacher.pdparams"
    alone = load_config(flat_file, ["ARCHITECTURE.name=SqueezeNet1_0", "classes_num=3"])
    paddle.save(build_model(alone).state_dict(), str(weights))
    overrides += ["use_mix=False", f"pretrained_model={weights}"]
    lines = check_training(load_config(flat_file, overrides, data=colours))
    assert f"Teacher: SqueezeNet1_0, frozen, from {weights}" in lines


def test_a_wrong_line_is_named(flat_file: Path) -> None:
    wrong = FLAT.replace("epochs: 20", "epochs: 20.5").replace("momentum: 0.8", "momentun: 0.8")
    flat_file.write_text(wrong, encoding="utf-8")
    with pytest.raises(ConfigError) as error:
        load_config(flat_file)
    lines = str(error.value).splitlines()
    assert f"{flat_file}:8: epochs: expected an integer, not 20.5" in lines
    assert any(line.startswith(f"{flat_file}:22: OPTIMIZER.params.momentun: ") for line in lines)


def test_a_folder_of_data_sets_its_keys(flat_file: Path, colours: Path) -> None:
    config = load_config(flat_file, ["epochs=30"], data=colours)
    assert config.Arch.class_num == 3
    assert config.DataLoader.Train.dataset.image_root == str(colours)
    assert config.Infer.PostProcess.class_id_map_file == str(colours / "label_list.txt")


def test_the_resolved_form_is_sectioned_and_equal(flat_file: Path, tmp_path: Path) -> None:
    config = load_config(flat_file)
    (tmp_path / "resolved.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "resolved.yaml") == config
    shown = show_config(flat_file, ["epochs=30"])
    assert next(x for x in shown.splitlines() if " epochs:" in x).endswith("# -o epochs=30")
    assert next(x for x in shown.splitlines() if " coeff:" in x).endswith(f"# {flat_file}:25")


def test_the_shipped_ones_are_the_papers_recipes() -> None:
    best = load_config("./configs/HarDNet/HarDNet68_best_v2.yaml", processes=4)
    assert (best.Optimizer.lr.name, best.Optimizer.lr.learning_rate) == ("Cosine", 0.05)
    assert best.Optimizer.regularizer.coeff == 6e-5
    assert best.DataLoader.Train.sampler.batch_size == 64
    assert best.Global.output_dir == "./output/HarDNet68_v2/"
    for name in ("HarDNet39_ds", "HarDNet68_ds", "HarDNet68", "HarDNet85"):
        flat = load_config(f"HarDNet/{name}", processes=4)
        sectioned = load_config(name)
        assert flat.Arch == sectioned.Arch
        assert flat.Optimizer.lr.decay_epochs == sectioned.Optimizer.lr.decay_epochs
        assert flat.Optimizer.lr.values == pytest.approx(sectioned.Optimizer.lr.values)
        assert flat.DataLoader.Eval.sampler.batch_size == 16
        train, evaluation = flat.DataLoader.Train.dataset, flat.DataLoader.Eval.dataset
        # The array is CHW either way: the list of this dialect only says so.
        assert train.transform_ops[:-1] == sectioned.DataLoader.Train.dataset.transform_ops
        assert evaluation.transform_ops[:-1] == sectioned.DataLoader.Eval.dataset.transform_ops


def test_names_and_paths_find_it() -> None:
    for source in ("HarDNet/HarDNet68", "configs/HarDNet/HarDNet68.yaml"):
        assert load_config(source).Global.checkpoint_layout == "flat"
    assert load_config("HarDNet68").Global.checkpoint_layout == "sectioned"
    assert (ROOT / "configs" / "HarDNet").is_dir()
    assert json.dumps(load_config("HarDNet/HarDNet68").model_dump())


@pytest.fixture
def flat_run(tmp_path: Path, colours: Path) -> tuple[Path, list[str]]:
    path = tmp_path / "flat.yaml"
    path.write_text(FLAT, encoding="utf-8")
    overrides = [
        *data_overrides(colours, flat=True),
        f"model_save_dir={tmp_path / 'output'}",
        f"vdl_dir={tmp_path / 'vdl'}",
        "epochs=2",
        "use_mix=False",
        "print_interval=2",
        "topk=2",
        "ARCHITECTURE.name=SqueezeNet1_1",
        "LEARNING_RATE={function: Cosine, params: {lr: 0.01}}",
    ]
    return path, overrides


@pytest.mark.training
def test_a_run_saves_as_its_users_know_it(flat_run: tuple[Path, list[str]], tmp_path: Path) -> None:
    path, overrides = flat_run
    config = load_config(path, overrides)
    result = train(config)
    folder = tmp_path / "output" / "SqueezeNet1_1"
    assert result.folder == folder
    assert result.best == folder / "best_model" / "ppcls.pdparams"
    for name in ("0", "1", "latest", "best_model"):
        files = {file.name for file in (folder / name).iterdir()}
        assert files == {f"ppcls.{suffix}" for suffix in ("pdparams", "pdopt", "pdstates", "json")}
    assert list((tmp_path / "vdl").iterdir())

    best = str(folder / "best_model" / "ppcls")
    found = evaluate(load_config(path, [*overrides, f"pretrained_model={best}"]))
    assert found.means["top1"] == result.best_metric

    with pytest.raises(ConfigError, match=r"holds an earlier run"):
        train(config)
    again = load_config(path, [*overrides, f"checkpoints={folder / '0' / 'ppcls'}", "last_epoch=7"])
    with pytest.raises(ConfigError, match=r"last_epoch is 7, but the last complete epoch .* is 0"):
        train(again)


@pytest.mark.training
def test_a_run_resumes_from_its_folders(flat_run: tuple[Path, list[str]], tmp_path: Path) -> None:
    path, overrides = flat_run
    whole = train(load_config(path, overrides))
    expected = read_weights(whole.best.parents[1] / "latest" / "ppcls.pdparams")
    first = str(whole.folder / "0" / "ppcls")
    resumed = train(load_config(path, [*overrides, f"checkpoints={first}", "last_epoch=0"]))
    found = read_weights(resumed.folder / "latest" / "ppcls.pdparams")
    assert all((found[key] == value).all() for key, value in expected.items())
    assert train(load_config(path, [*overrides, "checkpoints=auto"])).was_finished
    record = [json.loads(x) for x in (resumed.folder / "runs.jsonl").read_text().splitlines()]
    assert len(record) == 2
    assert record[0]["packages"]["paddle"]
    assert set(record[0]["git"]) == {"commit", "changed"}


@pytest.mark.training
def test_a_checkpoint_of_2_0_goes_on_with_last_epoch(
    flat_run: tuple[Path, list[str]], tmp_path: Path
) -> None:
    path, overrides = flat_run
    config = load_config(path, overrides)
    model = build_model(config)
    optimizer = config.Optimizer.build(model)
    model(paddle.randn([2, 3, 32, 32])).sum().backward()
    optimizer.step()
    (tmp_path / "old").mkdir()
    paddle.save(model.state_dict(), str(tmp_path / "old" / "ppcls.pdparams"))
    paddle.save(optimizer.state_dict(), str(tmp_path / "old" / "ppcls.pdopt"))
    resume = [*overrides, f"checkpoints={tmp_path / 'old' / 'ppcls'}"]
    with pytest.raises(WeightsError, match="no checkpoint to resume"):
        train(load_config(path, resume))
    result = train(load_config(path, [*resume, "last_epoch=0"]))
    lines = (result.folder / "metrics.jsonl").read_text().splitlines()
    assert {json.loads(line)["epoch"] for line in lines} == {2}


@pytest.mark.training
def test_its_checkpoints_are_exported_by_their_path(
    flat_run: tuple[Path, list[str]], tmp_path: Path
) -> None:
    path, overrides = flat_run
    best = train(load_config(path, [*overrides, "epochs=1"])).best.with_suffix("")
    assert main(["export", str(best), str(tmp_path / "inference")]) == 0
    assert (tmp_path / "inference" / "inference.yml").is_file()
    assert main(["train", "-c", str(path), "--check", "-o", *overrides]) == 0


def test_show_names_what_has_no_effect(flat_file: Path) -> None:
    lines = [line for line in show_config(flat_file, []).splitlines() if "has no effect" in line]
    assert [line.split("#")[1].strip() for line in lines[:3]] == [
        "has no effect: mode",
        "has no effect: total_images",
        "has no effect: TRAIN.transforms.0.DecodeImage.to_rgb",
    ]
    assert all(f"# {flat_file}:" in line for line in lines)

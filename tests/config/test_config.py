"""Configurations mean what they say, and say what is wrong with them."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
from conftest import CONFIG, ROOT

from ppcls.config import Config, data_overrides, dump_config, load_config
from ppcls.errors import ConfigError, DataError


def test_overrides_are_yaml_and_reach_everywhere(config_file: Path, overrides: list[str]) -> None:
    config = load_config(
        config_file,
        [
            *overrides,
            "Global.epochs=7",
            "Global.pretrained_model=some weights",
            "Optimizer.lr.learning_rate=1e-4",
            "DataLoader.Train.dataset.transform_ops.1.ResizeImage.size=[48, 40]",
            "Loss={Train: [{CELoss: {epsilon: 0.1}}]}",
        ],
    )
    assert config.Global.epochs == 7
    assert config.Global.pretrained_model == "some weights"
    assert config.Optimizer.lr.learning_rate == 1e-4
    assert config.DataLoader.Train.dataset.transform_ops[1].size == [48, 40]
    assert config.DataLoader.Eval.dataset.transform_ops[1].size == 32
    assert config.Loss.Train[0].epsilon == 0.1


def test_overrides_reach_into_lists_that_are_defaults(
    config_file: Path, overrides: list[str]
) -> None:
    more = ["Metric.Eval.0.TopkAcc.topk=[1]", "Loss.Train.0.CELoss.epsilon=0.1"]
    more += ["Loss.Eval+={CELoss: {weight: 2.0}}", "Arch.freeze+=a.*"]
    more += ["Infer.transforms.2.NormalizeImage.mean.0=0.5"]
    config = load_config(config_file, [*overrides, *more])
    assert config.Metric.Eval[0].topk == [1]
    assert config.Metric.Train[0].topk == [1, 5]
    assert [loss.weight for loss in config.Loss.Eval] == [1.0, 2.0]
    assert config.Loss.Train[0].epsilon == 0.1
    assert config.Arch.freeze == ["a.*"]
    assert config.Infer.transforms[2].mean == [0.5, 0.456, 0.406]
    with pytest.raises(ConfigError, match=r"transforms: has no entries to select by index"):
        load_config(config_file, [*overrides, "Infer=null", "Infer.transforms.0.DecodeImage=null"])


def test_a_short_trial_is_told_a_schedule_that_fits() -> None:
    with pytest.raises(ConfigError) as raised:
        load_config("HarDNet68", ["Global.epochs=12"])
    place = "-o Global.epochs=12: Optimizer.lr.decay_epochs: [30, 60, 90]"
    assert str(raised.value).startswith(place)
    with pytest.raises(ConfigError) as raised:
        load_config("HarDNet/HarDNet68", ["epochs=2"])
    place = "-o epochs=2: LEARNING_RATE.params.decay_epochs: [30, 60, 90]"
    assert str(raised.value).startswith(place)
    fitting = str(raised.value).partition(" -o ")[2].strip("'")
    for source, epochs in (("HarDNet68", "Global.epochs=2"), ("HarDNet/HarDNet68", "epochs=2")):
        assert load_config(source, [epochs, fitting]).Optimizer.lr.name == "Cosine"


def test_what_is_written_with_a_run_is_the_same_configuration(
    config_file: Path, overrides: list[str], tmp_path: Path
) -> None:
    config = load_config(config_file, overrides)
    (tmp_path / "dumped.yaml").write_text(dump_config(config), encoding="utf-8")
    assert load_config(tmp_path / "dumped.yaml") == config


MISTAKES = [
    # override, what the message must hold
    ("Global.epoch=3", "Global.epoch: unknown key; did you mean 'epochs'?"),
    ("pretrained_model=x", "unknown key; did you mean 'Global.pretrained_model'?"),
    ("learning_rate=0.1", "unknown key; did you mean 'Optimizer.lr.learning_rate'?"),
    ("Optimiser.lr.learning_rate=1", "Optimiser: unknown key; did you mean 'Optimizer'?"),
    ("Global.epochs=ten", "Global.epochs: expected an integer, not 'ten'"),
    ("Global.epochs='3'", "Global.epochs: expected an integer, not '3'"),
    ("Global.epochs=0", "Global.epochs: expected greater than 0, not 0"),
    ("Global.eval_during_train=yes", "expected true or false, not 'yes'"),
    (
        "Global.device=cuda",
        "Global.device: expected 'auto', 'cpu', 'gpu', 'xpu', 'npu', 'mlu' or 'gcu', not 'cuda'",
    ),
    ("Arch.name=HardNet39", "no architecture is called 'HardNet39'; did you mean 'HarDNet39_ds'?"),
    (
        "Arch.name=ResNet50",
        "no architecture is called 'ResNet50'; the families here are AlexNet, DPN",
    ),
    ("Arch=HarDNet39_ds", "Arch: expected a map of options, not 'HarDNet39_ds'"),
    ("Arch.dropout=1", "Arch.dropout: expected less than 1, not 1"),
    ("Optimizer.name=Momentun", "'Momentun' is not one of SGD, Momentum, Adam"),
    ("Optimizer.lr.name=Cosin", "'Cosin' is not one of Constant, Linear, Cosine"),
    ("Optimizer.lr={name: Cosine}", "Optimizer.lr.learning_rate: missing"),
    (
        "Optimizer.lr={name: Piecewise, decay_epochs: [3, 6], values: [0.1, 0.01]}",
        "Optimizer.lr: values must have one entry more than decay_epochs",
    ),
    (
        "Optimizer.lr={name: Piecewise, decay_epochs: [1, 2], learning_rate: 0.1}",
        "Optimizer.lr.decay_epochs: [1, 2] does not end within Global.epochs (2)",
    ),
    (
        "Optimizer.lr={name: MultiStepDecay, milestones: [30, 60], learning_rate: 0.1, "
        "warmup_epoch: 1}",
        "Optimizer.lr.milestones: [30, 60] after a warmup of 1 does not end within Global.epochs",
    ),
    ("Infer.transforms.1.CropImage.size=3", "a map of one key, found ResizeImage, CropImage; set"),
    ("Infer.transforms.1.CropImag.size=3", "one key, found ResizeImage, CropImag; did you mean 'C"),
    ("DataLoader.Train.dataset.batch_transform_ops.0=3", "batch_transform_ops+=VALUE appends"),
    ("Optimizer.lr.values.0=1.0", "values: unknown key"),
    ("Infer.transforms=[]", "Infer.transforms: expected at least 1 entries, not 0"),
    ("Infer.transforms=[{ResizeImage: {size: 3}}]", "transform_ops must begin with DecodeImage"),
    (
        "Infer.transforms.1={ResizeImag: {size: 3}}",
        "Infer.transforms.1: expected a map of one key, one of ",
    ),
    (
        "Infer.transforms.1={ResizeImage: {size: 3, resize_short: 4}}",
        "set only one of size, resize_short, cover; found size, resize_short",
    ),
    (
        "Infer.transforms.1={ResizeImage: {size: 3, crop_pct: 0.9}}",
        "crop_pct is for Global.image_size, but size is set; leave one of them out",
    ),
    (
        "Global.image_size=48",
        "Global.image_size: has no effect: every transform ",
    ),
    (
        "Infer.transforms.1.ResizeImage.backend=skimage",
        "transforms.1.ResizeImage.backend: expected 'cv2' or 'pil', not 'skimage'",
    ),
    ("DataLoader.Train.sampler={name: PKSample}", "Train.sampler.name: 'PKSample' is not one of"),
    (
        "DataLoader.Train.dataset.transform_ops.2={RandomErasing: {mode: pixel}}",
        "transform_ops: RandomErasing with mode: pixel fills with normalised values",
    ),
    ("Infer.transforms.1.ResizeImage.siez=3", "unknown key; did you mean 'size'?"),
    ("Infer.transforms.9.ResizeImage.size=3", "expected an index from 0 to 2, not '9'"),
    ("Infer.transforms.2.NormalizeImage.scale=1/0", "a fraction such as 1.0/255.0, not '1/0'"),
    ("Infer.transforms.2.NormalizeImage.std=[0, 1, 1]", "std.0: expected greater than 0, not 0"),
    ("Loss.Train.0.CELos={}", "Loss.Train"),
    (
        "Loss={Train: [{CELoss: {epsilo: 0.1}}]}",
        "0.CELoss.epsilo: unknown key; did you mean 'epsil",
    ),
    ("Loss={Train: [{CELoss: {epsilon: 1}}]}", "0.CELoss.epsilon: expected less than 1, not 1"),
    (
        "Loss={Train: [{CELos: {}}]}",
        "not {'CELos': {}}; did you mean 'CEL",
    ),
    ("Optimizer.regularizer={name: L3, coeff: 1}", "regularizer.name: expected 'L1' or 'L2'"),
    ("Global.output_dir=7", "expected a string, not 7; quote it: '\"7\"'"),
    ("Global.seed=99999999999", "Global.seed: expected less than 4294967296"),
    ("DataLoader.Train.dataset={name: ImageNetDataset, transform_ops: []}", "--data DIR sets it"),
    ("Global.epochs", "expected KEY=VALUE, such as Global.epochs=10"),
    ("=3", "expected KEY=VALUE, such as Global.epochs=10"),
    ("Global..epochs=3", "expected KEY=VALUE, such as Global.epochs=10"),
    ("Global.epochs=[1", "not valid YAML"),
    ("Global.epochs.x=1", "Global.epochs is 2, which has no keys"),
]


@pytest.mark.parametrize(("override", "message"), MISTAKES)
def test_mistakes_are_named(
    config_file: Path, overrides: list[str], override: str, message: str
) -> None:
    with pytest.raises(ConfigError) as raised:
        load_config(config_file, [*overrides, override])
    assert message in str(raised.value)
    assert f"-o {override}: " in str(raised.value)


def test_all_mistakes_at_once_with_their_lines(tmp_path: Path) -> None:
    text = (
        CONFIG.format().replace("epochs: 2", "epoch: 2").replace("batch_size: 5", "batch_size: a")
    )
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError) as raised:
        load_config(tmp_path / "bad.yaml")
    lines = str(raised.value).splitlines()
    path = tmp_path / "bad.yaml"
    assert f"{path}:2: Global.epoch: unknown key; did you mean 'epochs'?" in lines
    assert any(
        line.startswith(f"{path}:21: DataLoader.Eval.sampler.batch_size: expected an integer")
        for line in lines
    )
    assert any("DataLoader.Train.dataset.image_root: missing" in line for line in lines)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "expected sections such as Global and Arch"),
        ("- 1", "expected sections such as Global and Arch"),
        ("Arch: {name: SqueezeNet1_1", "bad.yaml:1: not valid YAML"),
        ("Arch:\n  name: a\n  name: b", "bad.yaml:3: duplicate key 'name'"),
        ("Arch: !!python/object/apply:os.system [true]", "not valid YAML"),
        ("Arch: &a [*a]", "the alias \\*a contains itself"),
        ("Arch: \x00", "not valid YAML"),
    ],
)
def test_files_that_are_no_config(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "bad.yaml").write_text(text)
    with pytest.raises(ConfigError, match=message):
        load_config(tmp_path / "bad.yaml")


def test_missing_files_are_named_with_the_closest(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="did you mean 'quick_start/HarDNet39_ds'"):
        load_config("quick_start/HardNet39")
    with pytest.raises(ConfigError, match="did you mean 'quick_start/folder'"):
        load_config("folder")
    with pytest.raises(ConfigError, match="is a folder"):
        load_config(tmp_path)


def test_data_overrides_need_the_lists(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="`ppcls data split"):
        data_overrides(tmp_path)


def test_numbers_and_booleans_are_those_of_yaml_1_2(
    config_file: Path, overrides: list[str]
) -> None:
    config = load_config(
        config_file,
        [*overrides, "Optimizer.lr.learning_rate=5e-2", "Global.output_dir=no", "Arch.class_num=3"],
    )
    assert config.Optimizer.lr.learning_rate == 0.05
    assert config.Global.output_dir == "no"


def test_a_config_cannot_be_changed(config_file: Path, overrides: list[str]) -> None:
    config: Config = load_config(config_file, overrides)
    with pytest.raises(ValueError, match="frozen"):
        config.Global.epochs = 3


def test_nothing_is_ever_run_as_code() -> None:
    files = [p for folder in ("ppcls", "tools", "deploy") for p in (ROOT / folder).rglob("*.py")]
    assert files
    for file in files:
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call):
                name = ast.unparse(node.func)
                assert name not in ("eval", "exec", "yaml.load", "pickle.load", "pickle.loads"), (
                    file
                )

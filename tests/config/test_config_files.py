"""Inheritance between files, shipped recipes, and configurations printed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import numpy as np
import pytest
from conftest import ROOT

import ppcls
from ppcls.cli import main
from ppcls.config import load_config
from ppcls.config.printing import diff_configs, json_schema, show_config
from ppcls.config.yaml_files import read_config
from ppcls.data.lists import read_label_names
from ppcls.errors import ConfigError
from ppcls.models.card import ModelCard

SHIPPED = sorted(p for p in ROOT.glob("configs/**/*.yaml") if "_base_" not in p.parts)


def write(folder: Path, **files: str) -> Path:
    for name, text in files.items():
        (folder / f"{name}.yaml").write_text(text)
    return folder


def test_a_file_states_what_differs_from_its_bases(tmp_path: Path) -> None:
    write(
        tmp_path,
        first="Global: {epochs: 3, seed: 1}\nOptimizer: {name: Momentum, lr: {name: Cosine}}",
        second="Global: {seed: 2}\nMetric: {Eval: [{TopkAcc: {topk: [1]}}, {TopkAcc: {}}]}",
        child=(
            "_base_: [first.yaml, second.yaml]\n"
            "Global: {epochs: 5}\n"
            "Optimizer: {lr: {_delete_: true, name: Constant}}\n"
            "Metric: {Eval: [{TopkAcc: {topk: [2]}}]}\n"
        ),
    )
    data, origins = read_config(tmp_path / "child.yaml")
    assert data == {
        "Global": {"epochs": 5, "seed": 2},
        "Optimizer": {"name": "Momentum", "lr": {"name": "Constant"}},
        "Metric": {"Eval": [{"TopkAcc": {"topk": [2]}}]},
    }
    assert origins[("Global", "epochs")] == f"{tmp_path}/child.yaml:2"
    assert origins[("Global", "seed")] == f"{tmp_path}/second.yaml:1"
    assert ("Metric", "Eval", 1) not in origins


def test_a_base_may_be_a_shipped_one(tmp_path: Path) -> None:
    write(tmp_path, child="_base_: HarDNet68\nGlobal: {seed: 5}")
    assert load_config(tmp_path / "child.yaml") == load_config("HarDNet68", ["Global.seed=5"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("_base_: gone.yaml", r"child\.yaml:1: _base_: no such config file: gone\.yaml"),
        ("_base_: HardNet68", r"did you mean 'HarDNet68'\? \(and no file .*HardNet68\)"),
        ("_base_: child.yaml", "_base_ leads back to"),
        ("_base_: {a: 1}", r"child\.yaml:1: _base_: expected a path or name, or a list"),
    ],
)
def test_wrong_bases_are_named(tmp_path: Path, text: str, message: str) -> None:
    write(tmp_path, child=text)
    with pytest.raises(ConfigError, match=message):
        read_config(tmp_path / "child.yaml")


def test_overrides_append_and_set_null(config_file: Path, overrides: list[str]) -> None:
    more = ["Metric.Eval=[]", "Metric.Eval+={TopkAcc: {topk: [2]}}"]
    more.append("Infer.PostProcess.class_id_map_file=null")
    config = load_config(config_file, [*overrides, *more])
    assert [metric.topk for metric in config.Metric.Eval] == [[2]]
    assert config.Infer.PostProcess.class_id_map_file is None
    with pytest.raises(ConfigError, match=r"Global\.epochs is 2, not a list"):
        load_config(config_file, [*overrides, "Global.epochs+=3"])


@pytest.mark.parametrize("name", ppcls.list_models())
def test_every_architecture_has_a_recipe(name: str) -> None:
    card = ppcls.model_card(name)
    config = load_config(name)
    assert config.Arch.name == name
    assert config.input_shape() == [3, card.input_size, card.input_size]
    # What the common recipe cannot say of a card, a file in configs/ImageNet says.
    _, resize, crop, normalize = config.pipeline("Eval").ops
    assert (resize.resize_short, crop.size) == (card.resize_short, card.input_size)
    assert resize.interpolation == card.interpolation
    assert (tuple(normalize.mean), tuple(normalize.std)) == (card.mean, card.std)


@pytest.fixture
def own_architecture() -> Iterator[str]:
    """An architecture that a user registers: it has no recipe of its own."""
    from ppcls.models import catalogue, registry

    name = "MyNet64"
    card = ModelCard(name=name, family="MyNet", input_size=96, resize_short=109)
    registry.register_architecture(lambda **options: None, name=name, card=card)
    yield name
    del registry._BUILDERS[name], catalogue._ADDED[name]


def test_an_architecture_without_a_recipe_has_the_common_one(
    own_architecture: str, tmp_path: Path
) -> None:
    config = load_config(own_architecture, ["Global.seed=5"])
    assert config.input_shape() == [3, 96, 96]
    assert config.pipeline("Infer").ops[1].resize_short == 109
    assert diff_configs(load_config("HarDNet68", ["Global.seed=5"]), config)[0] == (
        "Arch.name: HarDNet68 -> MyNet64"
    )
    write(tmp_path, child=f"_base_: {own_architecture}\nGlobal: {{seed: 5}}")
    assert load_config(tmp_path / "child.yaml") == config
    assert re.search("name: MyNet64 +# the recipe of MyNet64\n", show_config(own_architecture, []))
    with pytest.raises(ConfigError, match="did you mean 'MyNet64'"):
        load_config("MyNet46")


@pytest.fixture(scope="module")
def schema() -> jsonschema.Draft202012Validator:
    return jsonschema.Draft202012Validator(json.loads(json_schema()))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_every_shipped_file_resolves_and_satisfies_the_json_schema(
    path: Path, schema: jsonschema.Draft202012Validator
) -> None:
    config = load_config(path)
    if "ImageNet" in path.parts:
        assert config.Arch.name == path.stem
    larger = (
        "image_shape=[3, 320, 320]" if "TRAIN" in read_config(path)[0] else "Global.image_size=320"
    )
    config = load_config(path, [larger])
    assert config.input_shape() == [3, 320, 320]
    assert config.pipeline("Infer").gives_same(config.pipeline("Eval"))
    seen = config.pipeline("Train")(np.zeros((400, 500, 3), np.uint8), np.random.default_rng(0))
    assert seen.shape == (320, 320, 3)
    resize = config.pipeline("Infer").ops[1]
    assert resize.size == 320 or resize.resize_short in (363, 365)
    schema.validate(read_config(path)[0])


RECIPES = {
    # name: first rate, schedule, epochs, L2, batch, smoothing, mixup
    "HarDNet68": (0.1, "Piecewise", 120, 1e-4, 64, 0.0, None),
    "HRNet_W64_C": (0.1, "Piecewise", 120, 1e-4, 64, 0.0, None),
    "DenseNet264": (0.1, "Piecewise", 120, 1e-4, 64, 0.0, None),
    "AlexNet": (0.01, "Piecewise", 120, 1e-4, 64, 0.0, None),
    "SqueezeNet1_0": (0.02, "Cosine", 120, 1e-4, 128, 0.0, None),
    "DPN131": (0.1, "Cosine", 200, 1e-4, 64, 0.1, 0.2),
    "DarkNet53": (0.1, "Cosine", 200, 1e-4, 64, 0.1, 0.2),
    "SENet154_vd": (0.1, "Cosine", 200, 7e-5, 64, 0.1, 0.2),
}


@pytest.mark.parametrize("name", RECIPES)
def test_recipes_are_the_published_ones(name: str) -> None:
    config = load_config(name)
    lr, train = config.Optimizer.lr, config.DataLoader.Train
    mixing = train.dataset.batch_transform_ops
    first = lr.values[0] if lr.name == "Piecewise" else lr.learning_rate
    assert (
        first,
        lr.name,
        config.Global.epochs,
        config.Optimizer.regularizer.coeff,
        train.sampler.batch_size,
        config.Loss.Train[0].epsilon,
        mixing[0].alpha if mixing else None,
    ) == RECIPES[name]
    assert config.Optimizer.momentum == 0.9


@pytest.mark.parametrize(
    "source",
    [
        "HarDNet68",
        "ImageNet/HarDNet/HarDNet68",
        "ppcls/configs/ImageNet/HarDNet/HarDNet68.yaml",
        "./configs/ImageNet/HarDNet/HarDNet68.yaml",
    ],
)
def test_recipes_are_found_by_name_and_by_published_path_from_anywhere(
    source: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert load_config(source).Arch.name == "HarDNet68"


def test_the_published_path_of_the_class_names_is_found_from_anywhere(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    names = read_label_names(load_config("HarDNet68").Infer.PostProcess.class_id_map_file)
    assert len(names) == 1000
    assert (names[0], names[999]) == (
        "tench, Tinca tinca",
        "toilet tissue, toilet paper, bathroom tissue",
    )


def test_the_old_place_of_the_number_of_classes(config_file: Path, overrides: list[str]) -> None:
    config_file.write_text(config_file.read_text().replace("Global:", "Global:\n  class_num: 3"))
    assert load_config(config_file, overrides).Arch.class_num == 3
    assert load_config(config_file, [*overrides, "Arch.class_num=4"]).Arch.class_num == 4
    with pytest.raises(
        ConfigError, match=r"-o Global.class_num=4: Global.class_num is 4, but Arch"
    ):
        load_config(config_file, [*overrides, "Global.class_num=4"])
    nameless = "Infer.PostProcess.class_id_map_file=null"
    assert load_config("HarDNet68", ["Global.class_num=4", nameless]).Arch.class_num == 4
    config_file.write_text(config_file.read_text().replace("Arch:", "Arch:\n  class_num: 4"))
    with pytest.raises(
        ConfigError, match=r"yaml:2: Global.class_num is 3, but Arch.class_num is 4 \(.*yaml:"
    ):
        load_config(config_file, overrides[1:])


def test_paths_are_expanded(
    config_file: Path, overrides: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.setenv("RUN", "seven")
    config = load_config(config_file, [*overrides, "Global.output_dir=~/out/$RUN"])
    assert config.Global.output_dir == "/home/me/out/seven"


def test_show_says_where_each_value_is_from_and_is_itself_a_config(tmp_path: Path) -> None:
    shown = show_config("AlexNet", ["Global.epochs=97", "Arch={name: AlexNet, class_num: 5}"])
    lines = shown.splitlines()

    def origin(text: str) -> str:
        return next(line.partition("# ")[2] for line in lines if line.strip().startswith(text))

    assert origin("epochs: 97") == "-o Global.epochs=97"
    assert origin("class_num: 5") == "-o Arch={name: AlexNet, class_num: 5}"
    assert origin("values: [0.01").endswith("configs/ImageNet/AlexNet/AlexNet.yaml:4")
    assert origin("momentum: 0.9").endswith("configs/_base_/ImageNet.yaml:18")
    assert origin("seed: 0") == "default"
    (tmp_path / "shown.yaml").write_text(shown)
    assert load_config(tmp_path / "shown.yaml") == load_config(
        "AlexNet", ["Global.epochs=97", "Arch.class_num=5"]
    )


def test_show_names_what_has_no_effect(config_file: Path, overrides: list[str]) -> None:
    ignored = ["Global.total_images=5", "DataLoader.Train.loader.use_shared_memory=true"]
    shown = show_config(config_file, [*overrides, *ignored])
    assert [
        line.split("  #")[0].rstrip() for line in shown.splitlines() if "no effect" in line
    ] == [
        "# has no effect: Global.total_images",
        "# has no effect: DataLoader.Train.loader.use_shared_memory",
    ]
    assert "# has no effect" not in show_config(config_file, overrides)


def test_diff_prints_what_differs(capsys: pytest.CaptureFixture) -> None:
    lines = diff_configs(load_config("HarDNet68"), load_config("AlexNet"))
    assert lines == [
        "Arch.name: HarDNet68 -> AlexNet",
        "Optimizer.lr.values: [0.1, 0.01, 0.001, 0.0001] -> [0.01, 0.001, 0.0001, 1.0e-05]",
    ]
    assert main(["config", "HarDNet68", "--diff", "AlexNet"]) == 0
    assert capsys.readouterr().out.splitlines() == lines
    assert main(["config"]) == 2

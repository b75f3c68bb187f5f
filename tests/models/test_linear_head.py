"""`head: linear`: published weights load, the head's own weights load again, and only they."""

from __future__ import annotations

from pathlib import Path

import paddle
import pytest

import ppcls
from ppcls.cli import main
from ppcls.config import load_config
from ppcls.errors import ConfigError, WeightsError
from ppcls.fitting.features import needs_linear_head

NAME = "SqueezeNet1_1"


@pytest.mark.large
@pytest.mark.usefixtures("zero_weights")
@pytest.mark.parametrize("name", ["AlexNet", "DenseNet121", "HarDNet39_ds", "HRNet_W18_C", NAME])
def test_every_kind_of_head_gives_way_to_a_linear_one(name: str) -> None:
    own = ppcls.create_model(name, class_num=3)
    model = ppcls.create_model(name, class_num=3, head="linear")
    channels = model.feature_info[-1].channels
    state = model.state_dict()
    assert state["linear_head.weight"].shape == [channels, 3]
    assert state["linear_head.bias"].shape == [3]
    # What is left is used, and is the network's own.
    assert set(state) - {"linear_head.weight", "linear_head.bias"} < set(own.state_dict())
    logits = model(paddle.randn([2, 3, 64, 64]))
    assert logits.shape == [2, 3]
    logits.sum().backward()
    unused = [key for key, p in model.named_parameters() if p.grad is None and p.trainable]
    assert unused == []
    assert needs_linear_head(name) == (name == NAME)


def test_weights_load_again_and_other_heads_are_refused_or_adapted(tmp_path: Path) -> None:
    own = ppcls.create_model("SqueezeNet1_1", class_num=4)
    linear = ppcls.create_model("SqueezeNet1_1", class_num=3, head="linear")
    ppcls.save_weights(own, tmp_path / "own.npz")
    ppcls.save_weights(linear, tmp_path / "linear.npz")
    again = ppcls.create_model("SqueezeNet1_1", class_num=3, head="linear")
    assert ppcls.load_weights(again, tmp_path / "linear.npz") == []
    x = paddle.randn([1, 3, 64, 64])
    linear.eval()
    again.eval()
    assert bool((linear(x) == again(x)).all())

    with pytest.raises(WeightsError, match=r"the file has _conv9.weight.*set Arch.head=null"):
        ppcls.load_weights(linear, tmp_path / "own.npz")
    with pytest.raises(WeightsError, match=r"has linear_head.weight.*set Arch.head=linear"):
        ppcls.load_weights(own, tmp_path / "linear.npz")
    (note,) = ppcls.load_weights(linear, tmp_path / "own.npz", adapt=True)
    assert "linear_head is untrained" in note
    first = "_conv.weight"
    assert bool((linear.state_dict()[first] == own.state_dict()[first]).all())
    (note,) = ppcls.load_weights(own, tmp_path / "linear.npz", adapt=True)
    assert "_conv9 is untrained" in note
    other = ppcls.create_model("HarDNet39_ds", class_num=3, head="linear")
    with pytest.raises(WeightsError, match="made for another model than HarDNet39_ds"):
        ppcls.load_weights(other, tmp_path / "own.npz")


def test_a_head_is_linear_or_its_own_and_has_no_dropout(config_file: Path) -> None:
    with pytest.raises(ConfigError, match="head must be 'linear' or None, not 'mlp'"):
        ppcls.create_model("SqueezeNet1_1", head="mlp")
    with pytest.raises(ConfigError, match="head='linear' has no dropout"):
        ppcls.create_model("SqueezeNet1_1", head="linear", dropout=0.2)
    with pytest.raises(ConfigError, match="dropout has no effect with head: linear"):
        load_config(config_file, ["Arch.head=linear", "Arch.dropout=0.2"])
    with pytest.raises(ConfigError, match=r"Arch\.head.*'linear'"):
        load_config(config_file, ["Arch.head=mlp"])


@pytest.mark.training
def test_training_evaluation_and_export_name_it(
    config_file: Path, overrides: list[str], tmp_path: Path
) -> None:
    changed = ["-o", *overrides, "Arch.head=linear", "Global.epochs=1"]
    assert main(["train", "-c", str(config_file), *changed]) == 0
    run = tmp_path / "output/SqueezeNet1_1"
    assert load_config(run / "config.yaml").Arch.head == "linear"
    best = f"Global.pretrained_model={run / 'best_model'}"
    assert main(["eval", "-c", str(run / "config.yaml"), "-o", best]) == 0
    assert main(["export", str(run / "best_model"), str(tmp_path / "exported")]) == 0
    assert ppcls.Predictor(tmp_path / "exported", backend="paddle").labels == [
        "bleu pâle",
        "green",
        "red",
    ]

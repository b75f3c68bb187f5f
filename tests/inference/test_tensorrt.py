"""What TensorRT is asked to do: told by stand-ins that note it, so tested without a GPU."""

from __future__ import annotations

import sys
from pathlib import Path
from unittest.mock import Mock, call

import pytest
from paddle.inference import PrecisionType
from pydantic import ValidationError

from ppcls.inference.backends import tensorrt
from ppcls.inference.backends.tensorrt import TensorRTBackend, TensorRTOptions

FACTS = {"graph": "a" * 64, "shapes": [[1, 3, 224, 224]], "precision": "fp16", "gpu": "NVIDIA T4"}
SHAPES = [(2, 3, 8, 8), (4, 3, 8, 8), (16, 3, 8, 8)]


def test_the_newer_format_is_converted_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def convert(prefix: str, config: object) -> None:
        saved = Path(paddle.TensorRTConfig.call_args.kwargs["save_model_dir"])
        saved.with_suffix(".json").write_text("{}")

    paddle = Mock(PrecisionMode={"FP16": "half"}, convert=Mock(side_effect=convert))
    monkeypatch.setitem(sys.modules, "paddle.tensorrt", paddle)
    options = TensorRTOptions(min_batch=2, opt_batch=4, max_batch=16, workspace_mb=512)
    assert options.shapes([3, 8, 8]) == SHAPES
    graph, kept = tmp_path / "bundle/inference.json", tmp_path / "engine"
    for _ in range(2):
        tensorrt.convert_graph(graph, kept, SHAPES, "float32", "fp16", options)
    paddle.Input.assert_called_once_with(
        min_input_shape=SHAPES[0],
        optim_input_shape=SHAPES[1],
        max_input_shape=SHAPES[2],
        input_data_type="float32",
    )
    asked = paddle.TensorRTConfig.call_args.kwargs
    assert asked.pop("save_model_dir").endswith("/inference")
    assert asked == {
        "inputs": [paddle.Input()],
        "precision_mode": "half",
        "min_subgraph_size": 3,
        "workspace_size": 512 << 20,
    }
    paddle.convert.assert_called_once_with(
        str(graph.with_suffix("")), paddle.TensorRTConfig.return_value
    )
    assert [path.name for path in tmp_path.iterdir()] == ["engine"]
    assert (kept / "inference.json").is_file()


def test_the_older_format_records_its_shapes_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    config, engine = Mock(), Mock()
    monkeypatch.setattr(tensorrt, "engine_config", lambda graph: config)
    monkeypatch.setattr(tensorrt, "create_engine", lambda config, folder: engine)
    engine.get_input_names.return_value = ["x"]
    tensorrt.record_shapes(tmp_path / "inference.pdmodel", tmp_path, SHAPES, "uint8")
    recorded = tmp_path / "shapes.pbtxt"
    assert config.method_calls == [
        call.enable_use_gpu(256, 0),
        call.collect_shape_range_info(str(recorded)),
    ]
    handle = engine.get_input_handle.return_value
    assert handle.reshape.call_args_list == [call(shape) for shape in SHAPES]
    assert engine.run.call_count == 3
    recorded.touch()
    tensorrt.record_shapes(tmp_path / "inference.pdmodel", tmp_path, SHAPES, "uint8")
    assert engine.run.call_count == 3


def test_the_older_format_builds_at_the_first_run() -> None:
    config = Mock()
    tensorrt.build_at_first_run(config, Path("/cache/key"), "fp16", TensorRTOptions())
    assert config.method_calls == [
        call.enable_tensorrt_engine(
            workspace_size=1 << 30,
            max_batch_size=32,
            min_subgraph_size=3,
            precision_mode=PrecisionType.Half,
            use_static=True,
            use_calib_mode=False,
        ),
        call.enable_tuned_tensorrt_dynamic_shape(
            shape_range_info_path="/cache/key/shapes.pbtxt", allow_build_at_runtime=True
        ),
        call.set_optim_cache_dir("/cache/key"),
    ]


@pytest.mark.parametrize("fact", FACTS)
def test_an_engine_is_kept_for_all_that_it_was_built_for(fact: str) -> None:
    options = TensorRTOptions(cache="/cache")
    folder = options.folder(FACTS)
    assert folder.parent == Path("/cache")
    assert options.folder(FACTS) == folder
    assert options.folder(FACTS | {fact: "another"}) != folder


@pytest.mark.parametrize("option", ["min_batch", "opt_batch", "max_batch", "workspace_mb"])
def test_an_engine_is_kept_for_its_options(option: str) -> None:
    options = TensorRTOptions(min_batch=2, opt_batch=4, max_batch=8, workspace_mb=100)
    other = options.model_copy(update={option: getattr(options, option) + 1})
    assert options.folder(FACTS) != other.folder(FACTS)


def test_batches_are_ordered() -> None:
    with pytest.raises(ValidationError, match="min_batch <= opt_batch <= max_batch"):
        TensorRTOptions(opt_batch=64)


def test_a_build_without_tensorrt_says_which_has_it() -> None:
    can = TensorRTBackend.capability()
    if can.version is not None:
        pytest.skip("this machine has TensorRT")
    assert "\n" not in can.hint
    assert "has no TensorRT: install a GPU wheel from Paddle's own index" in can.hint

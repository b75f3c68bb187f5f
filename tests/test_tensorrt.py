"""What TensorRT would be asked to do: decided by plain values, so tested without a GPU."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import ValidationError

from ppcls.inference.backends.tensorrt import TensorRTBackend, TensorRTOptions, plan

FACTS = {
    "is_pir": True,
    "graph_hash": "a" * 64,
    "image_shape": (3, 224, 224),
    "dtype": "float32",
    "precision": "fp16",
    "versions": {"paddle": "3.3.1", "tensorrt": "10.5.0"},
    "gpu": "NVIDIA T4",
    "cache": Path("/cache"),
}


def test_the_newer_format_is_converted() -> None:
    todo = plan(TensorRTOptions(min_batch=2, opt_batch=4, max_batch=16, workspace_mb=512), **FACTS)
    assert todo.shapes == ((2, 3, 224, 224), (4, 3, 224, 224), (16, 3, 224, 224))
    assert todo.convert == {
        "precision_mode": "FP16",
        "min_subgraph_size": 3,
        "workspace_size": 512 << 20,
        "save_model_dir": str(todo.folder / "inference"),
    }
    assert [call.method for call in todo.run] == ["enable_use_gpu"]
    assert todo.collect == ()


def test_the_older_format_records_its_shapes_and_builds_at_the_first_run() -> None:
    todo = plan(TensorRTOptions(), **FACTS | {"is_pir": False})
    assert todo.convert is None
    recorded = str(todo.folder / "shapes.pbtxt")
    assert [call.method for call in todo.collect] == ["enable_use_gpu", "collect_shape_range_info"]
    assert todo.collect[1].arguments == {"shape_range_info_path": recorded}
    calls = {call.method: call.arguments for call in todo.run}
    assert list(calls) == [
        "enable_use_gpu",
        "enable_tensorrt_engine",
        "enable_tuned_tensorrt_dynamic_shape",
        "set_optim_cache_dir",
    ]
    assert calls["enable_tensorrt_engine"] == {
        "workspace_size": 1 << 30,
        "max_batch_size": 32,
        "min_subgraph_size": 3,
        "precision_mode": "Half",
        "use_static": True,
        "use_calib_mode": False,
    }
    assert calls["enable_tuned_tensorrt_dynamic_shape"] == {
        "shape_range_info_path": recorded,
        "allow_build_at_runtime": True,
    }
    assert calls["set_optim_cache_dir"] == {"opt_cache_dir": str(todo.folder)}


@pytest.mark.parametrize(
    "change",
    [
        {"graph_hash": "b" * 64},
        {"image_shape": (3, 256, 256)},
        {"precision": "fp32"},
        {"versions": {"paddle": "3.3.1", "tensorrt": "10.6.0"}},
        {"versions": {"paddle": "3.4.0", "tensorrt": "10.5.0"}},
        {"gpu": "NVIDIA A10"},
    ],
)
def test_an_engine_is_kept_for_all_that_it_was_built_for(change: dict) -> None:
    folder = plan(TensorRTOptions(), **FACTS).folder
    assert folder.parent == Path("/cache")
    assert plan(TensorRTOptions(), **FACTS).folder == folder
    assert plan(TensorRTOptions(), **FACTS | change).folder != folder


@pytest.mark.parametrize("option", ["min_batch", "opt_batch", "max_batch", "workspace_mb"])
def test_an_engine_is_kept_for_its_options(option: str) -> None:
    options = TensorRTOptions(min_batch=2, opt_batch=4, max_batch=8, workspace_mb=100)
    other = options.model_copy(update={option: getattr(options, option) + 1})
    assert plan(options, **FACTS).folder != plan(other, **FACTS).folder


def test_batches_are_ordered() -> None:
    with pytest.raises(ValidationError, match="min_batch <= opt_batch <= max_batch"):
        TensorRTOptions(opt_batch=64)


def test_a_build_without_tensorrt_says_which_has_it() -> None:
    can = TensorRTBackend.capability()
    if can.version is not None:
        pytest.skip("this machine has TensorRT")
    assert "\n" not in can.hint
    assert "has no TensorRT: install a GPU wheel of Paddle's own index" in can.hint

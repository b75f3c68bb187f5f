"""Conversion of Paddle's graph to ONNX with paddle2onnx. Needs the extra `onnx`."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from ppcls.bundle import GRAPH_FILE, WEIGHTS_FILE
from ppcls.errors import MissingDependencyError
from ppcls.exporting.graph import run_child

__all__ = ["OPSET", "has_onnx", "require_onnx", "write_onnx"]

OPSET = 17


def require_onnx() -> None:
    """Raise `MissingDependencyError` if the packages that write and check ONNX are missing."""
    missing = [name for name in ("paddle2onnx", "onnxruntime") if find_spec(name) is None]
    if missing:
        remedy = "pip install 'ppcls[onnx]'"
        if "paddle2onnx" in missing and sys.version_info >= (3, 13):
            remedy += " under Python 3.12 or older, because paddle2onnx has no release for yours"
        raise MissingDependencyError(f"--onnx needs {' and '.join(missing)}: {remedy}")


def has_onnx() -> bool:
    """Whether the packages that write and check ONNX are installed."""
    try:
        require_onnx()
    except MissingDependencyError:
        return False
    return True


def write_onnx(source: Path, target: Path) -> None:
    """Convert a folder's `inference.json` and its weights to an ONNX file of opset 17.

    The conversion runs in a separate process, because paddle2onnx prints, and ends its process when
    it fails.

    Raises:
        RunError: paddle2onnx cannot convert the graph.
    """
    run_child(
        "ppcls.exporting.onnx",
        [str(source / GRAPH_FILE), str(source / WEIGHTS_FILE), str(target)],
        what="paddle2onnx cannot convert the graph to ONNX, so nothing is exported",
    )


def _drop_unread(graph: Any) -> None:
    """Remove unused constants and weights, because ONNX Runtime warns about each."""
    read = {name for node in graph.node for name in node.input}
    read.update(output.name for output in graph.output)
    nodes = [n for n in graph.node if n.op_type != "Constant" or not read.isdisjoint(n.output)]
    weights = [weight for weight in graph.initializer if weight.name in read]
    for field, kept in ((graph.node, nodes), (graph.initializer, weights)):
        del field[:]
        field.extend(kept)


def _main() -> None:
    import onnx
    import paddle2onnx

    graph, weights, target = sys.argv[1:]
    paddle2onnx.export(
        graph,
        weights,
        save_file=target,
        opset_version=OPSET,
        auto_upgrade_opset=False,
        # Its default optimizer, polygraphy, installs packages from the network while it runs. Every
        # runtime does the same constant folding when it loads the file.
        optimize_tool="none",
    )
    model = onnx.load(target)
    _drop_unread(model.graph)
    for value in (*model.graph.input, *model.graph.output):
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    onnx.checker.check_model(model)
    onnx.save(model, target)


if __name__ == "__main__":
    _main()

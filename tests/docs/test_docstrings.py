"""Docstrings of what is public say what a caller must know: shapes, dtypes, errors."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator

from conftest import ROOT

from ppcls import errors

Function = ast.FunctionDef | ast.AsyncFunctionDef

ERRORS = {name for name in errors.__all__ if name.endswith("Error")}
ARRAY = re.compile(r"\b(Tensor|ndarray)\b")
SHAPE = re.compile(r"\([\w *.]+,[\w *.,]*\)|\bshapes?\b|\bscalars?\b")
# A method says it where the base class declares it, an architecture on its card.
INHERITED = {"forward", "forward_features", "forward_head"}
DTYPE = re.compile(r"\b(u?int(8|16|32|64)?|b?float(16|32|64)?|bool|dtypes?|integers?)\b")


def public_functions() -> Iterator[tuple[str, Function, str]]:
    """Yield the functions and methods of each `__all__`, with the docstring of the class."""
    for path in sorted((ROOT / "ppcls").rglob("*.py")):
        tree = ast.parse(path.read_text("utf-8"))
        names = {name for node in tree.body for name in exported(node)}
        where = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
        for node in tree.body:
            if getattr(node, "name", None) not in names:
                continue
            if isinstance(node, Function):
                yield f"{where}.{node.name}", node, ""
            elif isinstance(node, ast.ClassDef):
                for inner in node.body:
                    if isinstance(inner, Function) and inner.name[0] != "_":
                        about = ast.get_docstring(node) or ""
                        yield f"{where}.{node.name}.{inner.name}", inner, about


def exported(node: ast.stmt) -> list[str]:
    if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "__all__":
        return ast.literal_eval(node.value)
    return []


def signature(function: Function) -> str:
    arguments = [ast.unparse(a.annotation) for a in ast.walk(function.args) if is_typed(a)]
    return " ".join([*arguments, ast.unparse(function.returns) if function.returns else ""])


def is_typed(node: ast.AST) -> bool:
    return isinstance(node, ast.arg) and node.annotation is not None


def raised(function: Function) -> set[str]:
    """Return the names of ppcls's errors that a function raises itself."""
    found = set()
    for node in ast.walk(function):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call):
            found.add(ast.unparse(node.exc.func))
    return found & ERRORS


def is_registered(function: Function) -> bool:
    return "register_architecture" in [
        ast.unparse(decorator) for decorator in function.decorator_list
    ]


def is_overload(function: Function) -> bool:
    return "overload" in map(ast.unparse, function.decorator_list)


def complaints(function: Function, class_doc: str) -> Iterator[str]:
    doc = ast.get_docstring(function)
    described = function.name in INHERITED or is_registered(function) or is_overload(function)
    if not doc and described:
        return
    if not doc:
        yield "no docstring"
        return
    said = doc + class_doc
    if ARRAY.search(signature(function)):
        if not SHAPE.search(said):
            yield "takes or returns an array, and says no shape"
        if not DTYPE.search(said):
            yield "takes or returns an array, and says no dtype"
    for name in sorted(raised(function)):
        if not re.search(rf"Raises?\b.*\b{name}\b", said, re.DOTALL):
            yield f"raises {name}, and does not say so"


def test_public_functions_say_shapes_dtypes_and_errors() -> None:
    functions = list(public_functions())
    assert len(functions) > 150
    found = [
        f"{name}: {complaint}"
        for name, function, class_doc in functions
        for complaint in complaints(function, class_doc)
    ]
    assert found == [], f"{len(found)} of {len(functions)}:\n" + "\n".join(found)

"""Plug-ins: user modules that register classes for configurations to name.

A configuration names plug-ins in `Global.plugins`, a command with `--plugin`. For security, ppcls
never imports a module because a bundle or a checkpoint names it; the user has to name it again.
"""

from __future__ import annotations

import os
import re
import sys
import traceback
from collections.abc import Iterable, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from ppcls.errors import ConfigError, PpclsError
from ppcls.files import sha256
from ppcls.options import Options
from ppcls.registry import is_own

__all__ = ["Plugin", "listed", "load_plugins", "missing_plugins", "plugins_of"]


class Plugin(Options):
    """A module that has registered classes.

    Attributes:
        name: the module's import name.
        version: its `__version__`, if it has one.
        sha256: the checksum of the module if it is a single file.
        classes: those of its registered classes that are recorded here.
    """

    name: str
    version: str | None = None
    sha256: str | None = None
    classes: list[str] = []


def listed(names: Any) -> Any:
    """Return a single name as a list of one, and anything else as it is."""
    return [names] if isinstance(names, str) else names


def load_plugins(names: Sequence[str]) -> list[Plugin]:
    """Import modules by name or by the path of a `.py` file; return their records.

    Modules are searched on Python's path and in the working directory.

    Raises:
        ConfigError: there is no such module, or its import fails; the error is chained.
    """
    return [_facts(_load(name)) for name in names]


def _load(name: str) -> str:
    folder, module = os.getcwd(), name
    if name.endswith(".py"):
        path = Path(name).expanduser().resolve()
        if not path.is_file():
            if path.stem in sys.modules:  # loaded from where it is now, by --plugin
                return path.stem
            raise ConfigError(
                f"plug-in {name}: no such file; if it has moved, --plugin {path.stem}.py with its "
                "new folder loads it"
            )
        folder, module = str(path.parent), path.stem
    elif not re.fullmatch(r"[^\W\d]\w*(\.[^\W\d]\w*)*", name):
        raise ConfigError(f"plug-in {name!r}: expected the name of a module or a .py file")
    there = folder in sys.path
    if not there:
        sys.path.append(folder)
    try:
        found = import_module(module)
    except PpclsError as error:
        raise type(error)(f"plug-in {name}: {error}") from error
    except (Exception, SystemExit) as error:
        missing = getattr(error, "name", None) if isinstance(error, ModuleNotFoundError) else None
        if missing and (module == missing or module.startswith(f"{missing}.")):
            raise ConfigError(
                f"plug-in {name}: no module {missing!r} on Python's path or in {folder}; "
                "name a module, or the path of a .py file"
            ) from None
        frames = traceback.extract_tb(error.__traceback__)
        at = f"{frames[-1].filename}:{frames[-1].lineno}: " if frames else ""
        if isinstance(error, SyntaxError):
            at = f"{error.filename}:{error.lineno}: "
        raise ConfigError(f"plug-in {name}: {at}{type(error).__name__}: {error}") from error
    finally:
        if not there:
            sys.path.remove(folder)
    loaded = Path(getattr(found, "__file__", None) or "")
    if name.endswith(".py") and loaded.resolve() != Path(name).expanduser().resolve():
        raise ConfigError(
            f"plug-in {name}: another module is called {module!r}: {loaded}; rename one"
        )
    return module


def _facts(module: str, classes: Iterable[str] = ()) -> Plugin:
    loaded = sys.modules[module]
    file, version = getattr(loaded, "__file__", None), getattr(loaded, "__version__", None)
    return Plugin(
        name=module,
        version=None if version is None else str(version),
        sha256=sha256(Path(file)) if file and Path(file).is_file() else None,
        classes=sorted(classes),
    )


def plugins_of(classes: Iterable[type]) -> list[Plugin]:
    """Return the plug-ins that define the classes; ppcls's own classes need none."""
    modules: dict[str, set[str]] = {}
    for cls in classes:
        if not is_own(cls):
            modules.setdefault(cls.__module__, set()).add(cls.__name__)
    return [_facts(module, names) for module, names in modules.items()]


def missing_plugins(plugins: Sequence[Plugin], known: Iterable[str]) -> list[Plugin]:
    """Return the plug-ins with a class that is not known."""
    names = set(known)
    return [plugin for plugin in plugins if not names.issuperset(plugin.classes)]

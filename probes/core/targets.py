"""Objects outside the package, named on the command line: a user's own corpus, probe or metric.

The one mechanism by which a run is extended without editing the package. A target is only loaded
when a run asks for it; reading a finished run never imports one.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from importlib import import_module
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any

from probes.core.errors import UserError, closest

FORMS = "package.module:NAME, package.module.NAME, path/to/FILE.py:NAME"
"""How a target is written."""


def load_target(text: str, *, key: str = "_target_") -> Callable[..., Any]:
    """The function or class that a text names.

    text: ``package.module:NAME`` or ``package.module.NAME`` of an importable module, or
        ``path/to/FILE.py:NAME``, relative to the working directory, ``~`` expanded. A file is
        executed once in a process, as a module of its own that stays in ``sys.modules``, so that
        its classes can be pickled.
    key: the override that holds the text, for messages.

    Raises:
        UserError: there is no such file, module or name, the module raises an error while it is
            imported, or the name is nothing that can be called.

    >>> load_target("math:sqrt")(9.0)
    3.0
    >>> load_target("fractions.Fraction")(1, 2)
    Fraction(1, 2)
    """
    where, name = _parts(text, key)
    if where.endswith(".py"):
        module = _file_module(Path(where).expanduser(), text, key)
    else:
        module = _importable_module(where, text, key)
    try:
        target = getattr(module, name)
    except AttributeError:
        names = [name for name, value in vars(module).items() if _offered(name, value, module)]
        raise UserError(
            f"{key}={text}: {where} defines no '{name}'",
            allowed=", ".join(names[:12]) or "a function or a class; it defines none",
            fix=closest(name, names, f"{key}={where}:{{}}"),
        ) from None
    if not callable(target):
        raise UserError(
            f"{key}={text}: '{name}' cannot be called: it is of type {type(target).__name__}",
            allowed="a function or a class",
        )
    loaded: Callable[..., Any] = target
    return loaded


def code_digest(text: str) -> str:
    """SHA-256 of the file that a target names; empty for a module, which has no file of its own.

    >>> code_digest("math:sqrt")
    ''
    """
    file = Path(text.rpartition(":")[0]).expanduser()
    if file.suffix != ".py" or not file.is_file():
        return ""
    return hashlib.sha256(file.read_bytes()).hexdigest()


def _parts(text: str, key: str) -> tuple[str, str]:
    """Module or file, and name."""
    where, _, name = text.rpartition(":")
    if not where and not text.endswith(".py"):
        where, _, name = text.rpartition(".")
    if not where or not name.isidentifier():
        raise UserError(
            f"{key}={text!r} names nothing to load",
            allowed=FORMS,
            fix=f"{key}={text}:NAME" if text.endswith(".py") else f"{key}=FILE.py:NAME",
        )
    return where, name


def _file_module(path: Path, text: str, key: str) -> ModuleType:
    """The module of a file: executed now, or in ``sys.modules`` already."""
    path = path.resolve()
    if not path.is_file():
        raise UserError(
            f"{key}={text}: no such file {path}",
            allowed=f"a Python file, relative to {Path.cwd()}",
            fix=f"{key}=/absolute/path/{path.name}:NAME",
        )
    # Files of the same name in two directories are two modules, and none hides a library.
    name = f"{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:12]}"
    if name in sys.modules:
        return sys.modules[name]
    spec = spec_from_file_location(name, path)
    assert spec is not None and spec.loader is not None  # a .py file has both
    module = module_from_spec(spec)
    sys.modules[name] = module  # before it is executed: dataclasses look themselves up
    try:
        spec.loader.exec_module(module)
    except (Exception, SystemExit) as error:
        del sys.modules[name]
        raise _import_error(str(path), error, text, key) from error
    return module


def _importable_module(name: str, text: str, key: str) -> ModuleType:
    """An installed module, or one on Python's path."""
    try:
        return import_module(name)
    except (Exception, SystemExit) as error:
        missing = error.name if isinstance(error, ModuleNotFoundError) else None
        if missing is not None and (name == missing or name.startswith(f"{missing}.")):
            raise UserError(
                f"{key}={text}: no module named '{missing}'",
                allowed="a module that is installed or on PYTHONPATH, or a file",
                fix=f"{key}=path/to/FILE.py:{text.rpartition(':')[2].rpartition('.')[2]}",
            ) from error
        raise _import_error(name, error, text, key) from error


def _import_error(what: str, error: BaseException, text: str, key: str) -> UserError:
    """The message for an error inside the module, with the innermost line of the module itself."""
    line, trace = None, error.__traceback__
    while trace is not None:
        if trace.tb_frame.f_code.co_filename == what:
            line = trace.tb_lineno
        trace = trace.tb_next
    if isinstance(error, SyntaxError) and error.filename == what:
        line = error.lineno
    place = f"{what}, line {line}" if line is not None else what
    return UserError(
        f"{key}={text}: importing {place} raised {type(error).__name__}: {error}",
        allowed="a module that can be imported",
        fix=f"python {what}" if what.endswith(".py") else f"python -c 'import {what}'",
    )


def _offered(name: str, value: object, module: ModuleType) -> bool:
    """Whether a name of a module is a candidate: public, callable, and defined there."""
    own = getattr(value, "__module__", None) == module.__name__
    return own and callable(value) and not name.startswith("_")

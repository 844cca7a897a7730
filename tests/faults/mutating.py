"""How a guard of the product is broken on purpose.

A mutant is a change of a function's text. It is swapped in as code, so that whoever imported the
function runs it too.
"""

import importlib
import inspect
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import reduce
from types import CodeType, FunctionType
from typing import Any

from tests.faults.actions import Action


@dataclass(frozen=True)
class Edit:
    """In a function (`module:name` or `module:Class.name`), `old` becomes `new`."""

    where: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """A broken guard, and the shortest schedule that we know to notice it.

    `sweeps` False: what it breaks a sweep mends, so it is looked for without one.
    """

    edits: tuple[Edit, ...]
    schedule: tuple[Action, ...]
    sweeps: bool = True


@contextmanager
def at_work(mutant: Mutant) -> Iterator[None]:
    """Let the mutant run in place of the guard."""
    with ExitStack() as swapped:
        for where in dict.fromkeys(edit.where for edit in mutant.edits):
            edits = [edit for edit in mutant.edits if edit.where == where]
            swapped.enter_context(_swapped(where, edits))
        yield


@contextmanager
def _swapped(where: str, edits: list[Edit]) -> Iterator[None]:
    module_name, _, path = where.partition(":")
    module = importlib.import_module(module_name)
    function = _function(module, path)
    original = function.__code__
    text = inspect.getsource(module)
    for edit in edits:
        if text.count(edit.old) != 1:
            message = f"{where} has '{edit.old}' {text.count(edit.old)} times: mend the mutant"
            raise LookupError(message)
        text = text.replace(edit.old, edit.new)
    changed = _code_of(compile(text, original.co_filename, "exec"), path)
    if changed == original:
        message = f"{where} is not where the guard stands any more: mend the mutant"
        raise LookupError(message)
    function.__code__ = changed
    try:
        yield
    finally:
        function.__code__ = original


def _function(module: Any, path: str) -> FunctionType:
    found: Any = reduce(getattr, path.split("."), module)
    while hasattr(found, "__wrapped__"):
        found = found.__wrapped__
    assert isinstance(found, FunctionType)
    return found


def _code_of(code: CodeType, path: str) -> CodeType:
    for name in path.split("."):
        (code,) = [
            one for one in code.co_consts if isinstance(one, CodeType) and one.co_name == name
        ]
    return code

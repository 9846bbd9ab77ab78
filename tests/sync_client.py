"""Writes the synchronous twins of the client's classes: `sync.py` and `sync_*.py` in `producer/client`.

Run `make sync` after a change of `reckoner.py`, `catalogue.py` or `operator.py` there. Each public coroutine becomes a
method that blocks, and each asynchronous iterator an iterator, with the same arguments, types and docstring.
"""

import ast
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

CLIENT = Path(__file__).resolve().parent.parent / "producer" / "client"
PACKAGE = "reckoner.producer.client"

RECKONER = '''
class SyncReckoner:
    """`Reckoner` for code that is not asynchronous: each call blocks until its answer is there.

    Any number of threads share one. Its connections belong to an event loop in a thread of its own, one for all clients
    of a process. A process that is forked, as by gunicorn or Celery, connects anew with its first call. An interrupted
    call, as by KeyboardInterrupt, is cancelled, and the client goes on.

    Use it as a context manager, which raises RedisUnavailableError if Redis does not answer; or without, and it
    connects with the first call. `close` ends waiting calls with a ClientClosedError. Its arguments, timeouts and
    errors are those of `Reckoner`. `catalogue` has the calls about items, `operator` those of operators.
    """

    def __init__({parameters}) -> None:
        self._background = Background(partial(Reckoner, {arguments}))

    def __enter__(self) -> Self:
        self._background.run(lambda client: client.__aenter__())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._background.close()

    @cached_property
    def catalogue(self) -> SyncCatalogue:
        """The calls of whoever keeps the items: hides them from everybody, and changes their tags."""
        return SyncCatalogue(self._background)

    @cached_property
    def operator(self) -> SyncOperator:
        """The calls of operators: fits, runs, status, lanes, workers."""
        return SyncOperator(self._background)
'''
# What a client has: `SyncReckoner.operator` is one.
PART = '''
class Sync{name}:
    """`{name}` for code that is not asynchronous; see `SyncReckoner.{attribute}`."""

    def __init__(self, background: Background) -> None:
        self._background = background
'''
# What the templates use, beside what the signatures do.
USED = {
    "Reckoner": f"""
from functools import cached_property, partial
from types import TracebackType
from typing import Self
from {PACKAGE}.background import Background
from {PACKAGE}.reckoner import Reckoner
from {PACKAGE}.sync_catalogue import SyncCatalogue
from {PACKAGE}.sync_operator import SyncOperator
""",
    "Catalogue": f"from {PACKAGE}.background import Background\n",
    "Operator": f"from {PACKAGE}.background import Background\n",
}
# The attributes of a client that are such parts.
PARTS = {"catalogue": "Catalogue", "operator": "Operator"}


@dataclass(frozen=True)
class Twin:
    """The class `name` in the module `source`, the template of its twin in the module `target`, and its calls' way."""

    name: str
    source: str
    target: str
    template: str
    way: str


TWINS = (
    *(
        Twin(name, part, f"sync_{part}", PART.format(name=name, attribute=part), f"client.{part}")
        for part, name in PARTS.items()
    ),
    Twin("Reckoner", "reckoner", "sync", RECKONER, "client"),
)


def generate(twin: Twin) -> str:
    """The text of the twin's module."""
    module = ast.parse((CLIENT / f"{twin.source}.py").read_text())
    [original] = [node for node in module.body if isinstance(node, ast.ClassDef) and node.name == twin.name]
    methods = {node: _blocking(node, twin.way) for node in original.body if _is_call(node)}
    template = twin.template
    for node in original.body:
        if isinstance(node, ast.FunctionDef) and node.name == "__init__" and twin.name == "Reckoner":
            template = template.format(parameters=ast.unparse(node.args), arguments=_passed(node.args))
            methods[node] = ""
    text = "\n\n".join([template.rstrip(), *filter(None, methods.values())])
    imports = _imports(module, _names(methods, original), f"{PACKAGE}.{twin.source}")
    about = f'"""`Sync{twin.name}`, made from `{twin.name}` by `make sync`: do not edit it."""'
    return _formatted("\n".join([about, USED[twin.name], *imports, text]), twin)


def _is_call(node: ast.AST) -> bool:
    if isinstance(node, ast.AsyncFunctionDef):
        return not node.name.startswith("_") and node.name != "aclose"
    if isinstance(node, ast.FunctionDef) and not node.name.startswith("_") and node.name not in PARTS:
        raise SystemExit(f"{node.name} is not asynchronous: tests/sync_client.py has no rule for it.")
    return False


def _blocking(node: ast.AST, way: str) -> str:
    """A method that makes the call `node` by `way` and waits."""
    assert isinstance(node, ast.AsyncFunctionDef)
    assert node.returns is not None
    returned, means = ast.unparse(node.returns), "run"
    if returned.startswith("AsyncIterator["):
        returned, means = returned.removeprefix("Async"), "iterate"
    head = f"def {node.name}({ast.unparse(node.args)}) -> {returned}:"
    if any(isinstance(mark, ast.Name) and mark.id == "overload" for mark in node.decorator_list):
        return _indented(f"@overload\n{head} ...")
    call = f"return self._background.{means}(lambda client: {way}.{node.name}({_passed(node.args)}))"
    docstring = ast.get_docstring(node, clean=False)
    return _indented(head) + f'\n        """{docstring}"""\n        {call}'


def _indented(text: str) -> str:
    return "\n".join(f"    {line}" for line in text.splitlines())


def _passed(arguments: ast.arguments) -> str:
    """The arguments of a call with the parameters of a method."""
    if arguments.posonlyargs or arguments.kwarg:
        raise SystemExit("tests/sync_client.py has no rule for such parameters.")
    named = [f"{each.arg}={each.arg}" for each in arguments.kwonlyargs]
    more = [f"*{arguments.vararg.arg}"] if arguments.vararg else []
    return ", ".join([*(each.arg for each in arguments.args if each.arg != "self"), *more, *named])


def _names(methods: dict[ast.stmt, str], original: ast.ClassDef) -> set[str]:
    """The names that signatures use."""
    found = set[str]()
    for node in methods:
        assert isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        parts = [node.args, node.returns, *node.decorator_list]
        found |= {each.id for part in parts if part for each in ast.walk(part) if isinstance(each, ast.Name)}
    return (found - {"AsyncIterator", "translates_redis_errors"}) | (
        {"Iterator"} if "AsyncIterator" in found else set()
    )


def _imports(module: ast.Module, names: set[str], home: str) -> list[str]:
    """The imports of names: from where the module has them, or from the module that defines them."""
    found = ["from collections.abc import Iterator"] if "Iterator" in names else []
    for node in ast.walk(module):
        if isinstance(node, ast.ImportFrom) and not node.level:
            wanted = [each.name for each in node.names if (each.asname or each.name) in names]
            found += [f"from {node.module} import {', '.join(wanted)}"] if wanted else []
        elif isinstance(node, ast.Import):
            found += [f"import {each.name}" for each in node.names if each.name in names]
    own = [
        target.id
        for node in module.body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name) and target.id in names
    ]
    return [*found, *(f"from {home} import {name}" for name in own)]


def _formatted(text: str, twin: Twin) -> str:
    """The text as ruff sorts its imports and formats it."""
    ruff, name = Path(sys.executable).parent / "ruff", f"producer/client/{twin.target}.py"
    for command in (["check", "--fix", "--quiet", "--select", "I,F401"], ["format", "--quiet"]):
        done = subprocess.run(
            [ruff, *command, "--stdin-filename", name, "-"],
            input=text, capture_output=True, text=True, cwd=CLIENT.parent.parent, check=False,
        )  # fmt: skip
        if done.returncode:
            raise SystemExit(f"{done.stdout}{done.stderr}")
        text = done.stdout
    return text


def main() -> None:
    """Write the modules."""
    for twin in TWINS:
        (CLIENT / f"{twin.target}.py").write_text(generate(twin))


if __name__ == "__main__":
    main()

"""Find the English sentences in the source that a page may show, as templates with {0}, {1}, ...

Read from the syntax tree, so that a new `raise` is seen without anybody having to list it:

- `message` and `hint` of every `StudioError`, wherever one is made
- why a run waits or ended, the rungs of the stop ladder, how far a run is
- what is said about an environment
- why the image worker takes a rung or not, fell from one, refused or failed a job

A value in an f-string becomes a placeholder. Words that such a value may be (`... or "nothing"`,
the returns of a helper function) are fragments: they are only ever a part of a sentence.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Iterable, Iterator
from functools import cache, cached_property
from pathlib import Path

ROOT = Path(__file__).parents[2]
HOLE = "\0"
"""Stands for a value while a template is put together."""

TOLD_BY_CODE = {"EndpointFailed"}
"""Errors whose sentences the page knows by a code."""
NEVER_SHOWN = {
    "studio/envs/relock.py",
    "studio/cli.py",
    "studio/commands/admin.py",
    "studio/commands/bench.py",
    "studio/commands/bench_papers.py",
    "studio/commands/data.py",
    "studio/commands/export.py",
    "studio/commands/image.py",
    "studio/commands/image_results.py",
    "studio/commands/quality.py",
    "studio/quality_run.py",
    "studio/commands/replicas.py",
    "studio/commands/lora.py",
    "studio/commands/study.py",
    "studio/commands/terminal.py",
    "studio/ui/page/serve.py",
}
"""Files that only speak to a terminal."""
WORKERS = "studio/engines/workers/"
ENGINES = "studio/engines/"
NAMES = {"vLLM", "SGLang", "LLaMA-Factory", "llm-compressor", "lm-evaluation-harness", "GuideLLM"}
"""Proper names: a title made of them and of terms that stay English is the same in Chinese."""
TERMS = {"API", "Router"}
WORKER = "image_edit"
"""The worker whose words a page hands on; other workers speak to a log."""
FROM_WORKER = {
    "Refused": 1,
    "BadSetting": 0,
    "NoRung": 0,
    "_fail": 0,
    "enter": 1,
}
"""Calls of the worker that are given words to show, and the place of those."""
WHYS = (
    "studio/engines/workers/image_edit/ladder.py",
    "studio/engines/workers/image_edit/needs.py",
)
"""Files of the worker where a reason is assigned to `why`, or yielded by `_against`."""
REASONS = tuple(f"studio/jobs/shim/{name}.py" for name in ("supervise", "earlier", "leases"))
TELLERS = {
    "_note": 0,
    "_step": 1,
    "_percent": 2,
    "tell": 2,
    "Progress": 2,
    "_each": 4,
    "check_settings": 2,
    "say": 2,
    "note": 2,
    "_parse": 1,
}
"""Calls that are given words to show, and the place of those among their arguments."""

Scope = ast.FunctionDef | ast.AsyncFunctionDef | None


class Source:
    """Every module of the studio and its tabs, and the sentences in them."""

    def __init__(self, root: Path = ROOT) -> None:
        self._trees = {
            str(path.relative_to(root)): ast.parse(path.read_text(encoding="utf-8"))
            for folder in ("studio", "tabs")
            for path in sorted((root / folder).rglob("*.py"))
            if "workers" not in path.parts or WORKER in path.parts
        }
        self._functions = {
            name: {node.name: node for node in _statements(tree) if isinstance(node, _FUNCTIONS)}
            for name, tree in self._trees.items()
        }
        self.sentences: dict[str, str] = {}
        """Where each template was found first."""
        self.fragments: dict[str, str] = {}
        self._name = ""
        """File that is being looked at."""
        for name, tree in self._trees.items():
            if name not in NEVER_SHOWN:
                self._name = name
                self._look(tree, None)

    @cached_property
    def errors(self) -> set[str]:
        """Names of the error classes."""
        found, classes = {"StudioError"}, self._classes()
        while fresh := {name for name, bases in classes.items() if bases & found} - found:
            found |= fresh
        return found - TOLD_BY_CODE

    def _classes(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for tree in self._trees.values():
            for node in _statements(tree):
                if isinstance(node, ast.ClassDef):
                    bases = {base.id for base in node.bases if isinstance(base, ast.Name)}
                    found.setdefault(node.name, set()).update(bases)
        return found

    # where sentences are ------------------------------------------------------------------------

    def _look(self, node: ast.AST, scope: Scope) -> None:
        inner = node if isinstance(node, _FUNCTIONS) else scope
        for expression in self._said(node, scope):
            self._keep(self.sentences, self._texts(expression, inner), expression)
        for child in ast.iter_child_nodes(node):
            if not isinstance(child, _LEAVES):
                self._look(child, inner)

    def _said(self, node: ast.AST, scope: Scope) -> Iterator[ast.expr]:
        """Yield the expressions in a node that become sentences."""
        if isinstance(node, ast.Call):
            yield from self._said_by_call(node)
        elif isinstance(node, ast.Return) and scope is not None and node.value is not None:
            in_worker = self._name.startswith(WORKERS) and scope.name.endswith("_reason")
            if (
                in_worker
                or scope.name in ("reason", "_reason")
                or (scope.name == "text" and self._name.endswith("envs/screen.py"))
            ):
                yield node.value
            if isinstance(node.value, ast.Tuple) and (
                self._name in REASONS or scope.name == "_judge"
            ):
                yield from node.value.elts[1:]
        elif isinstance(node, ast.Assign) and self._name in REASONS:
            yield from _assigned(node, "reason")
        elif isinstance(node, ast.Assign) and self._name in WHYS:
            yield from _assigned(node, "why")
        elif isinstance(node, ast.Assign) and self._name.startswith(WORKERS) and scope is None:
            yield from _assigned(node, "STOPPED")
        elif isinstance(node, ast.Assign) and self._name.startswith(ENGINES) and scope is None:
            yield from (title for title in _assigned(node, "title") if _in_words(title))
        elif isinstance(node, ast.Yield) and scope is not None and scope.name == "_against":
            if node.value is not None:
                yield node.value
        elif isinstance(node, ast.Dict) and self._name.endswith("shim/ladder.py"):
            pairs = zip(node.keys, node.values, strict=True)
            yield from (v for k, v in pairs if isinstance(k, ast.Constant) and k.value == "label")

    def _said_by_call(self, call: ast.Call) -> Iterator[ast.expr]:
        name = _called(call)
        named = {keyword.arg: keyword.value for keyword in call.keywords}
        if name in self.errors:
            yield from [*call.args[:1], *(named[k] for k in ("message", "hint") if k in named)]
        elif name == "StopStep" and "label" in named:
            yield named["label"]
        elif name == "Launch" and "title" in named:
            yield named["title"]
        elif name == "EnvStatus":
            yield from (named[key] for key in ("problem", "remedy") if key in named)
        elif name == "Refused" and not self._name.endswith("/desk.py"):
            pass  # of a form that cannot be read: the studio's own is checked before it is sent
        elif name == "Fault" or self._name.startswith(WORKERS):
            yield from (named[key] for key in ("message", "hint", "why") if key in named)
            if self._name.startswith(WORKERS) and len(call.args) > FROM_WORKER.get(name, 99):
                yield call.args[FROM_WORKER[name]]
        elif name in TELLERS and len(call.args) > TELLERS[name]:
            yield call.args[TELLERS[name]]
        elif name in TELLERS and "text" in named:
            yield named["text"]

    # what they say ------------------------------------------------------------------------------

    def _keep(self, into: dict[str, str], texts: Iterable[str], node: ast.AST) -> None:
        for text in texts:
            if text.strip(f"{HOLE} ."):
                template = numbered(text)
                into.setdefault(template, f"{self._name}:{getattr(node, 'lineno', 0)}")

    def _texts(self, node: ast.AST | None, scope: Scope, depth: int = 0) -> list[str]:
        """Return every text an expression can become, with a hole for each value."""
        if depth > 8 or node is None:
            return [HOLE]
        go = depth + 1
        match node:
            case ast.Constant(value=str(text)):
                return [text]
            case ast.JoinedStr(values=parts):
                return _joined([self._texts(part, scope, go) for part in parts])
            case ast.FormattedValue(value=value):
                self._keep(self.fragments, self._texts(value, scope, go), value)
                return [HOLE]
            case ast.BinOp(left=left, op=ast.Add(), right=right):
                return _joined([self._texts(left, scope, go), self._texts(right, scope, go)])
            case ast.IfExp(body=body, orelse=other):
                return self._texts(body, scope, go) + self._texts(other, scope, go)
            case ast.BoolOp(values=values):
                return [text for value in values for text in self._texts(value, scope, go)]
            case ast.Name(id=name) if scope is not None:
                found = [t for value in _values(scope, name) for t in self._texts(value, scope, go)]
                return found or [HOLE]
            case ast.Call(func=ast.Attribute(value=base, attr=method)) if method in _TRIMS:
                return self._texts(base, scope, go)
            case ast.Call(func=ast.Attribute(value=ast.Constant(), attr="join"), args=[given]):
                self._keep(self.fragments, self._texts(given, scope, go), given)
                return [HOLE]
            case ast.Call(func=ast.Attribute(value=table, attr="get"), args=[_, default]):
                return self._texts(table, scope, go) + self._texts(default, scope, go)
            case ast.Call(func=ast.Name(id="Path" | "str"), args=[given]):
                return self._texts(given, scope, go)
            case ast.ListComp(elt=element) | ast.GeneratorExp(elt=element):
                return self._texts(element, scope, go)
            case ast.Dict(values=values):
                return [text for value in values for text in self._texts(value, scope, go)]
            case ast.Call():
                return self._returned(node, go)
        return [HOLE]

    def _returned(self, call: ast.Call, depth: int) -> list[str]:
        """Return what a function of the studio's own can return."""
        name = _called(call)
        for module in (self._name, self._imported(name)):
            function = self._functions.get(module, {}).get(name)
            if function is not None:
                here, self._name = self._name, module
                found = [
                    text
                    for node in _statements(function)
                    if isinstance(node, ast.Return)
                    for text in self._texts(node.value, function, depth)
                ]
                self._name = here
                return found or [HOLE]
        return [HOLE]

    def _imported(self, name: str) -> str:
        """Return the file a name was imported from."""
        for node in _statements(self._trees[self._name]):
            if isinstance(node, ast.ImportFrom) and name in {alias.name for alias in node.names}:
                return f"{(node.module or '').replace('.', '/')}.py"
        return ""


def _in_words(title: ast.expr) -> bool:
    """Tell whether a title has words to be put into Chinese."""
    text = title.value if isinstance(title, ast.Constant) else ""
    return not set(str(text).split()) <= NAMES | TERMS


_FUNCTIONS = (ast.FunctionDef, ast.AsyncFunctionDef)
_HOLDERS = (ast.stmt, ast.excepthandler, ast.match_case)
_LEAVES = (ast.Name, ast.Constant, ast.expr_context, ast.operator)
"""More than half of all nodes; nothing is said in them."""
_TRIMS = {"strip", "rstrip", "lstrip"}


@cache
def _statements(node: ast.AST) -> tuple[ast.AST, ...]:
    """Return a node and every statement in it in the order of `ast.walk`; expressions hold none."""
    found = [node]
    for statement in found:
        for name in statement._fields:
            inside = getattr(statement, name)
            if isinstance(inside, list):
                found += [part for part in inside if isinstance(part, _HOLDERS)]
    return tuple(found)


def sentences_of(template: str) -> list[str]:
    """Take a template apart at its sentence ends, each part numbered from {0} again."""
    holes = re.sub(r"\{\d+\}", HOLE, template)
    return [numbered(part) for part in re.split(r"(?<=[.!?])\s+", holes)]


def numbered(text: str) -> str:
    """Turn holes into {0}, {1}, ... and trim what is around the text; neighbours become one."""
    count = itertools.count()
    return re.sub(f"{HOLE}+", lambda _: f"{{{next(count)}}}", text.strip())


def _joined(parts: list[list[str]]) -> list[str]:
    return ["".join(choice) for choice in itertools.product(*parts)]


def _called(call: ast.Call) -> str:
    if isinstance(call.func, ast.Attribute):
        return call.func.attr
    return call.func.id if isinstance(call.func, ast.Name) else ""


def _assigned(node: ast.Assign, name: str) -> Iterator[ast.expr]:
    """Yield what `name = ...` or `..., name = ..., ...` assigns."""
    for target in node.targets:
        if isinstance(target, ast.Name) and target.id == name:
            yield node.value
        elif isinstance(target, ast.Tuple) and isinstance(node.value, ast.Tuple):
            pairs = zip(target.elts, node.value.elts, strict=False)
            yield from (v for t, v in pairs if isinstance(t, ast.Name) and t.id == name)


def _values(scope: ast.AST, name: str) -> list[ast.expr]:
    """Return everything a function assigns to a name; what is added to it comes after a hole."""
    found: list[ast.expr] = []
    for node in _statements(scope):
        if isinstance(node, ast.Assign):
            found += _assigned(node, name)
        elif isinstance(node, ast.AugAssign) and getattr(node.target, "id", "") == name:
            before = ast.Tuple(elts=[], ctx=ast.Load())
            found.append(ast.BinOp(before, ast.Add(), node.value))
    return found

"""Real files of very uneven size that every Python has: parse the source of the standard library.

Among its test files are some that are broken on purpose, so a parser meets every kind of trouble. It must
not know how tasks run or travel.
"""

from __future__ import annotations

import ast
import os
import sysconfig
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Final

SKIPPED_FOLDERS: Final = frozenset({"__pycache__", "site-packages", "dist-packages"})
"""Folders under the standard library's that do not belong to it."""

PARSER_ERRORS: Final = (SyntaxError, ValueError, OverflowError, RecursionError, MemoryError)
"""What :func:`ast.parse` raises for a file that is not, or too deep a piece of, Python.

Null bytes are a ValueError or a SyntaxError by the version; the parser's own stack overflow is a MemoryError.
"""


@dataclass(frozen=True, slots=True)
class FileFacts:
    """What is counted in one file.

    Attributes:
        size_bytes: of the file.
        lines: of the file; a last line without a line end counts.
        nodes: of the syntax tree, 0 for a file that does not parse, as are all that follow.
        functions: definitions of functions, methods, coroutines; lambdas not.
        classes: definitions of classes.
        depth: of the syntax tree; a tree that is one node has 1.
        error: class name of the parser's error, "" for a file that parses.
    """

    size_bytes: int
    lines: int
    nodes: int = 0
    functions: int = 0
    classes: int = 0
    depth: int = 0
    error: str = ""

    @property
    def ok(self) -> bool:
        """Whether the file parses."""
        return not self.error


def files() -> list[str]:
    """Every ``.py`` file of the running Python's standard library, broken ones included, as sorted full paths.

    What is installed beside it (site-packages) is left out. Links to folders are not followed.
    """
    found: list[str] = []
    for folder, folders, names in os.walk(sysconfig.get_path("stdlib")):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        found += [str(Path(folder, name)) for name in names if name.endswith(".py")]
    return sorted(found)


def measure(path: str) -> FileFacts:
    """Parse one file and count what is in it; the same file gives the same facts in every process.

    A file that does not parse raises nothing: its facts say which error the parser had. The parser's warnings
    are dropped, since ``-W error`` would make errors of them. Only for code nested about as deep as the
    interpreter allows could the facts depend on the caller's own depth; the standard library has none.

    Raises:
        OSError: the file cannot be read.
    """
    source = Path(path).read_bytes()
    lines = source.count(b"\n") + (source[-1:] not in (b"", b"\n"))
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            tree = ast.parse(source)
    except PARSER_ERRORS as error:
        return FileFacts(len(source), lines, error=type(error).__name__)
    nodes, functions, classes, depth = _count(tree)
    return FileFacts(len(source), lines, nodes, functions, classes, depth)


def _count(tree: ast.AST) -> tuple[int, int, int, int]:
    # Layer by layer and without recursion: a tree may be deeper than the interpreter's stack.
    nodes = functions = classes = depth = 0
    layer = [tree]
    while layer:
        depth += 1
        nodes += len(layer)
        for node in layer:
            if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)):
                functions += 1
            elif isinstance(node, ast.ClassDef):
                classes += 1
        layer = [child for node in layer for child in ast.iter_child_nodes(node)]
    return nodes, functions, classes, depth

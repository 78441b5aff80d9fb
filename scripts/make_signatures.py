"""Writes src/ukernel/boards/signatures.json: what MicroPython's modules define, for completion and Shift-Tab.

It reads the stubs on the package index, which are generated from MicroPython's own documentation and source (MIT). A release changes little, so
this is run by hand when MicroPython has a new one: ``python scripts/make_signatures.py``.
"""

import ast
import json
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

STUBS = (
    "micropython-rp2-stubs==1.29.0.post1",
    "micropython-esp32-stubs==1.29.0.post1",
    "micropython-stdlib-stubs==1.29.0.post2",
)
TARGET = Path(__file__).parents[1] / "src" / "ukernel" / "boards" / "signatures.json"
# Of several boards' modules of one name, what comes later adds to what came before.
MODULES = frozenset(
    """_thread array asyncio binascii bluetooth cryptolib deflate dht ds18x20 errno esp esp32 espnow framebuf gc hashlib heapq io json
    lwip machine math cmath micropython neopixel network ntptime onewire os platform random re rp2 select socket ssl struct sys time
    uctypes vfs websocket""".split()  # noqa: SIM905
)
MAX_DOC = 160
MIN_DOC = 8  # shorter ones are headings: "Note", "Returns"
_TELLS_NOTHING = re.compile(r"\(\*arg[sv], \*\*kwargs\)")  # a function whose arguments the stubs do not know
_TARGET = re.compile(r" <[^<>\s]+>_?")  # of a link


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        command = [
            sys.executable,
            "-m",
            "pip",
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "-d",
            folder,
            *STUBS,
        ]
        subprocess.run(command, check=True)
        found: dict = {}
        for stub in STUBS:
            name = stub.split("==")[0].replace("-", "_")
            with zipfile.ZipFile(next(Path(folder).glob(f"{name}-*.whl"))) as wheel:
                for module in MODULES:
                    for tree in _trees(wheel, module):
                        _add(found, module, tree.body)
    _share_with_software(found)
    lines = [f"{json.dumps(name)}: {json.dumps(found[name], ensure_ascii=False)}" for name in sorted(found)]
    TARGET.write_text("{\n" + ",\n".join(lines) + "\n}\n", encoding="utf-8")
    print(f"{len(found)} names, {TARGET.stat().st_size:,} bytes")


def _trees(wheel: zipfile.ZipFile, module: str):
    """Yield the trees of a module's stub files, in whatever folder the wheel has them."""
    wanted = re.compile(rf"(?:stdlib/)?{module}(?:\.pyi|/[a-z_]+\.pyi)")
    for path in sorted(wheel.namelist()):
        if wanted.fullmatch(path):
            yield ast.parse(wheel.read(path).decode())


def _add(found: dict, owner: str, body: list) -> None:
    """Put what a module or class defines under its dotted name: [signature or "", first sentence]."""
    for node, following in zip(body, [*body[1:], None]):
        if isinstance(node, (ast.If, ast.Try)):
            _add(found, owner, node.body)
        elif isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)) and _is_public(node.name):
            _keep(found, f"{owner}.{node.name}", _signature(node), _sentence(ast.get_docstring(node)))
        elif isinstance(node, ast.ClassDef) and _is_public(node.name):
            makers = [part for part in node.body if isinstance(part, ast.FunctionDef) and part.name == "__init__"]
            for maker in makers or [None]:
                _keep(found, f"{owner}.{node.name}", _signature(maker) if maker else "()", _sentence(ast.get_docstring(node)))
            _add(found, f"{owner}.{node.name}", node.body)
        elif isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name) and _is_public(node.target.id):
            said = following.value.value if _is_text(following) else ""
            _keep(found, f"{owner}.{node.target.id}", "", _sentence(said))


def _share_with_software(found: dict) -> None:
    """SoftI2C and SoftSPI have the methods of I2C and SPI, which alone are documented."""
    for name, (signature, doc) in found.items():
        other = found.get(name.replace("machine.Soft", "machine."), ["", ""])
        if name.startswith("machine.Soft") and name.count(".") == 2:
            found[name] = [signature or other[0], doc or other[1]]


def _keep(found: dict, name: str, signature: str, doc: str) -> None:
    # Of overloads the longest says most; the first that has a sentence gives it.
    before = found.get(name, ["", ""])
    if _TELLS_NOTHING.fullmatch(signature):
        signature = ""
    found[name] = [max(before[0], signature, key=len), before[1] or doc]


def _is_public(name: str) -> bool:
    return not name.startswith("_")


def _is_text(node) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and isinstance(node.value.value, str)


def _signature(node) -> str:
    """Return the arguments without annotations and without self."""
    if any(isinstance(one, ast.Name) and one.id == "property" for one in node.decorator_list):
        return ""
    arguments = node.args
    for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs, arguments.vararg, arguments.kwarg]:
        if argument is not None:
            argument.annotation = None
    for first in (arguments.posonlyargs, arguments.args):
        if first and first[0].arg in ("self", "cls"):
            del first[0]
            break
    return f"({ast.unparse(arguments)})"


def _sentence(text: "str | None") -> str:
    """Return the first sentence of a documentation text as plain words."""
    plain = re.sub(r":\w+:`~?([^`]+)`", r"\1", (text or "").strip().split("\n\n")[0])
    plain = _TARGET.sub("", re.sub(r"[`*]+", "", " ".join(plain.split())))
    first = re.split(r"(?<!i\.e\.)(?<!e\.g\.)(?<=[.:])\s", plain)[0].rstrip(":\\ ")
    if len(first) < MIN_DOC or first.startswith("|"):
        return ""
    return first if len(first) <= MAX_DOC else first[: MAX_DOC - 1].rsplit(" ", 1)[0] + "…"


if __name__ == "__main__":
    main()

"""Builds what the emulated Pico runs: MicroPython's rp2 port from Debian's source packages, and our boot ROM for it.

``python tests/support/pico/build.py``; scripts/setup does it. Both files are kept in `settings.cache_dir()`, and built again only
where a file here has changed. The network is needed once, for the source packages: what was fetched stays there, too.
"""

import hashlib
import os
import re
import shutil
import struct
import sys
from collections.abc import Callable
from pathlib import Path

from ukernel import settings
from ukernel.errors import describe
from ukernel.protocol.filelock import FileLock
from ukernel.virtual import firmware
from ukernel.virtual.firmware import FirmwareError

HERE = Path(__file__).parent
TOOLS = {
    "apt-get": "apt",
    "arm-none-eabi-gcc": "gcc-arm-none-eabi",
    "cmake": "cmake",
    "make": "make",
    "gcc": "gcc",
    "g++": "g++",
    "dpkg-source": "dpkg-dev",
    "patch": "patch",
}
LIBRARIES = ("pico-sdk-source", "tinyusb-source")  # binary packages that hold sources
PIOASM = "2.1.1"  # what the SDK wants to hear of the version of its assembler
ROM_BYTES = 16384
ROM_FOUND = 0x40  # where bootrom.ld puts `found`
ROM_ADDRESSES = 0x14  # where the three addresses of struct vectors are
BUILT = ("firmware.bin", "bootrom.bin")


def find() -> "tuple[Path, Path] | None":
    """Firmware and boot ROM as built from the files as they are now, or None."""
    built = tuple(_target() / name for name in BUILT)
    return built if all(path.exists() for path in built) else None


def build(report: "Callable[[str], None] | None" = None) -> "tuple[Path, Path]":
    """Firmware and boot ROM, built if need be: a minute or two. Raises FirmwareError."""
    report = report or (lambda line: print(line, file=sys.stderr, flush=True))
    if found := find():
        return found
    root = _root()
    try:
        root.mkdir(parents=True, exist_ok=True)
        lock = FileLock(root / "lock")
        lock.acquire()
        try:
            if not find():
                _build(root, report)
        finally:
            lock.release()
    except OSError as error:
        raise FirmwareError(f"The emulated Pico's firmware could not be built in {root}: {describe(error)}.") from error
    return find()


def _root() -> Path:
    return settings.cache_dir() / "micropython" / "pico"


def _target() -> Path:
    digest = hashlib.sha256(firmware.SUITE.encode())
    for path in [Path(__file__), *sorted(HERE.glob("firmware/*")), *sorted(HERE.glob("bootrom/*"))]:
        digest.update(path.read_bytes())
    return _root() / f"built-{digest.hexdigest()[:16]}"


def _build(root: Path, report: "Callable[[str], None]") -> None:
    missing = [tool for tool in TOOLS if not shutil.which(tool)]
    if "apt-get" in missing:
        raise FirmwareError(
            "The emulated Pico's firmware is built from Debian's source packages, and this is not a Debian system."
        )
    if missing:
        packages = " ".join(TOOLS[tool] for tool in missing)
        raise FirmwareError(f"The emulated Pico's firmware needs {', '.join(missing)}: apt-get install {packages}")
    if re.search(r"\s", str(root)):
        raise FirmwareError(f"make cannot build in a folder with a space in its name, {root}: set UCORE_CACHE_DIR.")
    if not (root / "download").exists():
        report("[1/4] fetching MicroPython, the Pico SDK and TinyUSB from the mirror that this machine's apt uses")
        unfinished = root / "fetching"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir()
        firmware._download(unfinished, LIBRARIES)
        (unfinished / "download").rename(root / "download")
        shutil.rmtree(unfinished)
    work = root / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    report("[2/4] unpacking")
    source, sdk = _unpack(root / "download", work)
    report("[3/4] compiling the boot ROM")
    rom = _compile_rom(work)
    report("[4/4] compiling MicroPython for the Pico, about a minute")
    program = _compile_firmware(work, source, sdk)
    target = _target()
    unfinished = target.with_suffix(".new")
    shutil.rmtree(unfinished, ignore_errors=True)
    unfinished.mkdir()
    shutil.copy(program, unfinished / BUILT[0])
    (unfinished / BUILT[1]).write_bytes(rom)
    shutil.rmtree(target, ignore_errors=True)
    unfinished.rename(target)
    shutil.rmtree(work)


def _unpack(download: Path, work: Path) -> "tuple[Path, Path]":
    """(MicroPython's source, patched and with TinyUSB in its place; the Pico SDK)"""
    source, packages = work / "micropython", work / "packages"
    firmware._run(["dpkg-source", "--no-check", "-x", next(download.glob("micropython_*.dsc")), source], work)
    for package in download.glob("*.deb"):
        firmware._run(["dpkg", "-x", package, packages], work)
    firmware._run(["patch", "-p1", "--batch", "--forward", "-i", HERE / "firmware/no-tls.patch"], source)
    shutil.copytree(packages / "usr/src/tinyusb", source / "lib/tinyusb", dirs_exist_ok=True, symlinks=True)
    (source / "lib/micropython-lib").mkdir(exist_ok=True)
    (source / "lib/micropython-lib/README.md").touch()  # the port looks for it; we freeze nothing from there
    sdk = packages / "usr/src/pico-sdk"
    (sdk / "src/rp2_common/pico_cxx_options/new_delete.cpp").write_text("")  # there is no C++ in this firmware
    return source, sdk


def _compile_rom(work: Path) -> bytes:
    flags = "-mcpu=cortex-m0plus -mthumb -O2 -ffreestanding -fno-builtin -fno-tree-loop-distribute-patterns"
    flags += " -ffunction-sections -fdata-sections -nostdlib -Wl,--gc-sections,--entry=wait_for_vector"
    rom = HERE / "bootrom"
    command = ["arm-none-eabi-gcc", *flags.split(), "-T", rom / "bootrom.ld", rom / "bootrom.c", "-lgcc", "-o", "bootrom.elf"]
    firmware._run(command, work)
    firmware._run(["arm-none-eabi-objcopy", "-O", "binary", "bootrom.elf", "bootrom.raw"], work)
    content = bytearray((work / "bootrom.raw").read_bytes())
    struct.pack_into("<3H", content, ROM_ADDRESSES, *struct.unpack_from("<3I", content, ROM_FOUND))
    if len(content) > ROM_BYTES:
        raise FirmwareError(f"The boot ROM has {len(content)} bytes; the chip has room for {ROM_BYTES}.")
    return bytes(content).ljust(ROM_BYTES, b"\0")


def _compile_firmware(work: Path, source: Path, sdk: Path) -> Path:
    jobs = f"-j{os.cpu_count() or 1}"
    tools = work / "tools"
    (tools / "lib").mkdir(parents=True)
    firmware._run(["arm-none-eabi-ar", "rc", "lib/libstdc++.a"], tools)  # named by the linker's command, needed by nothing
    firmware._run(["make", jobs, "-C", "mpy-cross", "CFLAGS_EXTRA=-Wno-error"], source)
    options = ["-DCMAKE_BUILD_TYPE=Release", "-DPIOASM_FLAT_INSTALL=1", f"-DPIOASM_VERSION_STRING={PIOASM}"]
    firmware._run(["cmake", "-S", sdk / "tools/pioasm", "-B", "pioasm", *options, f"-DCMAKE_INSTALL_PREFIX={tools}"], work)
    firmware._run(["cmake", "--build", "pioasm", jobs], work)
    firmware._run(["cmake", "--install", "pioasm"], work)
    options = [
        "-DMICROPY_BOARD=RPI_PICO",
        f"-DPICO_SDK_PATH_OVERRIDE={sdk}",
        f"-DPICO_SDK_PATH={sdk}",
        "-DPICO_NO_PICOTOOL=1",
        f"-DCMAKE_EXE_LINKER_FLAGS=-L{tools}/lib",
        f"-Dpioasm_DIR={tools}/pioasm",
        f"-DMICROPY_FROZEN_MANIFEST={HERE}/firmware/manifest.py",
    ]
    environment = ["env", f"MICROPY_MPYCROSS={source}/mpy-cross/build/mpy-cross"]
    firmware._run([*environment, "cmake", "-S", source / "ports/rp2", "-B", "firmware", *options], work)
    firmware._run([*environment, "make", jobs, "-C", "firmware"], work)
    return work / "firmware/firmware.bin"


if __name__ == "__main__":
    try:
        build()
    except FirmwareError as error:
        sys.exit(str(error))

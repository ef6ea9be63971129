"""Measure the interpreter that runs this text and print one line: ``harness-facts:`` and a JSON object.

Stands alone: it is sent as text (``python -c TEXT``) to any subject, so it imports nothing of ours and little of
anything, parses on Python 2.7 and MicroPython, and a fact that cannot be measured is empty, never an error.
"""
# Annotations are comments because Python 2.7 has no others; imports are local because any of them may be missing.
# ruff: noqa: BLE001 - the text must run on Python 2.7 and MicroPython, and whatever fails there is an empty fact

import sys

ELF_MACHINES = {
    3: "i386",
    8: "mips",
    22: "s390x",
    40: "arm",
    62: "x86_64",
    183: "aarch64",
    243: "riscv64",
    258: "loongarch64",
}
SYSTEMS = {"win32": "windows", "darwin": "macos", "android": "linux", "linux2": "linux"}
WINDOWS_MACHINES = (("AMD64", "x86_64"), ("ARM64", "aarch64"), ("ARM", "arm"), ("Intel", "i386"))
RELEASES = {"alpha": "a", "beta": "b", "candidate": "rc"}
SELF = "/proc/self/exe"


def system():
    # type: () -> str
    return SYSTEMS.get(sys.platform, sys.platform.rstrip("0123456789"))


def number(data, at, size, little):
    # type: (bytearray, int, int, bool) -> int
    value = 0
    for index in range(size):
        value |= data[at + index] << 8 * (index if little else size - 1 - index)
    return value


def elf(path):
    # type: (str) -> tuple[str, str]
    """The machine that an ELF file is for, and the loader that it asks for (empty when static)."""
    with open(path, "rb") as file:
        head = bytearray(file.read(64))
        wide, little = head[4] == 2, head[5] == 1
        code = number(head, 18, 2, little)
        machine = ELF_MACHINES.get(code, "elf-%d" % code)
        if code == 21:
            machine = "ppc64le" if little else "ppc64"
        elif code == 243 and not wide:
            machine = "riscv32"
        word = 8 if wide else 4
        table = number(head, 32 if wide else 28, word, little)
        entry = number(head, 54 if wide else 42, 2, little)
        for index in range(number(head, 56 if wide else 44, 2, little)):
            file.seek(table + index * entry)
            segment = bytearray(file.read(entry))
            if number(segment, 0, 4, little) == 3:  # PT_INTERP
                file.seek(number(segment, 8 if wide else 4, word, little))
                text = file.read(number(segment, 32 if wide else 16, word, little))
                return machine, text.rstrip(b"\0").decode("utf-8")
    return machine, ""


def arch():
    # type: () -> str
    if sys.platform in ("emscripten", "wasi"):
        return "wasm32"
    if sys.platform == "win32":
        # the interpreter's own: platform.machine() says what Windows runs on
        for word, name in WINDOWS_MACHINES:
            if "(%s)" % word in sys.version:
                return name
    try:
        return elf(SELF)[0]  # uname says x86_64 to a 32-bit program
    except Exception:
        import os

        return os.uname()[4]


def loader():
    # type: () -> str
    return elf(SELF)[1] if system() == "linux" else ""


def libc():
    # type: () -> str
    if system() != "linux":
        return ""
    if sys.platform == "android" or hasattr(sys, "getandroidapilevel"):
        return "bionic"
    multiarch = getattr(getattr(sys, "implementation", None), "_multiarch", "")
    for text in (loader(), multiarch):  # the second for a static interpreter
        if "musl" in text:
            return "musl"
        if "ld-linux" in text or "/ld64.so" in text or "/ld.so" in text or "-gnu" in text:
            return "glibc"
    import os

    return (os.confstr("CS_GNU_LIBC_VERSION") or "").split(" ")[0]


def libc_version():
    # type: () -> str
    import os

    name = libc()
    if name == "glibc":
        return (os.confstr("CS_GNU_LIBC_VERSION") or "").split(" ")[-1]
    if name != "musl":
        return ""
    # musl offers no call that tells; its loader would print it, but a string in it is cheaper than a process
    with open(loader(), "rb") as file:
        data = file.read()
    at = data.find(b"\0001.")
    while at >= 0:
        text = data[at + 1 : data.index(b"\0", at + 1)].decode("latin-1")
        if text.count(".") == 2 and text.replace(".", "").isdigit():
            return text
        at = data.find(b"\0001.", at + 1)
    return ""


def bits():
    # type: () -> int
    return 64 if sys.maxsize > 1 << 32 else 32


def implementation():
    # type: () -> str
    known = getattr(sys, "implementation", None)
    return known.name if known else "pypy" if hasattr(sys, "pypy_version_info") else "cpython"


def version():
    # type: () -> str
    info = sys.version_info
    text = "%d.%d.%d" % (info[0], info[1], info[2])
    stage = RELEASES.get(getattr(info, "releaselevel", "final"))
    if stage:
        text += "%s%d" % (stage, info[4])
    return text


def build():
    # type: () -> str
    words = []
    if "free-threading" in sys.version or "t" in getattr(sys, "abiflags", ""):
        words.append("free-threaded")
    if hasattr(sys, "gettotalrefcount"):
        words.append("debug")
    return "+".join(words) or "default"


def emulation():
    # type: () -> str
    if sys.platform in ("emscripten", "wasi"):
        return "wasm"
    if sys.platform == "win32":
        return windows_emulation()
    if sys.platform == "darwin":
        import ctypes

        flag = ctypes.c_int(0)
        size = ctypes.c_size_t(ctypes.sizeof(flag))
        # fails where the kernel has no such name, which is where there is no rosetta
        ctypes.CDLL(None).sysctlbyname(b"sysctl.proc_translated", ctypes.byref(flag), ctypes.byref(size), None, 0)
        return "rosetta" if flag.value == 1 else "native"
    return linux_emulation() if system() == "linux" else "unknown"


def windows_emulation():
    # type: () -> str
    import ctypes

    if hasattr(ctypes.CDLL("ntdll"), "wine_get_version"):
        return "wine"
    process, machine = ctypes.c_ushort(0), ctypes.c_ushort(0)
    kernel = ctypes.CDLL("kernel32")
    kernel.GetCurrentProcess.restype = ctypes.c_void_p
    current = ctypes.c_void_p(kernel.GetCurrentProcess())
    if not kernel.IsWow64Process2(current, ctypes.byref(process), ctypes.byref(machine)):
        return "unknown"
    return "prism" if machine.value == 0xAA64 and arch() in ("x86_64", "i386") else "native"


def linux_emulation():
    # type: () -> str
    # qemu rewrites /proc/self for its guest but not /proc/thread-self, which still names qemu
    import os

    real = os.readlink("/proc/thread-self/exe")
    name = real.split("/")[-1].lower()
    for emulator in ("qemu", "rosetta", "box64", "fex"):
        if emulator in name:
            return emulator
    if elf("/proc/thread-self/exe")[0] != arch():
        return "qemu"  # under another file name
    return "native"


def found_as(other, listed=False):
    # type: (bytes, bool) -> bool
    """Whether a file made in the working directory is found, or listed, under another spelling of its name."""
    import os

    # bytes, because the C locale of old versions has no such letter; but Windows' own names are text
    made, here = b"harness-probe-\xc3\xa9", b"."
    if sys.platform == "win32":
        made, other, here = made.decode("utf-8"), other.decode("utf-8"), "."  # type: ignore[assignment]
    open(made, "wb").close()
    try:
        if listed:
            return other in os.listdir(here)
        os.stat(other)
        return True
    except OSError:
        return False
    finally:
        os.remove(made)


def fs_case():
    # type: () -> str
    return "insensitive" if found_as(b"HARNESS-PROBE-\xc3\xa9") else "sensitive"


def fs_normalisation():
    # type: () -> str
    decomposed = b"harness-probe-e\xcc\x81"
    if found_as(decomposed, listed=True):
        return "nfd"
    return "insensitive" if found_as(decomposed) else "preserved"


def codec(name):
    # type: (str) -> str
    try:
        import codecs

        return codecs.lookup(name).name  # one name each: UTF-8 is utf-8, ANSI_X3.4-1968 is ascii
    except Exception:
        return name.lower()


def encoding():
    # type: () -> str
    return codec(sys.stdout.encoding or "ascii")  # 2.7 has none on a pipe, and encodes as ASCII


def fs_encoding():
    # type: () -> str
    return codec(sys.getfilesystemencoding())


def locale():
    # type: () -> str
    import _locale

    return _locale.setlocale(_locale.LC_CTYPE, None)


def executable():
    # type: () -> str
    import os

    try:
        path = os.readlink(SELF)  # sys.executable is a guess from argv[0]
        if not path.split("/")[-1].startswith(("ld-", "ld.", "ld6")):  # unless a wrapper called the loader by name
            return path
    except Exception:
        pass
    path = getattr(sys, "_base_executable", None) or sys.executable  # the first behind a launcher of Windows' venv
    return os.path.realpath(path) if path else ""


def executable_digest():
    # type: () -> str
    from hashlib import sha256

    digest = sha256()
    with open(executable(), "rb") as file:
        chunk = file.read(1 << 20)
        while chunk:
            digest.update(chunk)
            chunk = file.read(1 << 20)
    return digest.hexdigest()


def build_info():
    # type: () -> str
    return " ".join(sys.version.split())


def byteorder():
    # type: () -> str
    return sys.byteorder


def quoted(value):
    # type: (str | int) -> str
    """JSON, as ASCII: importing json would take longer than all the rest."""
    if isinstance(value, int):
        return str(value)
    text = ""
    for letter in value:
        code = ord(letter)
        if code > 0xFFFF:
            text += "\\u%04x\\u%04x" % (0xD800 + (code - 0x10000 >> 10), 0xDC00 + (code & 0x3FF))
        elif 32 <= code < 127 and letter not in '"\\':
            text += letter
        else:
            text += "\\u%04x" % code
    return '"%s"' % text


def main():
    # type: () -> None
    measures = (
        ("os", system, ""), ("arch", arch, ""), ("libc", libc, ""), ("libc_version", libc_version, ""),
        ("bits", bits, 0), ("byteorder", byteorder, ""), ("implementation", implementation, ""),
        ("version", version, ""), ("build", build, "default"), ("build_info", build_info, ""),
        ("emulation", emulation, "unknown"), ("fs_case", fs_case, ""), ("fs_normalisation", fs_normalisation, ""),
        ("encoding", encoding, ""), ("fs_encoding", fs_encoding, ""), ("locale", locale, ""),
        ("executable", executable, ""), ("executable_digest", executable_digest, ""),
    )  # fmt: skip
    pairs = []
    for name, measure, missing in measures:
        try:
            value = measure()
        except Exception:  # whatever a strange interpreter lacks
            value = missing
        pairs.append('"%s": %s' % (name, quoted(value)))
    # a line of its own, whatever was printed before it
    sys.stdout.write("\nharness-facts:{%s}\n" % ", ".join(pairs))


if __name__ == "__main__":
    main()

"""The layers of docs/ARCHITECTURE.md, kept by reading every module's imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import xdploaderd

ROOT = Path(xdploaderd.__file__).parent
LAYERS = [
    {"errors", "printable", "uapi", "hooks"},
    {"interrupts", "limits", "log", "manpage", "notify", "terminal"},
    {"insn", "config", "btf"},
    {"relo_core", "info"},
    {"obj"},
    {"verdict"},
    {"kernel"},
    {"load", "net", "api"},
    {"daemon"},
    {"control", "install"},
    {"front"},
    {"cli", "__main__"},
]
DAEMON_LAYERS = [{"plan"}, {"state"}, {"pins", "wanted"}, {"loop"}, {"execute"}, {"apply"}, {"service"}]
PURE = {
    "errors",
    "manpage",
    "printable",
    "uapi",
    "hooks",
    "limits",
    "insn",
    "config",
    "btf",
    "relo_core",
    "info",
    "obj",
    "verdict",
}
IMPURE_MODULES = {"asyncio", "ctypes", "fcntl", "mmap", "os", "signal", "socket", "subprocess", "threading"}
SOLE_USERS = {
    "elftools": {"obj/odd_headers.py"},
    "yaml": {"config/yaml_text.py"},
    "pydantic": {"config/attachment_model.py", "config/validate.py"},
    "pydantic_core": {"config/field_values.py", "config/validate.py"},
    "asyncvarlink": {"control/interface.py", "control/server.py"},
    "pyroute2": {"net/rtnl.py"},
    "ctypes": {"kernel/syscall.py", "kernel/attr.py"},
    "systemd": {"log.py"},
    "zstandard": {"kernel/unpack.py"},
    "lz4": {"kernel/unpack.py"},
    "dbus_fast": {"control/dbus.py", "control/dbus_object.py", "control/dbus_values.py"},
}
STDLIB = {"__future__"} | set(__import__("sys").stdlib_module_names)
MODULES = sorted(ROOT.rglob("*.py"))


def _imports(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative import"
            yield node.module or ""


def _package_of(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def _layer(package: str) -> int:
    return next(number for number, packages in enumerate(LAYERS) if package in packages)


@pytest.mark.parametrize("path", MODULES, ids=lambda p: str(p.relative_to(ROOT)))
def test_module_keeps_to_its_layer(path: Path) -> None:
    package = _package_of(path)
    if package == "__init__":
        return
    for name in _imports(path):
        top = name.split(".")[0]
        if top == "xdploaderd" and "." in name:
            other = name.split(".")[1]
            assert other == package or _layer(other) < _layer(package), f"{name} lies in the same or a higher layer"
        elif top not in STDLIB and top != "xdploaderd":
            assert str(path.relative_to(ROOT)) in SOLE_USERS.get(top, set()), f"{top} has another sole user"
        if top == "ctypes":
            assert str(path.relative_to(ROOT)) in SOLE_USERS["ctypes"]
        if package in PURE:
            assert top not in IMPURE_MODULES, f"{package} is pure, {top} is not"


def _daemon_layer(parts: tuple[str, ...]) -> int:
    """Return the layer of what lies below daemon/; what puts the daemon together is above them all."""
    found = (number for number, packages in enumerate(DAEMON_LAYERS) if parts[0] in packages)
    return next(found, len(DAEMON_LAYERS))


@pytest.mark.parametrize("path", sorted((ROOT / "daemon").rglob("*.py")), ids=lambda p: str(p.relative_to(ROOT)))
def test_part_of_the_daemon_keeps_to_its_layer(path: Path) -> None:
    own = path.relative_to(ROOT / "daemon").parts
    for name in _imports(path):
        if name.startswith("xdploaderd.daemon."):
            other = tuple(name.split(".")[2:])
            fine = other[0] == own[0] or _daemon_layer(other) < _daemon_layer(own) or path.parent.name == "daemon"
            assert fine, f"{name} lies in the same or a higher layer"
        if own[0] == "plan":
            assert name.split(".")[0] not in IMPURE_MODULES, "the plan is pure"


def test_layers_of_the_daemon_name_what_there_is_and_nothing_else() -> None:
    packages = {path.parent.name for path in (ROOT / "daemon").glob("*/__init__.py")}
    assert sorted(packages) == sorted(package for layer in DAEMON_LAYERS for package in layer)


def test_layers_name_what_there_is_and_nothing_else() -> None:
    named = [package for packages in LAYERS for package in packages]
    assert sorted(named) == sorted({_package_of(path) for path in MODULES} - {"__init__"})
    assert set(named) >= PURE


@pytest.mark.parametrize(("library", "users"), SOLE_USERS.items())
def test_sole_users_of_a_library_name_it(library: str, users: set[str]) -> None:
    assert {user for user in users if library in (ROOT / user).read_text()} == users


def _modules_of(path: Path) -> Iterator[str]:
    """Yield the modules of ours that a module imports, within functions too."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def test_no_module_imports_itself_by_way_of_others() -> None:
    names = {".".join(path.relative_to(ROOT.parent).with_suffix("").parts): path for path in MODULES}
    left = {name: {other for other in _modules_of(path) if other in names} for name, path in names.items()}
    while free := {name for name, others in left.items() if not others & left.keys()}:
        left = {name: others for name, others in left.items() if name not in free}
    assert sorted(left) == []

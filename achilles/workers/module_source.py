"""The controller's answer to a worker that lacks a module: its source, if it is the user's own.

Finds without importing: parents of a dotted name are not run either. Only source travels; what is
installed (site-packages), belongs to the standard library or is compiled does not, and the answer
then says what to do instead.
"""

from __future__ import annotations

import hashlib
import os
import sys
import sysconfig
from collections.abc import Sequence
from importlib.machinery import EXTENSION_SUFFIXES, ModuleSpec
from typing import Any, NamedTuple

_INSTALLED_DIRECTORIES = {"site-packages", "dist-packages"}
# Holds modules that `sys.stdlib_module_names` leaves out, such as the standard library's own tests.
_STANDARD_LIBRARY = tuple(
    os.path.join(os.path.normpath(sysconfig.get_path(name)), "") for name in ("stdlib", "platstdlib")
)


class ModuleSource(NamedTuple):
    """What the controller says about one module.

    Attributes:
        found: Whether ``source`` is the module's.
        is_package: Whether it may have submodules.
        origin: Its file's path on the controller; None for a namespace package.
        sha256: Of ``source``, in hex; empty when not found.
        source: The bytes of its file.
        reason: When not found: why, and what to do; may be empty.
        is_extension: Whether it exists and is compiled.
        name: The module's full name.
    """

    found: bool
    is_package: bool = False
    origin: str | None = None
    sha256: str = ""
    source: bytes = b""
    reason: str = ""
    is_extension: bool = False
    name: str = ""

    @classmethod
    def missing(cls, name: str, reason: str = "") -> ModuleSource:
        """The answer when there is no source to send."""
        return cls(found=False, reason=reason, name=name)

    def header(self) -> dict[str, Any]:
        """All but the source, as JSON can carry it."""
        return {
            "found": self.found,
            "is_package": self.is_package,
            "origin": self.origin,
            "sha256": self.sha256,
            "reason": self.reason,
            "is_extension": self.is_extension,
        }


def find_source(name: str) -> ModuleSource:
    """The source of the user's own module ``name`` as this process would import it."""
    top = name.partition(".")[0]
    if not all(part.isidentifier() for part in name.split(".")):
        return ModuleSource.missing(name)
    if top in sys.stdlib_module_names or top in sys.builtin_module_names or top == "achilles":
        return ModuleSource.missing(name)
    try:
        spec = _find_spec(name)
    except Exception as error:  # noqa: BLE001 - any finder on sys.meta_path may raise anything
        return ModuleSource.missing(name, f"Looking for {name!r} at the controller failed: {error!r}")
    if spec is None:
        return ModuleSource.missing(name)
    origin = spec.origin if spec.has_location or spec.origin not in ("namespace", "frozen") else None
    locations = spec.submodule_search_locations
    if _is_installed([origin] if origin else list(locations or ())):
        return ModuleSource.missing(
            name,
            f"{top!r} is an installed package on the controller's machine: "
            f"install it on every node too, in the same version.",
        )
    is_package = locations is not None
    if origin is None:
        return ModuleSource(is_package, is_package, sha256=_sha256(b"") if is_package else "", name=name)
    if origin.endswith(tuple(EXTENSION_SUFFIXES)):
        return ModuleSource(
            found=False,
            name=name,
            is_extension=True,
            reason=f"{name!r} is a compiled extension module ({os.path.basename(origin)}), which is not "
            f"sent to nodes: install it on every node.",
        )
    source = _read(spec, origin)
    if source is None:
        return ModuleSource.missing(name, f"The controller has {name!r} but not its source.")
    return ModuleSource(True, is_package, origin, _sha256(source), source, name=name)


def _find_spec(name: str) -> ModuleSpec | None:
    module = sys.modules.get(name)
    spec: ModuleSpec | None = getattr(module, "__spec__", None)
    if spec is not None:
        return spec
    file = getattr(module, "__file__", None)
    if file is not None:  # made by hand, or by an old loader
        spec = ModuleSpec(name, None, origin=file, is_package=hasattr(module, "__path__"))
        spec.has_location = True
        return spec
    path: Sequence[str] | None = None
    parent = name.rpartition(".")[0]
    if parent:
        parent_spec = _find_spec(parent)
        if parent_spec is None or parent_spec.submodule_search_locations is None:
            return None
        path = getattr(sys.modules.get(parent), "__path__", None) or parent_spec.submodule_search_locations
        nested = _nested_namespace(name, path)
        if nested is not None:
            return nested
    for finder in sys.meta_path:
        find = getattr(finder, "find_spec", None)
        found: ModuleSpec | None = find(name, path) if find is not None else None
        if found is not None:
            return found
    return None


def _nested_namespace(name: str, path: Sequence[str]) -> ModuleSpec | None:
    """A namespace package inside a package: the standard finder knows them once the parent is imported."""
    last = name.rpartition(".")[2]
    directories = [os.path.join(entry, last) for entry in path]
    if any(os.path.isfile(os.path.join(directory, "__init__.py")) for directory in directories):
        return None
    directories = [directory for directory in directories if os.path.isdir(directory)]
    if not directories or any(os.path.isfile(f"{os.path.join(entry, last)}.py") for entry in path):
        return None
    spec = ModuleSpec(name, None, is_package=True)
    spec.submodule_search_locations = directories
    return spec


def _read(spec: ModuleSpec, origin: str) -> bytes | None:
    if origin.endswith((".py", ".pyw")) and os.path.isfile(origin):
        with open(origin, "rb") as file:
            return file.read()
    get_source = getattr(spec.loader, "get_source", None)  # inside a zip file, for instance
    if get_source is None:
        return None
    try:
        text = get_source(spec.name)
    except Exception:  # noqa: BLE001 - a loader may raise anything
        return None
    return None if text is None else str(text).encode()


def _is_installed(paths: Sequence[str]) -> bool:
    normal = [os.path.normpath(path) for path in paths]
    return any(
        path.startswith(_STANDARD_LIBRARY) or not _INSTALLED_DIRECTORIES.isdisjoint(path.split(os.sep))
        for path in normal
    )


def _sha256(source: bytes) -> str:
    return hashlib.sha256(source).hexdigest()

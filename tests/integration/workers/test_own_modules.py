"""The user's own modules reach workers that do not have them."""

from __future__ import annotations

import sys
import textwrap

import pytest

from achilles.serialization import serialize
from achilles.workers import channel
from achilles.workers.module_source import ModuleSource, find_source
from tests.integration.workers import tasks


@pytest.fixture
def project(tmp_path, monkeypatch):
    """A directory that only the controller (this process) has on its path."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)

    def write(files: dict[str, str]):
        for name, text in files.items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(textwrap.dedent(text))
        return tmp_path

    yield write
    for name in set(sys.modules) - before:
        if name.partition(".")[0] in {"shapes", "heron_things", "heron_ns", "broken_things"}:
            del sys.modules[name]


def worker_without(parent, project_path, **options):
    path = [entry for entry in sys.path if entry != str(project_path)]
    parent.find = lambda job, name: find_source(name)
    return parent.worker(sys_path=path, **options)


PACKAGE = {
    "shapes/__init__.py": "from .areas import area\nfrom . import names\n",
    "shapes/areas.py": "from shapes.deep.constants import TWO\ndef area(x):\n    return x * TWO\n",
    "shapes/names.py": "NAME = 'shape'\n",
    "shapes/deep/__init__.py": "",
    "shapes/deep/constants.py": "from ..names import NAME\nTWO = 2\n",
}


@pytest.mark.parametrize("own_modules", ["controller", "local"])
def test_a_package_with_submodules_and_relative_imports(parent, project, own_modules) -> None:
    path = project(PACKAGE)
    worker = worker_without(parent, path, own_modules=own_modules)
    import shapes

    assert parent.run(worker, shapes.area, [1, 2]) == (channel.OK, [2, 4])
    wanted = {"shapes", "shapes.areas", "shapes.names", "shapes.deep", "shapes.deep.constants"}
    if own_modules == "local":
        wanted = {"shapes"}  # the rest lies on this disk, beside where the package says it is
    assert wanted == set(parent.fetched)
    assert not {"numpy", "dill", "json", "achilles"} & set(parent.fetched)


def test_a_namespace_package_and_a_missing_submodule(parent, project) -> None:
    worker = worker_without(parent, project({"heron_ns/inner.py": "def f(x):\n    import heron_ns.absent\n"}))
    import heron_ns.inner

    _, _, errors = parent.run(worker, heron_ns.inner.f, [1])
    assert isinstance(errors[0], ModuleNotFoundError)
    assert errors[0].name == "heron_ns.absent"


def test_tracebacks_show_the_lines_of_fetched_modules(parent, project) -> None:
    path = project(
        {
            "heron_things.py": """
            import inspect
            def fail(x):
                raise KeyError(x)  # the line to show
            def source(x):
                return inspect.getsource(fail), __file__
            """
        }
    )
    worker = worker_without(parent, path)
    import heron_things

    _, _, errors = parent.run(worker, heron_things.fail, [1])
    assert "# the line to show" in str(errors[0].__cause__)
    _, values = parent.run(worker, heron_things.source, [1])
    assert "# the line to show" in values[0][0]
    assert values[0][1] == str(path / "heron_things.py")


VERSION_ONE = b"""
VALUE = 'one'
RUNS = []
def f(x):
    import heron_things
    RUNS.append(x)
    return VALUE, heron_things.VALUE, len(RUNS)
"""


def test_two_sessions_each_see_their_own_version(parent) -> None:
    worker = worker_without(parent, None, own_modules="controller")
    versions = {1: VERSION_ONE, 2: VERSION_ONE.replace(b"one", b"two")}
    parent.find = lambda job, name: (
        ModuleSource(True, False, "/there/heron_things.py", "", versions[job], name=name)
        if name == "heron_things"
        else ModuleSource.missing(name)
    )
    for job in (1, 2):
        parent.function(worker, call_heron_things, job=job, session=job)
    for turn in range(1, 4):
        for job, word in ((1, "one"), (2, "two")):
            parent.unit(worker, [0], job=job)
            assert parent.result() == (channel.OK, [(word, word, turn)])
    assert parent.fetched.count("heron_things") == 2


def call_heron_things(x):
    import heron_things

    return heron_things.f(x)


def test_a_thread_of_user_code_may_import_too(parent, project) -> None:
    worker = worker_without(parent, project({"heron_things.py": "VALUE = 42\n"}))
    parent.function(worker, tasks.import_in_thread)
    parent.unit(worker, ["heron_things"])
    parent.unit(worker, ["heron_things"])
    assert parent.result() == (channel.OK, [42])
    assert parent.result() == (channel.OK, [42])


def test_messages_that_arrive_before_the_answer_are_kept(parent, project) -> None:
    worker = worker_without(parent, project({"heron_things.py": "VALUE = 42\n"}))
    parent.function(worker, tasks.import_in_thread)
    for _ in range(50):
        parent.unit(worker, ["heron_things"])
    for _ in range(50):
        assert parent.result() == (channel.OK, [42])


def test_the_controllers_version_wins_over_a_file_on_the_node(parent, project, tmp_path_factory) -> None:
    elsewhere = tmp_path_factory.mktemp("node")
    (elsewhere / "heron_things.py").write_text("VALUE = 'node'\n")
    project({"heron_things.py": "VALUE = 'controller'\n"})
    parent.find = lambda job, name: find_source(name)
    worker = parent.worker(sys_path=[str(elsewhere), *sys.path], own_modules="controller")
    assert parent.run(worker, tasks.import_in_thread, ["heron_things"]) == (channel.OK, ["controller"])
    worker = parent.worker(sys_path=[str(elsewhere), *sys.path], own_modules="local")
    assert parent.run(worker, tasks.import_in_thread, ["heron_things"]) == (channel.OK, ["node"])
    parent.find = lambda job, name: ModuleSource.missing(name)
    worker = parent.worker(sys_path=[str(elsewhere), *sys.path], own_modules="controller")
    assert parent.run(worker, tasks.import_in_thread, ["heron_things"]) == (channel.OK, ["node"])


def import_it(name):
    __import__(name)


def test_what_does_not_travel_is_refused_with_the_reason(parent) -> None:
    worker = worker_without(parent, None, own_modules="controller")
    parent.find = lambda job, name: (
        ModuleSource(found=False, is_extension=True, reason="compiled: install it", name=name)
        if name == "heron_fast"
        else ModuleSource.missing(name, "installed there: install it here")
    )
    _, _, errors = parent.run(worker, import_it, ["heron_fast", "heron_lib"])
    assert isinstance(errors[0], ImportError)
    assert str(errors[0]) == "compiled: install it"
    assert isinstance(errors[1], ModuleNotFoundError)
    assert "installed there: install it here" in str(errors[1].__cause__)


def test_a_module_with_a_syntax_error_says_where(parent, project) -> None:
    path = project({"broken_things.py": "x = = 1\n"})
    worker = worker_without(parent, path)
    _, _, errors = parent.run(worker, import_it, ["broken_things"])
    assert isinstance(errors[0], SyntaxError)
    assert errors[0].filename == str(path / "broken_things.py")


def test_a_function_whose_module_is_nowhere_fails_its_units(parent, project) -> None:
    worker = worker_without(parent, project({"heron_things.py": "def f(x):\n    return x\n"}))
    import heron_things

    parent.find = lambda job, name: ModuleSource.missing(name)
    segments = serialize((heron_things.f, None, None, "raise"), "function").segments
    worker.send(channel.FUNCTION, 0, 1, 1, 0, 0, segments)
    parent.unit(worker, [1])
    status, error = parent.result()
    assert status == channel.ALL_FAILED
    assert "heron_things" in str(error)

"""Functions and other objects of ``__main__`` in processes that have another ``__main__``."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.main_program import run_script


def test_functions_use_their_imports_constants_and_one_another(tmp_path: Path) -> None:
    run_script(
        """
        import functools
        import math
        import os.path as path
        import xml.dom.minidom
        from collections import Counter

        SCALE = 3
        REGISTRY = {}
        total = 0

        def scaled(x):
            return math.sqrt(x) * SCALE
        def work(x):
            return Counter([scaled(x)]), path.join("a", "b"), xml.dom.minidom.__name__
        def is_even(n):
            return True if n == 0 else is_odd(n - 1)
        def is_odd(n):
            return False if n == 0 else is_even(n - 1)
        def factorial(n):
            return 1 if n < 2 else n * factorial(n - 1)
        def outer():
            def inner(n):
                return 0 if n == 0 else n + inner(n - 1)
            return inner
        def count(step):
            global total
            total += step
            return total
        def counted():
            return total
        def shared_counter():
            n = 0
            def up():
                nonlocal n
                n += 1
            return up, lambda: n
        def with_defaults(a, b=SCALE, *, c=[1]):
            "doc"
            return a, b, c
        with_defaults.mark = "marked"
        @functools.lru_cache(maxsize=17)
        def cached(x):
            return x + SCALE
        @functools.wraps(scaled)
        def wrapper(*args):
            return scaled(*args)
        def main_name():
            return __name__, main_name.__module__
        def use_builtins(xs):
            return eval("len(xs)", {"xs": xs}), sorted(xs), isinstance(xs, list)
        def late_import(x):
            import json
            return json.dumps([json.loads(x) for _ in range(2)])

        with Remote() as remote:
            assert remote(work, 4) == (Counter([6.0]), "a/b", "xml.dom.minidom")
            assert remote(is_even, 10) is True
            assert remote(factorial, 20) == factorial(20)
            assert remote(outer(), 4) == 10
            assert remote(lambda f, g: (f(3), f(4), g()), count, counted) == (3, 7, 7)
            assert total == 0
            assert remote(lambda up, n: (up(), up(), n())[2], *shared_counter()) == 2
            assert remote(with_defaults, 1) == (1, 3, [1])
            back = remote(lambda: with_defaults)
            assert (back.__doc__, back.mark, back.__kwdefaults__) == ("doc", "marked", {"c": [1]})
            assert remote(lambda: (cached(1), cached(1), *cached.cache_info())) == (4, 4, 1, 1, 17, 1)
            assert remote(wrapper, 9) == 9.0
            assert remote(functools.partial(with_defaults, 5, c=2)) == (5, 3, 2)
            assert remote(main_name) == ("__main__", "__main__")
            assert remote(use_builtins, [3, 1]) == (2, [1, 3], True)
            assert remote(late_import, "1") == "[1, 1]"
            assert remote(len, "abc") == 3
            assert remote(lambda: [f(2) for f in (lambda x: x + SCALE, lambda x: x * SCALE)]) == [5, 6]
        """,
        tmp_path,
    )


def test_exceptions(tmp_path: Path) -> None:
    run_script(
        """
        import threading
        from multiprocessing.pool import RemoteTraceback
        from achilles.errors import RemoteError, SerializationError
        class Plain(ValueError):
            pass
        class Two(Exception):
            def __init__(self, code, reason):
                super().__init__(f"{code}: {reason}")
                self.code, self.reason = code, reason
        class Keyword(Exception):
            def __init__(self, *, where):
                self.where = where
                super().__init__("at " + where)
        class Prefixed(Exception):
            def __init__(self, text):
                super().__init__("prefix " + text)
        class Locked(Exception):
            def __init__(self):
                self.lock = threading.Lock()
                super().__init__("has a lock")
        class Unloadable(Exception):
            def __reduce__(self):
                return int, ("no number",)
        class Mute(Exception):
            def __str__(self): raise SystemExit
        def throw(kind, *args, **kwargs):
            raise kind(*args, **kwargs)
        with Remote() as remote:
            assert raised(remote, throw, Plain, "a", 2).args == ("a", 2)
            error = raised(remote, throw, Two, 4, "bad")
            assert type(error) is Two and (error.code, error.reason, str(error)) == (4, "bad", "4: bad")
            assert isinstance(error.__cause__, RemoteTraceback) and "in throw" in str(error.__cause__)
            error = raised(remote, lambda: throw(Keyword, where="home"))
            assert type(error) is Keyword and error.where == "home" and str(error) == "at home"
            assert str(raised(remote, throw, Prefixed, "x")) == "prefix x"
            assert type(raised(remote, throw, Mute)) is Mute
            for kind, text in ((Locked, "has a lock"), (Unloadable, "")):
                error = raised(remote, throw, kind)
                assert type(error) is RemoteError, error
                assert (error.type_name, error.text, error.index) == (kind.__name__, text, 7)
                assert "in throw" in error.traceback and isinstance(error.__cause__, RemoteTraceback)
            assert type(raised(remote, throw, SystemExit, 3)) is SystemExit
            assert raised(remote, throw, FileNotFoundError, 2, "gone", "f").filename == "f"
            assert raised(remote, lambda: b"\\xff".decode()).reason == "invalid start byte"
            assert type(raised(remote, throw, KeyboardInterrupt)) is KeyboardInterrupt
            group = raised(remote, lambda: throw(ExceptionGroup, "g", [Plain(1), Two(1, 2)]))
            assert [type(e) for e in group.exceptions] == [Plain, Two]
            error = raised(remote, lambda: (yield_ for yield_ in ()))
            assert type(error) is SerializationError and "generator" in str(error)
        """,
        tmp_path,
    )


def test_weak_references_and_other_things_of_dill(tmp_path: Path) -> None:
    run_script(
        """
        import collections, types, weakref
        class Thing: pass
        assert "dill" not in sys.modules
        with Remote() as remote:
            thing = Thing(); thing.me = weakref.ref(thing)
            back = remote(lambda t: t, thing)
            assert type(back) is Thing and type(back.me()) is Thing
            assert "dill" not in sys.modules
            assert list(remote(lambda d: d.keys(), {1: 2})) == [1]
            assert "dill" in sys.modules
            assert remote(lambda p: p, types.MappingProxyType({"a": 1})) == {"a": 1}
            assert remote(lambda t: t, types.FunctionType) is types.FunctionType
            kinds = [types.GeneratorType, type(None), type(...)]
            assert remote(lambda: kinds) == kinds
            assert remote(lambda c: (c["a"], c), collections.ChainMap({"a": 1}))[0] == 1
        """,
        tmp_path,
    )


def test_a_name_in_main_is_never_sent(tmp_path: Path) -> None:
    run_script(
        """
        from achilles.errors import SerializationError
        class Sentinel:
            def __reduce__(self): return "ONLY"
        ONLY = Sentinel()
        error = raised(serialize, {"a": [ONLY]}, "argument 3")
        assert type(error) is SerializationError and "__main__" in str(error), error
        assert error.path == "['a'][0]" and error.subject == "argument 3", error.path
        import __main__
        error = raised(serialize, [__main__], "x")
        assert type(error) is SerializationError and error.path == "[0]", error
        """,
        tmp_path,
    )


def test_arrays_in_closures(tmp_path: Path) -> None:
    pytest.importorskip("numpy")
    run_script(
        """
        import numpy as np
        table = np.arange(100_000.0)
        def add(x):
            table[0] += x
            return table
        blob = serialize(add, "function")
        assert any(isinstance(s, memoryview) and s.nbytes == 800_000 for s in blob.segments)
        with Remote() as remote:
            back = remote(add, 5)
            assert back[0] == 5 and back[-1] == 99_999 and table[0] == 0
            back[1] = 3
            assert remote((lambda big: lambda: big.sum())(np.ones(200_000))) == 200_000
        """,
        tmp_path,
    )


def test_a_module_beside_the_script_goes_by_reference(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(
        "import threading\nLOCK = threading.Lock()\nCALLS = []\n"
        "def make(k):\n    def f(x):\n        with LOCK:\n            CALLS.append(x)\n        return x + k\n"
        "    return f\ndef calls():\n    return len(CALLS)\nclass C: pass\n"
    )
    run_script(
        """
        import own
        with Remote() as remote:
            assert remote(lambda f: (f(1), f(2), own.calls()), own.make(10)) == (11, 12, 2)
            assert remote(own.calls) == 2
            assert type(remote(own.C)) is own.C
            assert remote(lambda m: m.__name__, own) == "own"
            assert serialize(own.C(), "c").by_value is False
        """,
        tmp_path,
    )

"""A party that is forked from the warm process is as one that begins as an interpreter of its own."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
from pathlib import Path

import pytest

from tests.integration.forked_party import (
    ForkedProcess,
    interpreter_variables,
    start,
    start_fresh,
    warm_process,
)

# What a program sees of itself; the modules and the warm process's command line may differ.
PORTRAIT = """
import atexit, faulthandler, gc, json, os, random, signal, sys, threading
atexit.register(print, "at exit")
path = os.path.realpath("/proc/self/fd/1")
print(json.dumps({
    "argv": sys.argv,
    "orig_argv": sys.orig_argv[1:],
    "path": sys.path,
    "executable": sys.executable,
    "flags": str(sys.flags),
    "warnings": [sys.warnoptions, sys._xoptions],
    "names": sorted(globals()),
    "main": [__name__, __doc__, __package__, repr(__loader__).partition(" at ")[0], __spec__],
    "is_main": sys.modules["__main__"].__dict__ is globals(),
    "environment": dict(os.environ),
    "cwd": os.getcwd(),
    "descriptors": sorted(map(int, os.listdir("/proc/self/fd")))[:4],
    "stdin": [os.readlink("/proc/self/fd/0"), sys.stdin.read()],
    "pipes": [path.startswith("/proc/self/fd/pipe:"), path == os.path.realpath("/proc/self/fd/2")],
    "inheritable": [os.get_inheritable(number) for number in range(3)],
    "streams": [
        [each.encoding, each.errors, each.line_buffering, each.write_through, each.seekable(), each.isatty()]
        for each in (sys.stdin, sys.stdout, sys.stderr)
    ],
    "signals": {
        number.name: str(signal.getsignal(number)).partition(" at ")[0] for number in signal.valid_signals()
        if isinstance(number, signal.Signals)
    },
    "mask": [number for number in signal.pthread_sigmask(signal.SIG_BLOCK, [])],
    "wakeup": signal.set_wakeup_fd(-1),
    "faulthandler": faulthandler.is_enabled(),
    "leads_session": os.getsid(0) == os.getpid(),
    "threads": [str(thread.name) for thread in threading.enumerate()],
    "is_main_thread": threading.current_thread() is threading.main_thread(),
    "limits": [os.umask(0o022), os.getpriority(os.PRIO_PROCESS, 0)],
    "gc": [gc.isenabled(), gc.get_threshold()],
    "reactor": "twisted.internet.reactor" in sys.modules,
    "tests": [name for name in sys.modules if name.startswith("tests")],
}))
"""


def environment(**more: str) -> dict[str, str]:
    return {**os.environ, **interpreter_variables(), **more}


def fresh(arguments: list[str], cwd: Path, own_group: bool = False, **more: str) -> subprocess.Popen[str]:
    return start_fresh(arguments, cwd=cwd, env=environment(**more), own_group=own_group)


def forked(arguments: list[str], cwd: Path, own_group: bool = False, **more: str) -> ForkedProcess:
    process = start(arguments, cwd=cwd, env=environment(**more), own_group=own_group)
    assert isinstance(process, ForkedProcess)
    return process


def to_the_end(process: ForkedProcess | subprocess.Popen[str]) -> tuple[str, int]:
    assert process.stdout is not None
    with process.stdout:
        return process.stdout.read(), process.wait(30)


@pytest.mark.parametrize("own_group", [False, True])
@pytest.mark.parametrize("how", ["code", "file"])
def test_it_sees_itself_as_a_fresh_one(tmp_path: Path, how: str, own_group: bool) -> None:
    program = ["-c", PORTRAIT]
    if how == "file":
        (tmp_path / "portrait.py").write_text(PORTRAIT)
        program = ["portrait.py"]
    seen = [
        to_the_end(begin([*program, "one", "two"], tmp_path, own_group, ONLY="here"))
        for begin in (fresh, forked)
    ]
    ours, theirs = ([*text.partition("\n"), code] for text, code in seen)
    assert ours[1:] == ["\n", "at exit\n", 0] == theirs[1:]
    assert json.loads(ours[0]) == json.loads(theirs[0])


@pytest.mark.parametrize(
    "code",
    [
        "pass",
        "raise SystemExit",
        "raise SystemExit(3)",
        "raise SystemExit('for a reason')",
        "import os; os._exit(4)",
        "import os, signal; os.kill(os.getpid(), signal.SIGKILL)",
        "import os, signal; signal.signal(2, signal.SIG_DFL); os.kill(os.getpid(), 2)",
        "import threading, time; threading.Thread(target=lambda: (time.sleep(0.05), print('late'))).start()",
    ],
)
def test_it_ends_as_a_fresh_one(tmp_path: Path, code: str) -> None:
    seen = [to_the_end(begin(["-c", code], tmp_path)) for begin in (fresh, forked)]
    assert seen[0] == seen[1]


def test_what_it_does_not_catch_is_told(tmp_path: Path) -> None:
    text, code = to_the_end(forked(["-c", "def f():\n    raise ValueError('told')\nf()"], tmp_path))
    assert code == 1
    assert text.startswith("Traceback (most recent call last):\n")
    assert text.endswith('  File "<string>", line 2, in f\nValueError: told\n')


def test_signals_reach_it_and_the_warm_process_goes_on(tmp_path: Path) -> None:
    os.kill(warm_process().pid, signal.SIGINT)
    process = forked(["-c", "import signal; print('here'); signal.pause()"], tmp_path)
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(0.01)
    assert process.poll() is None
    assert process.stdout.readline() == "here\n"
    process.send_signal(signal.SIGINT)
    text, code = to_the_end(process)
    assert text.endswith("KeyboardInterrupt\n") and code == -signal.SIGINT == process.poll()
    process.kill()


def test_many_threads_start_and_await_them(tmp_path: Path) -> None:
    descriptors = len(os.listdir("/proc/self/fd"))
    codes: list[int] = []

    def one(number: int) -> None:
        process = forked(["-c", f"raise SystemExit({number})"], tmp_path)
        others = [threading.Thread(target=lambda: codes.append(process.wait())) for _ in range(3)]
        for other in others:
            other.start()
        codes.append(to_the_end(process)[1])
        for other in others:
            other.join()

    threads = [threading.Thread(target=one, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(codes) == [number for number in range(8) for _ in range(4)]
    assert len(os.listdir("/proc/self/fd")) == descriptors


def test_another_environment_of_the_interpreter_needs_a_fresh_one(tmp_path: Path) -> None:
    process = start(["-c", "print('here')"], cwd=tmp_path, env=environment(PYTHONHASHSEED="1"))
    assert isinstance(process, subprocess.Popen)
    assert to_the_end(process) == ("here\n", 0)

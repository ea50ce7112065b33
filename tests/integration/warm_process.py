"""The warm process: it has imported all that servers and nodes import, and forks a child for each of them.

An interpreter that imports Twisted and achilles takes most of the time that a test's server or node
takes, and tests start hundreds. So each process that runs tests starts one such interpreter
(`tests.integration.forked_party`) and asks it for children. A child is as an interpreter that was just
started, with these exceptions: more modules are imported, its siblings share its hash seed, and
``/proc`` shows the command line and the environment of the warm process.

The warm process has one thread and no reactor, and its children get none of its descriptors. It runs as
``python -c "…; exec(serve(NUMBER), globals())"``: in a child `serve` returns, so that the program is run by
the interpreter's own main program, and ends as that does.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import random
import resource
import select
import signal
import socket
import struct
import sys
from importlib import import_module
from importlib.machinery import BuiltinImporter, SourceFileLoader
from pathlib import Path
from types import CodeType
from typing import Any, NoReturn

__all__ = ["NUMBER", "serve"]

# What servers and nodes import, at once or when they need it; not the reactor, which is a process's own.
WARM = (
    "achilles.lineReceiver.achilles_node",
    "achilles.lineReceiver.achilles_server",
    "encodings.ascii",
    "encodings.idna",
    "scramp",
    "twisted.internet.epollreactor",
    "twisted.internet.ssl",
    "twisted.internet.udp",
    "twisted.internet.unix",
)
MOST_REQUEST_BYTES = 1 << 20
# How a child's process id and its exit code are told.
NUMBER = struct.Struct("i")


def serve(number: int) -> CodeType:
    """Fork a child for each request that comes from this descriptor, until nobody is left who could ask.

    Returns:
        In each child, the program that it has to run.

    Raises:
        SystemExit: In the warm process, at its end. Its children go on.
    """
    for name in WARM:
        import_module(name)
    assert "twisted.internet.reactor" not in sys.modules
    # It ends with the tests, also with those that are interrupted. Fork leaves behind what is pending.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
    gc.collect()
    gc.freeze()
    return _Warm(socket.socket(fileno=number)).serve()


class _Warm:
    def __init__(self, requests: socket.socket) -> None:
        self._requests = requests
        self._awake, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno())
        signal.signal(signal.SIGCHLD, lambda number, frame: None)
        # By process id, the descriptors of those who want to know how it ended.
        self._children: dict[int, int] = {}

    def serve(self) -> CodeType:
        while True:
            readable, _, _ = select.select([self._requests, self._awake], [], [])
            if self._awake in readable:
                self._awake.recv(4096)
                self._tell_ends()
            if self._requests in readable:
                content, numbers, _, _ = socket.recv_fds(self._requests, MOST_REQUEST_BYTES, 2)
                if not content:
                    self._leave()
                output, told = numbers
                pid = os.fork()
                if pid == 0:
                    self._forget()
                    return _begin(json.loads(content), output)
                os.close(output)
                self._children[pid] = told
                _tell(told, pid)

    def _tell_ends(self) -> None:
        while self._children:
            pid, status = os.waitpid(-1, os.WNOHANG)
            if not pid:
                break
            told = self._children.pop(pid)
            _tell(told, os.waitstatus_to_exitcode(status))
            os.close(told)

    def _forget(self) -> None:
        """A child knows nothing of this; its other descriptors are closed with the rest."""
        signal.set_wakeup_fd(-1)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        for each in (self._requests, self._awake, self._wake):
            each.close()

    def _leave(self) -> NoReturn:
        self._forget()
        raise SystemExit


def _tell(told: int, number: int) -> None:
    with contextlib.suppress(BrokenPipeError):
        os.write(told, NUMBER.pack(number))


def _begin(request: dict[str, Any], output: int) -> CodeType:
    """Be as an interpreter that has just been started so; returns the program."""
    null = os.open(os.devnull, os.O_RDONLY)
    for number, descriptor in enumerate((null, output, output)):
        os.dup2(descriptor, number)
    os.closerange(3, resource.getrlimit(resource.RLIMIT_NOFILE)[1])
    if request["own_group"]:
        os.setsid()
    os.chdir(request["cwd"])
    os.environ.clear()
    os.environ.update(request["env"])
    random.seed()
    code = _main_program(request["arguments"])
    for name in [name for name in sys.modules if name.partition(".")[0] == "tests"]:
        del sys.modules[name]
    signal.pthread_sigmask(signal.SIG_SETMASK, [])
    return code


def _main_program(arguments: list[str]) -> CodeType:
    """Make `__main__` anew for ``-c CODE`` or ``FILE``, with what follows."""
    first, *rest = arguments
    main = vars(sys.modules["__main__"])
    names = {"__name__": "__main__", "__doc__": None, "__package__": None, "__spec__": None}
    main.clear()
    main.update(names, __loader__=BuiltinImporter, __annotations__={}, __builtins__=sys.modules["builtins"])
    sys.orig_argv[1:] = arguments
    if first == "-c":
        text, *rest = rest
        sys.argv, sys.path[0] = ["-c", *rest], ""
        return compile(text, "<string>", "exec", dont_inherit=True)
    sys.argv, sys.path[0] = arguments, os.path.dirname(os.path.realpath(first))
    main.update(__file__=first, __cached__=None, __loader__=SourceFileLoader("__main__", first))
    return compile(Path(first).read_bytes(), first, "exec", dont_inherit=True)

"""Runs a script as a main program that talks to a fresh process knowing nothing of it.

In the script, ``Remote()`` is such a process: ``remote(function, *arguments)`` sends payloads there and
returns or raises what comes back; ``keep`` and ``call`` do so with a function sent once, as a job does.
"""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]

WORKER = """
import struct, sys
from achilles.serialization import deserialize, join, load_failure, serialize, serialize_failure
channel, out = sys.stdin.buffer, sys.stdout.buffer
sys.stdout = sys.stderr
def receive():
    size = struct.unpack("<Q", channel.read(8))[0]
    return deserialize(bytearray(channel.read(size)), "payload")
def reply(blob):
    out.write(struct.pack("<Q", len(blob)) + blob)
    out.flush()
kept = {}
while True:
    kind, key = receive()
    if kind == "exit":
        break
    try:
        if kind == "keep":
            kept[key] = receive()
            reply(join(serialize(("ok", None), "result")))
        else:
            function = kept[key][0] if key else receive()
            arguments = receive()
            reply(join(serialize(("ok", function(*arguments)), "result")))
    except BaseException as error:
        reply(join(serialize(("failed", serialize_failure(error, 7)), "failure")))
"""

PRELUDE = """
import struct, subprocess, sys
from achilles.serialization import deserialize, join, load_failure, serialize, serialize_failure

class Remote:
    def __init__(self):
        self.process = subprocess.Popen(
            [sys.executable, "-c", WORKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
    def __enter__(self):
        return self
    def __exit__(self, *exc):
        self.send(("exit", None))
        self.process.stdin.close()
        self.process.stdout.close()
        assert self.process.wait(60) == 0
    def send(self, obj):
        blob = join(serialize(obj, "payload"))
        self.process.stdin.write(struct.pack("<Q", len(blob)) + blob)
        self.process.stdin.flush()
    def receive(self):
        size = struct.unpack("<Q", self.process.stdout.read(8))[0]
        status, value = deserialize(bytearray(self.process.stdout.read(size)), "reply")
        if status == "failed":
            raise load_failure(value)
        return value
    def __call__(self, function, *arguments):
        self.send(("call", None)); self.send(function); self.send(list(arguments))
        return self.receive()
    def keep(self, key, *functions):
        self.send(("keep", key)); self.send(functions)
        return self.receive()
    def call(self, key, *arguments):
        self.send(("call", key)); self.send(list(arguments))
        return self.receive()

def raised(function, *arguments):
    try:
        function(*arguments)
    except BaseException as error:
        return error
    raise AssertionError("nothing was raised")
"""


def run_script(body: str, cwd: Path) -> str:
    script = f"WORKER = {WORKER!r}\n{PRELUDE}\n{textwrap.dedent(body)}\nprint('finished')\n"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])}
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, timeout=120, env=environment, cwd=cwd
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.endswith("finished\n"), done.stderr
    return done.stdout

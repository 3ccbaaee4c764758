"""A Python that has imported the program already, and forks for each command that a test types.

Each command is a process of its own, with its own streams, directory and environment, and ends as
it would end in a shell. Only the second that its imports take is saved.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import select
import socket
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
IMPORTED = ("commands.training", "analysis.adaptation", "analysis.figures", "matplotlib.figure")


class ForkedPython:
    """It starts with this object, and ends with the tests."""

    def __init__(self):
        self.folder = tempfile.TemporaryDirectory()
        self.door = os.path.join(self.folder.name, "door")
        self.process = subprocess.Popen(
            [sys.executable, __file__, self.door],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        assert self.process.stdout.readline() == b"ready\n"
        atexit.register(self.process.communicate)  # it ends when its stdin is closed

    def run(self, line: list[str], cwd, env: dict, timeout: float) -> subprocess.CompletedProcess:
        """As subprocess.run(line, capture_output=True, text=True, ...), for a script of ours."""
        with (
            tempfile.TemporaryFile("w+") as out,
            tempfile.TemporaryFile("w+") as err,
            socket.socket(socket.AF_UNIX) as call,
        ):
            call.settimeout(timeout)
            call.connect(self.door)
            socket.send_fds(call, [b"!"], [out.fileno(), err.fileno()])
            call.sendall(json.dumps({"line": line, "cwd": cwd, "env": env}).encode())
            call.shutdown(socket.SHUT_WR)
            code = int(call.makefile().read())
            out.seek(0), err.seek(0)
            return subprocess.CompletedProcess(line, code, out.read(), err.read())


def serve(door: str) -> None:
    """Fork for each call; returns in a process that has to become a command."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(door)
        listener.listen()
        print("ready", flush=True)
        while True:
            ready, _, _ = select.select([listener, sys.stdin], [], [])
            with contextlib.suppress(ChildProcessError):  # else the ended would stay as zombies
                while os.waitpid(-1, os.WNOHANG)[0]:
                    pass
            if sys.stdin in ready:
                os._exit(0)
            call, _ = listener.accept()
            if not os.fork():
                break
            call.close()
    _, streams, _, _ = socket.recv_fds(call, 1, 2)
    asked = json.loads(call.makefile().read())
    command = os.fork()
    if command:
        _, status = os.waitpid(command, 0)
        call.sendall(str(os.waitstatus_to_exitcode(status)).encode())
        os._exit(0)
    call.close()
    for number, stream in enumerate((os.open(os.devnull, os.O_RDONLY), *streams)):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(asked["cwd"])
    os.environ.clear()
    os.environ.update(asked["env"])
    sys.argv[:] = asked["line"]


if __name__ == "__main__":
    sys.path[0] = str(ROOT)
    import machine.startup  # noqa: F401 (first, as in every script)

    for name in IMPORTED:
        importlib.import_module(name)
    from fitness_functions import agent_for

    agent_for("ABCD_lr", "CartPole-v1", "uni").warm_up()
    gc.freeze()  # what is there already is not looked through, and copied, in every fork
    serve(sys.argv[1])
    runpy.run_path(sys.argv[0], run_name="__main__")

"""Run the command line many times with closed, full or broken streams: each run is a fork of one process.

`python forks.py FOLDER < cases.json > results.json`. A case is {"arguments": [...], "out": how, "err": how}, where how
is "kept", "closed", "full", or the number of bytes after which the reader closes the pipe. Each run has FOLDER/I as
its current folder, with copies of the files in FOLDER/files.
"""

import gc
import json
import os
import runpy
import shutil
import sys

PIPE = 4096  # bytes that a pipe holds, the least that Linux allows


def run(case, folder):
    """Return exit code, output, errors and files of one run."""
    shutil.copytree(os.path.join(os.path.dirname(folder), "files"), folder)
    ends, readers = {}, {}
    for name in ("out", "err"):
        how = case[name]
        if how == "full":
            ends[name] = os.open("/dev/full", os.O_WRONLY)
        elif how == "kept":
            ends[name] = os.open(os.path.join(folder, f".{name}"), os.O_WRONLY | os.O_CREAT)
        elif how != "closed":
            readers[name], ends[name] = os.pipe()
            _shrink(ends[name])
            if how == 0:
                os.close(readers.pop(name))
    child = os.fork()
    if not child:
        become_the_command(case["arguments"], folder, ends)
    for end in ends.values():
        os.close(end)
    for name, reader in readers.items():
        left = case[name]
        while left and (chunk := os.read(reader, left)):
            left -= len(chunk)
        os.close(reader)
    status = os.waitpid(child, 0)[1]
    result = {"code": os.WEXITSTATUS(status) if os.WIFEXITED(status) else -os.WTERMSIG(status)}
    for name in ("out", "err"):
        path = os.path.join(folder, f".{name}")
        if os.path.exists(path):
            with open(path, encoding="utf-8", errors="replace") as file:
                result[name] = file.read()
    result["files"] = sorted(name for name in os.listdir(folder) if name not in (".out", ".err"))
    return result


def _shrink(pipe):
    import fcntl

    fcntl.fcntl(pipe, 1031, PIPE)  # F_SETPIPE_SZ, which Python names from 3.10 on


def become_the_command(arguments, folder, ends):
    """Run the command in this process with these streams, as a shell would start it."""
    os.chdir(folder)
    for number, name in ((1, "out"), (2, "err")):
        if name in ends:
            os.dup2(ends[name], number)
        else:
            os.close(number)
    os.closerange(3, 100)
    sys.stdout = open(1, "w", encoding="utf-8", closefd=False) if "out" in ends else None  # noqa: SIM115
    sys.stderr = open(2, "w", encoding="utf-8", closefd=False, buffering=1) if "err" in ends else None  # noqa: SIM115
    sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
    sys.argv = ["anchorlib", *arguments]
    runpy.run_module("anchorlib", run_name="__main__", alter_sys=True)


def main():
    """Import the command line once, then run every case in a fork."""
    sys.modules["torch"] = sys.modules["oneflow"] = None  # seconds, and threads that a fork loses
    import anchorlib.cli  # noqa: F401
    from anchorlib.backends import load

    load("numpy")
    gc.freeze()  # a fork that ends then does not visit all objects
    results = [run(case, os.path.join(sys.argv[1], str(i))) for i, case in enumerate(json.load(sys.stdin))]
    json.dump(results, sys.stdout)


if __name__ == "__main__":
    main()

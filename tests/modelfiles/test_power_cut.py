"""Kill a process while it writes a model file: the file must be the old one or the new one, complete."""

import re
import subprocess
import sys
from pathlib import Path

import numpy as np
from helpers.model_file_layouts import example, yolo_yaml

from anchorlib.modelfiles import edit_anchors

ROOT = Path(__file__).parent.parent.parent

#: Edits argv[1] and prints the name of every call that changes the disk. The call with number argv[2] kills the
#: process: "before" it, "after" it, or, for a write, in the "middle" of its bytes.
CHILD = """
import os, signal, sys
import numpy as np
from anchorlib.modelfiles import edit_anchors

path, die_at, when = sys.argv[1], int(sys.argv[2]), sys.argv[3]
calls = 0

def counted(name, call, half=None):
    def counted_call(*args, **options):
        global calls
        mine, calls = calls, calls + 1
        real_write(1, f"{name}\\n".encode())
        if mine == die_at and when == "before":
            os.kill(os.getpid(), signal.SIGKILL)
        if mine == die_at and when == "middle" and half:
            half(*args)
            os.kill(os.getpid(), signal.SIGKILL)
        result = call(*args, **options)
        if mine == die_at:
            os.kill(os.getpid(), signal.SIGKILL)
        return result
    return counted_call

def write(handle, data):
    data = bytes(data)[:2048]  # as a disk may: only a part at a time
    half = lambda handle, data: real_write(handle, data[: len(data) // 2])
    return counted("write", real_write, half)(handle, data)

real_write, real_fsync = os.write, os.fsync
os.write = write
def fsync(handle):
    import stat
    kind = "folder" if stat.S_ISDIR(os.fstat(handle).st_mode) else "file"
    return counted(f"fsync {kind}", real_fsync)(handle)
os.fsync = fsync
for name in ("open", "chmod", "replace", "close", "unlink"):
    setattr(os, name, counted(name, getattr(os, name)))
anchors = np.arange(1, 19, dtype=np.float32).reshape(3, 3, 2) * 100
calls = 0
edit_anchors(path, anchors)
"""


def run_child(path, die_at, when):
    command = [sys.executable, "-c", CHILD, str(path), str(die_at), when]
    result = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert result.returncode in (0, -9), result.stderr
    return result.returncode, result.stdout.split("\n")[:-1]


def test_killed_at_each_call_the_file_is_the_old_or_the_new(tmp_path):
    old = yolo_yaml(example(3, 3)) + "# much to say\n" * 300
    path = tmp_path / "model.yaml"
    path.write_text(old)
    edit_anchors(path, np.arange(1, 19, dtype=np.float32).reshape(3, 3, 2) * 100)
    new = path.read_text()
    assert new != old

    def outcome(die_at, when):
        folder = tmp_path / f"{die_at}-{when}"
        folder.mkdir()
        (folder / "model.yaml").write_text(old)
        code, calls = run_child(folder / "model.yaml", die_at, when)
        strays = [p for p in folder.iterdir() if p.name != "model.yaml"]
        assert len(strays) <= 1
        assert all(re.fullmatch(r"\.anchorlib-\w+\.tmp", stray.name) for stray in strays)
        got = (folder / "model.yaml").read_text()
        assert got in (old, new)
        if code == 0:
            assert got == new
            assert not strays
        elif strays:  # the temporary file does not disturb the next edit
            assert got == old
            edit_anchors(folder / "model.yaml", np.arange(1, 19, dtype=np.float32).reshape(3, 3, 2) * 100)
            assert (folder / "model.yaml").read_text() == new
        return code, calls, got == new

    _, calls, _ = outcome(-1, "never")
    assert calls.count("write") == 3
    seen = set()
    for k, call in enumerate(calls):
        last = k == len(calls) - 1  # "after" a call is "before" the next one
        for when in ["before"] + ["middle"] * (call == "write") + ["after"] * last:
            code, printed, is_new = outcome(k, when)
            assert code == -9
            assert printed[: k + 1] == calls[: k + 1]
            seen.add(is_new)
            assert is_new == (k > calls.index("replace"))
    assert seen == {True, False}


def test_the_content_is_on_the_disk_before_its_name_is(tmp_path):
    """Check what a kill does not show: after a power cut, data that was written but not synced is lost."""
    path = tmp_path / "model.yaml"
    path.write_text(yolo_yaml(example(3, 3)))
    _, calls = run_child(path, -1, "never")
    order = [call for call in calls if call in ("write", "fsync file", "chmod", "replace", "fsync folder")]
    assert [call for call in order if call != "write"] == ["chmod", "fsync file", "replace", "fsync folder"]
    assert max(i for i, call in enumerate(order) if call == "write") < order.index("fsync file")

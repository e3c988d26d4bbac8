"""Make every call of the system fail once in readers and writers, and check what they say; prints JSON.

    FAULT_ROOT=FOLDER LD_PRELOAD=inject.so python child.py inject.so

A reader must give the boxes that it gives without the fault, or report a loss, or raise an error of the library.
A writer must leave the old file or the new one; the old one only with an error.
"""

import ctypes
import errno
import itertools
import json
import os
import shutil
import sys
import warnings
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

import numpy as np
from helpers.data_set_kinds import KINDS, everything, make
from helpers.model_file_layouts import example
from helpers.other_formats import SAMPLES, make_sample

from anchorlib import atomic
from anchorlib.datasets import SizeCounts, read_boxes
from anchorlib.errors import AnchorlibError
from anchorlib.modelfiles import edit_anchors, format_anchors, read_anchors, read_checkpoint, write_anchors

CALLS = ("open", "read", "scan", "stat", "rename", "fsync", "link", "write")
READS, WRITES = CALLS[:4], CALLS
# Each call fails with these errors, or gives so many bytes.
ERRORS = {"open": ["EIO", "EACCES", "EMFILE"], "write": ["EIO", "ENOSPC"], "stat": ["EIO", "EACCES"]}
SHORT = {"read": [1, 40], "write": [100]}
ROOT = Path(os.environ["FAULT_ROOT"])
LAYERS = np.arange(1, 19, dtype=np.float32).reshape(3, 3, 2) * 100
CHECKPOINTS = Path(__file__).parent.parent / "data" / "checkpoints"

shim = ctypes.CDLL(sys.argv[1])
shim.arm.argtypes = [ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
bad, fired = [], dict.fromkeys(CALLS, 0)


def faults(calls, run, prepare=lambda: None):
    """Run without a fault to count the calls, then yield a name and a result for each fault."""
    prepare()
    run()
    for number, call in enumerate(CALLS):
        if call not in calls:
            continue
        prepare()
        shim.arm(-2, 0, 0, 0)
        run()
        shim.disarm()
        times = shim.count(number)
        ways = [(name, 0) for name in ERRORS.get(call, ["EIO"])] + [("short", length) for length in SHORT.get(call, [])]
        for (name, length), nth in itertools.product(ways, [*range(times), *[-1] * (call in SHORT)]):
            if nth == -1 and not length:
                continue  # a disk of which every read fails is the first one that fails
            prepare()
            shim.arm(number, nth, getattr(errno, name, 0), length)
            result = run()
            fired[call] += shim.disarm()
            yield f"{call} {nth} of {times}: {name} {length or ''}", result


def attempt(function):
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # that a cache was not written
            return function()
    except (AnchorlibError, OSError) as error:
        return error
    except BaseException as error:
        bad.append(f"an error of another kind: {type(error).__name__}: {error}")
        return error


def boxes_of(sizes):
    arrays, (class_names, *_, rows_read, rows_refused) = everything(sizes)
    return arrays, class_names, rows_read, rows_refused


def losses(sizes):
    return {str(problem) for problem in sizes.problems if problem.costs or problem.action == "left out"}


def check_reader(name, read):
    right = read()
    for fault, result in faults(READS, lambda: attempt(read)):
        if isinstance(result, Exception):
            continue
        is_same = boxes_of(result) == boxes_of(right)
        if not is_same and not losses(result) - losses(right):
            bad.append(f"{name}, {fault}: silent, {len(result)} boxes instead of {len(right)}")


def check_cache(name, path):
    """A cache that is written or used while a call fails: the next reading is right."""
    cache, right = ROOT / "cache", read_boxes(path, split="all", allow_empty=True)
    for has_cache in (False, True):

        def prepare(has_cache=has_cache):
            cache.unlink(missing_ok=True)
            if has_cache:
                shutil.copy(ROOT / "kept", cache)

        def run():
            return attempt(lambda: read_boxes(path, split="all", allow_empty=True, cache=cache))

        if has_cache:
            attempt(lambda: read_boxes(path, split="all", allow_empty=True, cache=ROOT / "kept"))
        for fault, result in faults(READS if has_cache else WRITES, run, prepare):
            after = read_boxes(path, split="all", allow_empty=True, cache=cache)
            if everything(after) != everything(right):
                bad.append(f"{name} with a cache, {fault}: the cache keeps something else")
            if isinstance(result, Exception) or boxes_of(result) == boxes_of(right):
                continue
            if not losses(result) - losses(right):
                bad.append(f"{name} with a cache, {fault}: silent")


def check_writer(name, old, write, is_link=False):
    folder = ROOT / "written"

    def prepare():
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        if old is not None:
            (folder / name).write_bytes(old)
        if is_link:
            (folder / name).rename(folder / "target")
            (folder / name).symlink_to("target")

    def run():
        return attempt(lambda: write(folder / name))

    prepare()
    run()
    new = (folder / name).read_bytes()
    assert new != old
    for fault, result in faults(WRITES, run, prepare):
        path = folder / name
        content = path.read_bytes() if path.exists() else None
        strays = [entry for entry in os.listdir(folder) if entry not in (name, "target")]
        told = isinstance(result, Exception)
        if content not in (old, new):
            bad.append(f"writing {name}, {fault}: the file is neither old nor new")
        if content == old and not told:
            bad.append(f"writing {name}, {fault}: silent, the file is the old one")
        if is_link and not path.is_symlink():
            bad.append(f"writing {name}, {fault}: the link was replaced")
        if strays:
            bad.append(f"writing {name}, {fault}: left {strays}")
        if told and ".tmp" in str(result):
            bad.append(f"writing {name}, {fault}: shows a temporary name: {result}")


def check_anchors(name, read):
    right = [layer.tolist() for layer in read()]
    for fault, result in faults(READS, lambda: attempt(read)):
        if not isinstance(result, Exception) and [layer.tolist() for layer in result] != right:
            bad.append(f"{name}, {fault}: other anchors")


def main():
    for kind in KINDS:
        path = make(kind, ROOT / kind)
        for split in ("train", "all"):
            check_reader(f"{kind} {split}", lambda path=path, split=split: read_boxes(path, split=split))
        check_cache(kind, path)
    for kind in SAMPLES:
        (ROOT / f"{kind}-sample").mkdir()
        place = make_sample(kind, ROOT / f"{kind}-sample")
        path = place if isinstance(place, (str, Path)) else ROOT / f"{kind}-sample" / SAMPLES[kind].path
        check_reader(kind, lambda path=path: read_boxes(path, allow_empty=True))
    for format, suffix in (("yolo", ".yaml"), ("darknet", ".cfg"), ("mmdet", ".py"), ("json", ".json")):
        old = format_anchors(example(3, 3), format).encode()
        check_writer(f"edit{suffix}", old, lambda path: edit_anchors(path, LAYERS))
        (ROOT / f"read{suffix}").write_bytes(old)
        check_anchors(suffix, lambda suffix=suffix: read_anchors(ROOT / f"read{suffix}"))
    check_writer(
        "link.yaml", format_anchors(example(3, 3), "yolo").encode(), lambda path: edit_anchors(path, LAYERS), True
    )
    check_writer("new.yaml", None, lambda path: write_anchors(path, LAYERS))
    check_writer("plain", b"old", lambda path: atomic.write_atomically(path, b"new" * 100_000))
    counts = read_boxes(ROOT / "yolo" / "data.yaml").histogram()
    check_writer("counts.npz", None, counts.save)
    counts.save(ROOT / "counts.npz")
    right = counts.wh.tobytes()
    for fault, result in faults(READS, lambda: attempt(lambda: SizeCounts.load(ROOT / "counts.npz"))):
        if not isinstance(result, Exception) and result.wh.tobytes() != right:
            bad.append(f"counts, {fault}: other counts")
    for source in sorted(CHECKPOINTS.iterdir()):
        if source.suffix in (".pt", ".pth", "") and source.name != "README.md":
            copy = ROOT / source.name
            (shutil.copytree if source.is_dir() else shutil.copy)(source, copy)
            if isinstance(attempt(lambda copy=copy: read_checkpoint(copy)), Exception):
                continue
            check_anchors(source.name, lambda copy=copy: read_checkpoint(copy).anchors)
    print(json.dumps({"bad": bad, "fired": fired}))


main()

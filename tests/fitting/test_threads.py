"""A fit leaves the other cores to others: NumPy's OpenBLAS would start threads that wait actively for each other."""

import os
import subprocess
import sys

import numpy as np
import pytest

from anchorlib.fitting.interchange import _multiply

FIT = """
import os
import time
from pathlib import Path

import numpy as np

from anchorlib import fit_anchors

def seconds():
    found = {}
    for task in Path("/proc/self/task").iterdir():
        fields = (task / "stat").read_text().rsplit(")", 1)[1].split()
        found[task.name] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
    return found

sizes = np.exp(np.random.default_rng(0).normal(3.5, 0.8, (3000, 2)))
fit_anchors(sizes[:100])
time.sleep(0.3)  # until the threads that wait since the import are asleep
before = seconds()
fit_anchors(sizes)
fit_anchors(sizes, 4, strides=[8, 16], objective="iou")
used = {thread: time - before.get(thread, 0) for thread, time in seconds().items()}
own = used.pop(str(os.getpid()))
print(sum(used.values()), own)
"""


@pytest.mark.skipif(not os.path.isdir("/proc/self/task"), reason="this system does not show the time of threads")
def test_a_fit_uses_one_thread():
    """The two threads of OpenBLAS used 4 s in fits of 0.3 s while other programs used the cores."""
    threads = {"OPENBLAS_NUM_THREADS": "4", "OMP_NUM_THREADS": "4"}
    done = subprocess.run(
        [sys.executable, "-c", FIT], env={**os.environ, **threads}, capture_output=True, text=True, check=True
    )
    others, own = map(float, done.stdout.split())
    assert others < 0.1 * own, done.stdout


@pytest.mark.parametrize("shape", [(1, 1, 1), (7, 3, 2), (600, 600, 9), (601, 599, 30), (12, 9001, 1), (5, 300, 1000)])
def test_a_product_of_blocks_is_the_product(shape):
    rows, columns, n = shape
    rng = np.random.default_rng(0)
    values = rng.integers(0, 100, (rows, columns)).astype(np.float32)
    for by in (rng.integers(0, 2, (columns, n)).astype(np.float32), np.ones(columns, np.float32)):
        assert _multiply(values, by).tolist() == (values @ by).tolist()
    assert _multiply(values[:0], by).shape == (0,)

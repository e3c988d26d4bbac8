"""check_anchors(distributed=True) with two real processes, of torch over gloo and of OneFlow's launcher."""

import importlib.util
import json
import os
import socket
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from helpers.detectors import COCO, FAR_OFF, NUMPY, make_dataset, make_model

from anchorlib.yolov5 import check_anchors

WORKER = Path(__file__).parent / "rank_worker.py"
SECONDS = 240  # a machine with other things to do takes its time; a hang takes for ever
STRIDES = np.asarray([8, 16, 32], np.float32)[:, None, None]


def torch_commands(folder):
    store = folder / "store"
    return [[sys.executable, str(WORKER), "torch", str(folder / "seen"), str(rank), str(store)] for rank in (0, 1)]


def oneflow_commands(folder):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    launch = ["-m", "oneflow.distributed.launch", "--nproc_per_node", "2", "--master_port", str(port)]
    return [[sys.executable, *launch, str(WORKER), "oneflow", str(folder / "seen")]]


def run_ranks(framework, folder):
    """What each of the two ranks saw."""
    commands = {"torch": torch_commands, "oneflow": oneflow_commands}[framework](folder)
    names = ("RANK", "LOCAL_RANK", "WORLD_SIZE", "MASTER_ADDR", "MASTER_PORT")
    env = {key: value for key, value in os.environ.items() if key not in names}
    env |= {"OMP_NUM_THREADS": "1", "GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}
    started = [subprocess.Popen(c, env=env, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) for c in commands]
    deadline = time.monotonic() + SECONDS
    try:
        told = [process.communicate(timeout=deadline - time.monotonic())[0].decode() for process in started]
    finally:
        for process in started:
            process.kill()
    seen = [folder / f"seen.{rank}" for rank in (0, 1)]
    assert all(file.exists() for file in seen), "\n".join(told)[-3000:]
    return [json.loads(file.read_text()) for file in seen]


@pytest.fixture(scope="module", params=["torch", "oneflow"])
def seen(request, tmp_path_factory):
    asked = request.config.getoption("--backends")
    here = asked.split(",") if asked else [n for n in ("torch", "oneflow") if importlib.util.find_spec(n)]
    if request.param not in here:
        pytest.skip(f"{request.param} not asked for with --backends, or not installed")
    return run_ranks(request.param, tmp_path_factory.mktemp(request.param))


def in_one_process(anchors_px=FAR_OFF, **options):
    """The same call in one process: its check, and the anchors and the grid that it leaves."""
    model, detect = make_model(NUMPY, anchors_px, grid="buffer")
    check = check_anchors(make_dataset(), model, **{"method": "kmeans", "generations": 10, **options})
    return {
        "told": [check.replaced, repr(check.before), repr(check.after)],
        "anchors": detect.anchors.tolist(),
        "grid": detect.anchor_grid.tolist(),
    }


@pytest.mark.parametrize(
    ("scenario", "options"),
    [
        ("replaced", {"method": "direct"}),
        ("kept", {"anchors_px": COCO}),
        ("other start", {"anchors_px": COCO}),  # rank 1 came with other anchors
        ("wrapped", {}),  # in DistributedDataParallel
        ("other view", {}),  # rank 1 has another data set and another seed
        ("evolve", {"method": "evolve"}),
        ("in step after all that", {}),
    ],
)
def test_every_rank_ends_with_what_rank_0_finds_alone_to_the_last_bit(seen, scenario, options):
    expected = in_one_process(**options)
    for ranks in seen:
        assert ranks[scenario] == expected


OTHERS = "ModelError: 1 of 2 ranks could not check or take the anchors; their own errors say why."


@pytest.mark.parametrize(
    ("scenario", "told"),
    [
        ("rank 0 fails", (None, None)),
        ("rank 1 fails", (None, None)),
        ("rank 0 fails raised", ("RuntimeError: rank 0 broke", OTHERS)),
        ("rank 1 fails raised", (OTHERS, "RuntimeError: rank 1 broke")),
        ("rank 0 has no anchors", (None, None)),
        ("rank 1 has no anchors", (None, None)),
        ("rank 1 has other layers", (None, None)),
        ("rank 0 is interrupted", ("KeyboardInterrupt: ", None)),
    ],
)
def test_where_a_rank_fails_none_waits_and_all_keep_their_anchors(seen, scenario, told):
    assert tuple(ranks[scenario]["told"] for ranks in seen) == told
    for ranks in seen:
        if "anchors" in ranks[scenario]:
            n = len(ranks[scenario]["anchors"])
            assert ranks[scenario]["anchors"] == (FAR_OFF / STRIDES)[:n].tolist()
            assert ranks[scenario]["grid"] == FAR_OFF[:n].reshape(n, 1, 3, 1, 1, 2).tolist()


def test_a_rank_that_is_gone_is_an_error_and_not_a_wait(seen):
    if "rank 1 is gone" not in seen[0]:
        pytest.skip("OneFlow 0.9.0 aborts the process where another rank is gone")
    assert seen[0]["rank 1 is gone"]["told"] is None  # logged; the model is as before
    assert seen[0]["rank 1 is gone"]["anchors"] == (FAR_OFF / STRIDES).tolist()


def test_in_a_single_process_it_changes_nothing(backend):
    (one, detect_one), (other, detect_other) = (make_model(backend, FAR_OFF) for _ in range(2))
    first = check_anchors(make_dataset(), one, method="kmeans", distributed=True)
    assert first == check_anchors(make_dataset(), other, method="kmeans")
    assert first.replaced
    assert np.array_equal(backend.host(detect_one.anchors), backend.host(detect_other.anchors))
    with pytest.raises(RuntimeError):
        check_anchors(broken_dataset(), one, distributed=True, raise_errors=True)


def broken_dataset():
    class Broken:
        @property
        def shapes(self):
            raise RuntimeError("no labels")

        labels = shapes

    return Broken()

"""Read shards in this process and on real clusters: bit-identical for any cluster, any size, and if workers die."""

import json
import os
import signal
import sys
import threading
import time

import numpy as np
import pytest
from helpers.coco_like_sizes import coco_like

from anchorlib import SizeCounts, fit_anchors, read_boxes
from anchorlib.errors import BackendMissingError, BadValueError, DatasetError
from anchorlib.scale import fit_from_shards, sizes_from_shards

BCCD, TACO = "tests/data/bccd", "tests/data/taco/annotations.json"


def bits(x):
    meta = (x.n_images, x.rows_refused, list(x.problem_counts.items()), x.imgsz, x.resize)
    return x.wh.tobytes(), x.counts.tobytes(), meta


@pytest.fixture(autouse=True)
def in_the_root(monkeypatch, request):
    monkeypatch.chdir(request.config.rootpath)


@pytest.fixture(scope="module")
def shards(tmp_path_factory, request):
    """Return ten shards, real sets and saved sizes, so that the tree of merges has two levels; and all their boxes."""
    folder = tmp_path_factory.mktemp("shards")
    paths = [str(request.config.rootpath / path) for path in (BCCD, TACO)]
    boxes = [read_boxes(path).wh for path in paths]
    for i in range(8):
        boxes.append(coco_like(200 + i, seed=i))
        paths.append(str(folder / f"{i}.npz"))
        SizeCounts.of(boxes[-1], n_images=i, imgsz=640, resize="letterbox").save(paths[-1])
    return paths, np.concatenate(boxes)


@pytest.fixture(scope="module")
def cluster():
    """Start two worker processes, by spawning, on the loopback interface."""
    import distributed

    with (
        distributed.LocalCluster(
            n_workers=2, threads_per_worker=1, processes=True, dashboard_address=":0", host="127.0.0.1"
        ) as found,
        distributed.Client(found) as client,
    ):
        yield client


# In this process, without Dask.


def test_shards_give_the_boxes_of_one_array(shards):
    paths, boxes_wh = shards
    x = sizes_from_shards(paths)
    assert bits(x)[:2] == bits(SizeCounts.of(boxes_wh))[:2]
    assert (x.n_images, x.imgsz, x.resize) == (205 + 1500 + sum(range(8)), (640, 640), "letterbox")
    assert x.count_problems() == {"out of bounds": 7} | read_boxes(BCCD).count_problems()
    fit, expected = fit_from_shards(paths, thr=3.0), fit_anchors(boxes_wh, 9, thr=3.0)
    assert fit.anchors.tobytes() == expected.anchors.tobytes()
    assert fit.score == expected.score


@pytest.mark.parametrize("n_shards", [1, 2, 3, 7, 10])
def test_any_order_of_any_number_of_shards_gives_the_same_bits(shards, n_shards):
    paths = shards[0][:n_shards]
    shuffled = np.random.default_rng(n_shards).permutation(paths).tolist()
    assert bits(sizes_from_shards(paths)) == bits(sizes_from_shards(shuffled))
    assert sizes_from_shards(paths).n_boxes == sum(sizes_from_shards([path]).n_boxes for path in paths)


def test_the_options_of_reading_and_of_fitting_arrive():
    options = {"imgsz": (320, 640), "resize": "stretch"}
    boxes_wh = read_boxes(BCCD, split="all", **options).wh
    assert bits(sizes_from_shards([BCCD], split="all", **options))[:2] == bits(SizeCounts.of(boxes_wh))[:2]
    for_fit = {"method": "evolve", "objective": "iou", "seed": 3, "generations": 20}
    fit = fit_from_shards([BCCD], n=[2, 3], split="all", **options, **for_fit)
    assert fit.anchors.tobytes() == fit_anchors(boxes_wh, [2, 3], **for_fit).anchors.tobytes()
    assert (fit.counts, fit.method, fit.seed) == ((2, 3), "evolve", 3)


def test_a_step_counts_in_cells_on_the_way(shards):
    paths, boxes_wh = shards
    cells = sizes_from_shards(paths, step=1 / 16)
    assert bits(cells)[:2] == bits(SizeCounts.of(boxes_wh).histogram(1 / 16))[:2]


def test_sizes_in_memory_are_shards_too(shards):
    paths = shards[0]
    loaded = [SizeCounts.load(path) for path in paths[2:]]
    assert bits(sizes_from_shards([*paths[:2], *loaded])) == bits(sizes_from_shards(paths))


@pytest.mark.parametrize(
    ("shards", "options", "message"),
    [
        ([], {}, "shards must have at least one entry"),
        (BCCD, {}, "shards must be a list, got a single shard: tests/data/bccd"),
        ([BCCD, TACO, BCCD], {}, "must be given only once, got tests/data/bccd 2 times"),
        (["nowhere"], {"imgsz": 0}, "imgsz must be"),
        (["nowhere"], {"resize": "crop"}, "resize must be"),
        (["nowhere"], {"step": 0.3}, "step must be 1, 1/2"),
        (["nowhere"], {"client": 8786}, "client must be None, the address of a scheduler, or"),
    ],
)
def test_what_cannot_be_asked_is_said_before_anything_is_read(shards, options, message):
    with pytest.raises(BadValueError, match=message):
        sizes_from_shards(shards, **options)


def test_a_shard_that_cannot_be_read_is_named(tmp_path):
    with pytest.raises(DatasetError, match=r"shard nowhere\.json: .*there is no such file"):
        sizes_from_shards([BCCD, "nowhere.json"])
    (tmp_path / "cut.npz").write_bytes(b"PK\x03\x04")
    with pytest.raises(DatasetError, match=r"shard .*cut\.npz: .*expected box sizes with counts"):
        sizes_from_shards([tmp_path / "cut.npz"])


def test_saved_sizes_of_another_imgsz_are_refused_by_name(shards):
    with pytest.raises(
        DatasetError, match=r"0\.npz: its sizes must have been read with imgsz \(320, 320\) and resize l"
    ):
        sizes_from_shards(shards[0][2:], imgsz=320)


def test_without_dask_an_address_says_how_to_install_it(monkeypatch):
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(BackendMissingError, match="pip install 'dask.*' 'distributed.*', or omit client"):
        sizes_from_shards([BCCD], "tcp://127.0.0.1:8786")


# On a cluster.


@pytest.mark.needs("dask")
def test_two_worker_processes_give_the_bits_of_none(shards, cluster):
    paths = shards[0]
    serial = fit_from_shards(paths)
    for seed in range(2):
        shuffled = np.random.default_rng(seed).permutation(paths).tolist()
        assert bits(sizes_from_shards(shuffled, cluster)) == bits(sizes_from_shards(paths))
        assert bits(sizes_from_shards(shuffled, cluster, step=1 / 64)) == bits(sizes_from_shards(paths, step=1 / 64))
        assert fit_from_shards(shuffled, cluster).anchors.tobytes() == serial.anchors.tobytes()
    loaded = [SizeCounts.load(path) for path in paths[2:]]
    assert bits(sizes_from_shards(loaded, cluster)) == bits(sizes_from_shards(paths[2:]))
    assert bits(sizes_from_shards(paths[:1], cluster)) == bits(sizes_from_shards(paths[:1]))


@pytest.mark.needs("dask")
def test_the_address_of_a_scheduler_will_do(shards, cluster):
    address = cluster.scheduler_info()["address"]
    assert bits(sizes_from_shards(shards[0], address)) == bits(sizes_from_shards(shards[0]))


@pytest.mark.needs("dask")
def test_a_cluster_of_one_worker_gives_the_same_bits(shards):
    from distributed import Client, LocalCluster

    options = {"n_workers": 1, "threads_per_worker": 3, "processes": False, "dashboard_address": ":0"}
    with LocalCluster(**options) as one, Client(one) as client:
        assert bits(sizes_from_shards(shards[0], client)) == bits(sizes_from_shards(shards[0]))


def assert_idle(cluster):
    """Check that the cluster soon has no tasks and no data."""
    deadline = time.monotonic() + 10
    while any(cluster.processing().values()) or any(cluster.has_what().values()):
        assert time.monotonic() < deadline, "the tasks of a run that has ended are still there"
        time.sleep(0.02)


@pytest.mark.needs("dask")
def test_a_shard_that_a_worker_cannot_read_is_named_and_the_rest_let_go(shards, cluster):
    with pytest.raises(DatasetError, match=r"shard nowhere\.json: .*there is no such file"):
        sizes_from_shards([*shards[0], "nowhere.json"], cluster)
    assert_idle(cluster)
    assert bits(sizes_from_shards(shards[0], cluster)) == bits(sizes_from_shards(shards[0]))


@pytest.fixture(scope="module")
def slow_shards(tmp_path_factory):
    """Make twelve files with the same boxes; each takes some tenths of a second to read."""
    sides = np.round(np.random.default_rng(0).uniform(3, 300, (12_000, 2)), 2).tolist()
    rows = [{"id": j, "image_id": 1, "category_id": 1, "bbox": [0, 0, *wh]} for j, wh in enumerate(sides)]
    images = [{"id": 1, "width": 640, "height": 640, "file_name": "a.jpg"}]
    text = json.dumps({"images": images, "annotations": rows, "categories": [{"id": 1, "name": "a"}]})
    paths = [tmp_path_factory.mktemp("slow") / "labels.json" for _ in range(12)]
    for path in paths:
        path.write_text(text)
    return paths


@pytest.mark.needs("dask")
def test_an_interrupt_cancels_what_was_not_read(slow_shards, cluster):
    def interrupt():
        while not any(cluster.has_what().values()):
            time.sleep(0.005)
        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # background jobs of a shell ignore SIGINT
    try:
        thread.start()
        with pytest.raises(KeyboardInterrupt) as caught:
            sizes_from_shards(slow_shards, cluster)
        thread.join()
    finally:
        signal.signal(signal.SIGINT, before)
    assert_idle(cluster)
    assert caught  # the exception keeps its frames and their variables


@pytest.mark.needs("dask")
def test_a_worker_killed_midway_changes_no_bit(slow_shards, cluster):
    """Kill a worker that has read some shards, which are lost with it, and that is reading another one."""
    expected = sizes_from_shards(slow_shards)
    pids = cluster.run(os.getpid)
    killed = []

    def kill():
        while not killed and not done.wait(0.005):
            holds, reads = cluster.has_what(), cluster.processing()
            for address, pid in pids.items():
                if not killed and holds.get(address) and reads.get(address):
                    os.kill(pid, signal.SIGKILL)
                    killed.append(pid)

    done = threading.Event()
    killer = threading.Thread(target=kill)
    killer.start()
    try:
        found = sizes_from_shards(slow_shards, cluster)
    finally:
        done.set()
        killer.join()
    assert killed, "no worker was caught with a shard read and another being read"
    assert bits(found) == bits(expected)
    assert killed[0] not in cluster.run(os.getpid).values()

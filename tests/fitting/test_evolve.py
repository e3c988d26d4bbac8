import numpy as np
import pytest
from helpers import oracle

from anchorlib import evolve, kmeans, score
from anchorlib.errors import BackendMixError, BadValueError

START = np.asarray([[10, 13], [33, 23], [116, 90]], np.float32)


def sizes(n, seed=0):
    return np.exp(np.random.default_rng(seed).normal(3.5, 1.0, (n, 2))).astype(np.float32)


def slow_evolution(boxes_wh, anchors, thr, generations, seed):
    """Evolve anchors in plain loops, with the fitness of the oracle."""
    rng, best = np.random.default_rng(seed), anchors.astype(np.float32)
    best_fitness = oracle.score(boxes_wh, best, thr)["fitness"]
    for _ in range(generations):
        factors = np.ones(best.shape)
        while (factors == 1).all():
            mutates = rng.random(best.shape) < 0.9
            strength = rng.random()
            factors = np.clip(1 + mutates * strength * rng.standard_normal(best.shape) * 0.1, 0.3, 3.0)
        candidate = np.maximum(best * factors, 2.0).astype(np.float32)
        fitness = oracle.score(boxes_wh, candidate, thr)["fitness"]
        if fitness > best_fitness:
            best, best_fitness = candidate, fitness
    return best[np.argsort(best.astype(np.float64).prod(axis=1))]


def test_the_trajectory_is_that_of_the_slow_loop(backend, path):
    boxes_wh = sizes(60)
    result = evolve(backend.array(boxes_wh), backend.array(START), generations=40, seed=3)
    assert np.array_equal(backend.host(result), slow_evolution(boxes_wh, START, 4.0, 40, 3))


@pytest.mark.parametrize("objective", ["ratio", "iou"])
def test_it_gets_better_and_never_worse(backend, objective):
    boxes_wh = sizes(2_000)
    start = kmeans(boxes_wh, 5)
    measure = "fitness" if objective == "ratio" else "avg_iou"
    before = getattr(score(boxes_wh, start), measure)
    scores = []
    for generations in (0, 1, 30, 200):
        anchors = evolve(backend.array(boxes_wh), backend.array(start), generations=generations, objective=objective)
        scores.append(getattr(score(boxes_wh, backend.host(anchors)), measure))
    assert scores[0] == before
    assert scores == sorted(scores)
    assert scores[-1] > before


def test_the_result_is_sorted_by_area_and_at_least_2_px_a_side(backend):
    result = backend.host(evolve(backend.array(sizes(300) / 20), backend.array(START[::-1].copy()), generations=300))
    areas = result.astype(np.float64).prod(axis=1)
    assert (np.diff(areas) >= 0).all()
    assert (result >= 2).all()


def test_dtype_and_device_are_kept(backend):
    result = evolve(backend.array(sizes(30), np.float64), backend.array(START), generations=3)
    assert backend.host(result).dtype == np.float64


def test_weights_count_like_repeated_boxes(backend):
    boxes_wh, weights = sizes(100), np.random.default_rng(0).integers(0, 4, 100)
    weighted = evolve(backend.array(boxes_wh), backend.array(START), generations=50, weights=backend.array(weights))
    repeated = evolve(np.repeat(boxes_wh, weights, axis=0), START, generations=50)
    assert np.array_equal(backend.host(weighted), repeated)


def test_the_global_random_state_is_left_alone():
    before = np.random.get_state()[1].copy()  # noqa: NPY002  the legacy state is what must not move
    evolve(sizes(30), START, generations=5)
    assert (np.random.get_state()[1] == before).all()  # noqa: NPY002


def test_wrong_arguments_are_errors(backend):
    with pytest.raises(BadValueError, match="generations must be an integer >= 0, got -1"):
        evolve(backend.array(sizes(3)), backend.array(START), generations=-1)
    with pytest.raises(ValueError, match="objective must be one of ratio, iou"):
        evolve(backend.array(sizes(3)), backend.array(START), objective="recall")
    with pytest.raises(BadValueError, match="anchors has 1 of 3 rows with a side <= 0"):
        evolve(backend.array(sizes(3)), backend.array(START * [[1, 1], [0, 1], [1, 1]], np.float32))


def test_two_frameworks_are_refused(grad_backend):
    with pytest.raises(BackendMixError, match="backends.convert"):
        evolve(grad_backend.array(sizes(3)), START)

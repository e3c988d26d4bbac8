from utils.loss import STEPS


def test_own():
    assert len(STEPS) == 5

"""Images of several threads in one batch: each gets its own answer, the same in any company."""

import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from training.algorithm.engines import Levels, Outputs
from training.algorithm.shared_batches import SharedBatches

SIZE = 4
SOON_S = 0.05


class Network:
    """Scores an image by its mean; notes the batches it was given."""

    def __init__(self) -> None:
        self.batches: list[Levels] = []
        self.may_go_on = threading.Event()
        self.may_go_on.set()

    def __call__(self, images: Levels) -> Outputs:
        self.batches.append(images.copy())
        self.may_go_on.wait()
        if (images == 13).any():
            raise RuntimeError("unlucky")
        means = images.mean(axis=(1, 2, 3), dtype=np.float32)
        return Outputs(means[:, None], 2 * means[:, None], 3 * images.astype(np.float32))


def image(level: int) -> Levels:
    return np.full((2, 3, 1), level, np.uint8)


@pytest.fixture
def network() -> Network:
    return Network()


def test_images_of_several_threads_share_a_batch_and_get_their_own_answers(
    network: Network,
) -> None:
    batches = SharedBatches(network, size=SIZE, longest_wait_s=60)
    with ThreadPoolExecutor(2 * SIZE) as pool:
        found = list(pool.map(lambda level: batches.run(image(level)[None]), range(20, 28)))
    assert [each.scores.tolist() for each in found] == [[[level]] for level in range(20, 28)]
    assert [each.features.tolist() for each in found] == [[[2 * n]] for n in range(20, 28)]
    assert all((each.maps == 3 * n).all() for n, each in enumerate(found, start=20))
    assert [len(batch) for batch in network.batches] == [SIZE, SIZE]


def test_an_image_that_nobody_joins_is_answered_with_black_beside_it(network: Network) -> None:
    batches = SharedBatches(network, size=SIZE, longest_wait_s=SOON_S)
    outputs = batches.run(image(7)[None])
    assert (outputs.scores.shape, outputs.maps.shape) == ((1, 1), (1, 2, 3, 1))
    assert outputs.scores.tolist() == [[7]]
    (batch,) = network.batches
    assert batch[0].tolist() == image(7).tolist()
    assert batch.shape == (SIZE, 2, 3, 1)
    assert not batch[1:].any()


def test_more_images_than_a_batch_come_back_in_order(network: Network) -> None:
    batches = SharedBatches(network, size=SIZE, longest_wait_s=SOON_S)
    outputs = batches.run(np.stack([image(level) for level in range(1, 11)]))
    assert outputs.scores[:, 0].tolist() == list(range(1, 11))


def test_what_comes_while_the_network_is_busy_goes_together_afterwards(network: Network) -> None:
    batches = SharedBatches(network, size=SIZE, longest_wait_s=0)
    network.may_go_on.clear()
    with ThreadPoolExecutor(SIZE) as pool:
        first = pool.submit(batches.run, image(1)[None])
        while not network.batches:
            pass
        others = pool.submit(batches.run, np.stack([image(2), image(3), image(4)]))
        while batches._queue.qsize() < 3:  # nothing else tells that they wait
            pass
        network.may_go_on.set()
        assert first.result().scores.tolist() == [[1]]
        assert others.result().scores.tolist() == [[2], [3], [4]]
    assert len(network.batches) == 2


def test_a_failure_reaches_all_whom_it_concerns_and_nobody_later(network: Network) -> None:
    batches = SharedBatches(network, size=SIZE, longest_wait_s=SOON_S)
    with ThreadPoolExecutor(2) as pool:
        unlucky = [pool.submit(batches.run, image(13)[None]) for _ in range(2)]
        for each in unlucky:
            with pytest.raises(RuntimeError, match="unlucky"):
                each.result()
    assert batches.run(image(5)[None]).scores.tolist() == [[5]]

import json

import pytest

from tests.training.builders import Job
from training.algorithm.failure import ChannelConfigError
from training.algorithm.place import Place, read_place
from training.algorithm.processes import Processes, plan_processes


def configure(job: Job, content: object) -> None:
    job.layout.resource_config.write_text(json.dumps(content))


@pytest.mark.parametrize(("gpus", "total"), [(0, 1), (1, 1), (4, 4)])
def test_one_host_has_a_process_for_each_gpu(job: Job, gpus: int, total: int) -> None:
    assert plan_processes(job.layout, gpus).total == total
    configure(job, {"current_host": "algo-1", "hosts": ["algo-1"]})
    assert plan_processes(job.layout, gpus).total == total


def test_several_hosts_meet_at_the_first_by_name(job: Job) -> None:
    content = {"current_host": "algo-2", "hosts": ["algo-2", "algo-1"]}
    configure(job, {**content, "network_interface_name": "eth1"})
    processes = plan_processes(job.layout, 2)
    assert processes == Processes(("algo-1", "algo-2"), host=1, per_host=2, interface="eth1")
    assert processes.total == 4


@pytest.mark.parametrize(
    "content",
    [
        [],
        {},
        {"hosts": ["algo-1"]},
        {"hosts": ["algo-1"], "current_host": "algo-9"},
        {"hosts": 3, "current_host": "algo-1"},
    ],
)
def test_a_host_that_does_not_know_itself_is_refused(job: Job, content: object) -> None:
    configure(job, content)
    with pytest.raises(ChannelConfigError, match="current_host"):
        plan_processes(job.layout, 0)


def test_the_place_is_what_the_launcher_says() -> None:
    assert read_place({"PATH": "/bin"}) is None
    given = {"RANK": "5", "WORLD_SIZE": "8", "LOCAL_RANK": "1", "LOCAL_WORLD_SIZE": "4"}
    place = read_place(given)
    assert place == Place(5, 8, 1, 4)
    assert (place.host, place.hosts, place.leads_host, place.is_main) == (1, 2, False, False)
    assert Place().is_main
    assert Place(4, 8, 0, 4).leads_host

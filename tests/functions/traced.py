"""Three steps as Lambda runs them, traced: a program of its own, since tracing is chosen at import.

Its environment must name a daemon that takes the traces; see test_tracing.py.
"""

from moto import mock_aws

from tests.functions.builders import JOB
from tests.functions.conftest import create_resources
from tests.functions.test_metrics import collect_half, submit, take_in
from tomodrop import decoding
from tomodrop.clients import app


def main() -> None:
    """Take two uploads in, make a job, collect another; print the job that was collected."""
    with mock_aws():
        create_resources(app())
        take_in(app())
        submit(app())
        collect_half(app())
        decoding.sandbox().close()
    print(f"collected {JOB}")


if __name__ == "__main__":
    main()

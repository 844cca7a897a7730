"""OpenVINO, without its telemetry."""

import sys
from typing import Any


def load_openvino() -> Any:
    """Return the package; from then on, neither it nor NNCF can send anything.

    Both send an event when they are imported, unless the package for it cannot be: then they use
    stubs of their own. There is no other switch that holds before a first event is sent.

    :raises ImportError: when it is not installed.
    """
    sys.modules["openvino_telemetry"] = None  # type: ignore[assignment]  # "not to be imported"
    import openvino  # noqa: PLC0415

    return openvino

"""What can go wrong in the cloud on one machine.

LocalCloudError
├── TemplateError        the template cannot be deployed here
│   └── ParameterErrors  parameters that CloudFormation would refuse, all of them at once
├── StateError           the state folder is damaged or of another template
│   └── StateInUseError  another process has it
├── FunctionFailedError  a function answered with an error; carries Lambda's error payload
└── CloudStoppedError    asked of a cloud that is stopping
"""

from collections.abc import Sequence
from typing import Any


class LocalCloudError(Exception):
    """The root: its text says what, which value, and what to do."""


class TemplateError(LocalCloudError):
    """The template asks for something that does not exist on one machine, or is not valid."""


class ParameterErrors(TemplateError):
    """Parameters that CloudFormation would refuse.

    `faults` holds one sentence for each of them, each naming its parameter.
    """

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("Template parameters are not accepted:\n  " + "\n  ".join(self.faults))


class StateError(LocalCloudError):
    """The state folder cannot be used."""


class StateInUseError(StateError):
    """Another process has the state folder."""


class FunctionFailedError(LocalCloudError):
    """A function's last attempt failed. `payload` is Lambda's: errorType, errorMessage."""

    def __init__(self, function: str, payload: dict[str, Any]) -> None:
        self.function = function
        self.payload = payload
        super().__init__(f"{function}: {payload.get('errorType')}: {payload.get('errorMessage')}")


class CloudStoppedError(LocalCloudError):
    """The cloud is stopping: whoever asked keeps the work and offers it again at the next start."""

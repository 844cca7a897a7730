"""template.yaml → a running stack in moto: created, completed, and checked for gaps."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from local.functions import Function, deployed_functions
from local.queues import QueueMapping, take_over_mappings
from local.stack import ClientFactory, Stack, create_stack, describe_stack
from local.supplements import apply_supplements, check_coverage, known_to_moto
from local.template import expand_template

STACK_NAME = "tomodrop"


@dataclass(frozen=True)
class Deployment:
    """What was deployed, as the services' own API describes it."""

    stack: Stack
    functions: tuple[Function, ...]
    mappings: tuple[QueueMapping, ...]


def deploy(
    client: ClientFactory, template: Path, parameters: Mapping[str, str], region: str
) -> Deployment:
    """Deploy a SAM template as `sam deploy` would.

    Raises ParameterErrors for refused parameters, TemplateError for a template that is not valid
    or has parts that do not exist on one machine.
    """
    expanded = expand_template(template, parameters, stack=STACK_NAME, region=region)
    check_coverage(expanded.body)
    create_stack(client, STACK_NAME, known_to_moto(expanded.body), expanded.parameters)
    stack = describe_stack(client, STACK_NAME, expanded.body, region)
    # Before notifications are set up: the test message they send is for our pollers, not moto's.
    mappings = take_over_mappings(client)
    apply_supplements(client, stack)
    functions = deployed_functions(client, stack, expanded.code_folders)
    return Deployment(stack, tuple(functions), tuple(mappings))

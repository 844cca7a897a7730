"""moto's table items and parameters ⇄ what the state folder keeps of them."""

import json
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from moto.backends import get_backend
from moto.dynamodb.models.dynamo_type import DynamoType
from moto.ssm.models import Parameter

from local.moto_seams import ACCOUNT
from local.state import StateStore

Attributes = dict[str, Any]

# The plain attributes of moto's Parameter that are kept beside name, type and time.
KEPT_OF_PARAMETER = (
    "value",
    "version",
    "description",
    "allowed_pattern",
    "keyid",
    "data_type",
    "tier",
    "policies",
)


def written_items(operation: str, body: bytes) -> Iterator[tuple[str, Attributes]]:
    """(table, attributes with the key among them) of each item that a DynamoDB request may write.

    Pure. Yields nothing for a request that only reads or is about the table itself.
    """
    for table, request in _writes(operation, body):
        name = table.rpartition("/")[2]  # an ARN is allowed too
        yield name, request.get("Item") or request["Key"]


def _writes(operation: str, body: bytes) -> Iterator[tuple[str, dict[str, Any]]]:
    if operation in ("PutItem", "UpdateItem", "DeleteItem"):
        request = json.loads(body)
        yield request["TableName"], request
    elif operation == "BatchWriteItem":
        for table, writes in json.loads(body)["RequestItems"].items():
            yield from ((table, next(iter(write.values()))) for write in writes)
    elif operation == "TransactWriteItems":
        for write in json.loads(body)["TransactItems"]:
            write.pop("ConditionCheck", None)
            yield from ((request["TableName"], request) for request in write.values())


def key_of_parameters(operation: str, body: bytes) -> list[str]:
    """The parameter names that a Systems Manager request may change. Pure."""
    if operation in ("PutParameter", "DeleteParameter"):
        return [json.loads(body)["Name"]]
    if operation == "DeleteParameters":
        return list(json.loads(body)["Names"])
    return []


class TableRecorder:
    """Brings stored items and parameters in line with moto's, and back."""

    def __init__(self, store: StateStore, region: str) -> None:
        self._store = store
        self._region = region
        self._tables: Any = get_backend("dynamodb")[ACCOUNT][region]
        # moto's dictionary of every parameter's versions; the API cannot set a version or a time.
        self._parameters: Any = get_backend("ssm")[ACCOUNT][region]._parameters  # noqa: SLF001

    def record_item(self, table_name: str, attributes: Attributes) -> None:
        """Store what moto holds now of the item with this key."""
        table = self._tables.tables[table_name]
        names = [name for name in (table.hash_key_attr, table.range_key_attr) if name]
        key = {name: attributes[name] for name in names}
        item = table.get_item(*(DynamoType(value) for value in key.values()))
        content = item.to_json()["Attributes"] if item is not None else None
        self._store.save_record("item", table_name, json.dumps(key, sort_keys=True), content)

    def record_parameter(self, name: str) -> None:
        """Store what moto holds now of a parameter."""
        versions = self._parameters.get(name)
        content = _parameter_content(versions[-1]) if versions else None
        self._store.save_record("parameter", "", name, content)

    def restore(self) -> None:
        """Put every stored item and parameter into moto.

        Raises KeyError for a table the stack does not have; `local.restore` checks first.
        """
        for table_name, _, content in self._store.records("item"):
            self._tables.tables[table_name].put_item(content, overwrite=True)
        for _, name, content in self._store.records("parameter"):
            self._parameters[name] = [_parameter(name, content)]


def _parameter_content(parameter: Parameter) -> dict[str, Any]:
    content = {name: getattr(parameter, name) for name in KEPT_OF_PARAMETER}
    content["value"] = parameter.decrypt(parameter.value)
    content["parameter_type"] = parameter.parameter_type
    content["last_modified_date"] = parameter.last_modified_date.isoformat()
    return content


def _parameter(name: str, content: dict[str, Any]) -> Parameter:
    modified = datetime.fromisoformat(content["last_modified_date"])
    model: Any = Parameter  # moto leaves some of its abstract methods out
    restored: Parameter = model(ACCOUNT, name, **{**content, "last_modified_date": modified})
    return restored

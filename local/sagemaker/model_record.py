"""A model as a value: where its artefact lies, and which image serves it."""

from local.sagemaker.records import Json, Record
from local.sagemaker.settings import Identity


def new_model(request: Json, identity: Identity, now: float) -> Record:
    """The record of a model that was just accepted."""
    name = request["ModelName"]
    arn = identity.arn("model", name)
    described = {key: value for key, value in request.items() if key != "Tags"}
    return Record(
        kind="model",
        name=name,
        arn=arn,
        description={
            "EnableNetworkIsolation": False,
            **described,
            "ModelArn": arn,
            "CreationTime": now,
        },
        modified=now,
        tags={tag["Key"]: tag["Value"] for tag in request.get("Tags", [])},
    )


def container_of(description: Json) -> Json:
    """The one container of a model (also of a CreateModel request)."""
    container: Json = description.get("PrimaryContainer") or description["Containers"][0]
    return container


def summary(record: Record) -> Json:
    """The entry in ListModels."""
    return {
        "ModelName": record.name,
        "ModelArn": record.arn,
        "CreationTime": record.description["CreationTime"],
    }

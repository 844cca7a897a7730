"""What a sweep or an audit that ran out of time leaves for the next one, in the work bucket."""

from typing import Generic, TypeVar

from aws_lambda_powertools import Logger
from pydantic import BaseModel, ValidationError

from tomodrop import objects
from tomodrop.clients import App

Kept = TypeVar("Kept", bound=BaseModel)

logger = Logger(child=True)


class Position(Generic[Kept]):
    """One stored value."""

    def __init__(self, app: App, key: str, kind: type[Kept]) -> None:
        self._app, self._key, self._kind = app, key, kind

    def recall(self) -> Kept | None:
        """What was left; None: nothing, or nothing that this version understands."""
        body = objects.read_if_there(self._app.s3, self._app.settings.work_bucket, self._key)
        if body is None:
            return None
        try:
            return self._kind.model_validate_json(body)
        except ValidationError:
            logger.warning("a stored position is of another version: beginning anew")
            return None

    def remember(self, value: Kept) -> None:
        """Leave this for the next one."""
        body = value.model_dump_json().encode()
        bucket = self._app.settings.work_bucket
        objects.write(self._app.s3, bucket, self._key, body, "application/json")

    def forget(self) -> None:
        """Leave nothing: the next one begins anew."""
        self._app.s3.delete_object(Bucket=self._app.settings.work_bucket, Key=self._key)

"""The state folder's content → the freshly deployed stack."""

from typing import Any

from moto.backends import get_backend

from local.errors import StateError
from local.moto_seams import ACCOUNT
from local.object_model import ObjectRecorder
from local.queue_model import RecordedQueue, message_from
from local.state import StateStore
from local.table_model import TableRecorder


def restore_state(
    store: StateStore, objects: ObjectRecorder, tables: TableRecorder, region: str
) -> None:
    """Put objects, messages, items and parameters back, and record changes from now on.

    Raises StateError when the folder holds content of resources that this stack does not have.
    """
    _check_owners(store, region)
    objects.restore()
    tables.restore()
    _restore_messages(store, region)


def _check_owners(store: StateStore, region: str) -> None:
    known = {
        *(f"bucket {name}" for name in get_backend("s3")[ACCOUNT]["aws"].buckets),
        *(f"table {name}" for name in get_backend("dynamodb")[ACCOUNT][region].tables),
        *(f"queue {name}" for name in get_backend("sqs")[ACCOUNT][region].queues),
    }
    missing = sorted(store.owners() - known)
    if missing:
        raise StateError(
            f"The state folder {store.folder} holds content of {', '.join(missing)}, which this "
            "template with these parameters does not have. Use the template and parameters it was "
            "made with, or another folder."
        )


def _restore_messages(store: StateStore, region: str) -> None:
    queues: Any = get_backend("sqs")[ACCOUNT][region].queues
    with RecordedQueue.traffic:
        RecordedQueue.journal = None  # these are recorded already
        for stored in store.messages():
            queues[stored.queue].add_message(message_from(stored.id, stored.content))
        RecordedQueue.journal = store

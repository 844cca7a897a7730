"""A labelled set that no training is started on: its audit says why, once for as long as it holds.

A schedule that comes by again and finds the same set and the same reason writes no other audit.
"""

import hashlib
import json
import sqlite3
from collections.abc import Mapping
from typing import Any

from aws_lambda_powertools import Logger

from tomodrop import audit, dataset, keys, objects
from tomodrop.clients import App

logger = Logger(child=True)

# The digest of the last refused set, and the job that its audit bears the name of.
LAST_REFUSAL = f"{keys.TRAINING}last_refusal.json"
# What an audit says that may change while the data set's slices do not.
_TELLING = ("classes", "reason", "warnings", "unusable")


def refuse(app: App, tables: sqlite3.Connection, report: Mapping[str, Any], reason: str) -> None:
    """Publish the audit of a refused set; if the last refusal said the same, only log its place."""
    refused = {**report, "decision": "refused", "reason": reason}
    digest = _digest(tables, refused)
    work, job = app.settings.work_bucket, refused["training_job"]
    body = objects.read_if_there(app.s3, work, LAST_REFUSAL)
    last = json.loads(body) if body else {}
    if last.get("digest") == digest:
        where = f"{keys.MODELS}{last['training_job']}/audit.html"
        logger.warning("no training: %s; nothing has changed since %s", reason, where)
        return
    audit.publish_audit(app, tables, refused)
    note = json.dumps({"training_job": job, "digest": digest}).encode()
    objects.write(app.s3, work, LAST_REFUSAL, note, "application/json")
    logger.warning("no training: %s; see %s%s/audit.html", reason, keys.MODELS, job)


def _digest(tables: sqlite3.Connection, refused: Mapping[str, Any]) -> str:
    """The same for the same set that is refused for the same reason."""
    said = json.dumps([refused[name] for name in _TELLING])
    return hashlib.sha256(f"{dataset.digest(tables)} {said}".encode()).hexdigest()

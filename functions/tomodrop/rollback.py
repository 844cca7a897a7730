"""Go back to an earlier model: by hand, and for good until a later training passes the gate."""

from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from tomodrop import keys, objects, succession
from tomodrop.clients import App
from tomodrop.errors import OvertakenError, RollbackError
from tomodrop.gate import made_for_live, made_now
from tomodrop.live_model import LiveModel, model_record_key, read_if_valid
from tomodrop.models import ensure_model
from tomodrop.predictions import NOTICE

logger = Logger(child=True)

ROLLED_BACK = "rolled back"
_MAX_RACES = 10


def roll_back(app: App, training_job: str) -> dict[str, Any] | None:
    """Make an earlier model live again. Returns what is stored of it; None: it is live already.

    Batches that have a job finish on the model they began with. The next training stands against
    the model gone back to.

    Raises
    ------
    RollbackError
        The model was never live, or was made for other images or classes than the stack's now.
    """
    target = _earlier(app, training_job)
    ensure_model(app, target.model_name, target.training_job)
    for _ in range(_MAX_RACES):
        standing = succession.settle_last_decision(app)
        live = standing.live(read_if_valid(app))
        if live and live.training_job == training_job:
            logger.info("the model to go back to is live", extra={"job": training_job})
            return None
        decision = {
            "training_job": training_job,
            "decision": ROLLED_BACK,
            "reason": "asked for by rollback_to",
            "live_before": live and live.model_name,
            "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "notice": NOTICE,
        }
        number = standing.entry.generation + 1 if standing.entry else 1
        key = f"{keys.MODELS}rollbacks/{number:06d}-{training_job}.json"
        if succession.commit(app, standing, standing.following(key, decision, target)):
            logger.warning("rolled back", extra={"job": training_job})
            return decision
    message = f"other decisions came before going back to '{training_job}': try again"
    raise OvertakenError(message)


def _earlier(app: App, training_job: str) -> LiveModel:
    body = objects.read_if_there(app.s3, app.settings.work_bucket, model_record_key(training_job))
    if body is None:
        raise RollbackError(
            f"'{training_job}' was never live, so there is nothing to go back to: name a training "
            f"job whose {keys.MODELS}<job>/decision.json in the predictions bucket says 'promoted'"
        )
    target = LiveModel.model_validate_json(body)
    difference = made_for_live(target).unlike(made_now(app.settings))
    if difference:
        raise RollbackError(
            f"'{training_job}' was made for other images than the stack's now: {difference}. "
            "Deploy with what it was made with (parameters ClassNames and ImageShape)"
        )
    return target

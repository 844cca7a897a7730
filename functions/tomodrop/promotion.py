"""Promote: a training ended; score its model, decide on it, and make it live if it passes the gate.

Everything here is called again and again: by the end of the training, by the ends of the jobs that
score its model and the live one, and by the sweep for events that were lost. Each call goes on from
what is there, and only the last one decides.
"""

import json
from datetime import UTC, datetime
from typing import Any

from aws_lambda_powertools import Logger

from tomodrop import keys, objects, succession
from tomodrop.clients import App
from tomodrop.errors import EvaluationError, EventError, OvertakenError
from tomodrop.evaluating import (
    CHALLENGER,
    CHAMPION,
    Contender,
    Scores,
    describe_job,
    first_job,
    score_model,
)
from tomodrop.events import TERMINAL_STATUSES
from tomodrop.figures import copy_figures
from tomodrop.gate import PROMOTED, REFUSED, judge, made_for, made_for_live, refuse_unseen
from tomodrop.held_out import HeldOut, held_out_digest, read_held_out
from tomodrop.instances import training_usd
from tomodrop.live_model import LiveModel, read_live_model
from tomodrop.measuring import BINS, METHOD, Figures, measure
from tomodrop.models import create_model, ensure_model
from tomodrop.predictions import NOTICE

logger = Logger(child=True)

# How often another decision may come first before this one is left to a later call.
_MAX_RACES = 10


def promote(app: App, job: str) -> dict[str, Any] | None:
    """Go on with the decision on a training job. Returns it when it is made by this call.

    None: the training or the scoring of a model has not ended, or the decision was made before. A
    decision is stored at `models/<job>/decision.json` for people, and sent to the topic Notices.

    Raises
    ------
    EventError
        The job was not made by `retrain` of this stack.
    """
    for _ in range(_MAX_RACES):
        standing = succession.settle_last_decision(app)
        # Read before the decision is looked for: with it comes a new live model.
        live = standing.live(read_live_model(app))
        if objects.is_there(app.s3, app.settings.predictions_bucket, keys.decision(job)):
            logger.info("decided before", extra={"job": job})
            return None
        outcome = _decide(app, job, live)
        if outcome is None:
            return None
        decision, model = outcome
        entry = standing.following(keys.decision(job), decision, model)
        if succession.commit(app, standing, entry):
            told = {name: decision[name] for name in ("training_job", "decision", "reason")}
            logger.info("decided", extra=told)
            return decision
    message = f"other decisions came before the one on '{job}' {_MAX_RACES} times: try again"
    raise OvertakenError(message)


Outcome = tuple[dict[str, Any], LiveModel | None]


def _decide(app: App, job: str, live: LiveModel | None) -> Outcome | None:
    """The decision and, if the model is to go live, its record; None while it cannot be made."""
    record = _read_record(app, job)
    described: dict[str, Any] = dict(app.sagemaker.describe_training_job(TrainingJobName=job))
    if described["TrainingJobStatus"] not in TERMINAL_STATUSES:
        return None
    case = _Case(app, job, record, described, live)
    unseen = refuse_unseen(app.settings, described, made_for(record), live)
    if unseen:
        if described["TrainingJobStatus"] == "Completed":
            copy_figures(app, job)
        return case.decision(*unseen), None
    try:
        return case.judged()
    except EvaluationError as fault:
        return case.decision(REFUSED, f"could not be evaluated: {fault}"), None


def _read_record(app: App, job: str) -> dict[str, Any]:
    body = objects.read_if_there(app.s3, app.settings.work_bucket, f"{keys.TRAINING}{job}/job.json")
    if body is None:
        message = f"training job '{job}' was not started by this stack: it has no job.json"
        raise EventError(message)
    record: dict[str, Any] = json.loads(body)
    return record


def final_metrics(described: dict[str, Any]) -> dict[str, float]:
    """`{"validation:accuracy": 0.93, …}` as DescribeTrainingJob reports them at the end."""
    return {
        metric["MetricName"]: round(float(metric["Value"]), 6)
        for metric in described.get("FinalMetricDataList", [])
    }


class _Case:
    """A completed training, and the live model that it stands against, if any."""

    def __init__(
        self,
        app: App,
        job: str,
        record: dict[str, Any],
        described: dict[str, Any],
        live: LiveModel | None,
    ) -> None:
        self._app, self._job = app, job
        self._record, self._described, self._live = record, described, live
        self._incomparable = live and made_for_live(live).unlike(made_for(record))

    def judged(self) -> Outcome | None:
        """Score what is to be scored, and judge when all is there. Raises EvaluationError."""
        held_out = read_held_out(self._app, self._job, len(self._record["classes"]))
        scores = self._scores(held_out)
        if scores is None:
            return None
        if held_out_digest(self._app, self._job) != held_out.digest:
            logger.warning("held-out slices were replaced: scored anew", extra={"job": self._job})
            return self.judged()
        settings = self._app.settings
        answers = {role: given.answers for role, given in scores.items()}
        measured = measure(held_out.slices, answers, settings.promotion_confidence, held_out.digest)
        challenger = measured.figures[CHALLENGER]
        verdict, reason = judge(settings, challenger, self._champion, measured.difference)
        evaluation = {
            "training_job": self._job,
            "classes": self._record["classes"],
            "held_out": {
                "digest": held_out.digest,
                "slices": held_out.total,
                "scored": len(held_out.slices),
                "groups": measured.groups,
            },
            "interval": METHOD,
            "calibration_bins": BINS,
            "models": {
                role: {
                    "model": self._job if role == CHALLENGER else self._champion,
                    "jobs": scores[role].jobs,
                    **figures.as_json(),
                }
                for role, figures in measured.figures.items()
            },
            "difference": measured.difference and measured.difference.as_json(),
            "notice": NOTICE,
        }
        decision = self.decision(verdict, reason) | {"evaluation": evaluation}
        return decision, self._live_model(challenger) if verdict == PROMOTED else None

    @property
    def _champion(self) -> str | None:
        """Name of the live model, if it can be compared with this one."""
        return None if self._live is None or self._incomparable else self._live.model_name

    def _contenders(self) -> list[Contender]:
        contenders = [Contender(CHALLENGER, self._job, tuple(self._record["classes"]))]
        if self._live and self._champion:
            contenders.append(Contender(CHAMPION, self._champion, self._live.classes))
        return contenders

    def _scores(self, held_out: HeldOut) -> dict[str, Scores] | None:
        """By role; None while a job is to give them. All end before one's fault is told."""
        found: dict[str, Scores] = {}
        faults: list[EvaluationError] = []
        waiting = False
        for contender in self._contenders():
            first = first_job(self._app, self._job, held_out, contender)
            if describe_job(self._app, first) is None:
                self._prepare(contender.role)
            try:
                scores = score_model(self._app, first, held_out, contender)
            except EvaluationError as fault:
                faults.append(fault)
                continue
            if scores:
                found[contender.role] = scores
            waiting |= scores is None
        if waiting:
            return None
        if faults:
            raise faults[0]
        return found

    def _prepare(self, role: str) -> None:
        """Let SageMaker know the model, before the first job that scores it."""
        if role == CHAMPION:
            assert self._live, "it is scored"
            ensure_model(self._app, self._live.model_name, self._live.training_job)
            return
        copy_figures(self._app, self._job)
        create_model(self._app, self._described)

    def _live_model(self, figures: Figures) -> LiveModel:
        record = self._record
        return LiveModel(
            model_name=self._job,
            training_job=self._job,
            trained_at=self._described["CreationTime"],
            classes=record["classes"],
            normaliser=record["normaliser"],
            image_shape=record["image_shape"],
            fingerprint=record["fingerprint"],
            metrics=figures.as_metrics(),
        )

    def decision(self, verdict: str, reason: str) -> dict[str, Any]:
        """What is stored of the decision."""
        settings, usd = self._app.settings, training_usd(self._described)
        return {
            "training_job": self._job,
            "decision": verdict,
            "reason": reason,
            "live_before": self._live and self._live.model_name,
            "not_compared": self._incomparable or None,
            "rules": {
                "minimum_accuracy": settings.minimum_validation_accuracy,
                "minimum_sensitivity": settings.minimum_sensitivity,
                "maximum_calibration_error": settings.maximum_calibration_error,
                "margin": settings.promotion_margin,
                "confidence": settings.promotion_confidence,
            },
            "evaluation": None,
            "metrics": final_metrics(self._described),
            "slices": self._record["slices"],
            "training_usd": None if usd is None else round(usd, 4),
            "decided_at": datetime.now(UTC).isoformat(timespec="seconds"),
            "notice": NOTICE,
        }

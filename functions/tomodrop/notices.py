"""Notices to people: decisions on models, sent to the topic that they may subscribe to."""

import json
from typing import Any

from tomodrop.clients import App

# SNS's limit is 256 KiB; of a hundred classes or more the confusion alone can be as large.
_MAX_BYTES = 200_000
_MAX_SUBJECT = 100


def publish_notice(app: App, decision: dict[str, Any]) -> None:
    """Send a decision to the topic Notices. It may come twice, after a crash."""
    subject, message = notice_of(decision)
    app.sns.publish(TopicArn=app.settings.notices_topic_arn, Subject=subject, Message=message)


def notice_of(decision: dict[str, Any]) -> tuple[str, str]:
    """Subject and message (SNS API, "Publish"): a line of ASCII, and the decision's JSON."""
    message = json.dumps(decision, indent=2)
    if len(message.encode()) > _MAX_BYTES:
        message = json.dumps(decision | {"evaluation": "see evaluation.json"}, indent=2)
    subject = f"Tomodrop: {decision['training_job']} {decision['decision']}"
    return subject[:_MAX_SUBJECT], message

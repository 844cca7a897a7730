"""Guards of retraining, promotion and the gate, broken on purpose; see `mutants`."""

from tests.faults.actions import Action
from tests.faults.mutating import Edit, Mutant

_RUN: Action = ("run", 0, 1)
_GOOD, _OTHER, _POOR, _HANGS = 0, 2, 3, 8
_STUDY: Action = ("study", 0, 0)
# A training that ended; the model before the first is wrong of one held-out upload.
_RETRAINED: tuple[Action, ...] = (("retrain", 0, 2), _RUN)


def _trained(fate: int) -> tuple[Action, ...]:
    return (*_RETRAINED, ("train", 0, fate))


def _decided(event: int) -> tuple[Action, ...]:
    """The decision on the training whose end waits in this place: two models are scored."""
    heard: tuple[Action, ...] = (("event", event, 2), _RUN)
    return (*heard, ("transform", 0, 0), ("transform", 0, 0), *heard, *heard)


# Something new to learn, and a time that no training was named after.
_RELABELLED: tuple[Action, ...] = (
    ("put", 3, 0),
    ("notify", 0, 2),
    ("receive", 0, 1),
    _RUN,
    ("wait", 1, 0),
)

# Two trainings, the models of both scored beside the live one. What waits: of each, the ends of the
# two jobs that scored.
_SCORED = (("event", 0, 2), _RUN, ("transform", 0, 0), ("transform", 0, 0))
_BOTH_SCORED: tuple[Action, ...] = (
    _STUDY,
    *_trained(_GOOD),
    *_SCORED,
    *_RELABELLED,
    *_trained(_GOOD),
    ("event", 2, 2),
    *_SCORED[1:],
)
# The first decides, up to the call by which its decision is to follow the last one.
_ABOUT_TO_FOLLOW: tuple[Action, ...] = (("event", 0, 2), ("run", 0, 44), ("run", 0, 44))
_OTHER_RUNS: Action = ("run", 1, 1)

OF_LEARNING = {
    "the floors are not asked for": Mutant(
        (Edit("tomodrop.gate:judge", "if below:", "if False:"),),
        (("study", 1, 0), *_trained(_POOR)),
    ),
    "a challenger that loses goes live": Mutant(
        (Edit("tomodrop.gate:_compare", "if round(bound, 6) >= -margin:", "if True:"),),
        (_STUDY, *_trained(_OTHER)),
    ),
    "an older model replaces a newer one": Mutant(
        (
            Edit(
                "tomodrop.gate:refuse_unseen",
                'if live and live.trained_at > described["CreationTime"]:',
                "if False:",
            ),
        ),
        (_STUDY, *_trained(_GOOD), *_RELABELLED, *_trained(_GOOD), *_decided(1)),
    ),
    "a decision follows without a condition": Mutant(
        (
            Edit(
                "tomodrop.succession:commit",
                'objects.write_once(app.s3, work, LAST_DECISION, body, "application/json")',
                'objects.write(app.s3, work, LAST_DECISION, body, "application/json") or True',
            ),
        ),
        (*_BOTH_SCORED, *_ABOUT_TO_FOLLOW, ("event", 1, 2), _OTHER_RUNS, _RUN),
    ),
    "a training is decided on again": Mutant(
        (
            Edit(
                "tomodrop.promotion:promote",
                "if objects.is_there(app.s3, app.settings.predictions_bucket, keys.decision(job)):",
                "if False:",
            ),
        ),
        (_STUDY, *_trained(_GOOD), ("event", 0, 1), _RUN, _RUN),
    ),
    "a late write is left as it is": Mutant(
        (
            Edit(
                "tomodrop.succession:_carried_out",
                "if _read(app).etag != standing.etag:",
                "if False:",
            ),
        ),
        (
            *_BOTH_SCORED,
            *_ABOUT_TO_FOLLOW,
            # Up to the parameter.
            ("run", 0, 16),
            ("event", 0, 2),
            _OTHER_RUNS,
            ("event", 0, 2),
            _OTHER_RUNS,
            ("transform", 0, 0),
            ("event", 0, 2),
            _OTHER_RUNS,
            # With another event it would be mended.
            ("event", 0, 0),
            _RUN,
        ),
        sweeps=False,
    ),
    "a batch goes on with the live model": Mutant(
        (
            Edit(
                "tomodrop.dispatching:submit_part",
                "LiveModel.model_validate_json(part.model) if part.model else live",
                "live",
            ),
        ),
        (
            _STUDY,
            ("put", 0, 0),
            ("notify", 0, 2),
            ("receive", 0, 1),
            _RUN,
            ("wait", 2, 0),
            ("dispatch", 0, 0),
            _RUN,
            ("transform", 0, 4),
            ("event", 0, 2),
            _RUN,
            *_trained(_GOOD),
            *_decided(0),
        ),
    ),
    "evaluations that hang are not stopped": Mutant(
        (
            Edit(
                "tomodrop.evaluating:stop_late",
                "return sum(_stop(app, name) for name in late)",
                "return 0",
            ),
        ),
        (_STUDY, *_trained(_GOOD), ("event", 0, 2), _RUN, ("transform", 0, _HANGS)),
    ),
    "trainings that nobody heard of are not decided on": Mutant(
        (
            Edit(
                "tomodrop.sweeping:_see_to_trainings",
                'if job["TrainingJobStatus"] in TERMINAL_STATUSES:',
                "if False:",
            ),
        ),
        (_STUDY, *_trained(_GOOD), ("event", 0, 0)),
    ),
}

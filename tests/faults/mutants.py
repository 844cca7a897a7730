"""Guards of the product, broken on purpose: a simulator that lets one of them pass is no test."""

from tests.faults.actions import Action
from tests.faults.learning_mutants import OF_LEARNING
from tests.faults.mutating import Edit, Mutant


def _put(key: int, kind: int = 0) -> tuple[Action, ...]:
    """An upload whose event arrives."""
    return ("put", key, kind), ("notify", 0, 2)


_PICTURE, _DAMAGED = 0, 4
_LABELLED = 3
_RUN: Action = ("run", 0, 1)
_SETTLED: Action = ("wait", 2, 0)
_TAKEN_IN: tuple[Action, ...] = (("receive", 0, 1), _RUN)
_DISPATCHED: tuple[Action, ...] = (_SETTLED, ("dispatch", 0, 0), _RUN)
_COLLECTED: tuple[Action, ...] = (("event", 0, 2), _RUN)
_ON_THE_WAY = (*_put(0), *_TAKEN_IN, *_DISPATCHED)
_WITHOUT_OUTPUT: Action = ("transform", 0, 4)


MUTANTS = OF_LEARNING | {
    "results are put without a condition": Mutant(
        (
            Edit(
                "tomodrop.publishing:_put_if_newer",
                'condition: dict[str, str] = {"IfNoneMatch": "*"}',
                "condition: dict[str, str] = {}",
            ),
        ),
        (
            *_ON_THE_WAY,
            *_ON_THE_WAY,
            ("transform", 1, 0),
            *_COLLECTED,
            ("transform", 0, 0),
            *_COLLECTED,
        ),
    ),
    "sequencers are not compared": Mutant(
        (
            Edit(
                "tomodrop.slices:is_newer",
                "if candidate.sequencer and other.sequencer:",
                "if False:",
            ),
        ),
        (*_put(0, _DAMAGED), *_TAKEN_IN, *_put(0, _DAMAGED)),
        sweeps=False,
    ),
    "a version without a result is not sent again": Mutant(
        (
            Edit(
                "tomodrop.overdue:_go_through",
                "[upload for upload in overdue if not finder.is_on_its_way(upload)]",
                "[]",
            ),
        ),
        (("put", 0, 0), ("notify", 0, 0)),
    ),
    "any result counts as the current version's": Mutant(
        (Edit("tomodrop.overdue:is_of", "return answered.version_id ==", "return True or"),),
        (*_put(0), ("put", 0, 0), ("notify", 0, 0)),
    ),
    "ends that nobody heard of are not collected": Mutant(
        (Edit("tomodrop.sweeping:_see_to_jobs", "if status in TERMINAL_STATUSES:", "if False:"),),
        (*_ON_THE_WAY, ("transform", 0, 0), ("event", 0, 0)),
    ),
    "hung jobs are not stopped": Mutant(
        (Edit("tomodrop.sweeping:_see_to_jobs", 'status == "InProgress" and', "False and"),),
        (*_ON_THE_WAY, ("transform", 0, 8)),
    ),
    "a window is planned before it has settled": Mutant(
        (Edit("tomodrop.windows:is_settled", "return now >= end", "return True or now >= end"),),
        (
            *_put(0),
            ("receive", 0, 1),
            ("run", 0, 12),
            ("dispatch", 0, 0),
            ("run", 1, 1),
            _RUN,
        ),
        sweeps=False,
    ),
    "a job of that name is an error": Mutant(
        (
            Edit(
                "tomodrop.dispatching:_submit_with",
                'if error_code(error) != "ResourceInUse":',
                "if True:",
            ),
        ),
        (*_put(0), *_TAKEN_IN, _SETTLED, ("storm", 9, 0), ("dispatch", 0, 0), _RUN),
    ),
    "the attempt in a job's name is not the part's": Mutant(
        (
            Edit(
                "tomodrop.dispatching:_submit_with",
                "part.part, part.attempt)",
                "part.part, part.attempt + 2)",
            ),
        ),
        _put(0),
    ),
    "slices are named before they are stored": Mutant(
        (
            Edit(
                "tomodrop.uploads:Intake._store",
                "list(pool.map(put, lines, slices))",
                'self.late = [*getattr(self, "late", []), (put, lines, slices)]',
            ),
            Edit(
                "tomodrop.uploads:Intake.write_index",
                "return len(self._incoming)",
                '[list(map(*late)) for late in getattr(self, "late", [])]\n'
                "        return len(self._incoming)",
            ),
        ),
        (
            *_put(0),
            ("receive", 0, 1),
            ("run", 0, 12),
            ("kill", 0, 0),
        ),
    ),
    "answers are matched by their place": Mutant(
        (
            Edit(
                "tomodrop.answers:read_answers",
                "{slice_id: outputs[slice_id] for slice_id in wanted if slice_id in outputs}",
                "dict(zip(wanted, sorted(outputs.values())))",
            ),
        ),
        (*_put(0), *_put(1), *_TAKEN_IN, *_DISPATCHED, ("transform", 0, 2)),
    ),
    "attempts have no end": Mutant(
        (
            Edit(
                "tomodrop.collecting:collect",
                "gives_up = part.attempt >= app.settings.max_attempts",
                "gives_up = False",
            ),
        ),
        (
            *_ON_THE_WAY,
            _WITHOUT_OUTPUT,
            *_COLLECTED,
            *_DISPATCHED,
            _WITHOUT_OUTPUT,
            *_COLLECTED,
        ),
    ),
    "the other folder is not looked at": Mutant(
        (
            Edit(
                "tomodrop.publishing:publish_all",
                "if one.other and one.other not in absent",
                "if False",
            ),
        ),
        (*_put(0, _DAMAGED), *_TAKEN_IN, *_put(0, _PICTURE)),
        sweeps=False,
    ),
    "a rejection outlives the slices of a newer version": Mutant(
        (
            Edit(
                "tomodrop.uploads:Intake.write_index",
                "drop_rejections(self._app, {line.source for line in self._labelled})",
                "pass",
            ),
        ),
        (*_put(_LABELLED, _DAMAGED), *_TAKEN_IN, *_put(_LABELLED), *_TAKEN_IN),
        sweeps=False,
    ),
    "a late rejection is not held against the current version": Mutant(
        (Edit("tomodrop.rejections:reject", "and _is_replaced(app, source)", "and False"),),
        (
            ("put", _LABELLED, _DAMAGED),
            ("put", _LABELLED, _PICTURE),
            ("notify", 1, 2),
            *_TAKEN_IN,
            ("notify", 0, 2),
        ),
        sweeps=False,
    ),
    "what was taken in stays rejected": Mutant(
        (Edit("tomodrop.overdue:_Finder._drop_rejection", "any(row.results)", "False"),),
        (
            *_put(_LABELLED, _DAMAGED),
            *_TAKEN_IN,
            *_put(_LABELLED),
            ("receive", 0, 1),
            ("run", 0, 12),
            ("storm", 1, 11),
            _RUN,
            _SETTLED,
            *_TAKEN_IN,
        ),
    ),
    "what a job left is not tried again": Mutant(
        (
            Edit(
                "tomodrop.collecting:_move_on",
                "if not left.lines:",
                "if True:",
            ),
        ),
        (*_ON_THE_WAY, _WITHOUT_OUTPUT),
        sweeps=False,
    ),
    "a failed message is taken for done": Mutant(
        (
            Edit(
                "intake:handler",
                "return dict(processor.response())",
                'return {"batchItemFailures": []}',
            ),
        ),
        (*_put(0), ("storm", 1, 0), *_TAKEN_IN),
        sweeps=False,
    ),
    "garbled answers count": Mutant(
        (
            Edit(
                "tomodrop.answers:parse_answer",
                'raise AnswerError("the output is empty, cut off, or not one JSON value")',
                "answer = [0.5] * len(classes)\n    if False:\n        raise ValueError",
            ),
        ),
        (*_ON_THE_WAY, ("transform", 0, 7)),
    ),
}

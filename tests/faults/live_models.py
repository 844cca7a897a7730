"""I9: who is live, and by which right. What is stored is read past the product, and judged anew.

Decisions follow one another in one object of the work bucket, and S3 keeps every version of it. Who
was live, and when, is taken from these; the parameter must say the same.
"""

import json
from typing import TYPE_CHECKING, Any

from tests.faults.errors import InvariantBroken
from tests.faults.second_opinion import trained_at, verdicts

if TYPE_CHECKING:
    from tests.faults.world import World

Json = dict[str, Any]
_LAST_DECISION = "training/last_decision.json"
_MAKES_LIVE = ("promoted", "rolled back")


class LiveModels:
    """Looks at each decision and each change of the parameter; what it finds is raised after it.

    `decided`: the decisions in their order; `lives`: the records of live models, one for each
    decision that made one live, after those that people put there by hand before any. `asked_back`:
    trainings whose models somebody asked to go back to.
    """

    def __init__(self, world: "World") -> None:
        self._world = world
        self._seen = ""
        self._broken: list[str] = []
        self.decided: list[Json] = []
        self.lives: list[Json] = []
        self.asked_back: set[str] = set()

    def look(self) -> None:
        """The live model may have changed."""
        settings = self._world.settings
        value = self._world.stage.parameter(settings.live_model_parameter)
        if value != self._seen and self._world.current is None:
            self.lives.append(json.loads(value))
        stored = self._world.stage.versions(settings.work_bucket, _LAST_DECISION)
        for body in stored[len(self.decided) :]:
            self._follow(json.loads(body))
        if value != self._seen:
            self._seen = value
            self._look_at(json.loads(value))

    def was_live(self, model: str) -> bool:
        """Whether this model is live, or was."""
        self.look()
        return any(live["model_name"] == model for live in self.lives)

    def asked(self, target: str, answer: Json | None, known: int) -> None:
        """A call that was asked to go back has ended; `known`: length of `lives` when it began."""
        self.look()
        lately = {live["training_job"] for live in self.lives[known - 1 :]}
        if answer is None and target not in lately:
            self._broken.append(f"I9: {target} was not gone back to, for it was live: it was not")

    def raise_broken(self) -> None:
        """Raise what was seen."""
        if self._broken:
            raise InvariantBroken("; ".join(self._broken))

    def _follow(self, entry: Json) -> None:
        decision, before = entry["decision"], self.lives[-1]
        self.decided.append(entry)
        told = f"I9: decision {len(self.decided)}, '{decision['training_job']}'"
        told += f" {decision['decision']},"
        wrong = (
            self._wrong_with_rollback(decision)
            if decision["decision"] == "rolled back"
            else self._wrong_with_decision(decision, before)
        )
        if entry["generation"] != len(self.decided):
            wrong.append("did not follow the one before it")
        live = entry["live"]
        makes_live = live is not None and live["generation"] == entry["generation"]
        if makes_live != (decision["decision"] in _MAKES_LIVE):
            wrong.append("does not say who is live")
        if makes_live:
            self.lives.append(live)
            if live["training_job"] != decision["training_job"]:
                wrong.append(f"made {live['training_job']} live")
        self._broken += [f"{told} {what}" for what in wrong]

    def _wrong_with_rollback(self, decision: Json) -> list[str]:
        job = decision["training_job"]
        self._world.fired["an earlier model is gone back to"] += 1
        wrong = [] if job in self.asked_back else ["was not asked for"]
        return wrong + ["was never live"] * (job not in {one["training_job"] for one in self.lives})

    def _wrong_with_decision(self, decision: Json, before: Json) -> list[str]:
        job, verdict = decision["training_job"], decision["decision"]
        self._world.fired[f"a model is {verdict}"] += 1
        is_new = self._decisions_on(job) == 1
        wrong = [] if is_new else ["was decided on before"]
        if verdict == "promoted" and trained_at(
            self._world, before
        ) > self._world.sagemaker.created(job):
            wrong.append(f"replaced the younger {before['training_job']}")
        possible = verdicts(self._world, decision, before)
        if verdict not in possible:
            wrong.append(f"by its answers should be {' or '.join(sorted(possible)) or 'scored'}")
        return wrong

    def _decisions_on(self, job: str) -> int:
        """How many decisions on a training there are. To go back to its model is not one on it."""
        return sum(
            entry["decision"]["training_job"] == job
            and entry["decision"]["decision"] != "rolled back"
            for entry in self.decided
        )

    def _look_at(self, record: Json) -> None:
        if record == self.lives[-1]:
            return
        if record not in self.lives:
            self._broken.append(f"I9: {record['model_name']} is live by no decision")
            return
        # Its writer was held up since before a later decision, and puts that right afterwards.
        self._world.fired["an earlier live model is written late"] += 1

    def faults(self) -> list[str]:
        """What is not as it must be once everything has drained."""
        self.look()
        found = list(self._broken)
        if json.loads(self._seen) != self.lives[-1]:
            found.append(f"I9: {self.lives[-1]['model_name']} should be live")
        for job in self._world.sagemaker.trainings_ended():
            count = self._decisions_on(job)
            if count != 1:
                found.append(f"I9: there are {count} decisions on {job}")
        bucket = self._world.settings.predictions_bucket
        for entry in self.decided:
            stored = self._world.stage.read(bucket, entry["key"])
            if stored is None or json.loads(stored) != entry["decision"]:
                found.append(f"I9: {entry['key']} is not the decision that was made")
        return found

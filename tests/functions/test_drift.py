"""Drift: the index itself, when it is judged, and what the sweep makes of the jobs' statistics."""

import json
import math
import random
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.functions.builders import (
    JOB,
    MODEL,
    go_live,
    lines_of,
    png,
    prediction_of,
    put_answers,
    rejection_of,
    results,
    source,
)
from tomodrop import keys, objects
from tomodrop.batches import Batches, Part
from tomodrop.clients import App
from tomodrop.collecting import collect
from tomodrop.drift import (
    MOST_CHANCE,
    MUCH_CHANGED,
    compare_classes,
    compare_pixels,
    difference,
    joined,
    psi,
)
from tomodrop.drift_page import page
from tomodrop.drift_watch import DAYS, Day, judge, report_of, sum_up, watch_drift
from tomodrop.events import JobEnded
from tomodrop.keys import JobName
from tomodrop.pixels import Pixels
from tomodrop.reports import Tally
from tomodrop.slices import IndexLine, write_lines
from tomodrop.summaries import SCALES, JobStatistics, Summary, summary_of_training

NOW = datetime(2026, 11, 24, 18, tzinfo=UTC)
COUNTS = st.lists(st.integers(0, 500), min_size=2, max_size=20)


def summary(seed: int, uploads: int, mean: float = 100, covid: float = 0.5) -> Summary:
    """Uploads of one slice each, whose numbers scatter about the same values."""
    chance, made = random.Random(seed), Summary()
    for _ in range(uploads):
        is_covid = chance.random() < covid
        made.count_upload("covid" if is_covid else "non_covid", 0.5 + chance.random() / 2)
        values = (chance.gauss(mean, 15), chance.gauss(50, 8), chance.gauss(0.6, 0.1))
        made.count_numbers(*(max(0.0, value) for value in values))
    return made


LEARNT = summary(seed=0, uploads=2000)


# ---- summaries


@pytest.mark.parametrize(
    ("name", "value", "cell"),
    [
        ("mean", 0, 0),
        ("mean", 1.99, 1),
        ("mean", 255, 255),
        ("spread", 127.5, 127),
        ("spread", 200, 128),
        ("lit_share", 0.015, 1),
        ("lit_share", 1, 100),
        ("lit_share", -1, 0),
    ],
)
def test_a_value_falls_into_its_cell(name: str, value: float, cell: int) -> None:
    assert SCALES[name].cell(value) == cell


def test_summaries_add_up_in_any_order() -> None:
    one, two, three = (summary(seed, 40) for seed in (1, 2, 3))
    assert one + two + three == three + (two + one)
    assert (one + two).uploads == 80
    assert Summary.model_validate_json((one + two).model_dump_json()) == one + two
    assert one == summary(1, 40)  # adding changes none


def test_a_slice_without_numbers_counts_nowhere() -> None:
    made = Summary()
    made.count_slice(None)
    assert made == Summary()


@pytest.mark.parametrize("change", [{"uploads": -1}, {"patients": 1}, {"pixels": {"mean": "x"}}])
def test_what_is_no_summary_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match="validation error"):
        Summary.model_validate(Summary().model_dump() | change)


def test_a_training_half_is_read_from_what_retrain_noted() -> None:
    learnt = summary_of_training(noted(LEARNT))
    assert learnt is not None
    assert learnt.pixels == LEARNT.pixels
    assert (learnt.uploads, learnt.slices, learnt.classes) == (2000, 2000, LEARNT.classes)


def test_where_uploads_were_not_counted_groups_stand_in() -> None:
    record = noted(LEARNT)
    del record["uploads"]
    learnt = summary_of_training(record)
    assert learnt is not None
    assert learnt.uploads == 7


@pytest.mark.parametrize(
    "change",
    [{"greys": {}}, {"greys": LEARNT.pixels | {"mean": [1, 2]}}, {"slices": {}}],
    ids=["no numbers", "other scale", "no classes"],
)
def test_what_was_noted_another_way_is_no_summary(change: dict[str, Any]) -> None:
    assert summary_of_training(noted(LEARNT) | change) is None
    assert summary_of_training({}) is None


# ---- the index


def test_the_index_is_its_formula() -> None:
    p, q = (10.5 / 101, 30.5 / 101, 60 / 101), (40.5 / 151.5, 60.5 / 151.5, 50.5 / 151.5)
    p = (10.5 / 101.5, 30.5 / 101.5, 60.5 / 101.5)
    expected = sum((b - a) * math.log(b / a) for a, b in zip(p, q, strict=True))
    assert psi([10, 30, 60], [40, 60, 50]) == pytest.approx(expected)


@given(COUNTS)
def test_the_same_shares_have_no_index(counts: list[int]) -> None:
    assert psi(counts, counts) == pytest.approx(0, abs=1e-12)


@given(COUNTS, st.randoms(use_true_random=False))
def test_the_index_is_finite_symmetric_and_never_negative(
    counts: list[int], chance: random.Random
) -> None:
    others = [chance.randint(0, 500) for _ in counts]
    assert 0 <= psi(counts, others) < math.inf
    assert psi(counts, others) == pytest.approx(psi(others, counts))


@given(st.lists(st.integers(0, 100), min_size=1, max_size=60), st.integers(1, 12))
def test_cells_are_joined_without_gap_and_hold_enough(counts: list[int], bins: int) -> None:
    found = joined(counts, bins)
    assert [cell for cells in found for cell in cells] == list(range(len(counts)))
    if len(found) > 1:
        held = [sum(counts[cells.start : cells.stop]) for cells in found]
        assert min(held) >= sum(counts) / bins


def test_chance_alone_is_subtracted_and_seldom_raises_an_alarm() -> None:
    """As many uploads as are just judged, two hundred times, drawn from the same slices."""
    found = [compare_pixels(LEARNT, summary(seed, 100)) for seed in range(1, 201)]
    assert all(one.chance <= MOST_CHANCE for each in found for one in each.values())
    assert sum(max(one.psi for one in each.values()) >= MUCH_CHANGED for each in found) == 0


def test_chance_does_on_average_what_is_subtracted() -> None:
    chance, raw = random.Random(1), []
    for _ in range(300):
        learnt, came_in = ([0] * 10 for _ in range(2))
        for counts, count in ((learnt, 2000), (came_in, 200)):
            for _ in range(count):
                counts[chance.randrange(10)] += 1
        raw.append(psi(learnt, came_in))
    expected = difference([1] * 10, [1] * 10, 2000, 200).chance
    assert expected == pytest.approx(9 * (1 / 2000 + 1 / 200))
    assert sum(raw) / len(raw) == pytest.approx(expected, rel=0.1)


def test_chance_is_subtracted_and_less_than_it_is_nothing() -> None:
    found = difference([100, 100], [160, 40], 200, 200)
    assert found.chance == pytest.approx(0.01)
    assert found.psi == pytest.approx(psi([100, 100], [160, 40]) - 0.01)
    assert difference([100, 100], [101, 99], 200, 200).psi == 0


def test_darker_images_are_found_and_the_number_is_named() -> None:
    found = compare_pixels(LEARNT, summary(seed=1, uploads=100, mean=85))
    assert found["mean"].verdict == "much changed"
    assert found["spread"].verdict == "alike"


@pytest.mark.parametrize(
    ("value", "verdict"),
    [(0, "alike"), (0.0999, "alike"), (0.1, "changed"), (0.25, "much changed")],
)
def test_the_verdicts_are_the_convention_s(value: float, verdict: str) -> None:
    enough = difference([100, 100], [100, 100], 1000, 1000)
    assert type(enough)(psi=value, chance=0.01, bins=10).verdict == verdict
    assert type(enough)(psi=value, chance=0.11, bins=10).verdict == "not judged"


@pytest.mark.parametrize(("learnt", "came_in"), [(0, 100), (100, 0)])
def test_nothing_is_judged_against_nothing(learnt: int, came_in: int) -> None:
    assert difference([1, 1], [1, 1], learnt, came_in).verdict == "not judged"


def test_classes_are_compared_as_well() -> None:
    found = compare_classes(LEARNT, summary(seed=1, uploads=300, covid=0.95))
    assert found is not None
    assert found.verdict == "much changed"
    assert compare_classes(Summary(), Summary()) is None


# ---- what is judged


def days(*uploads: int) -> list[Day]:
    """Days, newest first, of so many uploads each."""
    jobs = [
        [JobStatistics(job=f"j{n}", model="m", summary=summary(n + 1, count))]
        for n, count in enumerate(uploads)
    ]
    return [sum_up(f"2026-11-{24 - n}", job) for n, job in enumerate(jobs)]


def test_as_few_days_are_taken_as_suffice() -> None:
    drift, came_in = judge("m", LEARNT, days(50, 60, 500))
    assert drift.days == ["2026-11-24", "2026-11-23"]
    assert (drift.uploads, came_in.uploads, drift.why_not) == (110, 110, "")
    assert drift.psi is not None
    assert drift.psi < 0.1


@pytest.mark.parametrize(
    ("learnt", "uploads", "why"),
    [
        (None, (500,), "no summary"),
        (Summary(), (500,), "no summary"),
        (LEARNT, (), "Nothing was predicted"),
        (LEARNT, (20, 20), "40 uploads came in; from "),
        (summary(0, 60), (500,), "60 uploads, too few"),
    ],
)
def test_what_cannot_be_judged_says_why(
    learnt: Summary | None, uploads: tuple[int, ...], why: str
) -> None:
    drift, _ = judge("m", learnt, days(*uploads))
    assert (drift.psi, why in drift.why_not) == (None, True), drift.why_not


def test_the_number_that_is_named_suffices() -> None:
    drift, _ = judge("m", LEARNT, days(20))
    least = int(drift.why_not.split("from ")[1].split()[0])
    assert judge("m", LEARNT, days(least))[0].psi is not None
    assert judge("m", LEARNT, days(least - 2))[0].psi is None


# ---- a tally counts each upload once


def with_pixels(lines: list[IndexLine], mean: float) -> list[IndexLine]:
    pixels = Pixels(mean=mean, spread=50, lit_share=0.6, sha256="ab" * 32)
    return [line.model_copy(update={"pixels": pixels}) for line in lines]


def test_only_predictions_count_and_only_slices_with_lung() -> None:
    of, tally = source("incoming/v"), Tally(0.05)
    lines = with_pixels(lines_of(of, 3), 100)
    lines[1] = lines[1].model_copy(update={"has_lung": False})
    tally.count(lines, prediction_of(of, slices=3))
    tally.count(lines_of(source("incoming/r")), rejection_of(source("incoming/r")))
    tally.count(lines_of(source("incoming/n")), None)
    counted = tally.summary
    assert (counted.uploads, counted.slices, dict(counted.classes)) == (1, 2, {"covid": 1})
    assert counted.pixels["mean"][100] == 2
    assert counted.confidence == [0] * 7 + [1, 0, 0]


# ---- from collect to the page


def collect_job(stack: App, job: JobName, keys_: list[str], mean: float) -> None:
    """A job of uploads with one slice each, answered and collected."""
    lines = [line for key in keys_ for line in with_pixels(lines_of(source(key)), mean)]
    slices, work = keys.part_slices(job.batch, job.part, job.attempt), stack.settings.work_bucket
    objects.write(stack.s3, work, slices, write_lines(lines), "text/plain")
    for line in lines[:1]:
        face = f"{keys.batch_slices(job.batch)}{line.slice_id}.png"
        objects.write(stack.s3, work, face, png(), "image/png")
    batches, part = Batches(stack.table), Part(job.batch, job.part, "READY", job.attempt, slices)
    batches.add_part(part)
    batches.submit(part, str(job), MODEL.model_dump(mode="json"))
    put_answers(stack, job, lines, b'{"prediction": [0.25, 0.75]}')
    assert collect(stack, JobEnded(str(job), "Completed", "")) is not None


def stored(stack: App, name: str) -> dict[str, Any]:
    bucket = stack.settings.predictions_bucket
    found: dict[str, Any] = json.loads(objects.read(stack.s3, bucket, f"reports/{name}"))
    return found


def noted(learnt: Summary) -> dict[str, Any]:
    """What retrain notes of its training half, as far as it matters here."""
    return {
        "uploads": {"train": learnt.uploads, "validation": 9},
        "groups": {"train": 7, "validation": 2},
        "slices": {"train": dict(learnt.classes), "validation": {}},
        "greys": learnt.pixels,
    }


def note_training(stack: App, learnt: Summary | None) -> None:
    go_live(stack)
    record = noted(learnt) if learnt else {}
    key = f"training/{MODEL.training_job}/job.json"
    body = json.dumps(record).encode()
    objects.write(stack.s3, stack.settings.work_bucket, key, body, "application/json")


def put_statistics(stack: App, batch: str, counted: Summary, number: int = 0) -> None:
    job = f"tomodrop-{batch}-{number:04d}-1"
    body = JobStatistics(job=job, model=MODEL.training_job, summary=counted).model_dump_json()
    key, bucket = f"reports/{batch}/{job}/statistics.json", stack.settings.predictions_bucket
    objects.write(stack.s3, bucket, key, body.encode(), "application/json")


def test_collect_leaves_a_summary_and_a_repeat_leaves_the_same(stack: App) -> None:
    collect_job(stack, JOB, ["incoming/a"], mean=100)
    first = stored(stack, f"{JOB.batch}/{JOB}/statistics.json")
    assert (first["job"], first["model"]) == (str(JOB), MODEL.training_job)
    assert first["summary"]["uploads"] == first["summary"]["slices"] == 1
    part = Batches(stack.table).part(JOB.batch, JOB.part)
    assert part is not None
    stack.table.delete_item(Key={"batch_id": JOB.batch, "part": JOB.part})
    collect_job(stack, JOB, ["incoming/a"], mean=100)
    assert stored(stack, f"{JOB.batch}/{JOB}/statistics.json") == first
    assert len(results(stack)) == 1


def test_the_sweep_finds_drift_and_tells_people(stack: App) -> None:
    note_training(stack, LEARNT)
    put_statistics(stack, "20261124T120000Z", summary(1, 60, mean=80))
    put_statistics(stack, "20261124T130000Z", summary(2, 60, mean=80))
    drift = watch_drift(stack, NOW)
    assert drift is not None
    assert drift.psi is not None
    assert drift.psi > MUCH_CHANGED
    day, latest = stored(stack, "drift/2026-11-24.json"), stored(stack, "drift/latest.json")
    assert (day["jobs"], day["summary"]["uploads"]) == (2, 120)
    assert latest["differences"]["mean"]["verdict"] == "much changed"
    assert "esearch" in latest["notice"]
    bucket = stack.settings.predictions_bucket
    page = objects.read(stack.s3, bucket, "reports/drift/index.html").decode()
    assert "Much changed" in page
    assert page.count("<svg") == 3
    assert "src=" not in page
    assert "href=" not in page


def test_like_images_raise_nothing(stack: App) -> None:
    note_training(stack, LEARNT)
    put_statistics(stack, "20261124T120000Z", summary(1, 200))
    drift = watch_drift(stack, NOW)
    assert drift is not None
    assert drift.psi is not None
    assert drift.psi < 0.1


def test_a_repeated_sweep_writes_nothing_and_a_late_job_is_added(stack: App) -> None:
    note_training(stack, LEARNT)
    put_statistics(stack, "20261123T120000Z", summary(1, 200))
    watch_drift(stack, NOW)
    bucket = stack.settings.predictions_bucket

    def versions() -> int:
        listed = stack.s3.list_object_versions(Bucket=bucket, Prefix="reports/drift/")
        return len(listed["Versions"])

    before = versions()
    watch_drift(stack, NOW)
    assert versions() == before == 3
    put_statistics(stack, "20261123T120000Z", summary(2, 5), number=1)
    watch_drift(stack, NOW)
    assert stored(stack, "drift/2026-11-23.json")["summary"]["uploads"] == 205


def test_days_that_are_long_past_are_left_alone(stack: App) -> None:
    note_training(stack, LEARNT)
    old = NOW - timedelta(days=DAYS)
    put_statistics(stack, f"{old:%Y%m%dT%H%M%SZ}", summary(1, 500))
    drift = watch_drift(stack, NOW)
    assert drift is not None
    assert (drift.psi, drift.uploads) == (None, 0)


@pytest.mark.parametrize(
    "prepare",
    [lambda _: None, lambda stack: note_training(stack, None)],
    ids=["no model", "no summary"],
)
def test_without_a_model_or_its_summary_nothing_is_judged(
    stack: App, prepare: Callable[[App], None]
) -> None:
    prepare(stack)
    put_statistics(stack, "20261124T120000Z", summary(1, 500))
    drift = watch_drift(stack, NOW)
    assert drift is None or drift.psi is None
    assert stored(stack, "drift/2026-11-24.json")["summary"]["uploads"] == 500


def test_a_day_s_file_of_another_version_is_made_anew(stack: App) -> None:
    note_training(stack, LEARNT)
    put_statistics(stack, "20261124T120000Z", summary(1, 5))
    bucket = stack.settings.predictions_bucket
    objects.write(stack.s3, bucket, "reports/drift/2026-11-24.json", b'{"jobs": 1}', "text/plain")
    watch_drift(stack, NOW)
    assert stored(stack, "drift/2026-11-24.json")["summary"]["uploads"] == 5


def test_the_page_shows_both_sides_and_repeats_no_name_as_it_is() -> None:
    learnt = LEARNT.model_copy(deep=True)
    learnt.count_upload("<script>")
    drift, came_in = judge("m", learnt, days(200))
    text = page(report_of(drift), learnt, came_in, days(200))
    assert "<script>" not in text
    assert "&lt;script&gt;" in text
    points = [point for drawn in re.findall(r'points="([^"]*)"', text) for point in drawn.split()]
    corners = [tuple(map(float, point.split(","))) for point in points]
    assert len(corners) > 3 * 2 * 2 * 20
    assert all(0 <= x <= 500 and 0 <= y <= 110 for x, y in corners)

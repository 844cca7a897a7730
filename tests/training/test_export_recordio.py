import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.training.builders import make_slice
from tomodrop import halves
from tomodrop.errors import TrainingDataError
from training.algorithm.image_records import unpack_image
from training.algorithm.records import read_records
from training.datasets.export_recordio import Example, ExportError, hold_out, main

CLASSES = ["covid", "non_covid"]


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    root = tmp_path / "labelled"
    for label, name in enumerate(CLASSES):
        for group in range(6):
            for number in range(3):
                put(root, f"{name}/{name}-{group}/{number}.png", make_slice(label, 10 * group))
    return root


def put(root: Path, name: str, content: bytes) -> None:
    path = root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content)


def read_half(path: Path) -> list[tuple[tuple[float, ...], bytes]]:
    with path.open("rb") as stream:
        return [unpack_image(payload) for payload in read_records(stream)]


def export(root: Path, *more: str) -> Path:
    out = root.with_name("out")
    assert main([str(root), str(out), *more]) == 0
    return out


def marked(root: Path) -> dict[bytes, str]:
    """Make each file's bytes its own, so that a record tells which file it is of."""
    files = sorted(root.rglob("*.png"))
    for number, path in enumerate(files):
        path.write_bytes(path.read_bytes() + number.to_bytes(2))
    return {path.read_bytes(): str(path.relative_to(root)) for path in files}


def test_every_image_is_in_one_half_with_its_class(labelled: Path) -> None:
    names = marked(labelled)
    out = export(labelled)
    records = [r for half in ("train.rec", "validation.rec") for r in read_half(out / half)]
    assert sorted(names[image] for _, image in records) == sorted(names.values())
    assert all(names[image].startswith(CLASSES[int(labels[0])] + "/") for labels, image in records)
    assert json.loads((out / "classes.json").read_text()) == CLASSES


def test_a_group_is_in_one_half_and_a_class_in_both(labelled: Path) -> None:
    put(labelled, "covid/shared/a.png", make_slice(1, 1))
    put(labelled, "non_covid/shared/b.png", make_slice(0, 2))
    names = marked(labelled)
    out = export(labelled)
    groups, classes = (
        [
            {names[image].split("/")[part] for _, image in read_half(out / half)}
            for half in ("train.rec", "validation.rec")
        ]
        for part in (1, 0)
    )
    assert not groups[0] & groups[1]
    assert classes == [set(CLASSES), set(CLASSES)]


def test_the_order_is_mixed_and_replayed_by_its_seed(labelled: Path) -> None:
    labels = [int(label) for (label,), _ in read_half(export(labelled) / "train.rec")]
    assert labels != sorted(labels)
    first = (export(labelled, "--seed", "1") / "train.rec").read_bytes()
    assert (export(labelled, "--seed", "1") / "train.rec").read_bytes() == first
    assert (export(labelled, "--seed", "2") / "train.rec").read_bytes() != first


def test_what_is_no_picture_is_skipped_and_named(
    labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(labelled, "covid/covid-1/notes.txt", b"text")
    export(labelled)
    said = capsys.readouterr()
    assert "notes.txt" in said.err
    assert "1 files skipped" in said.out


@pytest.mark.parametrize(
    ("tree", "said"),
    [
        ([], "no folder"),
        (["covid/a/1.png", "covid/b/1.png"], "two class folders"),
        (["covid/1.png", "well/a/1.png"], "without files: covid"),
        (["covid/a/1.png", "covid/b/1.png", "well/c/1.png"], "class 'well' has 1 group"),
        (["covid/a/1.png", "covid/b/1.png", "well/a/1.png"], "class 'well' has 1 group"),
    ],
)
def test_a_tree_that_cannot_be_split_is_refused(
    tmp_path: Path, tree: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in tree:
        put(tmp_path / "labelled", name, make_slice(0, 0))
    assert main([str(tmp_path / "labelled"), str(tmp_path / "out")]) == 2
    assert said in capsys.readouterr().err
    assert not (tmp_path / "out" / "train.rec").exists()


@pytest.mark.parametrize("share", ["0", "1", "nan", "half"])
def test_a_share_that_is_none_is_refused(labelled: Path, share: str) -> None:
    with pytest.raises(SystemExit):
        main([str(labelled), str(labelled / "out"), "--validation-share", share])


GROUPS = st.sets(st.sampled_from("abcdefgh"), min_size=1)


@settings(deadline=None, max_examples=300)
@given(
    st.lists(GROUPS, min_size=2, max_size=3),
    st.floats(0.05, 0.95),
    st.sampled_from(["tomodrop", "a secret"]),
)
def test_a_group_is_in_the_half_of_the_scheduled_trainings(
    groups_of: list[set[str]], share: float, split_key: str
) -> None:
    names = [f"class-{label}" for label in range(len(groups_of))]
    examples = [
        Example(Path(group), label, group)
        for label, groups in enumerate(groups_of)
        for group in groups
    ]
    try:
        decided = halves.decide(groups_of, {}, names, share, split_key)
    except TrainingDataError:
        with pytest.raises(ExportError):
            hold_out(examples, names, share, split_key)
        return
    wanted = {group for group, half in decided.items() if half == halves.VALIDATION}
    assert hold_out(examples, names, share, split_key) == wanted

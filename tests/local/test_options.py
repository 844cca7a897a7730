"""Refusals before anything starts: each says what, which, and what to do."""

from pathlib import Path

import pytest

from local.options import (
    LOCAL_DEFAULTS,
    TEMPLATE,
    Options,
    Refused,
    check_options,
    class_folders,
    labelled_faults,
    template_parameters,
)
from local.parameters import resolve_parameters
from local.template import read_template


def fill(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(b"x")
    return root


@pytest.fixture
def labelled(tmp_path: Path) -> Path:
    names = [f"{c}/{g}/1.png" for c in ("covid", "non_covid") for g in ("p1", "p2")]
    return fill(tmp_path / "labelled", *names)


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    return fill(tmp_path / "inbox", "a.png")


def faults_of(options: Options) -> tuple[str, ...]:
    with pytest.raises(Refused) as refused:
        check_options(options)
    return refused.value.faults


def test_good_folders_pass_and_nothing_is_made(inbox: Path, labelled: Path, tmp_path: Path) -> None:
    options = Options(inbox, tmp_path / "new/out", labelled, tmp_path / "new/state")
    check_options(options)
    assert not (tmp_path / "new").exists()


def test_all_faults_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    options = Options(tmp_path / "a", tmp_path / "file", tmp_path / "b", tmp_path / "file")
    faults = faults_of(options)
    assert [fault.split(":")[0] for fault in faults] == [
        "--inbox",
        "--labelled",
        "--out",
        "--state",
    ]
    assert "does not exist" in faults[0]
    assert "is not a folder" in faults[2]


def test_an_inbox_that_is_a_file_is_refused(tmp_path: Path, labelled: Path) -> None:
    (tmp_path / "scan.png").touch()
    faults = faults_of(Options(tmp_path / "scan.png", tmp_path / "out", labelled))
    assert faults == (
        f"--inbox: {tmp_path}/scan.png is not a folder. Give the folder that holds the files.",
    )


@pytest.mark.parametrize(
    ("inbox_name", "out_name", "state_name"),
    [
        ("in", "in", "state"),
        ("in", "in/out", "state"),
        ("top/in", "top", "state"),
        ("in", "out", "in/state"),
        ("in", "out", "out"),
        ("in", "state/out", "state"),
        ("in", "labelled/out", "state"),
        ("labelled", "out", "state"),
        ("labelled/covid", "out", "state"),
        ("in", "in/../in/out", "state"),
    ],
)
def test_folders_inside_one_another_are_refused(
    inbox_name: str, out_name: str, state_name: str, tmp_path: Path, labelled: Path
) -> None:
    (tmp_path / inbox_name).mkdir(parents=True, exist_ok=True)
    options = Options(tmp_path / inbox_name, tmp_path / out_name, labelled, tmp_path / state_name)
    assert "overlap" in faults_of(options)[0]


def test_a_link_does_not_hide_an_overlap(inbox: Path, labelled: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(inbox)
    assert "overlap" in faults_of(Options(inbox, tmp_path / "link/out", labelled))[0]


def test_the_state_may_lie_in_out(inbox: Path, labelled: Path, tmp_path: Path) -> None:
    check_options(Options(inbox, tmp_path / "out", labelled, tmp_path / "out/state"))


@pytest.mark.parametrize("made", [False, True])
def test_without_labelled_files_or_an_earlier_run_there_is_no_model(
    made: bool, inbox: Path, tmp_path: Path
) -> None:
    if made:
        (tmp_path / "state").mkdir()
    assert "no model yet" in faults_of(Options(inbox, tmp_path / "out"))[0]
    options = Options(inbox, tmp_path / "out", state=tmp_path / "state")
    assert "no model yet" in faults_of(options)[0]


def test_an_earlier_state_is_enough(inbox: Path, tmp_path: Path) -> None:
    fill(tmp_path / "state", "anything")
    check_options(Options(inbox, tmp_path / "out", state=tmp_path / "state"))


def test_deeper_folders_in_a_group_are_fine(labelled: Path) -> None:
    fill(labelled, "covid/p1/series/2.png")
    assert labelled_faults(labelled, None) == []


@pytest.mark.parametrize("name", ["stray.png", "covid/stray.png"])
def test_files_that_are_not_in_a_group_are_refused_by_name(name: str, labelled: Path) -> None:
    (fault,) = labelled_faults(fill(labelled, name), None)
    assert f"1 file(s) do not lie at <class>/<group>/<file> ({name})" in fault


def test_system_files_beside_the_classes_are_no_fault(labelled: Path) -> None:
    assert labelled_faults(fill(labelled, ".DS_Store", "covid/Thumbs.db"), None) == []


def test_an_empty_class_folder_is_refused_by_name(labelled: Path) -> None:
    (labelled / "unsure/p1").mkdir(parents=True)
    (fault,) = labelled_faults(labelled, None)
    assert f"{labelled}/unsure holds no file" in fault


def test_a_class_of_one_group_is_refused(labelled: Path) -> None:
    (fault,) = labelled_faults(fill(labelled, "unsure/p1/1.png", "unsure/p1/2.png"), None)
    assert "unsure has one group" in fault


def test_one_class_is_not_enough(tmp_path: Path) -> None:
    faults = labelled_faults(fill(tmp_path, "covid/p1/1.png", "covid/p2/1.png"), None)
    assert "1 class folder(s)" in faults[0]


@pytest.mark.parametrize("name", ["with space", "comma,name", "肺"])
def test_class_names_that_the_template_cannot_take_are_refused(name: str, labelled: Path) -> None:
    (fault,) = labelled_faults(fill(labelled, f"{name}/p1/1.png", f"{name}/p2/1.png"), None)
    assert "characters that class names cannot have" in fault


def test_classes_must_be_those_of_the_parameter(labelled: Path) -> None:
    assert labelled_faults(labelled, "non_covid, covid") == []
    strange, absent = labelled_faults(labelled, "covid,healthy")
    assert "non_covid is not among ClassNames=covid,healthy" in strange
    assert "no folder for class healthy" in absent


def test_classes_come_from_the_folders_and_set_wins(inbox: Path, labelled: Path) -> None:
    options = Options(inbox, inbox, labelled, parameters={"WindowMinutes": "1"})
    parameters = template_parameters(options)
    assert parameters["ClassNames"] == "non_covid,covid"
    assert parameters["WindowMinutes"] == "1"
    assert parameters["OverdueMinutes"] == LOCAL_DEFAULTS["OverdueMinutes"]


@pytest.mark.parametrize(
    ("names", "ordered"),
    [
        (["covid", "non_covid"], ["non_covid", "covid"]),
        (["COVID", "Normal", "Pneumonia"], ["Normal", "COVID", "Pneumonia"]),
        (["CT-1", "CT-0", "CT-0b"], ["CT-0", "CT-0b", "CT-1"]),
        (["abscess", "no-finding"], ["no-finding", "abscess"]),
        # These begin with the same letters and say something else.
        (["a", "nodule", "notch"], ["a", "nodule", "notch"]),
        (["ct-05", "a"], ["a", "ct-05"]),
    ],
)
def test_a_class_that_says_nothing_was_found_comes_first(
    tmp_path: Path, names: list[str], ordered: list[str]
) -> None:
    for name in names:
        (tmp_path / name).mkdir()
    assert class_folders(tmp_path) == ordered


def test_answers_tell_all_they_can_unless_set_otherwise(inbox: Path) -> None:
    assert template_parameters(Options(inbox, inbox))["AnswerDetail"] == "verbose"
    plain = Options(inbox, inbox, parameters={"AnswerDetail": "plain"})
    assert template_parameters(plain)["AnswerDetail"] == "plain"


def test_without_labelled_files_nothing_is_retrained(inbox: Path) -> None:
    assert template_parameters(Options(inbox, inbox))["RetrainState"] == "DISABLED"
    chosen = Options(inbox, inbox, parameters={"RetrainState": "ENABLED"})
    assert template_parameters(chosen)["RetrainState"] == "ENABLED"


def test_this_machines_defaults_are_ones_that_the_template_takes() -> None:
    declared = read_template(TEMPLATE)["Parameters"]
    assert resolve_parameters(declared, LOCAL_DEFAULTS).items() >= LOCAL_DEFAULTS.items()

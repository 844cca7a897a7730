"""The command line itself: what is malformed ends with code 2, before anything is started."""

from pathlib import Path

import pytest

from local.cli import main, parse


@pytest.fixture
def folders(tmp_path: Path) -> list[str]:
    for name in ("covid/p1", "covid/p2", "non_covid/p1", "non_covid/p2"):
        (tmp_path / "labelled" / name).mkdir(parents=True)
        (tmp_path / "labelled" / name / "1.png").write_bytes(b"x")
    (tmp_path / "in").mkdir()
    given = {"--inbox": "in", "--out": "out", "--labelled": "labelled"}
    return ["run", *(part for n, v in given.items() for part in (n, str(tmp_path / v)))]


def refusal(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str:
    try:
        code: int | str | None = main(arguments)
    except SystemExit as ended:
        code = ended.code
    assert code == 2
    return capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "reason"),
    [
        ("Epochs", "is not of the form Name=Value"),
        ("=5", "is not of the form Name=Value"),
        ("", "is not of the form Name=Value"),
        ("epochs=5", "epochs is no parameter of this template. Did you mean Epochs?"),
        ("Nonsense=5", "Nonsense is no parameter of this template."),
        ("Epochs=0", "Epochs=0: must be at least 1"),
        ("Epochs=many", "Epochs=many: is not a number"),
        ("NumLayers=19", "NumLayers=19: must be one of"),
        ("ImageShape=64", "ImageShape=64: must match"),
        ("ClassNames=covid", "ClassNames=covid"),
    ],
)
def test_bad_settings_are_refused_with_the_reason(
    setting: str, reason: str, folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in refusal([*folders, "--set", setting], capsys)


def test_every_bad_setting_is_named_at_once(
    folders: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    told = refusal([*folders, "--set", "Epochs=0", "--set", "Nonsense=1"], capsys)
    assert "--set Nonsense is no parameter" in told
    assert "--set Epochs=0" in told


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ([], "COMMAND"),
        (["walk"], "invalid choice"),
        (["run", "--out", "x"], "--inbox"),
        (["run", "--inbox", "x"], "--out"),
        (["run", "--inbox", "", "--out", "x"], "the name of a folder is empty"),
        (["run", "--inbox", "x", "--out", "y", "--twice"], "unrecognized arguments"),
    ],
)
def test_malformed_command_lines_are_refused(
    arguments: list[str], reason: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert reason in refusal(arguments, capsys)


def test_a_missing_folder_is_refused_by_name(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    told = refusal(["run", "--inbox", str(tmp_path / "no"), "--out", str(tmp_path / "o")], capsys)
    assert f"tomodrop: --inbox: {tmp_path}/no does not exist." in told
    assert not (tmp_path / "o").exists()


def test_values_may_hold_equals_signs_commas_and_spaces() -> None:
    extra = 'ExtraHyperparameters=seed=1,lr_scheduler_step="1,2"'
    given = ["run", "--inbox", "i", "--out", "o", "--set", extra, "--set", "Epochs = 5"]
    assert parse(given).parameters == {
        "ExtraHyperparameters": 'seed=1,lr_scheduler_step="1,2"',
        "Epochs": "5",
    }


def test_the_last_of_two_settings_counts() -> None:
    given = ["run", "--inbox", "i", "--out", "o", "--set", "Epochs=5", "--set", "Epochs=6"]
    assert parse(given).parameters == {"Epochs": "6"}


def test_folders_are_taken_from_where_the_command_is_given(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    options = parse(["run", "--inbox", "i", "--out", "../o", "--once"])
    assert options.inbox == tmp_path / "i"
    assert options.out.resolve() == tmp_path.parent / "o"
    assert options.labelled is None
    assert options.state is None
    assert options.once

"""Fill a labelled folder from a public set: see docs/datasets.md.

    python -m training.datasets import-folder SRC OUT [--group-by parent|name-pattern|hash]
    python -m training.datasets import-mendeley SRC OUT
    python -m training.datasets import-mosmed SRC OUT [--positive CT-1 CT-2 CT-3 CT-4]

lays out `OUT/<class>/<group>/<file>.png`, as `tomodrop run --labelled OUT` takes it. Exit code 0
when something was imported, 1 when nothing was, 2 when the import cannot be done as asked.
A run that was stopped goes on where it was when the same command is given again.
"""

import argparse
import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rich.console import Console

from training.datasets import folder_tree, mendeley, mosmed
from training.datasets.failure import ImportRefused
from training.datasets.journal import open_journal
from training.datasets.lungs import MIN_SHARE
from training.datasets.near_duplicates import MAX_DISTANCE
from training.datasets.picture_import import Source, import_pictures
from training.datasets.report import Outcome, summary, write_report

INTERRUPTED = 130
"""As shells have it for a program that Ctrl-C ended."""
MAX_USEFUL_DISTANCE = 64

Given = argparse.Namespace


def main(arguments: Sequence[str] | None = None) -> int:
    """Command line: see the module's docstring."""
    given = _parser().parse_args(arguments)
    console = Console(stderr=True)
    try:
        _check_folders(given.source, given.out)
        outcome: Outcome = given.run(given, console)
        write_report(given.out, outcome)
    except ImportRefused as error:
        console.print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        return 2
    except OSError as error:
        console.print(f"error: {error}", highlight=False, markup=False, soft_wrap=True)
        return 1
    except KeyboardInterrupt:
        console.print("stopped; the same command goes on from here", highlight=False)
        return INTERRUPTED
    for line in summary(outcome, given.out):
        sys.stdout.write(f"{line}\n")
    return outcome.exit_code


def _import_folder(given: Given, console: Console) -> Outcome:
    outcome = Outcome()
    if (given.group_by == "name-pattern") != (given.pattern is not None):
        raise ImportRefused("--group-by name-pattern and --pattern REGEX need each other")
    keys: dict[str, folder_tree.Key] = {
        "parent": folder_tree.by_parent,
        "hash": folder_tree.by_nothing,
    }
    key = folder_tree.by_pattern(given.pattern) if given.pattern else keys[given.group_by]
    naming = folder_tree.Naming(dict(given.rename), key, given.per_class)
    sources = folder_tree.list_tree(given.source, naming, outcome)
    options = {
        "set": "folder",
        "group-by": given.group_by,
        "pattern": given.pattern and given.pattern.pattern,
        "rename": naming.rename,
        "per-class": naming.per_class,
    }
    return _import_pictures(sources, options, outcome, given, console)


def _import_mendeley(given: Given, console: Console) -> Outcome:
    outcome = Outcome()
    sources = mendeley.list_mendeley(given.source, given.block, outcome)
    options = {"set": "mendeley", "block": given.block}
    return _import_pictures(sources, options, outcome, given, console)


def _import_pictures(
    sources: Sequence[Source],
    options: dict[str, Any],
    outcome: Outcome,
    given: Given,
    console: Console,
) -> Outcome:
    distance = given.max_distance
    with open_journal(given.out, {**options, "max-distance": distance}) as journal:
        import_pictures(sources, given.out, journal, outcome, distance, console)
    return outcome


def _import_mosmed(given: Given, console: Console) -> Outcome:
    outcome, positive = Outcome(), sorted(set(given.positive))
    studies = mosmed.list_studies(given.source, positive, outcome)
    choice = mosmed.Choice(given.lung_share, given.every_nth)
    options = {
        "set": "mosmed",
        "positive": positive,
        "lung-share": choice.lung_share,
        "every-nth": choice.every_nth,
    }
    with open_journal(given.out, options) as journal:
        mosmed.import_studies(studies, given.out, journal, outcome, choice, console)
    return outcome


def _check_folders(source: Path, out: Path) -> None:
    if not source.is_dir():
        raise ImportRefused(f"{source} is no folder; give the one that the set was unpacked into")
    if out.exists() and not out.is_dir():
        raise ImportRefused(f"{out} is no folder; give a new or an empty one")
    if out.resolve().is_relative_to(source.resolve()):
        raise ImportRefused(f"{out} lies in {source}, and would be imported next time")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m training.datasets",
        description="Lay a set of CT slices out as OUT/<class>/<group>/<file>.png.",
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    folder = _command(commands, "import-folder", _import_folder, "a tree SRC/<class>/…/<picture>")
    folder.add_argument(
        "--group-by",
        choices=("parent", "name-pattern", "hash"),
        default="parent",
        help="what makes a group beside looks: the folder (default), --pattern, nothing",
    )
    folder.add_argument("--pattern", type=_pattern, metavar="REGEX", help="of the group's name")
    folder.add_argument(
        "--rename",
        type=_renaming,
        action="append",
        default=[],
        metavar="FOLDER=CLASS",
        help="import a class folder under another name",
    )
    folder.add_argument(
        "--per-class",
        action="store_true",
        help="the same group name in two classes means two groups (default: one, as a patient's)",
    )
    help_text = "Extensive COVID-19 X-Ray and CT Chest Images, CT only"
    mendeley_ = _command(commands, "import-mendeley", _import_mendeley, help_text)
    mendeley_.add_argument(
        "--block",
        type=_from_to(0, 100_000),
        default=mendeley.BLOCK,
        help="so many consecutively numbered pictures are a group (default %(default)s, 0: none)",
    )
    for command in (folder, mendeley_):
        command.add_argument(
            "--max-distance",
            type=_from_to(0, MAX_USEFUL_DISTANCE),
            default=MAX_DISTANCE,
            metavar="BITS",
            help="of 256 that may differ between pictures that look alike (default %(default)s)",
        )
    _add_mosmed(commands)
    return parser


def _add_mosmed(commands: Any) -> None:
    command = _command(commands, "import-mosmed", _import_mosmed, "MosMedData, CT-0 as normal")
    command.add_argument(
        "--positive",
        nargs="+",
        choices=mosmed.GRADES,
        default=list(mosmed.GRADES),
        metavar="GRADE",
        help="grades that count as positive (default: CT-1 to CT-4); others are left out",
    )
    command.add_argument(
        "--lung-share",
        type=_share,
        default=MIN_SHARE,
        help="of a slice's body that must be lung (default %(default)s)",
    )
    command.add_argument(
        "--every-nth",
        type=_from_to(1, 1000),
        default=1,
        metavar="N",
        help="take every nth of a study's lung slices (default: all)",
    )


def _command(
    commands: Any, name: str, run: Callable[[Given, Console], Outcome], what: str
) -> argparse.ArgumentParser:
    command: argparse.ArgumentParser = commands.add_parser(name, help=what, description=what)
    command.add_argument("source", type=Path, metavar="SRC", help="where the set was unpacked")
    command.add_argument("out", type=Path, metavar="OUT", help="a new folder, or one to go on with")
    command.set_defaults(run=run)
    return command


def _from_to(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not text.isascii() or not text.isdigit() or not low <= int(text) <= high:
            raise argparse.ArgumentTypeError(f"{text!r} is no whole number from {low} to {high}")
        return int(text)

    return parse


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = -1.0
    if not 0 <= share < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 0 to below 1")
    return share


def _pattern(text: str) -> re.Pattern[str]:
    try:
        return re.compile(text)
    except re.error as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no regular expression: {error}") from error


def _renaming(text: str) -> tuple[str, str]:
    folder, sign, name = text.rpartition("=")
    if not sign or not folder or not folder_tree.CLASS_NAME.fullmatch(name):
        raise argparse.ArgumentTypeError(
            f"{text!r} is not FOLDER=CLASS with a class of letters, digits, '_', '.' and '-'"
        )
    return folder, name


if __name__ == "__main__":
    raise SystemExit(main())

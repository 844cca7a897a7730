"""The command `tomodrop`: a folder in, a folder of prediction JSON out, on this machine.

    tomodrop run --inbox DIR --out DIR [--labelled DIR] [--state DIR] [--once]
        [--starting-model FILE] [--set Name=Value …]
    tomodrop audit --state DIR [--out DIR]
    tomodrop invoke FUNCTION --event FILE --state DIR
    tomodrop redrive --state DIR

Exit codes: 0 done (with --once: every file in the inbox has its JSON at its path; without: stopped
by Ctrl-C or SIGTERM; audit: nothing is missing or doubled), 1 not done, 2 asked for something that
cannot be, nothing was started.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from local.errors import ParameterErrors
from local.options import TEMPLATE, Options, Refused, check_options, template_parameters
from local.parameters import resolve_parameters
from local.template import read_template

EXIT_FAILED, EXIT_REFUSED = 1, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Entry point of the console script."""
    given = _parser().parse_args(arguments)
    if given.command == "invoke":
        return _invoke(given)
    if given.command == "redrive":
        return _redrive(given)
    if given.command == "audit":
        return _audit(given)
    return _run(_options(given))


def _run(options: Options) -> int:
    try:
        check_options(options)
        check_parameters(options)
    except Refused as refused:
        for fault in refused.faults:
            sys.stderr.write(f"tomodrop: {fault}\n")
        return EXIT_REFUSED
    # Imported late, for it brings the whole cloud: help and refusals come at once.
    from local.run import run  # noqa: PLC0415

    return run(options, Console(highlight=False, emoji=False, markup=False))


def _invoke(given: argparse.Namespace) -> int:
    # Imported late, for boto3 takes its time.
    from local.invoke import InvokeError, invoke  # noqa: PLC0415

    try:
        succeeded, answer = invoke(given.state.absolute(), given.function, given.event)
    except InvokeError as error:
        sys.stderr.write(f"tomodrop: {error}\n")
        return EXIT_REFUSED
    sys.stdout.write(f"{answer}\n")
    return 0 if succeeded else EXIT_FAILED


def _redrive(given: argparse.Namespace) -> int:
    from local.invoke import InvokeError  # noqa: PLC0415  (late, as above)
    from local.redrive import redrive  # noqa: PLC0415

    try:
        moved = redrive(given.state.absolute())
    except InvokeError as error:
        sys.stderr.write(f"tomodrop: {error}\n")
        return EXIT_REFUSED
    sys.stdout.write(f"{moved:,} messages of uploads go round again.\n")
    return 0


def _audit(given: argparse.Namespace) -> int:
    from local.audit import audit  # noqa: PLC0415  (late, as above)
    from local.errors import StateError  # noqa: PLC0415
    from local.invoke import InvokeError  # noqa: PLC0415

    try:
        audited = audit(given.state.absolute(), given.out and given.out.absolute())
    except (InvokeError, StateError) as error:
        sys.stderr.write(f"tomodrop: {error}\n")
        return EXIT_REFUSED
    sys.stdout.writelines(f"{line}\n" for line in audited.lines())
    return 0 if audited.is_clean else EXIT_FAILED


def parse(arguments: Sequence[str] | None) -> Options:
    """The command line of a run as a value; where it is malformed, argparse exits with code 2."""
    return _options(_parser().parse_args(arguments))


def _options(given: argparse.Namespace) -> Options:
    return Options(
        inbox=given.inbox.absolute(),
        out=given.out.absolute(),
        labelled=given.labelled and given.labelled.absolute(),
        state=given.state and given.state.absolute(),
        once=given.once,
        parameters=dict(given.set),
        starting_model=given.starting_model and given.starting_model.absolute(),
    )


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tomodrop",
        description="Drop CT images into a folder, get prediction JSON. Research use only.",
    )
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    run = commands.add_parser(
        "run",
        help="classify the files of a folder",
        description="Run the whole stack of template.yaml on this machine and answer an inbox.",
    )
    _add_options(run)
    audit = commands.add_parser(
        "audit",
        help="list every upload with its JSON, and what is missing",
        description="Write the receipt of a state folder: every upload version with its JSON, "
        "digest and model. It ends with 1 if anything is missing or doubled.",
    )
    audit.add_argument(
        "--state", type=_folder, required=True, metavar="DIR", help="the folder of a run"
    )
    audit.add_argument(
        "--out",
        type=_folder,
        metavar="DIR",
        help="bring the receipt there, and compare the JSON there with it",
    )
    invoke = commands.add_parser(
        "invoke",
        help="call one function of a running stack",
        description="Call one function of the stack that runs on a state folder with an event.",
    )
    invoke.add_argument("function", metavar="FUNCTION", help="for instance IntakeFunction")
    invoke.add_argument(
        "--event", "-e", type=Path, required=True, metavar="FILE", help="for instance events/*.json"
    )
    invoke.add_argument(
        "--state", type=_folder, required=True, metavar="DIR", help="the running stack's folder"
    )
    redrive = commands.add_parser(
        "redrive",
        help="send what could not be taken in round again",
        description="Empty the dead-letter queue of the stack that runs on a state folder.",
    )
    redrive.add_argument(
        "--state", type=_folder, required=True, metavar="DIR", help="the running stack's folder"
    )
    return parser


def _add_options(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--inbox", type=_folder, required=True, metavar="DIR", help="files to classify"
    )
    command.add_argument(
        "--out", type=_folder, required=True, metavar="DIR", help="where results are to appear"
    )
    command.add_argument(
        "--labelled",
        type=_folder,
        metavar="DIR",
        help="files to learn from, as <class>/<group>/<file>; a group (patient) is never split",
    )
    command.add_argument(
        "--state",
        type=_folder,
        metavar="DIR",
        help="keeps uploads, batches and the model across runs; without it nothing is kept",
    )
    command.add_argument(
        "--once", action="store_true", help="end when every file in the inbox has its JSON"
    )
    command.add_argument(
        "--starting-model",
        type=Path,
        metavar="FILE",
        help="a model.tar.gz that trainings start from: an earlier model's, or converted weights",
    )
    command.add_argument(
        "--set",
        type=_setting,
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="a parameter of template.yaml, for instance --set Epochs=5; may be repeated",
    )


def _folder(text: str) -> Path:
    if not text.strip():
        message = "the name of a folder is empty"
        raise argparse.ArgumentTypeError(message)
    return Path(text).expanduser()


def _setting(text: str) -> tuple[str, str]:
    name, equals, value = text.partition("=")
    if not equals or not name.strip():
        message = f"{text!r} is not of the form Name=Value, for instance Epochs=5"
        raise argparse.ArgumentTypeError(message)
    return name.strip(), value.strip()


def check_parameters(options: Options) -> None:
    """Ask the template whether it takes these parameters.

    Raises
    ------
    Refused
        Names every parameter that is unknown or out of bounds.
    """
    declared = read_template(TEMPLATE).get("Parameters", {})
    try:
        resolve_parameters(declared, template_parameters(options))
    except ParameterErrors as error:
        raise Refused([f"--set {fault}" for fault in error.faults]) from error


if __name__ == "__main__":
    raise SystemExit(main())

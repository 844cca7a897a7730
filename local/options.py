"""What `tomodrop run` is asked for, and every reason to refuse it before anything is started."""

import os
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from local.folders import Listing, list_folder, printable
from local.starting_model import starting_model_faults, starting_model_key

TEMPLATE = Path(__file__).resolve().parents[1] / "template.yaml"

# non_covid, no-finding, normal, healthy, CT-0 (MosMedData) and the like.
_NOTHING_FOUND = re.compile(
    r"(no|non|not|normal|healthy|negative|control|controls|benign|ct-0)(?![a-z0-9])", re.IGNORECASE
)

# Template parameters as one machine wants them: short waits and little at a time. Any of them can
# be set with --set; what is not here has the template's own default, as on AWS.
LOCAL_DEFAULTS: Mapping[str, str] = {
    "WindowMinutes": "0.1",  # a batch closes after 6 seconds
    "IntakeTimeoutSeconds": "15",  # and is dispatched that long after
    "IntakeBatchingWindowSeconds": "1",
    "IntakeMaximumConcurrency": "2",
    "OverdueMinutes": "2",  # what got lost goes round again soon
    "MaxConcurrentTransforms": "2",
    # The algorithm in training/ runs here, so jobs and models say that and not the built-in's name,
    # and its answers tell all they can.
    "AlgorithmImage": "123456789012.dkr.ecr.us-east-1.amazonaws.com/tomodrop-algorithm:latest",
    "AnswerDetail": "verbose",
}

LABELLED_DEPTH = 3
EXAMPLES = 3
_CLASS_NAME = re.compile(r"[A-Za-z0-9_.\-]+")


@dataclass(frozen=True)
class Options:
    """One run. Folders are absolute; `state` None is a temporary folder."""

    inbox: Path
    out: Path
    labelled: Path | None = None
    state: Path | None = None
    once: bool = False
    parameters: Mapping[str, str] = field(default_factory=dict)
    starting_model: Path | None = None


class Refused(Exception):
    """The run makes no sense as asked for. `faults`: each says what, which, and what to do."""

    def __init__(self, faults: Sequence[str]) -> None:
        self.faults = tuple(faults)
        super().__init__("\n".join(self.faults))


def check_options(options: Options) -> None:
    """Look at folders and what lies in them.

    Raises
    ------
    Refused
        Names every fault at once.
    """
    faults = folder_faults(options)
    if options.labelled and options.labelled.is_dir() and not faults:
        faults += labelled_faults(options.labelled, options.parameters.get("ClassNames"))
    if not options.labelled and not has_content(options.state):
        faults.append(
            "There is no model yet, so nothing could be classified: give --labelled DIR to train "
            "one, or --state DIR of an earlier run."
        )
    if faults:
        raise Refused(faults)


def has_content(folder: Path | None) -> bool:
    """Whether a folder is there and holds anything."""
    return folder is not None and folder.is_dir() and any(folder.iterdir())


def folder_faults(options: Options) -> list[str]:
    """Folders that are missing, no folders, not accessible, or inside one another."""
    faults = [
        *_input_faults("--inbox", options.inbox),
        *(_input_faults("--labelled", options.labelled) if options.labelled else []),
        *_output_faults("--out", options.out),
        *(_output_faults("--state", options.state) if options.state else []),
        *_starting_model_faults(options),
    ]
    return faults or _overlap_faults(options)


def _input_faults(option: str, folder: Path) -> list[str]:
    if not folder.exists():
        return [f"{option}: {_shown(folder)} does not exist. Make the folder or correct the path."]
    if not folder.is_dir():
        return [
            f"{option}: {_shown(folder)} is not a folder. Give the folder that holds the files."
        ]
    if not os.access(folder, os.R_OK | os.X_OK):
        return [f"{option}: {_shown(folder)} may not be read. Change its permissions."]
    return []


def _starting_model_faults(options: Options) -> list[str]:
    if not options.starting_model:
        return []
    if "StartingModelKey" in options.parameters:
        return [
            "--starting-model and --set StartingModelKey name a model each. Give one of the two."
        ]
    return starting_model_faults(options.starting_model)


def _output_faults(option: str, folder: Path) -> list[str]:
    if folder.exists() and not folder.is_dir():
        return [f"{option}: {_shown(folder)} is not a folder. Give a folder, new or not."]
    there = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not os.access(there, os.W_OK | os.X_OK):
        return [f"{option}: {_shown(there)} may not be written to. Give another folder."]
    return []


def _overlap_faults(options: Options) -> list[str]:
    """Whatever lies in a watched folder would be uploaded, results of this run included."""
    named = {
        "--inbox": options.inbox,
        "--labelled": options.labelled,
        "--out": options.out,
        "--state": options.state,
    }
    folders = [(name, path.resolve()) for name, path in named.items() if path]
    faults = []
    for index, (name, path) in enumerate(folders):
        for other, other_path in folders[index + 1 :]:
            if name == "--out" and other_path != path and other_path.is_relative_to(path):
                continue  # the state may lie in OUT: it is neither read nor written there
            if path.is_relative_to(other_path) or other_path.is_relative_to(path):
                faults.append(
                    f"{name} ({_shown(path)}) and {other} ({_shown(other_path)}) overlap. "
                    "Give folders of which none lies in another."
                )
    return faults


def labelled_faults(folder: Path, class_names: str | None) -> list[str]:
    """What keeps a labelled folder from being `<class>/<group>/<file>`, two groups a class."""
    listing = list_folder(folder, "")
    classes = class_folders(folder)
    faults = _depth_faults(listing)
    groups: dict[str, set[str]] = {name: set() for name in classes}
    for file in listing.files:
        parts = file.key.split("/")
        if len(parts) >= LABELLED_DEPTH:
            groups.setdefault(parts[0], set()).add(parts[1])
    faults += [fault for name in classes for fault in _class_faults(folder, name, groups[name])]
    if len(classes) < 2:
        faults.append(
            f"--labelled: {_shown(folder)} has {len(classes)} class folder(s); at least two are "
            "needed, for instance covid/ and non_covid/."
        )
    return faults + _class_name_faults(classes, class_names)


def class_folders(folder: Path) -> list[str]:
    """Names of the class folders: the order of the model's outputs unless --set says.

    Sorted, but names that say that nothing was found come first: the first class is the one that
    volumes and sensitivity are not about.
    """
    entries = (entry for entry in os.scandir(folder) if not entry.name.startswith("."))
    names = sorted(entry.name for entry in entries if entry.is_dir())
    return sorted(names, key=lambda name: _NOTHING_FOUND.match(name) is None)


def _depth_faults(listing: Listing) -> list[str]:
    shallow = [f.key for f in listing.files if f.key.count("/") + 1 < LABELLED_DEPTH]
    if not shallow:
        return []
    examples = ", ".join(map(printable, shallow[:EXAMPLES]))
    fault = (
        f"--labelled: {len(shallow)} file(s) do not lie at <class>/<group>/<file> ({examples}). "
        "Put each into a folder of its patient (or study) inside its class folder, so that no "
        "patient is both learnt from and validated on."
    )
    return [fault]


def _class_faults(folder: Path, name: str, groups: set[str]) -> list[str]:
    where = f"--labelled: class folder {_shown(folder / name)}"
    if not _CLASS_NAME.fullmatch(name):
        remedy = "Use letters, digits, dot, hyphen and underscore."
        return [f"{where} has characters that class names cannot have. {remedy}"]
    if not groups:
        return [f"{where} holds no file at <group>/<file>. Fill or remove it."]
    if len(groups) == 1:
        remedy = "one to learn from and one to validate on. Add another patient's folder."
        return [f"{where} has one group; at least two are needed, {remedy}"]
    return []


def _class_name_faults(classes: Sequence[str], class_names: str | None) -> list[str]:
    if class_names is None:
        return []
    named = [name.strip() for name in class_names.split(",")]
    strange = sorted(set(classes) - set(named))
    absent = sorted(set(named) - set(classes))
    return [
        *(
            f"--labelled: class folder {printable(name)} is not among ClassNames={class_names}. "
            "Add it there or move it away."
            for name in strange
        ),
        *(
            f"--labelled: there is no folder for class {name} of ClassNames={class_names}. "
            "Add it or leave the class out."
            for name in absent
        ),
    ]


def template_parameters(options: Options) -> dict[str, str]:
    """What the stack is created with: this machine's defaults, the classes found, then --set.

    Without labelled files of its own a run keeps the model it has: the schedule would retrain it
    for the template's classes, not for those it was made for.
    """
    derived = {"RetrainState": "DISABLED"}
    if options.labelled:
        derived = {"ClassNames": ",".join(class_folders(options.labelled))}
    if options.starting_model:
        derived["StartingModelKey"] = starting_model_key(options.starting_model)
    return {**LOCAL_DEFAULTS, **derived, **options.parameters}


def _shown(path: Path) -> str:
    return printable(str(path))

"""Container entry point: SageMaker runs the image with ``train`` or ``serve`` as its argument.

``ct-weights`` is for people: it prepares a model to start trainings from.
"""

import os
import sys

USAGE = "usage: python -m training.algorithm {train | serve | ct-weights MODEL.TAR.GZ}"


def main(arguments: list[str]) -> int:
    """Run the program named by the first argument and return its exit code.

    Each program imports what it needs when it is chosen: serving must not wait for the
    plotting library, and neither is needed to print the usage line.
    """
    # The network's threads sleep, not spin, while they wait for each other. On cores that are
    # shared with anything else, spinning was measured to make the network ten times slower.
    # OpenMP reads this when torch is loaded.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    if arguments == ["train"]:
        from training.algorithm import train  # noqa: PLC0415

        return train.main()
    if arguments == ["serve"]:
        from training.algorithm import serve  # noqa: PLC0415

        return serve.main()
    if len(arguments) == 2 and arguments[0] == "ct-weights":
        from training.algorithm import ct_weights  # noqa: PLC0415

        return ct_weights.main(arguments[1])
    sys.stderr.write(USAGE + "\n")
    return 64


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

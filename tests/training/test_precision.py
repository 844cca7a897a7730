"""In which numbers an exported network is served: the rule and its edges."""

import pytest

from training.algorithm.precision import Choice, Measured, choose, is_exact_enough, to_run

REFERENCE = Measured(0.9, 0.95, 2.0)
VNNI, BF16_FLAGS = {"avx512_vnni"}, {"avx512_bf16"}


@pytest.mark.parametrize(
    ("accuracy", "auc", "enough"),
    [
        (0.9, 0.95, True),
        (1.0, 1.0, True),
        (0.897, 0.947, True),
        (0.8969, 0.95, False),
        (0.9, 0.9469, False),
        (0.9, None, False),
        (0.9, float("nan"), False),
        (float("nan"), 0.95, False),
    ],
)
def test_what_loses_more_than_three_tenths_of_a_point_is_not_exact_enough(
    accuracy: float, auc: float | None, enough: bool
) -> None:
    assert is_exact_enough(Measured(accuracy, auc, 9.0), REFERENCE) is enough


def test_where_no_area_is_defined_accuracy_alone_counts() -> None:
    assert is_exact_enough(Measured(0.9, None, 9.0), Measured(0.9, None, 2.0))
    assert not is_exact_enough(Measured(0.8, None, 9.0), Measured(0.9, None, 2.0))


def measured(**speeds: float) -> dict[str, Measured]:
    return {name: Measured(0.9, 0.95, speed) for name, speed in speeds.items()}


@pytest.mark.parametrize(
    ("given", "chosen"),
    [
        (measured(fp32=2.0), "fp32"),
        (measured(fp32=2.0, bf16=4.0), "bf16"),
        (measured(fp32=2.0, bf16=4.0, int8=9.0), "int8"),
        (measured(fp32=2.0, int8=9.0), "int8"),
        # Without instructions for it, whole numbers may be slower.
        (measured(fp32=2.0, bf16=4.0, int8=3.0), "bf16"),
        (measured(fp32=2.0, int8=1.0), "fp32"),
        # As fast, or hardly faster: what is more exact.
        (measured(fp32=2.0, bf16=2.0, int8=2.0), "fp32"),
        (measured(fp32=2.0, bf16=2.09), "fp32"),
        (measured(fp32=2.0, bf16=2.1), "bf16"),
        (measured(fp32=2.0, bf16=4.0, int8=4.1), "bf16"),
        (measured(fp32=2.0) | {"int8": Measured(0.89, 0.95, 9.0)}, "fp32"),
        (measured(fp32=2.0, bf16=4.0) | {"int8": Measured(0.9, 0.94, 9.0)}, "bf16"),
        (measured(fp32=2.0, int8=9.0) | {"bf16": Measured(0.8, 0.9, 4.0)}, "int8"),
    ],
)
def test_the_fastest_that_is_exact_enough_is_chosen(
    given: dict[str, Measured], chosen: str
) -> None:
    assert choose(given).precision == chosen


def test_the_reason_names_what_lost_too_much() -> None:
    found = choose(measured(fp32=2.0, bf16=4.0) | {"int8": Measured(0.5, 0.5, 9.0)})
    assert found == Choice(
        "bf16", ("fp32", "bf16"), "the fastest of fp32, bf16; int8 lost more than 0.3 points"
    )


def test_what_is_asked_for_is_taken_where_it_can_run() -> None:
    bad = measured(fp32=2.0) | {"int8": Measured(0.5, 0.5, 1.0)}
    assert choose(bad, "int8") == Choice("int8", ("fp32",), "serving_precision=int8")
    assert choose(measured(fp32=2.0, int8=9.0), "fp32").precision == "fp32"
    absent = choose(measured(fp32=2.0, int8=9.0), "bf16")
    assert absent.precision == "int8"
    assert absent.reason.startswith("serving_precision=bf16 is not for this CPU")


@pytest.mark.parametrize(
    ("chosen", "kept", "flags", "run"),
    [
        ("int8", ["fp32", "bf16", "int8"], VNNI | BF16_FLAGS, "int8"),
        ("int8", ["fp32", "bf16", "int8"], {"avx_vnni"}, "int8"),
        ("int8", ["fp32", "bf16", "int8"], {"asimddp"}, "int8"),
        ("int8", ["fp32", "bf16", "int8"], BF16_FLAGS, "bf16"),
        ("int8", ["fp32", "int8"], BF16_FLAGS, "fp32"),
        ("int8", ["fp32", "bf16", "int8"], set(), "fp32"),
        ("int8", [], set(), "fp32"),
        ("bf16", ["fp32", "bf16", "int8"], VNNI, "fp32"),
        ("bf16", ["fp32", "bf16"], BF16_FLAGS, "bf16"),
        ("fp32", ["fp32", "bf16", "int8"], VNNI | BF16_FLAGS, "fp32"),
    ],
)
def test_a_cpu_without_the_instructions_falls_back(
    chosen: str, kept: list[str], flags: set[str], run: str
) -> None:
    assert to_run({"precision": chosen, "kept": kept}, flags) == run

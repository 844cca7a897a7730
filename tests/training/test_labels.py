import json

import pytest

from training.algorithm.labels import BadLabelError, LabelFormat, LabelReader, RawLabel

ONE = LabelReader(3)
HOT = LabelReader(3, multi_label=True)
IDS = LabelReader(3, multi_label=True, label_format=LabelFormat.CLASS_ID)


@pytest.mark.parametrize(("raw", "index"), [(b"0", 0), (b" 2\n", 2), ((1.0,), 1)])
def test_one_class_is_its_index(raw: RawLabel, index: int) -> None:
    assert ONE.read(raw) == index


@pytest.mark.parametrize("raw", [b"", b"3", b"-1", b"1.0", b"covid", b"\xff", (3.0,), (0.5,), ()])
def test_anything_else_is_no_index(raw: RawLabel) -> None:
    with pytest.raises(BadLabelError, match="class index from 0 to 2"):
        ONE.read(raw)


@pytest.mark.parametrize("raw", [b"[1, 0, 1]", (1.0, 0.0)])
def test_several_classes_where_one_is_wanted_name_the_hyperparameter(raw: RawLabel) -> None:
    with pytest.raises(BadLabelError, match="multi_label=1"):
        ONE.read(raw)


@pytest.mark.parametrize(
    ("reader", "raw", "flags"),
    [
        (HOT, b"[1, 0, 1]", [1, 0, 1]),
        (HOT, b"[0, 0, 0]", [0, 0, 0]),
        (HOT, (0.0, 1.0, 0.0), [0, 1, 0]),
        (IDS, b"[0, 2]", [1, 0, 1]),
        (IDS, b"[]", [0, 0, 0]),
        (IDS, (1.0,), [0, 1, 0]),
    ],
)
def test_several_classes_are_ones_and_zeros(
    reader: LabelReader, raw: RawLabel, flags: list[int]
) -> None:
    label = reader.read(raw)
    assert not isinstance(label, int)
    assert label.tolist() == flags


@pytest.mark.parametrize(
    "raw", [b"1", b"[1, 0", b'{"a": 1}', b"\xff\xd8\xff", b"[" * 100_000, b"null"]
)
def test_several_classes_need_an_array(raw: bytes) -> None:
    with pytest.raises(BadLabelError, match=r"a JSON array such as \[1, 0, 1\]"):
        HOT.read(raw)


@pytest.mark.parametrize("values", [[0, 2], [1, 0], [0, 1, 2], [1, 0, 0.5], [1, 0, "1"], []])
def test_what_is_not_multi_hot_names_the_other_format(values: list[object]) -> None:
    with pytest.raises(BadLabelError, match="label-format=class-id in the ContentType"):
        HOT.read(json.dumps(values).encode())


@pytest.mark.parametrize("values", [[1, 0, 1], [3], [-1], [0.5], [True], [None], [[0]]])
def test_what_is_no_list_of_indices_names_the_other_format(values: list[object]) -> None:
    with pytest.raises(BadLabelError, match="label-format=multi-hot in the ContentType"):
        IDS.read(json.dumps(values).encode())


def test_a_long_label_is_cut_in_the_message() -> None:
    with pytest.raises(BadLabelError) as caught:
        ONE.read(b"\x89PNG" * 10_000)
    assert len(str(caught.value)) < 200

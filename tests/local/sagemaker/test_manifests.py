"""Manifests and prefixes become lists of what a job reads."""

import json

import pytest

from local.sagemaker.errors import ClientJobError
from local.sagemaker.manifests import (
    Entry,
    entries_of_prefix,
    in_epoch_order,
    parse_augmented_manifest,
    parse_manifest,
    relative_key,
)
from local.sagemaker.objects import Address
from tomodrop import manifests
from tomodrop.halves import group_code
from tomodrop.scratch import scratch_tables

ATTRIBUTES = ("source-ref", "class")


def test_the_retrain_step_s_manifest_is_read_with_and_without_groups() -> None:
    image = Address("work", "dataset/slices/0a-00000.png")
    with scratch_tables(manifests.SCHEMA) as tables:
        code = group_code("Doe^Jane", "tomodrop")
        tables.execute("INSERT INTO placed VALUES ('train', 7, '0a-00000', 1, ?)", (code,))
        for with_groups in (False, True):
            text = "".join(manifests.manifest(tables, "train", "work", with_groups=with_groups))
            assert parse_augmented_manifest(text, ATTRIBUTES) == [(image, b"1")]
    [(*_, group)] = parse_augmented_manifest(text, (*ATTRIBUTES, manifests.GROUP))
    assert group == code.encode()


def test_a_manifest_appends_its_keys_to_the_prefix() -> None:
    text = json.dumps([{"prefix": "s3://b/in/"}, "a.png", "deep/c d?.png", "a.png"])

    assert parse_manifest(text) == [
        Entry(Address("b", "in/a.png"), "a.png"),
        Entry(Address("b", "in/deep/c d?.png"), "deep/c d?.png"),
    ]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "not JSON"),
        ("null", "must be a JSON array"),
        ("[]", "must be a JSON array"),
        ('["a"]', "must start with"),
        ('[{"Prefix": "s3://b/"}, "a"]', "must start with"),
        ('[{"prefix": ""}, "a"]', "must start with"),
        ('[{"prefix": "https://b/"}, "a"]', "is not an s3:// address"),
        ('[{"prefix": "s3://b/"}]', "names no object"),
        ('[{"prefix": "s3://b/"}, "a", 7]', "entry 3 must be a key after the prefix, not 7"),
        ('[{"prefix": "s3://b/"}, ""]', "entry 2"),
        ('[{"prefix": "s3://b/"}, "../a"]', "cannot be the name of a file"),
    ],
)
def test_what_is_no_manifest_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ClientJobError, match=reason):
        parse_manifest(text)


@pytest.mark.parametrize(
    ("prefix", "key", "relative"),
    [
        ("in/", "in/a.png", "a.png"),
        ("in/", "in/deep/a.png", "deep/a.png"),
        ("in", "in/a.png", "a.png"),
        ("in/te", "in/test/a.png", "test/a.png"),
        ("in/a.png", "in/a.png", "a.png"),
        ("", "in/a.png", "in/a.png"),
    ],
)
def test_the_name_below_a_prefix(prefix: str, key: str, relative: str) -> None:
    assert relative_key(prefix, key) == relative


def test_an_empty_prefix_is_refused() -> None:
    with pytest.raises(ClientJobError, match="No S3 objects found under S3 URL 's3://b/in/'"):
        entries_of_prefix(Address("b", "in/"), [])


def test_an_augmented_manifest_streams_its_attributes_in_the_order_asked_for() -> None:
    text = (
        '{"class": "0", "source-ref": "s3://b/a.png", "class-metadata": {"job": "x"}}\n'
        '\n{"source-ref": "s3://b/b.png", "class": 1}\n'
    )

    assert parse_augmented_manifest(text, ATTRIBUTES) == [
        (Address("b", "a.png"), b"0"),
        (Address("b", "b.png"), b"1"),
    ]
    assert parse_augmented_manifest(text, ("class",)) == [(b"0",), (b"1",)]


@pytest.mark.parametrize(
    ("value", "streamed"),
    [
        ('"covid"', b"covid"),
        ("1", b"1"),
        ("1.5", b"1.5"),
        ("true", b"true"),
        ("[1, 0]", b"[1, 0]"),
        ('"[1, 0, 1]"', b"[1, 0, 1]"),
        ('"\u2028"', "\u2028".encode()),
        ('"日本"', "日本".encode()),
    ],
)
def test_other_values_are_streamed_in_string_form(value: str, streamed: bytes) -> None:
    assert parse_augmented_manifest(f'{{"class": {value}}}', ("class",)) == [(streamed,)]


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "has no line"),
        ("\n \n", "has no line"),
        ('{"class": "0"', "line 1 is not JSON"),
        ('{"source-ref": "s3://b/a", "class": "0"}\n[]', "line 2 is not a JSON object"),
        ("{}", "line 1 lacks source-ref, class of AttributeNames; it has nothing"),
        ('{"source-ref": "s3://b/a", "Class": "0"}', "lacks class .* it has source-ref, Class"),
        ('{"source-ref": 5, "class": "0"}', "source-ref must be an s3:// address, not 5"),
        ('{"source-ref": "b/a", "class": "0"}', "source-ref must be an s3:// address"),
    ],
)
def test_what_is_no_augmented_manifest_is_refused(text: str, reason: str) -> None:
    with pytest.raises(ClientJobError, match=reason):
        parse_augmented_manifest(text, ATTRIBUTES)


def test_without_a_seed_every_epoch_has_the_files_order() -> None:
    assert in_epoch_order([1, 2, 3], None, 4) == [1, 2, 3]


def test_the_seed_fixes_the_order_of_every_epoch() -> None:
    items = list(range(50))
    orders = [in_epoch_order(items, 7, epoch) for epoch in range(3)]

    assert orders == [in_epoch_order(items, 7, epoch) for epoch in range(3)]
    assert all(sorted(order) == items for order in orders)
    assert len({tuple(order) for order in [*orders, in_epoch_order(items, 8, 0)]}) == 4


@pytest.mark.parametrize("uri", ["bucket/key", "https://bucket/key", "s3://", "s3:///key"])
def test_what_is_no_address_is_refused(uri: str) -> None:
    with pytest.raises(ClientJobError, match="is not an s3:// address"):
        Address.parse(uri)


@pytest.mark.parametrize("key", ["a", "a b/c+d", "a?b#c", "日本.png", ""])
def test_an_address_keeps_its_key_as_it_is(key: str) -> None:
    assert Address.parse(f"s3://bucket/{key}") == Address("bucket", key)

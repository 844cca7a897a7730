"""S3's messages have today's shape, and sequencers only grow."""

from pathlib import Path
from urllib.parse import unquote_plus

from local.s3_events import ObjectChange, Sequencer, notification
from local.state import StateStore, StoredVersion

CHANGE = ObjectChange(
    event_name="s3:ObjectCreated:Put",
    event_time="2026-11-24T16:00:00.000Z",
    region="us-east-1",
    account="123456789012",
    bucket="uploads",
    configuration_id="incoming",
    key="incoming/a b+c/肺.png",
    version_id="v1",
    etag="d41d8cd98f00b204e9800998ecf8427e",
    size=12,
    sequencer="0055AED6DCD90281E5",
)


def test_the_record_is_s3s() -> None:
    [record] = notification(CHANGE)["Records"]
    assert record["eventSource"] == "aws:s3"
    assert record["eventName"] == "ObjectCreated:Put"
    assert record["eventVersion"].split(".")[0] == "2"
    assert int(record["eventVersion"].split(".")[1]) >= 5
    assert record["s3"]["bucket"]["arn"] == "arn:aws:s3:::uploads"
    assert record["s3"]["object"] == {
        "key": "incoming/a+b%2Bc/%E8%82%BA.png",
        "size": 12,
        "eTag": "d41d8cd98f00b204e9800998ecf8427e",
        "versionId": "v1",
        "sequencer": "0055AED6DCD90281E5",
    }
    assert unquote_plus(record["s3"]["object"]["key"]) == CHANGE.key


def test_an_unversioned_bucket_names_no_version() -> None:
    change = ObjectChange(**{**vars(CHANGE), "version_id": None})
    [record] = notification(change)["Records"]
    assert "versionId" not in record["s3"]["object"]


def test_sequencers_grow_and_are_equally_long() -> None:
    sequencer = Sequencer()
    drawn = [sequencer.next() for _ in range(100)]
    assert drawn == sorted(set(drawn))
    assert {len(number) for number in drawn} == {18}


def test_sequencers_grow_even_when_the_clock_was_set_back() -> None:
    before = Sequencer(now=lambda: 2_000_000_000.0).next()
    after = Sequencer(after=before, now=lambda: 1_000_000_000.0).next()
    assert after > before


def test_sequencers_go_on_after_those_of_stored_versions(tmp_path: Path) -> None:
    store = StateStore(tmp_path)
    assert store.newest_change() == ""
    body_id, _ = store.new_body()
    later = {"last_modified": "2099-01-01T00:00:00.500000"}
    store.replace_versions("b", "k", [StoredVersion(body_id, "b", "k", later)])
    assert Sequencer(after=store.newest_change()).next() > f"{4_070_908_800_500_000:018X}"
    store.close()

"""People and assets from CSV: all or nothing, and every mistake with its line and a remedy."""

import hashlib
import hmac
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import select

from schoolkeeper_agent.people import user_of
from schoolkeeper_collector.console import registers
from schoolkeeper_collector.console.commands import pseudonym_of
from schoolkeeper_collector.console.registers import (
    Person,
    PersonKind,
    RegisterError,
    read_assets,
    read_people,
)
from schoolkeeper_collector.store import tables
from schoolkeeper_collector.store.database import Store
from schoolkeeper_proto.policy import CollectionSection
from support.console import SCHOOL

KEY = bytes(range(32))


def pseudonym(account: str) -> bytes:
    return pseudonym_of(KEY, account)


def people(text: str) -> list[Person]:
    return read_people(text.encode(), "people.csv")


def mistakes(text: str, read: object = read_people) -> list[str]:
    with pytest.raises(RegisterError) as caught:
        read(text.encode(), "file.csv")  # type: ignore[operator]
    return caught.value.mistakes


def test_a_register_is_read_with_columns_in_any_order_and_a_byte_order_mark() -> None:
    found = people(
        '\ufeffKind,display_name,account_name\r\npupil,"P., Rowan",rowan\r\n\r\nShared,Year 1,year1\r\n'
    )
    assert found == [
        Person(account_name="rowan", kind=PersonKind.PUPIL, display_name="P., Rowan"),
        Person(account_name="year1", kind=PersonKind.SHARED, display_name="Year 1"),
    ]


def test_every_mistake_is_named_with_line_and_remedy() -> None:
    text = "account_name,kind,display_name\n,pupil,A\nrowan,child,B\nrowan,pupil,\n"
    assert mistakes(text) == [
        "file.csv:2: account_name is empty; write the name that the person signs in with",
        "file.csv:3: kind 'child' is none of pupil, staff, guest, shared; correct it",
        "file.csv:4: 'rowan' stands in line 3 already; remove one",
        "file.csv:4: display_name is empty; write what to call the person on a page",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "file.csv: empty; the first line names the columns: account_name,kind,display_name"),
        ("account_name,kind\nx,pupil\n", "file.csv:1: the column display_name is missing; add it"),
        ("account_name,kind,display_name,age\n", "file.csv:1: there is no column 'age'"),
        ("account_name,kind,kind,display_name\n", "file.csv:1: kind stands twice; remove one"),
        ("account_name,kind,display_name\n", "no row after the first line"),
        (
            "account_name,kind,display_name\nx,pupil,Doe, Jo\n",
            "file.csv:2: 4 fields, the first line has 3; a comma",
        ),
        ('account_name,kind,display_name\nx,pupil,"Doe\n', "check the quotation marks"),
    ],
)
def test_a_file_of_the_wrong_shape_says_what_is_wrong(text: str, message: str) -> None:
    assert message in "\n".join(mistakes(text))


def test_another_encoding_is_named_with_its_line() -> None:
    with pytest.raises(RegisterError, match=r"people\.csv:3: not UTF-8"):
        read_people(
            "account_name,kind,display_name\nx,pupil,A\ny,pupil,Zoë\n".encode("latin-1"), "people.csv"
        )


def test_assets_need_a_tag_and_a_serial_number_of_their_own() -> None:
    text = "asset_tag,serial,description\nW1,S1,a\nW1,S2,b\nW3,s1,c\n,S4,d\n"
    assert mistakes(text, read_assets) == [
        "file.csv:3: asset_tag 'W1' stands in line 2 already; remove one",
        "file.csv:4: serial 's1' stands in line 2 already; remove one",
        "file.csv:5: asset_tag is empty; it stands on the device, or remove the line",
    ]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    for read in (read_people, read_assets):
        try:
            read(data, "file.csv")  # type: ignore[operator]
        except RegisterError as error:
            found = [line for line in error.mistakes if not line.startswith("file.csv")]
        else:
            found = []
        assert found == []


def test_importing_again_changes_what_changed_and_forgets_nobody(store: Store) -> None:
    def take(text: str, now_ms: int) -> registers.Taken:
        with store.write() as connection:
            return registers.store_people(
                connection, SCHOOL, people(text), pseudonym_of=pseudonym, now_ms=now_ms
            )

    head = "account_name,kind,display_name\n"
    first = take(head + "rowan,pupil,Rowan\nkit,pupil,Kit\n", 1)
    assert (first.added, first.changed, first.gone) == (2, 0, 0)
    second = take(head + "rowan,pupil,Rowan P.\nlee,staff,Lee\n", 2)
    assert (second.added, second.changed, second.gone) == (1, 1, 1)
    third = take(head + "kit,pupil,Kit\nrowan,pupil,Rowan P.\nlee,staff,Lee\n", 3)
    assert (third.added, third.changed, third.gone) == (0, 1, 0), "Kit came back"
    with store.read() as connection:
        rows = {row.account_name: row for row in connection.execute(select(tables.people))}
    assert rows["kit"].left_ms is None
    assert rows["rowan"].pseudonym == hmac.new(KEY, b"rowan", hashlib.sha256).digest()[:16]


def test_devices_and_register_give_one_account_the_same_pseudonym() -> None:
    told = user_of("rowan", 1001, CollectionSection(pseudonym_key=KEY))
    assert told.pseudonym == pseudonym("rowan")


def test_the_asset_register_becomes_equal_to_the_file(store: Store, tmp_path: Path) -> None:
    def take(text: str) -> registers.Taken:
        with store.write() as connection:
            return registers.store_assets(connection, SCHOOL, read_assets(text.encode(), "a.csv"), now_ms=1)

    take("asset_tag,serial\nW1,S1\nW2,S2\n")
    taken = take("asset_tag,serial,platform\nW1,S1,linux\nW3,S3,\n")
    assert (taken.added, taken.changed, taken.gone) == (1, 1, 1)
    with store.read() as connection:
        tags = [row.asset_tag for row in connection.execute(select(tables.assets))]
    assert sorted(tags) == ["W1", "W3"]

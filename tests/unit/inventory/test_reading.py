"""Exports of device managements: taken whole or not at all, and never more sure than their source."""

from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest

from schoolkeeper_collector.devices.inventory import DAY_MS, InventoryError, Told
from schoolkeeper_collector.devices.inventory_columns import Format, format_of
from schoolkeeper_collector.devices.inventory_reading import Read, day_ms, read_inventory

LONDON = ZoneInfo("Europe/London")
NOW = int(datetime(2026, 11, 22, 18, 0, tzinfo=UTC).timestamp() * 1000)

INTUNE = """\
"Device ID","Device name","Enrollment date","Last check-in","OS version","Serial number","Phone number","Compliance",\
"Encrypted","OS","Primary user display name"
"a1","DESK-1","2026-01-10 08:00:00.0000000","2026-11-21 14:04:13.1234567","10.0.22631.1","PF1","0123","Compliant",\
"True","Windows","A. Pupil"
"a2","iPad 7","2026-01-10 08:00:00.0000000","0001-01-01 00:00:00.0000000","17.2","DMP2","","Not evaluated","False",\
"iOS","B. Pupil"
"""
JAMF = """\
Computer Name,JSS Computer ID,Serial Number,Operating System Version,Last Check-in,FileVault 2 Status
mac-1,1,C02,15.4,2026-07-01 10:00:00,Some Partitions Encrypted
mac-2,2,C03,15.4,2026-11-22 10:00:00,Mostly Harmless
"""
GOOGLE = """\
deviceId,serialNumber,status,lastSync,annotatedUser,osVersion
x1,5CD1,ACTIVE,2026-11-22T09:00:00.000Z,c.pupil@school.example,130.0
x2,5CD2,ACTIVE,"Nov 20, 2026, 9:15 AM",d.pupil@school.example,129.0
"""


def read(text: str, kind: Format) -> Read:
    return read_inventory(text.encode(), "devices.csv", kind, told_ms=NOW, zone=LONDON)


def at(*parts: int) -> int:
    return int(datetime(*parts, tzinfo=UTC).timestamp() * 1000)  # type: ignore[misc, arg-type]


def test_intune_tells_what_it_tells_and_no_more() -> None:
    found = read(INTUNE, Format.INTUNE)
    desk, pad = found.devices
    assert (desk.key, desk.serial, desk.name, desk.operating_system) == (
        "a1",
        "PF1",
        "DESK-1",
        "Windows 10.0.22631.1",
    )
    assert (desk.encryption, desk.compliance) == (Told.YES, "Compliant")
    assert desk.last_sync_ms is not None
    assert desk.last_sync_ms // 1000 == at(2026, 11, 21, 14, 4, 13) // 1000
    assert (pad.encryption, pad.last_sync_ms) == (Told.NO, None), "the year 1 is never, and not long ago"
    assert found.left == 3
    assert "Pupil" not in repr(found)


def test_times_without_a_zone_are_the_schools_and_odd_words_are_unknown() -> None:
    found = read(JAMF, Format.JAMF)
    first, second = found.devices
    assert first.last_sync_ms == at(2026, 7, 1, 9), "summer time"
    assert first.encryption is Told.NO, "some is not all"
    assert second.encryption is Told.UNKNOWN
    assert found.odd_words == ("Mostly Harmless",)
    assert found.without == ("system", "compliance")


def test_chromeos_says_nothing_of_encryption() -> None:
    found = read(GOOGLE, Format.GOOGLE)
    assert [device.operating_system for device in found.devices] == ["ChromeOS 130.0", "ChromeOS 129.0"]
    assert [device.last_sync_ms for device in found.devices] == [at(2026, 11, 22, 9), at(2026, 11, 20, 9, 15)]
    assert {device.encryption for device in found.devices} == {Told.UNKNOWN}
    assert "encryption" in found.without


def test_semicolons_and_a_byte_order_mark_as_spreadsheets_write_them() -> None:
    found = read("\ufeffserial;name;encryption\nS1;one, two;yes\n", Format.GENERIC)
    assert (found.devices[0].name, found.devices[0].encryption) == ("one, two", Told.YES)


@pytest.mark.parametrize("nothing", ["", "0", "System Serial Number", "To Be Filled By O.E.M.", "N/A"])
def test_what_firmware_writes_for_no_serial_number_is_none(nothing: str) -> None:
    found = read(f"id,serial\n1,{nothing}\n2,{nothing}\n", Format.GENERIC)
    assert [device.serial for device in found.devices] == ["", ""]


def test_a_device_that_was_enrolled_again_counts_once_and_the_other_is_counted() -> None:
    found = read("id,serial,last_sync\n1,S1,2026-11-01\n2,s1,2026-11-20\n3,S2,\n", Format.GENERIC)
    assert [(device.key, found.older) for device in found.devices] == [("2", 1), ("3", 1)]
    with pytest.raises(InventoryError, match=r"devices\.csv, line 3: .*'s1' stands in line 2"):
        read("id,serial\n1,S1\n2,s1\n", Format.GENERIC)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "empty"),
        ("serial\n", "no device after the first line"),
        ("name\nx\n", "line 1: there is no column 'serial'"),
        ("serial,serial\na,b\n", "line 1: the column 'serial' stands twice"),
        ("serial,name\nS1\n", "line 2: 1 fields, the first line has 2"),
        ("serial,name\n,x\n", "line 2: no serial number and no id"),
        ("id,serial\n1,a\n1,b\n", "line 3: '1' stands in line 2 already"),
        ("serial,last_sync\nS1,03/04/2026\n", "line 2: the last contact '03/04/2026' is no time like"),
        ("serial,last_sync\nS1,2027-01-01\n", "line 2: the last contact '2027-01-01' lies after the export"),
        ("serial,name\nS1,a\u202eb\n", "line 2: the name is longer"),
        (f"serial,name\nS1,{'x' * 300}\n", "line 2: the name is longer"),
        ('serial\n"S1\n', "line 2: unexpected end of data"),
    ],
)
def test_each_mistake_names_its_line_and_nothing_is_taken(text: str, said: str) -> None:
    with pytest.raises(InventoryError) as caught:
        read(text, Format.GENERIC)
    assert said in caught.value.mistakes[0]
    assert caught.value.mistakes[0].startswith("devices.csv")


def test_every_mistake_is_named_and_a_line_counts_from_where_it_begins() -> None:
    with pytest.raises(InventoryError) as caught:
        read('serial,name,note\nS1,a,"x\ny"\n,b,\nS2,c,,\n', Format.GENERIC)
    assert [mistake.split(":")[0] for mistake in caught.value.mistakes] == [
        "devices.csv, line 4",
        "devices.csv, line 5",
    ]


def test_not_utf_8_names_the_line() -> None:
    with pytest.raises(InventoryError, match=r"line 2: not UTF-8"):
        read_inventory(b"serial,name\nS1,\xe9\n", "devices.csv", Format.GENERIC, told_ms=NOW, zone=LONDON)


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("Intune", Format.INTUNE),
        ("jamf pro", Format.JAMF),
        ("Google Admin", Format.GOOGLE),
        ("GLPI", Format.GENERIC),
    ],
)
def test_a_name_suggests_the_format(name: str, kind: Format) -> None:
    assert format_of(name) is kind


def test_the_day_of_the_export() -> None:
    assert day_ms("", NOW, LONDON) == NOW
    assert day_ms("2026-11-22", NOW, LONDON) == NOW, "never later than now"
    assert NOW - 2 * DAY_MS < day_ms("2026-11-21", NOW, LONDON) < NOW
    for wrong in ("2026-11-23", "22/11/2026"):
        with pytest.raises(InventoryError, match="the day of the export"):
            day_ms(wrong, NOW, LONDON)

"""The register of people: three kinds of export, each mistake with its line, and nothing used of a broken one."""

from __future__ import annotations

from datetime import date
from pathlib import Path

import pytest

from schoolkeeper_policies import model
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.registers import Register, parse_register, read_register

MIS = """\
UPN,Surname,Forename,Year Group,Reg Form,Username,Person Type,Date of Admission,Date of Leaving
A1,Evans,Ann,Year 4,4B,a.evans,Pupil,01/09/2022,
A2,Khan,Bilal,Reception,RC,b.khan,Pupil,01/09/2026,
A3,Jones,Cai,Year 11,11X,c.jones,Pupil,01/09/2019,17/07/2026
S1,Price,Dee,,,d.price,Teacher,2015-09-01,
G1,Shaw,Eve,,,e.shaw,Supply,2026-11-01,2026-12-01
"""
ENTRA = """\
userPrincipalName,displayName,surname,givenName,objectId,userType,jobTitle,department,accountEnabled,officeLocation
a.evans@westgate.example,Ann Evans,Evans,Ann,11-1,Member,Student,Year 4,True,4B
d.price@westgate.example,Dee Price,Price,Dee,11-2,Member,Teacher,Science,True,
gone@westgate.example,Gone,G,G,11-3,Member,Student,Year 6,False,6A
out_partner#EXT#@westgate.example,Partner,P,P,11-4,Guest,,,True,
"""
GOOGLE = """\
First Name [Required],Last Name [Required],Email Address [Required],Org Unit Path [Required],Employee ID,\
Status [READ ONLY]
Ann,Evans,a.evans@westgate.example,/Pupils/KS2/Year 4,A1,Active
Dee,Price,d.price@westgate.example,/Staff/Teaching,S1,Active
Old,Staff,o.staff@westgate.example,/Staff,S2,Suspended
"""


def read(text: str, **settings: object) -> Register:
    return parse_register(text, model.Register.model_validate({"file": "r.csv", **settings}), file="r.csv")


def mistakes(text: str, **settings: object) -> list[str]:
    with pytest.raises(PolicyError) as caught:
        read(text, **settings)
    return [str(problem) for problem in caught.value.problems]


def test_an_export_of_a_management_system_with_joiners_and_leavers() -> None:
    register = read(MIS)
    assert register.format == "mis"
    ann, bilal, cai, dee, eve = register.persons
    assert (ann.id, ann.account, ann.kind, ann.key_stage, ann.class_) == (
        "A1", "a.evans", "pupils", model.KeyStage.KS2, "4B",
    )  # fmt: skip
    assert (bilal.key_stage, cai.key_stage) == (model.KeyStage.EYFS, model.KeyStage.KS3_UP)
    assert (dee.kind, dee.key_stage, eve.kind) == ("staff", None, "guests")
    today = date(2026, 11, 23)
    assert [person.account for person in register.persons if person.here_on(today)] == [
        "a.evans", "b.khan", "d.price", "e.shaw",
    ]  # fmt: skip
    assert not bilal.here_on(date(2026, 8, 31))
    assert cai.here_on(date(2026, 7, 17))


def test_an_export_of_entra() -> None:
    register = read(ENTRA)
    assert register.format == "entra"
    assert [(one.account, one.kind) for one in register.persons] == [
        ("a.evans", "pupils"), ("d.price", "staff"), ("gone", "pupils"), ("out_partner#EXT#", "guests"),
    ]  # fmt: skip
    assert not register.persons[2].here_on(date(2026, 11, 23))


def test_an_export_of_google_workspace() -> None:
    register = read(GOOGLE)
    assert register.format == "google"
    ann, dee, old = register.persons
    assert (ann.kind, ann.key_stage, dee.kind) == ("pupils", model.KeyStage.KS2, "staff")
    assert not old.here_on(date(2026, 11, 23))


def test_a_column_that_is_not_recognised_can_be_named() -> None:
    text = "Wer;Konto;Art;Stufe\nx;anna;Pupil;3\n"
    assert "no column of Wer, Konto, Art, Stufe is known to hold the account" in mistakes(text)[0]
    columns = {"account": "Konto", "kind": "Art", "year": "Stufe"}
    assert read(text, columns=columns).persons[0].key_stage is model.KeyStage.KS2
    (line,) = mistakes(text, columns={**columns, "year": "Stuffe"})
    assert line == "r.csv:1:1: there is no column 'Stuffe'; did you mean 'Stufe'?"


def test_the_whole_address_can_be_the_account() -> None:
    assert read(ENTRA, local_part=False).persons[0].account == "a.evans@westgate.example"


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("A9,X,Y,Year 4,4B,a.evans,Pupil,,", "r.csv:7:1: the account 'a.evans' is already in line 2"),
        ("A1,X,Y,Year 4,4B,new,Pupil,,", "the id 'A1' is already in line 2"),
        ("A9,X,Y,Year 4,4B,,Pupil,,", "'' is no account; fill it in"),
        ("A9,X,Y,Year 4,4B,a b,Pupil,,", "'a b' is no account"),
        ("A9,X,Y,Year 99,4B,new,Pupil,,", "'Year 99' is no year of a pupil"),
        ("A9,X,Y,,,new,Wizard,,", "'Wizard' does not say: pupil, staff or guest?"),
        ("A9,X,Y,Year 4,4B,new,Pupil,2026/09/01,", "'2026/09/01' is no date; write it as 2026-09-01 or 01/09/2026"),
        ("A9,X,Y,Year 4,4B,new,Pupil,01/09/2026,01/09/2025", "left on 2025-09-01, before the joining on 2026-09-01"),
        ("A9,X,Y,Year 4", "4 columns where the heading has 9"),
        ('A9,"X', "no CSV"),
    ],
)  # fmt: skip
def test_a_bad_row_is_named_by_its_line(row: str, said: str) -> None:
    found = mistakes(MIS + row + "\n")
    assert len(found) == 1
    assert said in found[0]
    assert found[0].startswith("r.csv:7") or "no CSV" in said


def test_every_bad_row_is_said_at_once() -> None:
    assert len(mistakes(MIS + "B1,X,Y,Year 99,4B,n1,Pupil,,\nB2,X,Y,Year 4,4B,,Pupil,,\nB3,X\n")) == 3


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (b"\xff\xfeU", "not UTF-8"),
        (b"", "an empty file is known to hold the account"),
        (None, "cannot be read"),
    ],
)
def test_what_is_no_register(tmp_path: Path, data: bytes | None, said: str) -> None:
    path = tmp_path / "r.csv"
    if data is not None:
        path.write_bytes(data)
    with pytest.raises(PolicyError, match=said):
        read_register(path, model.Register(file="r.csv"))


def test_a_byte_order_mark_is_no_part_of_the_first_column(tmp_path: Path) -> None:
    path = tmp_path / "r.csv"
    path.write_bytes(b"\xef\xbb\xbf" + MIS.encode())
    assert read_register(path, model.Register(file="r.csv")).persons[0].id == "A1"

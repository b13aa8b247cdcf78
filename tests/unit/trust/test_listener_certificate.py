"""A listener's certificate is handed to gRPC again only when it changed (see ListenerCertificate for why)."""

from pathlib import Path

import pytest

from schoolkeeper_collector.devices.listeners import ListenerCertificate
from support.school import School


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return School(tmp_path / "school").folder / "keys" / "tls"


def test_an_unchanged_certificate_is_not_handed_over_again(folder: Path) -> None:
    certificate = ListenerCertificate(folder, "enrol", None)
    assert certificate.first() is not None
    assert [certificate.changed() for _ in range(3)] == [None, None, None]


def test_a_changed_one_is_handed_over_once(folder: Path) -> None:
    certificate = ListenerCertificate(folder, "enrol", None)
    for suffix in ("key", "pem"):
        (folder / f"enrol.{suffix}").write_bytes((folder / f"uplink.{suffix}").read_bytes())
    assert certificate.changed() is not None
    assert certificate.changed() is None


def test_while_it_cannot_be_read_the_last_one_stays(folder: Path) -> None:
    certificate = ListenerCertificate(folder, "enrol", None)
    (folder / "enrol.pem").rename(folder / "away.pem")
    assert certificate.changed() is None
    (folder / "away.pem").rename(folder / "enrol.pem")
    assert certificate.changed() is None

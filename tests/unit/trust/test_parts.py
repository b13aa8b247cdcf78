"""Small parts of the agent's side: addresses, proxies, preseeded files, identity on disk."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from schoolkeeper_agent import identity
from schoolkeeper_agent.enrol_unattended import PreseedError, read_preseed
from schoolkeeper_agent.net import AddressError, Proxy, parse_proxy, split_address
from schoolkeeper_proto.private_files import readable_by_others


def test_addresses_are_host_and_port() -> None:
    assert split_address("c.example:7443") == ("c.example", 7443)
    assert split_address("[2001:db8::1]:7443") == ("2001:db8::1", 7443)
    for wrong in ("c.example", ":7443", "c.example:", "c.example:70000", "2001:db8::1:7443", "c:0", "c:x"):
        with pytest.raises(AddressError):
            split_address(wrong)


def test_a_proxy_may_have_a_sign_in_that_is_not_shown() -> None:
    assert parse_proxy("") is None
    assert parse_proxy("proxy.example:3128") == Proxy(host="proxy.example", port=3128)
    found = parse_proxy("http://lap%3Atop:s%40fe@proxy.example:3128")
    assert found == Proxy(host="proxy.example", port=3128, user="lap:top", password="s@fe")
    assert "s@fe" not in repr(found)
    for wrong in ("https://p:1", "http://p", "socks5://p:1080", "http://u:secret@p:x"):
        with pytest.raises(AddressError) as caught:
            parse_proxy(wrong)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("addresses = [", "cannot be read"),
        ('address = "c:1"\ntoken = "t"\ngroup = "x"', "unknown key 'group'"),
        ('token = "t"', "addresses must be"),
        ('addresses = "c:1"\ntoken = "t"', "addresses must be"),
        ('address = "c:1"', "token is missing"),
        ('address = "c:1"\ntoken = "t"\nproxy = "ftp://x"', "proxy"),
    ],
)
def test_a_preseeded_file_is_refused_with_its_place(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "enrol.toml"
    path.write_text(text)
    with pytest.raises(PreseedError, match=words) as caught:
        read_preseed(path)
    assert str(path) in str(caught.value)


def test_a_preseeded_file_hides_its_token(tmp_path: Path) -> None:
    path = tmp_path / "enrol.toml"
    assert read_preseed(path) is None
    path.write_text('address = "c.example:7443"\ntoken = "sk1-secret"\n')
    found = read_preseed(path)
    assert found is not None
    assert found.addresses == ("c.example:7443",)
    assert "secret" not in repr(found)


def test_a_key_that_others_can_read_is_hidden_and_said(tmp_path: Path) -> None:
    path = tmp_path / "identity" / "device.key"
    assert identity.hide_key(tmp_path) == "", "before enrolment there is none"
    identity.write_private(path, identity.new_key().pem())
    assert identity.hide_key(tmp_path) == ""
    path.chmod(0o640)
    assert identity.exposed_key(tmp_path) == path
    said = identity.hide_key(tmp_path)
    assert f"{path} could be read by other accounts of this device (mode 640)" in said
    assert "enrol it again" in said
    assert (path.stat().st_mode & 0o777, identity.exposed_key(tmp_path)) == (0o600, None)
    assert identity.load_key(path).storage == "file"


def test_a_key_that_cannot_be_hidden_is_said_with_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "identity" / "device.key"
    identity.write_private(path, identity.new_key().pem())
    path.chmod(0o644)

    def refused(*_: object) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "chmod", refused)
    said = identity.hide_key(tmp_path)
    assert f"cannot be changed (Operation not permitted): run `chmod 600 {path}`" in said


def test_what_an_owner_shares_with_a_group_is_theirs_to_decide(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "ca.key"
    path.touch()
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    for mode, seen in ((0o600, False), (0o640, False), (0o644, True)):
        path.chmod(mode)
        assert readable_by_others(path) is seen
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid)
    path.chmod(0o640)
    assert readable_by_others(path), "of one's own files, none"


def test_a_damaged_identity_says_so_and_none_is_none(tmp_path: Path) -> None:
    assert identity.load_identity(tmp_path) is None
    identity.write_private(tmp_path / "identity" / "identity.json", b"{")
    with pytest.raises(identity.IdentityError, match="enrol this device again"):
        identity.load_identity(tmp_path)

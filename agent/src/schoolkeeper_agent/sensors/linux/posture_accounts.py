"""Who may sign in and administer, and with what password, from the system's own files. Pure (T-43, W-72).

Counts and names of programs, never names of people: the evidence of a check goes to the technician's list.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from schoolkeeper_agent.sensors.linux.posture_parsers import Finding, unknown
from schoolkeeper_proto.model import PostureResult
from schoolkeeper_proto.posture import THRESHOLDS, Check

_ADMINISTRATING = frozenset({"sudo", "admin", "wheel"})
_NO_LOGIN = ("/nologin", "/false", "/sync", "/halt", "/shutdown")
_NOT_A_USER = ("Defaults", "User_Alias", "Runas_Alias", "Host_Alias", "Cmnd_Alias", "Cmd_Alias", "#", "@")
_SWITCHED_ON = frozenset({"true", "1", "yes", "on"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    name: str
    uid: int
    shell: str

    @property
    def signs_in(self) -> bool:
        return not self.shell.endswith(_NO_LOGIN)


def accounts(passwd: str) -> tuple[Account, ...]:
    """The lines of passwd(5) that are whole."""
    found = []
    for line in passwd.splitlines():
        fields = line.split(":")
        if len(fields) == 7 and fields[2].isdigit():
            # An empty shell is /bin/sh.
            found.append(Account(name=fields[0], uid=int(fields[2]), shell=fields[6] or "/bin/sh"))
    return tuple(found)


def members(group: str) -> Mapping[str, frozenset[str]]:
    """The members that group(5) lists, by group."""
    found: dict[str, frozenset[str]] = {}
    for line in group.splitlines():
        fields = line.split(":")
        if len(fields) == 4:
            found[fields[0]] = frozenset(filter(None, fields[3].split(",")))
    return found


def sudoers(texts: Iterable[str]) -> tuple[frozenset[str], frozenset[str]]:
    """The users and the groups that lines of sudoers(5) name; 'ALL' as a user is everybody."""
    users: set[str] = set()
    groups: set[str] = set()
    for text in texts:
        for line in text.replace("\\\n", " ").splitlines():
            said = line.strip()
            if "=" not in said or said.startswith(_NOT_A_USER):
                continue
            for one in said.split()[0].split(","):
                if one.startswith("%"):
                    groups.add(one.lstrip("%"))
                elif one:
                    users.add(one)
    return frozenset(users), frozenset(groups)


def administrators(passwd: str, group: str, sudo: Iterable[str], *, allowed: int) -> Finding:
    """At most ``allowed`` accounts (0: the check's default), root aside, may become root."""
    most = allowed or THRESHOLDS[Check.ADMINISTRATORS].default
    known = accounts(passwd)
    users, groups = sudoers(sudo)
    if "ALL" in users:
        return Finding(result=PostureResult.FAIL, evidence="every account may administer (sudoers names ALL)")
    grouped = members(group)
    named = users.union(*(grouped.get(one, frozenset()) for one in _ADMINISTRATING | groups))
    root_too = {one.name for one in known if one.uid == 0 and one.signs_in}
    may = {one.name for one in known if one.name in named and one.signs_in} | root_too
    count = len(may - {"root"})
    evidence = f"{count} {'account' if count == 1 else 'accounts'} may administer, {most} expected at most"
    return Finding(result=PostureResult.PASS if count <= most else PostureResult.FAIL, evidence=evidence)


def guest_accounts(passwd: str, shadow: str, lightdm: Iterable[str], *, guest_sessions: bool) -> Finding:
    """Nobody signs in without being somebody: no empty password, no 'guest', no guest session of the greeter.

    ``guest_sessions``: the greeter's guest program is installed; ``lightdm`` are its settings' texts.
    """
    signing_in = {one.name for one in accounts(passwd) if one.signs_in}
    hashes = {line.split(":")[0]: line.split(":")[1] for line in shadow.splitlines() if line.count(":") >= 2}
    faults = []
    empty = sum(hashes.get(name) == "" for name in signing_in)
    if empty:
        faults.append(f"{empty} {'account needs' if empty == 1 else 'accounts need'} no password")
    if "guest" in signing_in and not hashes.get("guest", "!").startswith(("!", "*")):
        faults.append("there is an account for guests")
    if guest_sessions and setting(lightdm, "Seat", "allow-guest") not in {"false", "0", "no", "off"}:
        faults.append("lightdm offers a guest session")
    if faults:
        return Finding(result=PostureResult.FAIL, evidence="; ".join(faults))
    return Finding(result=PostureResult.PASS, evidence="every account has a password")


def setting(texts: Iterable[str], section: str, name: str) -> str:
    """The last value of a setting in INI files, in lower case; sections match by their beginning ('Seat:*')."""
    found = inside = ""
    for text in texts:
        for line in text.splitlines():
            said = line.strip()
            if said.startswith("["):
                inside = said[1:].partition("]")[0]
            elif inside.startswith(section) and not said.startswith(("#", ";")):
                key, _, value = said.partition("=")
                if key.strip() == name:
                    found = value.strip()
    return found.lower()


def auto_login(
    gdm: Iterable[str], lightdm: Iterable[str], sddm: Iterable[str], getty: Iterable[str]
) -> Finding:
    """No greeter and no console signs somebody in by itself; each argument is the texts of that program's settings."""
    gdm, lightdm = tuple(gdm), tuple(lightdm)
    by: list[str] = []
    if any(setting(gdm, "daemon", f"{one}LoginEnable") in _SWITCHED_ON for one in ("Automatic", "Timed")):
        by.append("gdm")
    if setting(lightdm, "Seat", "autologin-user") or setting(lightdm, "Seat", "autologin-guest") == "true":
        by.append("lightdm")
    if setting(sddm, "Autologin", "User"):
        by.append("sddm")
    if any(re.search(r"^ExecStart=.*agetty\b.*(--autologin|\s-a\s)", text, re.MULTILINE) for text in getty):
        by.append("the console")
    if by:
        return Finding(result=PostureResult.FAIL, evidence=f"signs somebody in by itself: {', '.join(by)}")
    return Finding(result=PostureResult.PASS, evidence="nobody is signed in without a password")


_QUALITY_DEFAULT = 8
"""Of pam_pwquality's ``minlen`` (pwquality.conf(5))."""
_UNIX_DEFAULT = 6
"""What pam_unix asks with 'obscure' and no ``minlen`` (pam_unix(8))."""


def password_length(pam: str | None, quality: str, *, least: int) -> Finding:
    """New passwords have ``least`` characters or more (0: the check's default), as PAM asks for.

    ``pam`` is the text of the password stack, None where there is none; ``quality`` that of pwquality.conf. What a
    directory server asks of its own accounts is not seen here.
    """
    wanted = least or THRESHOLDS[Check.PASSWORD_LENGTH].default
    if pam is None:
        return unknown("the rules for new passwords (PAM) are not where this agent looks")
    asked = 0
    for line in pam.splitlines():
        said = line.split("#")[0].split()
        if not said or said[0].lstrip("-") != "password":
            continue
        modules = {"pam_pwquality.so", "pam_cracklib.so", "pam_unix.so"} & set(said)
        if not modules:
            continue
        default = _UNIX_DEFAULT if "pam_unix.so" in modules else _conf_length(quality)
        given = [int(one[7:]) for one in said if one.startswith("minlen=") and one[7:].isdigit()]
        asked = max(asked, given[-1] if given else default)
    if asked == 0:
        return unknown(
            "no module that this agent knows asks for a password's length (pwquality, cracklib, unix)"
        )
    evidence = f"new passwords have {asked} characters or more, {wanted} wanted"
    return Finding(result=PostureResult.PASS if asked >= wanted else PostureResult.FAIL, evidence=evidence)


def password_age(passwd: str, shadow: str, *, most_days: int) -> Finding:
    """Every account that signs in with a password must change it after ``most_days``, as shadow(5) says (T-14).

    How often is the school's decision: without one (0) there is nothing to compare with.
    """
    if not most_days:
        return unknown(
            "the school set no interval: write the days as the threshold of the check password-age"
        )
    signing_in = {one.name for one in accounts(passwd) if one.signs_in}
    longer = 0
    for line in shadow.splitlines():
        fields = line.split(":")
        if len(fields) < 5 or fields[0] not in signing_in or fields[1].startswith(("!", "*")):
            continue
        longer += not (fields[4].isdigit() and int(fields[4]) <= most_days)
    if longer:
        evidence = (
            f"{longer} {'account keeps its' if longer == 1 else 'accounts keep their'} password for longer"
        )
        return Finding(result=PostureResult.FAIL, evidence=f"{evidence} than {most_days} days")
    return Finding(result=PostureResult.PASS, evidence=f"passwords end after {most_days} days at the latest")


def _conf_length(quality: str) -> int:
    found = re.findall(r"^\s*minlen\s*=\s*(\d+)", quality, re.MULTILINE)
    return int(found[-1]) if found else _QUALITY_DEFAULT

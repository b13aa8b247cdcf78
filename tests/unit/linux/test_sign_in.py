"""Sign-in on a lost device: PAM itself is asked, with the package's own rule, for root and for somebody else."""

from __future__ import annotations

import asyncio
import ctypes
import ctypes.util
import os
import pwd
import re
from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import AllowSignIn, RefuseSignIn
from schoolkeeper_agent.enforcers.linux.sign_in import SignInEnforcer
from schoolkeeper_agent.seams import Outcome
from support.core_playbook import bundle_of

ROOT = Path(__file__).parents[3]
GRANT = bytes(range(16))
LIBRARY = ctypes.util.find_library("pam")
MISSING = (
    ""
    if LIBRARY and os.geteuid() == 0
    else "needs root and libpam: PAM is asked with rules of this test's own"
)
_SUCCESS, _AUTH_ERR = 0, 7


def rule() -> str:
    """The account rule of the package, as pam-auth-update puts it into common-account."""
    text = (ROOT / "packaging/linux/agent/pam-config").read_text()
    (line,) = re.findall(r"^Account:\n\s+(.+)$", text, re.MULTILINE)
    return f"account {line}"


_Ask = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p)


class _Conversation(ctypes.Structure):
    _fields_ = (("ask", _Ask), ("data", ctypes.c_void_p))


def account_answer(rules: Path, user: str) -> int:
    """What pam_acct_mgmt(3) answers a service whose rules lie in this folder."""
    library = ctypes.CDLL(LIBRARY)
    conversation = _Conversation(_Ask(lambda *_: 19), None)
    handle = ctypes.c_void_p()
    started = library.pam_start_confdir(
        b"door", user.encode(), ctypes.byref(conversation), os.fsencode(rules), ctypes.byref(handle)
    )
    assert started == _SUCCESS
    try:
        return int(library.pam_acct_mgmt(handle, 0))
    finally:
        library.pam_end(handle, 0)


@pytest.fixture
def etc(tmp_path: Path) -> Path:
    found = tmp_path / "etc"
    (found / "pam.d").mkdir(parents=True)
    written = rule().replace("/etc/schoolkeeper", f"{found}/schoolkeeper")
    (found / "pam.d/common-account").write_text(f"# rules\naccount required pam_permit.so\n{written}\n")
    (found / "pam.d/door").write_text((found / "pam.d/common-account").read_text())
    return found


def enforcer(etc: Path, *, has_root: bool = True) -> SignInEnforcer:
    return SignInEnforcer(Context(bundle=bundle_of(), run_dir=etc, etc_root=etc, has_root=has_root))


def does(one: SignInEnforcer, action: object) -> Outcome:
    return asyncio.run(one.perform(action))


@pytest.mark.skipif(bool(MISSING), reason=MISSING or "-")
def test_pam_refuses_everybody_but_root_while_it_is_lost_and_then_nobody(etc: Path) -> None:
    somebody = pwd.getpwuid(65534).pw_name
    assert account_answer(etc / "pam.d", somebody) == _SUCCESS
    one = enforcer(etc)
    assert one.ability().able
    assert does(one, RefuseSignIn(grant_id=GRANT)).succeeded
    assert account_answer(etc / "pam.d", somebody) == _AUTH_ERR
    assert account_answer(etc / "pam.d", "root") == _SUCCESS
    note = etc / "schoolkeeper/nologin"
    assert note.stat().st_mode & 0o777 == 0o644, "a locker that runs as the person can read it"
    assert "hand it in" in note.read_text()

    # Another run of the agent, which knows only the file, gives it back.
    given = does(enforcer(etc), AllowSignIn())
    assert given.detail.startswith(GRANT.hex())
    assert account_answer(etc / "pam.d", somebody) == _SUCCESS
    assert does(enforcer(etc), AllowSignIn()).detail == "", "there was nothing to give back"


def test_without_the_rule_it_says_that_it_cannot_and_changes_nothing(etc: Path) -> None:
    rules = etc / "pam.d/common-account"
    rules.write_text(f"#{rules.read_text().splitlines()[-1]}\n")
    one = enforcer(etc)
    assert "pam-auth-update" in one.ability().because
    outcome = does(one, RefuseSignIn(grant_id=GRANT))
    assert not outcome.succeeded
    assert not (etc / "schoolkeeper/nologin").exists()
    assert "needs root" in enforcer(etc, has_root=False).ability().because

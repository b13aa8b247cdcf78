"""Refuses sign-in on a device that is lost, and gives it back: one file that pam_nologin(8) looks for.

The package puts ``account required pam_nologin.so file=/etc/schoolkeeper/nologin`` into the system's common account
rules. While the file is there, every service that asks PAM about an account (login, sshd, display managers, sudo, the
lockers that ask) refuses everybody but root, with the file's words. It lies below /etc, so it holds at the next start
before and without the agent. Removing the file gives everything back; nothing else of an account is changed.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.actions import AllowSignIn, EndSession, RefuseSignIn
from schoolkeeper_agent.identity import write_private
from schoolkeeper_agent.seams import Ability, Outcome
from schoolkeeper_agent.sensors.linux.logind import Logind, LogindError

NOLOGIN = "schoolkeeper/nologin"
_RULES = ("pam.d/common-account", "pam.d/system-auth", "pam.d/password-auth")
WORDS = "This device belongs to a school and was reported lost. Please hand it in at the school or to the police.\n"
_FROM = "Grant: "


class SignInEnforcer:
    name = "sign-in"

    def __init__(self, context: Context) -> None:
        self._context = context
        self._file = context.etc_root / NOLOGIN

    def ability(self) -> Ability:
        if not self._context.has_root:
            return Ability(able=False, because="needs root: nobody else may refuse a sign-in")
        if not any(_asks(self._context.etc_root / rules, self._file) for rules in _RULES):
            why = (
                f"no rule of PAM looks for {self._file}: run `pam-auth-update --package`, or add 'account required "
                f"pam_nologin.so file={self._file}' to the rules of all services"
            )
            return Ability(able=False, because=why)
        return Ability(able=True)

    async def perform(self, action: object) -> Outcome:
        why = f"{type(action).__name__} is not an action of this enforcer"
        try:
            match action:
                case RefuseSignIn():
                    return self._outcome(action, done=await asyncio.to_thread(self._refuse, action.grant_id))
                case AllowSignIn():
                    return self._outcome(action, done=await asyncio.to_thread(self._allow))
                case EndSession():
                    await self._end(action.session_id)
                    return self._outcome(action, done="")
                case _:
                    pass
        except (OSError, LogindError) as error:
            why = str(error)
        return Outcome(enforcer=self.name, action=action, succeeded=False, detail=why)

    async def close(self) -> None:
        """What officers signed does not end with this process: the file stays."""

    def _outcome(self, action: object, *, done: str) -> Outcome:
        return Outcome(enforcer=self.name, action=action, succeeded=True, detail=done)

    def _refuse(self, grant_id: bytes) -> str:
        ability = self.ability()
        if not ability.able:
            raise OSError(ability.because)
        write_private(self._file, f"{WORDS}{_FROM}{grant_id.hex()}\n".encode())
        # Lockers run as the person and must be able to read it.
        self._file.parent.chmod(0o755)
        self._file.chmod(0o644)
        return "nobody but root can sign in"

    def _allow(self) -> str:
        """Empty when nothing was refused, else the grant it was for."""
        try:
            text = self._file.read_text(errors="replace")
        except FileNotFoundError:
            return ""
        self._file.unlink()
        grant_id = text.rpartition(_FROM)[2].strip() if _FROM in text else "unknown"
        return f"{grant_id} people can sign in again"

    async def _end(self, session_id: str) -> None:
        logind = Logind(self._context.system_bus)
        try:
            await logind.connect()
            await logind.terminate(session_id)
        finally:
            await logind.close()


def _asks(rules: Path, nologin: Path) -> bool:
    try:
        lines = rules.read_text(errors="replace").splitlines()
    except OSError:
        return False
    wanted = ("account", "pam_nologin.so", f"file={nologin}")
    return any(all(word in line.split() for word in wanted) for line in lines if not line.startswith("#"))

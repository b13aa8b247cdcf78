"""A pupil reads the rules on a laptop, puts them off, agrees, and the console of the school says so.

Through the command that people have, a real agent, a real collector and its console.
"""

from __future__ import annotations

import re
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pyotp
import pytest

from schoolkeeper_proto import model
from support.console import OWN_PAGE, PASSWORD, text_of
from support.school_stage import BIN, Stage, until

PUPIL = 4711
REGISTER = "account_name,kind,display_name\npupil1,pupil,Efa Lloyd\npupil2,pupil,Kit Ash\n"

pytestmark = pytest.mark.timeout(600)


class School(Stage):
    passwords: dict[str, str]
    serves_console = True

    def begin(self) -> None:
        """The agent knows an account of a pupil, which only its own /etc/passwd has."""
        accounts = self.folder / "passwd"
        accounts.write_text(f"{Path('/etc/passwd').read_text()}pupil1:x:{PUPIL}:{PUPIL}::/tmp:/bin/sh\n")
        script = 'mount --bind "$0" /etc/passwd && exec "$@"'
        self.prefix = ("unshare", "--mount", "sh", "-c", script, str(accounts))
        said = self.init()
        self.passwords = dict(re.findall(r"^\s*(dsl)\s+first password: (\S+)$", said, re.MULTILINE))
        people = self.folder / "people.csv"
        people.write_text(REGISTER)
        self.collect("people", "import", str(people))
        self.start_collector()
        self.enrol()
        self.start_agent()
        until(lambda: "policy.applied" in self.kinds(), 60, self.logs())

    def as_pupil(self, command: str, *typed: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [BIN / "schoolkeeper-agent", "--config", self.config, command, "--language", "en"],
            input="".join(f"{line}\n" for line in typed), capture_output=True, text=True, check=False, timeout=60,
            cwd="/", user=PUPIL, group=PUPIL, extra_groups=(),
        )  # fmt: skip

    def signed_in(self, login: str) -> httpx2.Client:
        """As a person does it once: first password, second factor from the page, a password of one's own."""
        client = httpx2.Client(
            base_url=f"http://127.0.0.1:{self.console_port}", headers=OWN_PAGE, follow_redirects=True
        )
        page = client.post("/sign-in", data={"login": login, "password": self.passwords[login]})
        key = re.search(r'class="[^"]*sk-key[^"]*"[^>]*>([^<]+)<', page.text)
        assert key, page.text
        client.post(str(page.url.path), data={"code": pyotp.TOTP(key.group(1).replace(" ", "")).now()})
        client.post("/password", data={"old": self.passwords[login], "new": PASSWORD, "again": PASSWORD})
        return client


@pytest.fixture
def stage() -> Iterator[School]:
    """In a folder that the pupil may enter, which pytest's own is not."""
    with tempfile.TemporaryDirectory(prefix="sk-agreement-") as folder:
        Path(folder).chmod(0o755)
        made = School(Path(folder))
        try:
            made.begin()
            yield made
        finally:
            made.close()


@pytest.mark.requirement("T-19", "T-27", "W-23", "W-59")
def test_read_put_off_agreed_to_and_known_at_school(stage: School) -> None:
    until(lambda: stage.as_pupil("agreement").stdout.startswith("In danger now? Call 999."), 60, stage.logs())
    told = stage.as_pupil("tell", "2", "1", "they hit me", "", "", "", "", "yes").stdout
    assert "Its number is" in told, f"whoever put it off is helped all the same: {told}"
    done = stage.as_pupil("agreement", "yes")
    assert done.returncode == 0, done.stdout + done.stderr
    assert "Our rules for school laptops" in done.stdout, "in the words of the age band"
    until(lambda: "aup.accepted" in stage.kinds(), 60, stage.logs())
    bodies = [one.event.body for one in stage.stored() if one.event.body.KIND.startswith("aup.")]
    assert [body.KIND for body in bodies] == ["aup.shown", "aup.deferred", "aup.accepted"], "each once"
    accepted = bodies[-1]
    assert isinstance(accepted, model.AcceptableUseAccepted)
    assert (accepted.accepted_by, accepted.age_band, accepted.language) == ("self", "ks2", "en")
    dsl = stage.signed_in("dsl")
    until(lambda: "Efa Lloyd" in text_of(dsl.get("/agreements").text), 30, stage.logs())
    page = text_of(dsl.get("/agreements").text)
    assert "Agreed to what is in force: 1 " in page
    assert accepted.document_version in page
    assert "Never asked: no device has shown it: 1 " in page
    assert "Kit Ash" in page

"""The Debian packages: built the same twice, clean to lintian, and kept or removed on a laptop as they promise."""

from __future__ import annotations

import gzip
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from schoolkeeper_collector.config import Settings
from support.lab.available import need
from support.lab.cache import REPOSITORY
from support.lab.desktop import sign_in
from support.lab.nspawn import Laptop
from support.packages import (
    AGENT_PYTHON,
    AGENT_UNIT,
    GUARD_UNIT,
    NEXT_VERSION,
    capabilities_of,
    copy_of_sources,
    debian_package,
    detach_from_host,
    install,
    make_school,
    prepare_probe,
    probe_rights,
)
from support.school_stage import until

pytestmark = [pytest.mark.lab, pytest.mark.timeout(1000)]

LINUX = REPOSITORY / "packaging/linux"
NAMES = ("agent", "collector", "officer")
PROGRAMS = {
    "agent": ("schoolkeeper-agent",),
    "collector": ("schoolkeeper-collector",),
    "officer": ("schoolkeeper-officer", "schoolkeeper-policy"),
}
EXPOSURE_AT_MOST = {
    "schoolkeeper-agent.service": 2.9,
    "schoolkeeper-guard@.service": 2.5,
    "schoolkeeper-collector.service": 1.1,
}
"""What `systemd-analyze security` says today; a directive that gets lost raises it."""


@pytest.fixture(scope="module", params=NAMES)
def package(request: pytest.FixtureRequest) -> tuple[str, Path]:
    need(tools=("dpkg-deb",))
    return request.param, debian_package(request.param)


@pytest.fixture(scope="module")
def agent_package() -> Path:
    return debian_package("agent")


@pytest.fixture
def pupils_laptop(can_boot_laptops: None) -> Iterator[Laptop]:
    with Laptop() as laptop:
        detach_from_host(laptop)
        yield laptop


def test_builds_in_two_folders_give_the_same_bytes_and_only_changes_are_built(tmp_path: Path) -> None:
    need(tools=("dpkg-deb",))
    one = copy_of_sources(tmp_path / "one")
    other = shutil.copytree(one, tmp_path / "elsewhere" / "other")
    built = [
        debian_package("agent", out=checkout / "dist", checkout=checkout, quick=True)
        for checkout in (one, other)
    ]
    assert built[0].read_bytes() == built[1].read_bytes()

    before = built[0].stat().st_mtime_ns
    debian_package("agent", out=one / "dist", checkout=one, quick=True)
    assert built[0].stat().st_mtime_ns == before, "nothing changed, and it was built again"
    (one / "agent/src/schoolkeeper_agent/__init__.py").write_text("# changed\n")
    debian_package("agent", out=one / "dist", checkout=one, quick=True)
    assert built[0].read_bytes() != built[1].read_bytes(), "a change did not reach the package"


FOREIGN = re.compile(r"\.(?:js|css|php|inc|dtd)(?:\.gz)?$", re.IGNORECASE)
"""By such names lintian knows libraries of JavaScript and PHP, in half of its time."""
JUDGED = {
    "console.css", "console.js", "emscripten_fetch_worker.js", "govuk-frontend.css", "htmx.js", "notice.css",
    "passkey.js", "style.css",
}  # fmt: skip
"""Those that no check of lintian 2.116 knows. A name that is not here has a package looked at by all checks again."""


def _spared(package: Path) -> list[str]:
    """Options that leave out checks that can find no error and no warning: spelling is neither."""
    checks = ["binaries/spelling"]
    listed = _run("dpkg-deb", "--contents", package).splitlines()
    names = {line.split(maxsplit=5)[5].rpartition("/")[2] for line in listed}
    assert len(names) > 100
    if {name for name in names if FOREIGN.search(name)} <= JUDGED:
        checks += ["languages/javascript/embedded", "languages/php/embedded", "languages/php/pear/embedded"]
    return ["--dont-check-part", ",".join(checks)]


def test_lintian_finds_nothing(package: tuple[str, Path]) -> None:
    need(tools=("lintian",))
    done = subprocess.run(
        ["lintian", "--allow-root", "--fail-on", "error,warning", *_spared(package[1]), package[1]],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout


def test_no_file_names_the_machine_that_built_it(package: tuple[str, Path], tmp_path: Path) -> None:
    subprocess.run(["dpkg-deb", "--raw-extract", package[1], tmp_path / "tree"], check=True)
    place = str(REPOSITORY).encode()
    for path in (tmp_path / "tree").rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert place not in path.read_bytes(), path


def test_manual_pages_can_be_read_and_name_every_command(package: tuple[str, Path], tmp_path: Path) -> None:
    need(tools=("man", "lexgrog"))
    name, deb = package
    subprocess.run(["dpkg-deb", "--extract", deb, tmp_path], check=True)
    pages = sorted((tmp_path / "usr/share/man").rglob("*.gz"))
    assert pages
    for page in pages:
        subprocess.run(["lexgrog", page], check=True, capture_output=True)
        read: list[str | Path] = ["man", "--warnings", "--encoding=UTF-8", "--local-file", page]
        done = subprocess.run(read, capture_output=True, text=True, check=True)
        assert done.stderr == ""
    text = "".join(gzip.decompress(page.read_bytes()).decode() for page in pages).replace("\\-", "-")
    for program in PROGRAMS[name]:
        help_text = _run(REPOSITORY / ".venv/bin" / program, "--help")
        commands = _commands(help_text)
        assert commands
        for command in commands:
            assert re.search(rf"\b{command}\b", text), f"`{program} {command}` is not in the manual page"
    if name == "collector":  # the agent prints its own: `schoolkeeper-agent settings`
        for setting in Settings.model_fields:
            assert re.search(rf"\b{setting}\b", text), f"{setting} is not in the manual page"


def _commands(help_text: str) -> list[str]:
    return re.findall(r"^[ │]+([a-z][a-z-]+)  +\S", help_text, re.MULTILINE)


def test_units_are_sound_and_as_closed_as_they_were(package: tuple[str, Path], tmp_path: Path) -> None:
    need(tools=("systemd-analyze",))
    name, deb = package
    subprocess.run(["dpkg-deb", "--extract", deb, tmp_path], check=True)
    if name == "officer":
        assert not (tmp_path / "lib").exists(), "nothing of it runs in the background"
        assert not (tmp_path / "etc").exists()
        return
    units = tmp_path / "lib/systemd/system"
    for path in sorted(units.glob("schoolkeeper-*.*")):
        said = _run("systemd-analyze", "verify", "--man=no", path)
        assert [line for line in said.splitlines() if "is not executable: No such file" not in line] == []
    for path in (units / unit for unit in EXPOSURE_AT_MOST if (units / unit).exists()):
        rated = _run("systemd-analyze", "security", "--offline=true", "--no-pager", path)
        found = re.search(r"Overall exposure level .*: ([0-9.]+) ", rated)
        assert found
        assert float(found[1]) <= EXPOSURE_AT_MOST[path.name]


def test_no_two_packages_hold_the_same_file() -> None:
    """A technician may have all three on one machine; dpkg refuses the second owner of a file."""
    need(tools=("dpkg-deb",))
    owner: dict[str, str] = {}
    for name in NAMES:
        listed = _run("dpkg-deb", "--contents", debian_package(name)).splitlines()
        files = [
            line.split(maxsplit=5)[5].partition(" -> ")[0] for line in listed if not line.startswith("d")
        ]
        assert len(files) > 100
        for file in files:
            assert owner.setdefault(file, name) == name, f"{file} is in two packages"


def _run(*command: str | Path) -> str:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return done.stdout + done.stderr


def test_agent_starts_waits_for_enrolment_and_says_so(pupils_laptop: Laptop, agent_package: Path) -> None:
    install(pupils_laptop, agent_package)
    assert pupils_laptop.sh("systemctl is-active schoolkeeper-agent").out == "active\n"
    assert pupils_laptop.sh("systemctl is-enabled schoolkeeper-agent").out == "enabled\n"
    shown = pupils_laptop.sh("systemctl show --property=StatusText --value schoolkeeper-agent").out
    assert "enrolment" in shown
    doctor = pupils_laptop.sh("schoolkeeper-agent doctor")
    assert doctor.rc == 1
    assert "not enrolled" in doctor.out
    assert "schoolkeeper-agent enrol" in doctor.out
    assert pupils_laptop.sh("systemctl --failed --plain --no-legend").out == ""


def test_agent_in_an_image_is_enabled_before_its_first_boot(
    pupils_laptop: Laptop, agent_package: Path
) -> None:
    """Imaging: dpkg runs where no systemd does."""
    pupils_laptop.copy_in(agent_package, f"/root/{agent_package.name}")
    pupils_laptop.sh("mkdir /image && mount --bind / /image && mount -t tmpfs none /image/run").check()
    pupils_laptop.sh(f"chroot /image dpkg --install /root/{agent_package.name}").check()
    assert pupils_laptop.sh("systemctl is-enabled schoolkeeper-agent").out == "enabled\n"
    assert pupils_laptop.sh("systemctl is-active schoolkeeper-agent").out == "inactive\n"


def test_each_right_that_the_unit_leaves_is_needed_and_no_other_is_there(
    pupils_laptop: Laptop, agent_package: Path
) -> None:
    """Of the service and of its guard: the rights of the one are not the other's."""
    install(pupils_laptop, agent_package)
    prepare_probe(pupils_laptop)
    for unit, more in ((AGENT_UNIT, {"use a network"}), (GUARD_UNIT, set())):
        capabilities = capabilities_of(unit)
        worked = probe_rights(pupils_laptop, unit, capabilities)
        assert {name for name, it_did in worked.items() if it_did} == set(capabilities) | more
        for taken in set(capabilities) - {"CAP_NET_ADMIN"}:  # Linux asks for it up to 6.5, as Debian 12 has
            worked = probe_rights(pupils_laptop, unit, [name for name in capabilities if name != taken])
            assert worked[taken] is False, f"{unit.name} does not need {taken}"


def test_a_person_cannot_add_code_to_what_root_runs(pupils_laptop: Laptop, agent_package: Path) -> None:
    install(pupils_laptop, agent_package)
    pupils_laptop.put("/tmp/trap/argparse.py", b"print('trapped')")
    pupils_laptop.put("/tmp/trap/schoolkeeper_agent/__init__.py", b"print('trapped')")
    said = pupils_laptop.sh("cd /tmp/trap && PYTHONPATH=/tmp/trap schoolkeeper-agent --help")
    assert said.rc == 0
    assert "trapped" not in said.out


_IS_OWN = (
    "import sys; from schoolkeeper_agent.session.own import is_own;"
    " print(is_own(int(sys.argv[1]), int(sys.argv[2])))"
)


@pytest.mark.scenario(tier="session", name="a pupil kills the helper of their session, and it comes back")
def test_a_pupil_kills_the_helper_of_their_session_and_has_it_back(
    pupils_laptop: Laptop, agent_package: Path
) -> None:
    """By real systemd and logind: it comes with the sign-in, and nobody stops it or gets into its cgroup."""
    install(pupils_laptop, agent_package)
    user = pupils_laptop.sh("id -u pupil").check().strip()
    unit = f"schoolkeeper-session@{user}.service"
    desktop = sign_in(pupils_laptop)

    def running() -> str:
        """Its process, once it is the pupil's: for a moment before, it is still systemd's own."""
        process = pupils_laptop.sh(f"systemctl show --property=MainPID --value {unit}").check().strip()
        return process if pupils_laptop.sh(f"ps -o user= -p {process}").out.strip() == "pupil" else ""

    def own(process: str) -> str:
        return pupils_laptop.sh(f"{AGENT_PYTHON} -I -c '{_IS_OWN}' {process} {user}").check().strip()

    def one() -> str:
        until(lambda: bool(running()), 30, "the helper runs")
        return running()

    first = one()
    assert own(first) == "True"
    started = f"{AGENT_PYTHON} -I -m schoolkeeper_agent.session --socket /nowhere"
    pupils_laptop.sh(
        f"runuser -u pupil -- sh -c '{started} & echo $! >/tmp/other; sleep 300' >/dev/null 2>&1 &"
    ).check()
    until(
        lambda: bool(pupils_laptop.sh("cat /tmp/other 2>/dev/null").out.strip()),
        30,
        "another of the same program",
    )
    assert own(pupils_laptop.sh("cat /tmp/other").check().strip()) == "False"
    joins = f"echo $$ >/sys/fs/cgroup$(cut -d: -f3 /proc/{first}/cgroup | tail -1)/cgroup.procs"
    assert pupils_laptop.sh(f"runuser -u pupil -- sh -c '{joins}'").rc != 0
    assert pupils_laptop.sh(f"runuser -u pupil -- systemctl stop {unit} 2>&1").rc != 0
    for _ in range(7):  # more often than systemd's own limit
        before = one()
        pupils_laptop.sh(f"runuser -u pupil -- kill -9 {before}").check()
        until(lambda before=before: running() not in ("", before), 30, "systemd starts it again")  # type: ignore[misc]
    assert own(one()) == "True"
    desktop.end()
    pupils_laptop.sh("systemctl stop user@" + user).check()
    until(lambda: not running(), 30, "it ends with the last session")


def test_removing_keeps_and_purging_removes(pupils_laptop: Laptop, agent_package: Path) -> None:
    """Without an identity; with one, see tests/e2e/test_installed_on_a_school_laptop.py."""
    install(pupils_laptop, agent_package)
    pupils_laptop.put("/var/lib/schoolkeeper-agent/spool/spool.db", b"what was not delivered yet", 0o600)
    pupils_laptop.put("/etc/schoolkeeper/enrol.toml", b"# a token", 0o600)
    before = pupils_laptop.sh("cat /etc/pam.d/common-session").check()
    assert "schoolkeeper" in before

    said = pupils_laptop.sh("dpkg --remove schoolkeeper-agent 2>&1").check()
    assert "undelivered events stay" in said
    assert pupils_laptop.get("/var/lib/schoolkeeper-agent/spool/spool.db") == b"what was not delivered yet"
    assert pupils_laptop.sh("systemctl is-active schoolkeeper-agent").out == "inactive\n"
    assert "schoolkeeper" not in pupils_laptop.sh("cat /etc/pam.d/common-session").check()
    assert pupils_laptop.sh("pgrep --full '[s]choolkeeper'").rc == 1

    pupils_laptop.sh("dpkg --purge schoolkeeper-agent").check()
    left = "find / -xdev -path /proc -prune -o -name '*schoolkeeper*' -print | grep -v ^/root/ || true"
    assert pupils_laptop.sh(left, 60).check() == ""


@pytest.mark.scenario(tier="session", name="the notice at sign-in never keeps anybody out")
def test_sign_in_notice_stands_on_a_console_and_never_keeps_a_person_out(
    pupils_laptop: Laptop, agent_package: Path
) -> None:
    install(pupils_laptop, agent_package)
    notice = "This device is 100 % looked after by the school.\n"
    as_pupil = "echo echo I am in | su --login pupil"
    assert "looked after" not in pupils_laptop.sh(as_pupil).check()
    pupils_laptop.put("/run/schoolkeeper-agent/notice/sign-in.txt", notice.encode())
    shown = pupils_laptop.sh(as_pupil).check()
    assert "This device is 100 % looked after by the school." in shown
    assert "I am in" in shown
    pupils_laptop.sh("rm -r /run/schoolkeeper-agent").check()
    assert pupils_laptop.sh(as_pupil).check().endswith("I am in\n")
    assert sign_in(pupils_laptop).properties()["Active"] == "yes"


@pytest.mark.scenario(tier="session", name="a lost device refuses sign-in until its package is removed")
def test_a_lost_device_refuses_sign_in_by_the_package_s_rule_and_removal_gives_it_back(
    pupils_laptop: Laptop, agent_package: Path
) -> None:
    """The file that the agent writes for a lost device, asked about by PAM of the whole system."""
    install(pupils_laptop, agent_package)
    assert pupils_laptop.sh("systemctl is-enabled schoolkeeper-isolation").out == "enabled\n"
    assert pupils_laptop.sh("systemctl is-active schoolkeeper-isolation").out == "inactive\n", (
        "nothing to load"
    )
    pupils_laptop.sh("useradd --create-home somebody").check()
    signs_in = "su somebody --command true"
    assert pupils_laptop.sh(signs_in).rc == 0
    pupils_laptop.put("/etc/schoolkeeper/nologin", b"This device belongs to a school.\n", 0o644)
    refused = pupils_laptop.sh(f"{signs_in} 2>&1")
    assert refused.rc != 0
    assert pupils_laptop.sh("su root --command true").rc == 0
    pupils_laptop.sh("dpkg --remove schoolkeeper-agent").check()
    assert "nologin file=/etc/schoolkeeper" not in pupils_laptop.sh("cat /etc/pam.d/common-account").check()
    assert pupils_laptop.sh(signs_in).rc == 0, "nobody is left who could give it back"


def test_collector_waits_for_its_school_then_serves_it_as_its_own_user(pupils_laptop: Laptop) -> None:
    said = install(pupils_laptop, debian_package("collector"))
    assert "schoolkeeper-collector init" in said
    assert pupils_laptop.sh("systemctl --failed --plain --no-legend").out == ""
    make_school(pupils_laptop, address="127.0.0.1")
    until(_serves(pupils_laptop), 30, "health, and the console")
    user = "ps -o user= -p $(systemctl show -P MainPID schoolkeeper-collector)"
    assert pupils_laptop.sh(user).out.startswith("schoolk")
    assert pupils_laptop.sh("schoolkeeper-collector fsck").check().startswith("sound")

    purged = pupils_laptop.sh("dpkg --purge schoolkeeper-collector 2>&1").check()
    assert "record and its keys stay" in purged
    assert pupils_laptop.sh("ls /var/lib/schoolkeeper-collector/collector.db").rc == 0
    assert pupils_laptop.sh("getent passwd schoolkeeper-collector").rc == 0


def _serves(machine: Laptop) -> Callable[[], bool]:
    fetch = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:{}').status)"
    return lambda: all(
        machine.sh(f'python3 -c "{fetch.format(place)}"').out == "200\n"
        for place in ("9464/healthz", "8443/sign-in")
    )


_LOOK_AND_END = """
import re, sys, urllib.request as u
browser = u.build_opener(u.HTTPCookieProcessor())
page = browser.open(sys.argv[1])
print(re.search("<h1>(.*)</h1>", page.read().decode())[1])
home = page.url
print(browser.open(home + "passkey.js").headers["Content-Type"])
origin = home.rsplit("/", 2)[0]
browser.open(u.Request(home + "end", data=b"", headers={"Origin": origin}))
"""


def test_an_officer_works_on_a_machine_of_their_own(pupils_laptop: Laptop) -> None:
    """No collector, no service, no rights: a person makes a key, checks a pack, opens the page. Purged, all is gone."""
    install(pupils_laptop, debian_package("officer"))

    def as_person(command: str) -> str:
        return pupils_laptop.sh(f"runuser -u pupil -- sh -c 'cd && {command}'", 60).check()

    new = "schoolkeeper-officer keys new dsl.key --officer dsl --duty safeguarding 2>&1"
    words = "four quiet words here"
    assert "duty        safeguarding" in as_person(f'printf "%s\\n%s\\n" "{words}" "{words}" | {new}')
    assert as_person("schoolkeeper-officer keys ways dsl.key") == "passphrase\n"
    assert as_person("schoolkeeper-policy check default").startswith("default: ")
    pupils_laptop.put("/tmp/look.py", _LOOK_AND_END.encode(), 0o644)
    as_person("(schoolkeeper-officer serve --key dsl.key >said 2>&1 &)")
    until(lambda: "http://" in as_person("cat said"), 30, "the page's address")
    address = re.search(r"http://localhost:\S+", as_person("cat said"))
    assert address
    shown = as_person(f"python3 -I /tmp/look.py {address[0]}").splitlines()
    assert shown == ["What waits for your signature", "text/javascript; charset=utf-8"]
    until(lambda: "Ended." in as_person("cat said"), 30, "the program ends")
    pupils_laptop.sh("dpkg --purge schoolkeeper-officer").check()
    left = "find / -xdev -path /proc -prune -o -name '*schoolkeeper*' -print | grep -v -e ^/root/ -e ^/home/ || true"
    assert pupils_laptop.sh(left, 60).check() == ""


def test_upgrade_goes_to_the_new_version(pupils_laptop: Laptop, agent_package: Path) -> None:
    install(pupils_laptop, agent_package)
    first = pupils_laptop.sh("systemctl show -P MainPID schoolkeeper-agent").out
    install(pupils_laptop, debian_package("agent", version=NEXT_VERSION))
    assert (
        pupils_laptop.sh("dpkg-query --showformat '${Version}' --show schoolkeeper-agent").out == NEXT_VERSION
    )
    assert pupils_laptop.sh("systemctl is-active schoolkeeper-agent").out == "active\n"
    assert pupils_laptop.sh("systemctl show -P MainPID schoolkeeper-agent").out != first


def test_build_names_what_is_missing(tmp_path: Path) -> None:
    python = shutil.which("python3", path="/usr/bin")
    assert python
    done = subprocess.run(
        [python, LINUX / "build.py", "agnet"], capture_output=True, text=True, check=False, env={"PATH": ""}
    )
    assert done.returncode == 2
    assert "no package agnet: there are agent, collector, officer" in done.stderr

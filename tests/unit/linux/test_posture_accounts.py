"""Who may sign in and administer, told from the system's files: pass, fail, or unknown with its reason (T-43)."""

from pathlib import Path

import pytest

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.sensors.linux import posture_accounts as accounts
from schoolkeeper_agent.sensors.linux.posture import PostureSensor, on_battery
from schoolkeeper_proto.model import PostureResult
from schoolkeeper_proto.policy import PostureCheck, PostureSection
from support.core_playbook import bundle_of

PASS, FAIL, UNKNOWN = PostureResult.PASS, PostureResult.FAIL, PostureResult.UNKNOWN

PASSWD = """root:x:0:0:root:/root:/bin/bash
daemon:x:1:1::/usr/sbin:/usr/sbin/nologin
tech:x:1000:1000::/home/tech:/bin/bash
pupil:x:1001:1001::/home/pupil:/bin/bash
guest:x:1002:1002::/home/guest:
broken line
"""
GROUP = "sudo:x:27:tech\nadm:x:4:pupil\n"
SHADOW = "root:*:1:::::\ntech:$y$a:1:::::\npupil:$y$b:1:::::\nguest:!:1:::::\n"


@pytest.mark.parametrize(
    ("passwd", "group", "sudo", "allowed", "expected", "count"),
    [
        (PASSWD, GROUP, "%sudo ALL=(ALL:ALL) ALL", 0, PASS, "1 account "),
        (PASSWD, "sudo:x:27:tech,pupil\n", "", 0, FAIL, "2 accounts "),
        (PASSWD, "sudo:x:27:tech,pupil\n", "", 2, PASS, "2 accounts "),
        (PASSWD, GROUP, "pupil ALL=(ALL) NOPASSWD: /usr/bin/apt", 0, FAIL, "2 accounts "),
        (PASSWD, GROUP + "heads:x:30:pupil\n", "%heads ALL=(ALL) ALL\n", 0, FAIL, "2 accounts "),
        (PASSWD, GROUP, "# pupil ALL=(ALL) ALL\nDefaults:pupil x=y\n", 0, PASS, "1 account "),
        (PASSWD.replace(":1001:1001:", ":0:0:"), GROUP, "", 0, FAIL, "2 accounts "),
        (PASSWD, "sudo:x:27:tech,daemon,gone\n", "", 0, PASS, "1 account "),
        (PASSWD, GROUP, "ALL ALL=(ALL) ALL", 9, FAIL, "every account"),
    ],
)
def test_administrators(
    passwd: str, group: str, sudo: str, allowed: int, expected: PostureResult, count: str
) -> None:
    found = accounts.administrators(passwd, group, [sudo], allowed=allowed)
    assert (found.result, found.evidence.startswith(count)) == (expected, True), found
    assert "pupil" not in found.evidence, "counts, not people"


@pytest.mark.parametrize(
    ("shadow", "lightdm", "guest_sessions", "expected"),
    [
        (SHADOW, "", False, PASS),
        (SHADOW.replace("pupil:$y$b", "pupil:"), "", False, FAIL),
        (SHADOW.replace("guest:!", "guest:$y$c"), "", False, FAIL),
        (SHADOW, "", True, FAIL),
        (SHADOW, "[Seat:*]\nallow-guest=false\n", True, PASS),
        (SHADOW, "[Seat:*]\nallow-guest=false\n[XDMCPServer]\n[Seat:1]\nallow-guest = true", True, FAIL),
        (SHADOW, "[LightDM]\nallow-guest=false\n", True, FAIL),
    ],
)
def test_guest_accounts(shadow: str, lightdm: str, guest_sessions: bool, expected: PostureResult) -> None:
    assert (
        accounts.guest_accounts(PASSWD, shadow, [lightdm], guest_sessions=guest_sessions).result is expected
    )


@pytest.mark.parametrize(
    ("gdm", "lightdm", "sddm", "getty", "named"),
    [
        ("[daemon]\nAutomaticLoginEnable=false\nAutomaticLogin=pupil\n", "", "", "", ""),
        ("[daemon]\nAutomaticLoginEnable = True\nAutomaticLogin=pupil\n", "", "", "", "gdm"),
        ("[daemon]\nTimedLoginEnable=true\n", "", "", "", "gdm"),
        ("[daemon]\n#AutomaticLoginEnable=true\n", "", "", "", ""),
        ("", "[Seat:*]\nautologin-user=pupil\n", "", "", "lightdm"),
        ("", "[Seat:*]\nautologin-user=pupil\nautologin-user=\n", "", "", ""),
        ("", "", "[Autologin]\nUser=pupil\n", "", "sddm"),
        ("", "", "[Users]\nUser=pupil\n", "", ""),
        ("", "", "", "[Service]\nExecStart=\nExecStart=-/sbin/agetty --autologin pupil %I\n", "the console"),
        ("", "", "", "[Service]\nExecStart=-/sbin/agetty -o '-p' %I\n", ""),
    ],
)
def test_auto_login(gdm: str, lightdm: str, sddm: str, getty: str, named: str) -> None:
    found = accounts.auto_login([gdm], [lightdm], [sddm], [getty])
    assert found.result is (FAIL if named else PASS)
    assert named in found.evidence


DEBIAN = "password [success=1 default=ignore] pam_unix.so obscure use_authtok yescrypt\n"


@pytest.mark.parametrize(
    ("pam", "quality", "least", "expected", "asked"),
    [
        (DEBIAN, "", 0, FAIL, "6 characters"),
        (DEBIAN.replace("obscure", "minlen=10"), "", 0, PASS, "10 characters"),
        ("password requisite pam_pwquality.so retry=3\n" + DEBIAN, "", 0, PASS, "8 characters"),
        (
            "password requisite pam_pwquality.so retry=3\n" + DEBIAN,
            "minlen = 12\n",
            12,
            PASS,
            "12 characters",
        ),
        ("password requisite pam_pwquality.so minlen=6\n" + DEBIAN, "minlen = 12\n", 0, FAIL, "6 characters"),
        (
            "# password requisite pam_pwquality.so minlen=20\n" + DEBIAN,
            "# minlen = 20",
            0,
            FAIL,
            "6 characters",
        ),
        ("password required pam_sss.so\n", "", 0, UNKNOWN, ""),
        (None, "", 0, UNKNOWN, ""),
    ],
)
def test_password_length(
    pam: str | None, quality: str, least: int, expected: PostureResult, asked: str
) -> None:
    found = accounts.password_length(pam, quality, least=least)
    assert found.result is expected
    assert asked in found.evidence
    assert bool(found.because) == (expected is UNKNOWN)


@pytest.mark.requirement("T-14")
@pytest.mark.parametrize(
    ("shadow", "most", "expected"),
    [
        ("tech:$y$a:1:0:90:7:::\npupil:$y$b:1:0:90:7:::\nguest:!:1:0:99999:7:::\n", 90, PASS),
        ("tech:$y$a:1:0:90:7:::\npupil:$y$b:1:0:99999:7:::\n", 90, FAIL),
        ("tech:$y$a:1:0::7:::\n", 90, FAIL),
        ("daemon:$y$a:1:0:99999:7:::\n", 90, PASS),
        ("tech:$y$a:1:0:99999:7:::\n", 0, UNKNOWN),
    ],
)
def test_how_long_a_password_stays_is_compared_with_what_the_school_set(
    shadow: str, most: int, expected: PostureResult
) -> None:
    found = accounts.password_age(PASSWD, shadow, most_days=most)
    assert found.result is expected
    assert "pupil" not in found.evidence


def written(root: Path, **files: str) -> None:
    for name, text in files.items():
        path = root / name.replace("__", "/")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


async def read(root: Path, check: str) -> tuple[PostureResult, str]:
    section = PostureSection(checks=(PostureCheck(check=check, every_seconds=60),))
    sensor = PostureSensor(Context(bundle=bundle_of(section), run_dir=root), root=root)
    found = await sensor.read(section.checks[0])
    return found.result, found.unknown_because or found.evidence


@pytest.mark.anyio
@pytest.mark.parametrize("anyio_backend", ["asyncio"])
async def test_the_readers_find_the_files_and_say_what_they_miss(tmp_path: Path, anyio_backend: str) -> None:
    written(tmp_path, etc__passwd=PASSWD, etc__group=GROUP)
    assert (await read(tmp_path, "administrators"))[0] is PASS
    folder = tmp_path / "etc/sudoers.d"
    folder.mkdir()
    (folder / "pupils").write_text("pupil ALL=(ALL) ALL\n")
    assert (await read(tmp_path, "administrators"))[0] is FAIL
    result, said = await read(tmp_path, "guest-accounts")
    assert (result, "shadow" in said) == (UNKNOWN, True)
    written(tmp_path, etc__shadow=SHADOW)
    assert (await read(tmp_path, "guest-accounts"))[0] is PASS
    assert (await read(tmp_path, "auto-login"))[0] is PASS
    assert (await read(tmp_path, "password-age"))[0] is UNKNOWN
    drop_in = tmp_path / "etc/systemd/system/getty@tty1.service.d"
    drop_in.mkdir(parents=True)
    (drop_in / "a.conf").write_text("[Service]\nExecStart=-/sbin/agetty --autologin pupil %I\n")
    assert await read(tmp_path, "auto-login") == (FAIL, "signs somebody in by itself: the console")
    assert (await read(tmp_path, "password-length"))[0] is UNKNOWN
    folder = tmp_path / "etc/pam.d"
    folder.mkdir()
    (folder / "common-password").write_text("password requisite pam_pwquality.so\n")
    assert (await read(tmp_path, "password-length"))[0] is PASS


def test_battery_is_told_by_the_mains_adapter(tmp_path: Path) -> None:
    assert not on_battery(tmp_path), "a desktop machine has neither"
    adapter = tmp_path / "class/power_supply/AC"
    adapter.mkdir(parents=True)
    (adapter / "type").write_text("Mains\n")
    assert not on_battery(tmp_path), "one that does not say is not taken for a battery"
    (adapter / "online").write_text("0\n")
    assert on_battery(tmp_path)
    (adapter / "online").write_text("1\n")
    assert not on_battery(tmp_path)

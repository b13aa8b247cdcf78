"""The nspawn laptop is a real one: it boots, people sign in, its screen locks, its network is its own."""

import socket
import sys
from pathlib import Path

import pytest

from support.lab import usable
from support.lab.cache import REPOSITORY
from support.lab.desktop import sign_in
from support.lab.network import GATEWAY_ADDRESS, LabNetwork
from support.lab.nspawn import Laptop
from support.patience import until

pytestmark = pytest.mark.lab

PORT = 50051


def test_boots_with_systemd_as_process_one(laptop: Laptop) -> None:
    assert laptop.sh("cat /proc/1/comm; hostname").out.split() == ["systemd", "laptop"]
    assert laptop.sh("systemctl --failed --no-legend --plain").out == ""


def test_idle_screen_locks_and_logind_says_so(laptop: Laptop) -> None:
    desktop = sign_in(laptop)
    assert desktop.properties()["LockedHint"] == "no"
    assert not desktop.keyboard_is_grabbed()

    desktop.lock_after(2)
    desktop.wait_for("LockedHint", "yes")

    assert desktop.properties()["IdleHint"] == "yes"
    desktop.wait_for_grab()


def test_screen_without_a_locker_does_not_count_as_locked(laptop: Laptop) -> None:
    desktop = sign_in(laptop, locker=False)
    desktop.lock_after(1)
    laptop.sh(f"sleep 2; loginctl lock-session {desktop.session}; sleep 0.5")
    assert desktop.properties()["LockedHint"] == "no"
    assert not desktop.keyboard_is_grabbed()


def test_lock_signal_reaches_the_locker(laptop: Laptop) -> None:
    desktop = sign_in(laptop)

    def locks() -> bool:
        # Again and again: a signal that comes before the locker listens is heard by nobody.
        laptop.sh(f"loginctl lock-session {desktop.session}").check()
        return desktop.properties()["LockedHint"] == "yes"

    until(locks, 30, "the locker hears the signal")
    desktop.wait_for_grab()


def test_a_laptop_that_nobody_can_work_on_is_called_that(
    laptop: Laptop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check that scenarios end with (``support.lab.usable``) can fail, by each of its parts."""
    usable.still_usable(laptop)
    monkeypatch.setattr(usable, "_SECONDS", 2)
    laptop.sh("touch /etc/nologin").check()
    with pytest.raises(AssertionError, match="cannot sign in at a terminal"):
        usable.still_usable(laptop)
    laptop.sh("rm /etc/nologin && dpkg-divert --local --rename /usr/bin/dpkg-deb").check()
    with pytest.raises(AssertionError, match="packages cannot be"):
        usable.still_usable(laptop)
    laptop.sh("dpkg-divert --local --rename --remove /usr/bin/dpkg-deb").check()
    laptop.sh("echo auth required pam_deny.so >/etc/pam.d/i3lock").check()
    desktop = sign_in(laptop)
    laptop.sh(f"loginctl lock-session {desktop.session}").check()
    desktop.wait_for_grab()
    with pytest.raises(AssertionError, match="does not get the screen back"):
        usable.still_usable(laptop)


def test_nothing_that_happens_in_a_laptop_stays(laptop: Laptop, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "folder" / "note").write_text("here")
    laptop.copy_in(tmp_path / "folder", "/srv/copied")
    laptop.put("/etc/deep/file", b"\0binary", 0o600)
    assert laptop.get("/srv/copied/note") == b"here"
    assert laptop.get("/etc/deep/file") == b"\0binary"
    laptop.sh("rm -rf /usr/bin/python3").check()
    laptop.kill()
    with Laptop() as another:
        assert another.sh("ls /srv/copied /etc/deep").rc != 0
        assert another.sh("python3 -c 'import sys; print(sys.version_info[:2])'").out == "(3, 11)\n"


def test_runs_the_agent_of_this_checkout(can_boot_laptops: None) -> None:
    python = Path(sys.prefix) / "bin" / "python"
    if not python.resolve().is_relative_to("/usr/bin"):
        pytest.skip(f"{python} is not made from Debian's Python, which is the one that the laptop has")
    with Laptop(read_only=[REPOSITORY]) as laptop:
        assert (
            laptop.sh(f"{python} -c 'import schoolkeeper_agent as a; print(a.__name__)'").out
            == "schoolkeeper_agent\n"
        )
        assert laptop.sh(f"touch {REPOSITORY}/written").rc != 0


def test_network_reaches_what_is_offered_and_nothing_else(network: LabNetwork) -> None:
    with socket.create_server(("127.0.0.1", 0)) as collector, Laptop(network=network) as laptop:
        network.offer(PORT, to=collector.getsockname()[1])
        collector.settimeout(60)
        ask = f"""python3 -c 'import socket; s = socket.create_connection(("{GATEWAY_ADDRESS}", %d), 2);
s.sendall(b"hello"); print(s.recv(9))'"""
        laptop.sh(f"({ask % PORT}) >/run/answer 2>&1 &").check()
        connection, _ = collector.accept()
        with connection:
            assert connection.recv(9) == b"hello"
            connection.sendall(b"welcome")
        laptop.sh("until grep -q welcome /run/answer; do sleep 0.05; done").check()
        assert "refused" in laptop.sh(ask % (PORT + 1)).out
        # Addresses outside have no route at all.
        assert "unreachable" in laptop.sh("ip route get 192.0.2.1").out

        network.unplug()
        assert "timed out" in laptop.sh(ask % PORT).out
        network.plug()

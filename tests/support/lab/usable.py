"""After a scenario: can whoever uses this laptop still work on it? What the rules of a school must never take away."""

from __future__ import annotations

from collections.abc import Mapping

from support.lab.cache import REPOSITORY
from support.lab.desktop import DISPLAY, Machine
from support.lab.nspawn import Laptop
from support.lab.tree import PUPIL
from support.lab.virtual_laptop import LaptopsInTurn, VirtualLaptop
from support.patience import PATIENCE

NOT_USABLE_WITHOUT_A_LAPTOP = "a scenario takes a laptop as a fixture"
PASSWORD = "typed by hand"
_PROGRAMS = REPOSITORY / "tests/lab/programs"
_SECONDS = 15 * PATIENCE
_PACKAGE = """
set -e; cd /run; for version in 1 2; do
  mkdir -p usable/DEBIAN
  printf 'Package: usable\\nVersion: %s\\nArchitecture: all\\nMaintainer: lab <lab@lab.example>\\nDescription: lab\\n' \
    $version >usable/DEBIAN/control
  dpkg-deb --build usable usable.deb; dpkg --install usable.deb
done
test "$(dpkg-query -W -f '${Version}' usable)" = 2; dpkg --purge usable
"""


def check_scenario(taken: Mapping[str, object]) -> None:
    """``taken``: the test's fixtures; each laptop among them is tried, but not one whose power was cut."""
    machines = {id(one): one for value in taken.values() for one in _laptops_of(value)}
    assert machines, NOT_USABLE_WITHOUT_A_LAPTOP
    for machine in machines.values():
        still_usable(machine)


def _laptops_of(fixture: object) -> list[Laptop | VirtualLaptop]:
    if isinstance(fixture, LaptopsInTurn):
        return [one for one in fixture.started if one.is_on]
    if isinstance(fixture, VirtualLaptop):
        return [fixture] if fixture.is_on else []
    return [fixture] if isinstance(fixture, Laptop) else []


def still_usable(machine: Machine, user: str = PUPIL) -> None:
    """A terminal takes a sign-in and a command, an open screen its locker's password and keys, and packages upgrade.

    Raises:
        AssertionError: one of them did not; the message says which.
    """
    machine.sh(f"echo '{user}:{PASSWORD}' | chpasswd").check()
    for name in ("at_terminal.py", "at_screen.py"):
        machine.put(f"/run/lab-{name}", (_PROGRAMS / name).read_bytes())
    seen = machine.sh(f"python3 /run/lab-at_terminal.py {user} '{PASSWORD}' {_SECONDS}", _SECONDS + 60)
    assert seen.rc == 0, f"{user} cannot sign in at a terminal and type: {seen.out}"
    if machine.sh(f"pgrep -x Xvfb -u {user}").rc == 0:
        asked = f"env DISPLAY={DISPLAY} python3 /run/lab-at_screen.py '{PASSWORD}' {_SECONDS}"
        seen = machine.sh(f"runuser -u {user} -- {asked}", _SECONDS + 60)
        assert seen.rc == 0, f"{user} does not get the screen back, or cannot type there: {seen.out}"
    seen = machine.sh(f"{{ {_PACKAGE} }} 2>&1")
    assert seen.rc == 0, f"packages cannot be installed and upgraded: {seen.out}"

"""A QEMU process for the virtual laptop. TCG only: what it shows must not depend on nested virtualisation."""

import shlex
import signal
import subprocess
from pathlib import Path

from support.lab.cache import LabError
from support.lab.commands import die_with_parent
from support.lab.guest_image import GuestFiles
from support.lab.guest_port import GuestPort
from support.lab.qmp import Qmp

PROGRAM = "qemu-system-x86_64"
# Features whose checks cost an emulated processor dearly and that no test is about.
_CPU = "max,pmu=off,la57=off,smap=off,smep=off,pku=off,pks=off,umip=off"
# An emulated USB controller that was saved while suspended notices no stick after the restore: it stays awake.
_KERNEL_OPTIONS = (
    "console=ttyS0 quiet loglevel=3 rw panic=-1 net.ifnames=0 systemd.show_status=0 "
    "mitigations=off nokaslr audit=0 apparmor=0 selinux=0 init_on_alloc=0 page_alloc.shuffle=0 "
    "tsc=reliable no_timer_check cryptomgr.notests random.trust_cpu=on usbcore.autosuspend=-1"
)
OPTICAL_DRIVE = "optical-drive"
_MEMORY_MIB = 512
_PROCESSORS = 2
_TRANSLATION_CACHE_MIB = 256


class Qemu:
    """A running QEMU: its control socket ``qmp`` and the port to the agent inside, ``port``."""

    def __init__(
        self,
        files: GuestFiles,
        *,
        disk: str,
        folder: Path,
        restore_from: Path | None = None,
        stick: tuple[Path, str] | None = None,
        card: Path | None = None,
    ) -> None:
        """Start it.

        Args:
            disk: options of ``-drive`` for the root disk.
            folder: for its sockets and its console.
            restore_from: a saved state; without one it boots.
            stick: a USB stick's image and serial number, in it from the start.
            card: an SD card's image, in a reader from the start; its size is a power of two. The emulated reader
                neither survives a restore nor a card that comes later.
        """
        self.console = folder / "console"
        command = [PROGRAM, *_options(files, disk, folder)]
        if stick is not None:
            command += ["-drive", f"file={stick[0]},format=raw,if=none,id=stick"]
            command += ["-device", f"usb-storage,bus=usb.0,drive=stick,serial={stick[1]},removable=on"]
        if card is not None:
            command += ["-device", "sdhci-pci", "-drive", f"file={card},format=raw,if=none,id=card"]
            command += ["-device", "sd-card,drive=card"]
        if restore_from is not None:
            command += ["-incoming", f"exec:cat {shlex.quote(str(restore_from))}"]
        with (folder / "qemu.err").open("wb") as errors:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=errors,
                stderr=errors,
                preexec_fn=die_with_parent(signal.SIGKILL),
            )
        try:
            self.qmp = Qmp(folder / "qmp")
            self.port = GuestPort(folder / "port")
        except LabError as error:
            self._process.kill()
            self._process.wait()
            raise LabError(f"{error}: {(folder / 'qemu.err').read_text()[-1000:]}") from error

    def kill(self) -> None:
        """SIGKILL: for the laptop a power cut."""
        self._process.kill()
        self._process.wait()
        self.port.close()
        self.qmp.close()

    def quit(self) -> None:
        """End QEMU so that all it holds is in its files."""
        self.qmp.run("quit")
        self._process.wait(30)
        self.port.close()
        self.qmp.close()


def _options(files: GuestFiles, disk: str, folder: Path) -> list[str]:
    return [
        "-nodefaults", "-no-user-config", "-display", "none", "-no-reboot", "-machine", "pc,i8042=off",
        "-accel", f"tcg,thread=multi,tb-size={_TRANSLATION_CACHE_MIB}", "-cpu", _CPU,
        "-smp", str(_PROCESSORS), "-m", str(_MEMORY_MIB),
        "-kernel", str(files.kernel), "-initrd", str(files.initramfs), "-append", _KERNEL_OPTIONS,
        "-serial", f"file:{folder}/console", "-qmp", f"unix:{folder}/qmp,server=on,wait=off",
        "-drive", disk, "-device", "virtio-rng-pci",
        "-device", "virtio-serial-pci", "-chardev", f"socket,id=port,path={folder}/port,server=on,wait=off",
        "-device", "virtserialport,chardev=port,name=schoolkeeper.lab.0",
        "-device", "qemu-xhci,id=usb",
        "-device", f"ide-cd,bus=ide.0,id={OPTICAL_DRIVE}",  # empty
    ]  # fmt: skip

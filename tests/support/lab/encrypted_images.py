"""Media that Windows, macOS, TrueCrypt and VeraCrypt encrypted: the images of cryptsetup's own tests.

They are in Debian's source package of cryptsetup, which apt fetches and checks as it does every package.
"""

import shutil
from pathlib import Path

from support.lab.cache import CachedFolder, LabError, hash_inputs
from support.lab.commands import run_tool
from support.lab.tree import RELEASE, configured_mirror

TOOLS = ("apt-get", "tar", "fallocate")
_PACKAGE = "cryptsetup"
_ARCHIVES = ("bitlk-images.tar.xz", "fvault2-images.tar.xz", "tcrypt-images.tar.xz")


def encrypted_images() -> CachedFolder:
    """Folders ``bitlk-images``, ``fvault2-images`` and ``tcrypt-images``, built or not."""
    return CachedFolder(name="encrypted-images", key=hash_inputs((Path(__file__), RELEASE)))


def build_encrypted_images() -> Path:
    """Fetch and unpack them if they are not there; some seconds.

    Raises:
        LabError: no mirror configured, or apt could not fetch the package.
    """
    return encrypted_images().build(_fill)


def _fill(folder: Path) -> None:
    work = folder / "work"
    (work / "lists/partial").mkdir(parents=True)
    sources = work / "sources.list"
    sources.write_text(f"deb-src {configured_mirror()} {RELEASE} main\n")
    apt = ["apt-get", "--quiet", "--quiet", "-o", f"Dir::Etc::SourceList={sources}"]
    apt += ["-o", "Dir::Etc::SourceParts=/dev/null", "-o", f"Dir::State::Lists={work}/lists"]
    apt += ["-o", "APT::Sandbox::User=root"]
    run_tool([*apt, "update"], cwd=work, timeout=300)
    run_tool([*apt, "source", "--download-only", "--only-source", _PACKAGE], cwd=work, timeout=300)
    source = next(work.glob(f"{_PACKAGE}_*.orig.tar.*"), None)
    if source is None:
        raise LabError(f"Debian's source package of {_PACKAGE} has no original archive")
    names = [f"*/tests/{name}" for name in _ARCHIVES]
    run_tool(["tar", "-xf", source, "--strip-components=2", "--wildcards", *names], cwd=work, timeout=120)
    for name in _ARCHIVES:
        run_tool(["tar", "-xf", work / name, "--no-same-owner"], cwd=folder, timeout=300)
    for image in (*folder.glob("bitlk-images/*.img"), folder / "fvault2-images/small"):
        run_tool(["fallocate", "--dig-holes", image], timeout=120)
    shutil.rmtree(work)

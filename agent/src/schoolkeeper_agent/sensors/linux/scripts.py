"""Which file an interpreter or the dynamic loader was told to run, from its name and its arguments. Pure.

The kernel asks about the interpreter alone (`sh game.sh`): what it is given is read from its command line. Only the
place of that file is made of it, no other word, and no file is opened: its file system could be a person's own.
"""

from __future__ import annotations

import posixpath
import re

_SHELLS = ("sh", "dash", "bash", "rbash", "zsh", "ksh", "ksh93", "mksh", "ash", "fish", "tcsh", "csh")
_NAMES = {
    **dict.fromkeys(_SHELLS, ("cs", "oO")),
    "python": ("cm", "WXQ"),
    "pypy": ("cm", "WXQ"),
    "perl": ("eE", "IMm"),
    "ruby": ("e", "IrCEK"),
    "node": ("ep", "rC"),
    "nodejs": ("ep", "rC"),
    "lua": ("e", "l"),
    "luajit": ("e", "ljO"),
    "tclsh": ("", ""),
    "wish": ("", ""),
    "php": ("rRF", "cdz"),
    "Rscript": ("e", ""),
    "guile": ("ce", "lL"),
    "mono": ("", ""),
    "wine": ("", ""),
    "wine64": ("", ""),
    "box64": ("", ""),
    "box86": ("", ""),
    "qemu-x86_64": ("", "LEg"),
    "qemu-x86_64-static": ("", "LEg"),
}
"""Name -> letters after which there is no file (its text is an argument), letters that take the next word."""
_FILE_AFTER = {
    "java": ("-jar",),
    "awk": ("-f", "--file"),
    "gawk": ("-f", "--file"),
    "mawk": ("-f",),
    "make": ("-f",),
}
_LOADER = re.compile(r"^ld(?:-linux[a-z0-9-]*|64)?(?:-[0-9.]+)?\.so(?:\.[0-9]+)*$")
_LOADER_TAKES = frozenset(
    {
        "--library-path", "--inhibit-rpath", "--audit", "--preload", "--argv0", "--glibc-hwcaps-mask",
        "--glibc-hwcaps-prepend",
    }
)  # fmt: skip
_SHELL_TAKES = frozenset({"--rcfile", "--init-file"})
_VERSION = re.compile(r"[0-9][0-9.]*$")
MAX_WORDS = 64


def runs_others(name: str) -> bool:
    """Whether a program of this name runs a file that it is given."""
    return bool(_LOADER.match(name)) or name in _FILE_AFTER or name == "busybox" or _plain(name) in _NAMES


def is_loader(path: str) -> bool:
    """Whether it is the dynamic loader: what it is given is a program and no script."""
    return bool(_LOADER.match(posixpath.basename(path)))


def script_of(name: str, words: list[str], folder: str) -> str:
    """The absolute path of the file, "" when none is named. ``words`` is the command line, ``folder`` where it runs."""
    if name == "busybox" and words and posixpath.basename(words[0]) != name:
        words = [name, *words]  # called by an applet's name
    given = _given(name, words[1:MAX_WORDS])
    if not given:
        return ""
    return posixpath.normpath(posixpath.join(folder, given)) if folder or given.startswith("/") else ""


def _given(name: str, words: list[str]) -> str:
    if _LOADER.match(name):
        return "" if {"--list", "--verify"} & set(words) else _operand(words, "", "", takes=_LOADER_TAKES)
    if name == "busybox":
        applet = words[0] if words else ""
        return _operand(words[1:], *_NAMES[applet]) if applet in ("sh", "ash", "hush") else ""
    if name in _FILE_AFTER:
        for number, word in enumerate(words[:-1]):
            if word in _FILE_AFTER[name]:
                return words[number + 1]
        return _operand(words, "", "") if name == "java" and any(w.endswith(".java") for w in words) else ""
    if _plain(name) in ("python", "pypy") and (module := _module(words)):
        return module.replace(".", "/") + ".py"
    known = _NAMES.get(_plain(name))
    return _operand(words, *known) if known is not None else ""


def _module(words: list[str]) -> str:
    """What `-m` names, before anything that is no option: taken for a file in the folder where Python was started."""
    for number, word in enumerate(words[:-1]):
        if word == "-m":
            return words[number + 1]
        if not word.startswith("-"):
            return ""
    return ""


def _operand(words: list[str], text: str, valued: str, takes: frozenset[str] = frozenset()) -> str:
    """The first word that is no option; none after an option whose value is the program's text."""
    skip = False
    takes = takes or _SHELL_TAKES
    for number, word in enumerate(words):
        if skip:
            skip = False
        elif word == "--":
            return words[number + 1] if number + 1 < len(words) else ""
        elif word.startswith("--"):
            skip = word in takes
        elif word.startswith("-") and len(word) > 1:
            for place, letter in enumerate(word[1:], start=2):
                if letter in text:
                    return ""
                if letter in valued:
                    skip = place == len(word)
                    break
        else:
            return "" if word == "-" else word
    return ""


def _plain(name: str) -> str:
    """`python3.11` is python, `perl5.36` perl; `box64` is itself."""
    return name if name in _NAMES else _VERSION.sub("", name)

"""The calls into Windows' own libraries: rights on files, secrets that only this machine can read, who runs this.

Documented by Microsoft: CryptProtectData (dpapi.h), SetFileSecurityW and its texts (sddl.h), IsUserAnAdmin
(shlobj_core.h), QueryFullProcessImageNameW (winbase.h).
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from pathlib import Path

assert sys.platform == "win32"

_LOCAL_MACHINE, _NO_QUESTIONS = 0x4, 0x1
_OWNER, _DACL, _PROTECTED = 0x1, 0x4, 0x80000000
_SDDL_REVISION = 1
_QUERY_LIMITED, _LONGEST_PATH = 0x1000, 32_768


class _Blob(ctypes.Structure):
    _fields_ = (("size", wintypes.DWORD), ("data", ctypes.POINTER(ctypes.c_char)))


_crypt32 = ctypes.WinDLL("crypt32", use_last_error=True)
_advapi32 = ctypes.WinDLL("advapi32", use_last_error=True)
_kernel32 = ctypes.WinDLL("kernel32", use_last_error=True)
_shell32 = ctypes.WinDLL("shell32", use_last_error=True)
_kernel32.OpenProcess.argtypes = (wintypes.DWORD, wintypes.BOOL, wintypes.DWORD)
_kernel32.OpenProcess.restype = wintypes.HANDLE
_kernel32.CloseHandle.argtypes = (wintypes.HANDLE,)
_kernel32.QueryFullProcessImageNameW.argtypes = (
    wintypes.HANDLE, wintypes.DWORD, wintypes.LPWSTR, ctypes.POINTER(wintypes.DWORD),
)  # fmt: skip
_kernel32.LocalFree.argtypes = (ctypes.c_void_p,)
_kernel32.LocalFree.restype = ctypes.c_void_p
_advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW.argtypes = (
    wintypes.LPCWSTR, wintypes.DWORD, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p,
)  # fmt: skip
_advapi32.ConvertSecurityDescriptorToStringSecurityDescriptorW.argtypes = (
    ctypes.c_void_p, wintypes.DWORD, wintypes.DWORD, ctypes.POINTER(ctypes.c_void_p), ctypes.c_void_p,
)  # fmt: skip
_advapi32.SetFileSecurityW.argtypes = (wintypes.LPCWSTR, wintypes.DWORD, ctypes.c_void_p)
_advapi32.GetFileSecurityW.argtypes = (
    wintypes.LPCWSTR, wintypes.DWORD, ctypes.c_void_p, wintypes.DWORD, ctypes.POINTER(wintypes.DWORD),
)  # fmt: skip


def protect(secret: bytes) -> bytes:
    """Encrypted by a key of this installation of Windows (DPAPI). Raises ``OSError``."""
    return _crypt(_crypt32.CryptProtectData, secret)


def unprotect(kept: bytes) -> bytes:
    """Raises ``OSError`` for what another installation protected, or nobody."""
    return _crypt(_crypt32.CryptUnprotectData, kept)


def set_rights(path: Path, sddl: str) -> None:
    """Replaces who may do what with a file or folder; nothing is inherited from above. Raises ``OSError``."""
    descriptor = ctypes.c_void_p()
    if not _advapi32.ConvertStringSecurityDescriptorToSecurityDescriptorW(
        sddl, _SDDL_REVISION, ctypes.byref(descriptor), None
    ):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        if not _advapi32.SetFileSecurityW(str(path), _DACL | _PROTECTED, descriptor):
            raise ctypes.WinError(ctypes.get_last_error())
    finally:
        _kernel32.LocalFree(descriptor)


def rights_of(path: Path) -> str:
    """Owner and rights of a file as a text ('O:...D:...', sddl.h). Raises ``OSError``."""
    wanted, needed = _OWNER | _DACL, wintypes.DWORD()
    _advapi32.GetFileSecurityW(str(path), wanted, None, 0, ctypes.byref(needed))
    buffer = ctypes.create_string_buffer(max(needed.value, 1))
    if not _advapi32.GetFileSecurityW(str(path), wanted, buffer, needed.value, ctypes.byref(needed)):
        raise ctypes.WinError(ctypes.get_last_error())
    text = ctypes.c_void_p()
    if not _advapi32.ConvertSecurityDescriptorToStringSecurityDescriptorW(
        buffer, _SDDL_REVISION, wanted, ctypes.byref(text), None
    ):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        return ctypes.wstring_at(text.value or 0)
    finally:
        _kernel32.LocalFree(text)


def image_of(process_id: int) -> str:
    """The path of the program that a process runs. Raises ``OSError`` when it has ended or may not be asked."""
    process = _kernel32.OpenProcess(_QUERY_LIMITED, False, process_id)
    if not process:
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        size = wintypes.DWORD(_LONGEST_PATH)
        path = ctypes.create_unicode_buffer(_LONGEST_PATH)
        if not _kernel32.QueryFullProcessImageNameW(process, 0, path, ctypes.byref(size)):
            raise ctypes.WinError(ctypes.get_last_error())
        return path.value
    finally:
        _kernel32.CloseHandle(process)


def is_administrator() -> bool:
    return bool(_shell32.IsUserAnAdmin())


def _crypt(call: ctypes._NamedFuncPointer, data: bytes) -> bytes:
    given = _Blob(
        len(data), ctypes.cast(ctypes.create_string_buffer(data, len(data)), ctypes.POINTER(ctypes.c_char))
    )
    made = _Blob()
    flags = _LOCAL_MACHINE | _NO_QUESTIONS
    if not call(ctypes.byref(given), None, None, None, None, flags, ctypes.byref(made)):
        raise ctypes.WinError(ctypes.get_last_error())
    try:
        return ctypes.string_at(made.data, made.size)
    finally:
        _kernel32.LocalFree(ctypes.cast(made.data, ctypes.c_void_p))

"""Runs inside a laptop, as the person on whose screen it is: opens its lock with a password, and types into a window.

python3 at_screen.py PASSWORD SECONDS   (0: the locker let go, and every key arrived)
"""

import ctypes
import subprocess
import sys
import time

WORDS = "still here"
KEY_PRESS, KEY_PRESS_MASK, ASYNC, GRABBED = 2, 1, 1, 1
NOW = ctypes.c_ulong(0)
X = ctypes.CDLL("libX11.so.6")
X.XOpenDisplay.restype = ctypes.c_void_p
X.XDefaultRootWindow.restype = X.XCreateSimpleWindow.restype = ctypes.c_ulong


class Screen:
    """A window that has the keyboard's attention, on a screen of this person's."""

    def __init__(self) -> None:
        self._display = ctypes.c_void_p(X.XOpenDisplay(None))
        if not self._display:
            sys.exit("there is no screen")
        self._root = ctypes.c_ulong(X.XDefaultRootWindow(self._display))

    def is_locked(self) -> bool:
        if X.XGrabKeyboard(self._display, self._root, 1, ASYNC, ASYNC, NOW) == GRABBED:
            return True
        X.XUngrabKeyboard(self._display, NOW)
        X.XSync(self._display, 0)
        return False

    def open_window(self) -> None:
        window = ctypes.c_ulong(
            X.XCreateSimpleWindow(self._display, self._root, 0, 0, 99, 99, 0, NOW, NOW),
        )
        X.XSelectInput(self._display, window, ctypes.c_long(KEY_PRESS_MASK))
        X.XMapRaised(self._display, window)
        X.XSync(self._display, 0)
        X.XSetInputFocus(self._display, window, 1, NOW)
        X.XSync(self._display, 0)

    def keys(self) -> int:
        """How many were pressed since the last time this was asked."""
        event = (ctypes.c_long * 24)()
        pressed = 0
        while X.XPending(self._display):
            X.XNextEvent(self._display, event)
            pressed += ctypes.cast(event, ctypes.POINTER(ctypes.c_int))[0] == KEY_PRESS
        return pressed


def main(password: str, seconds: float) -> int:
    screen, until = Screen(), time.monotonic() + seconds
    while screen.is_locked() and time.monotonic() < until:
        subprocess.run(["xdotool", "type", "--delay", "20", password], check=True)
        subprocess.run(["xdotool", "key", "Return"], check=True)
        again = time.monotonic() + 5
        while screen.is_locked() and time.monotonic() < again:
            time.sleep(0.1)
    if screen.is_locked():
        print("the locker keeps the keyboard")
        return 1
    screen.open_window()
    subprocess.run(["xdotool", "type", "--delay", "20", WORDS], check=True)
    arrived = screen.keys()
    while arrived < len(WORDS) and time.monotonic() < until:
        time.sleep(0.1)
        arrived += screen.keys()
    print(f"{arrived} of {len(WORDS)} keys arrived")
    return 0 if arrived >= len(WORDS) else 1


sys.exit(main(sys.argv[1], float(sys.argv[2])))

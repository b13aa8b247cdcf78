"""What our windows share, for the system's own Python with GTK 3: 999 and Childline in sight, Esc, words from a pipe.

Each window is a program of its own (``python3 -I tell/gtk_form.py``). It loads this file and nothing else of the
agent, opens no file and reaches no service: what it shows comes on standard input, what is pressed goes to standard
output, one JSON object a line.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Callable
from typing import Any

NO_TOOLKIT = 3
"""Exit code where there is no toolkit or no screen."""
MARGIN = 12
_ESCAPE = 0xFF1B
_STYLE = b"""
.help { background: #fff; color: #0b0c0c; border: 4px solid #b10e1e; padding: 10px; }
.help label { font-size: 1.35em; font-weight: bold; }
.words { border: 2px solid #0b0c0c; }
.problem label, label.problem { color: #b10e1e; font-weight: bold; }
window, scrolledwindow, viewport, box, frame { background: #fff; color: #0b0c0c; }
frame > label { font-weight: bold; }
"""


class Window:
    """``said`` holds the words: ``title`` and ``help`` at least. Below the help lies what a subclass puts there."""

    def __init__(self, gtk: Any, glib: Any, said: dict[str, Any]) -> None:
        self.gtk, self.glib, self.said = gtk, glib, said
        self.window = gtk.Window(title=said["title"])
        self.window.set_default_size(680, 760)
        self.window.connect("destroy", gtk.main_quit)
        self.window.connect("key-press-event", self._key)
        self.outer = self.box()
        self.outer.pack_start(self._help(), False, False, 0)
        self.window.add(self.outer)

    def hear(self, heard: dict[str, Any]) -> None:
        """What the program behind it said, from the main loop."""

    def leave(self) -> None:
        """Esc was pressed."""
        self.window.destroy()

    def _help(self) -> Any:
        """First, and always in sight. Focusable, so that a screen reader comes by it."""
        box = self.box(0)
        box.get_style_context().add_class("help")
        for line in self.said["help"]:
            label = self.label(line)
            label.set_selectable(True)
            box.pack_start(label, False, False, 0)
        return box

    def box(self, spacing: int = MARGIN) -> Any:
        return self.gtk.Box(orientation=self.gtk.Orientation.VERTICAL, spacing=spacing, margin=MARGIN)

    def label(self, text: str) -> Any:
        label = self.gtk.Label(label=text, xalign=0, wrap=True)
        label.set_max_width_chars(70)
        return label

    def _key(self, _window: Any, event: Any) -> bool:
        if event.keyval == _ESCAPE:
            self.leave()
            return True
        return False


def alert_role() -> Any:
    """Of what a screen reader shall say as soon as it is there."""
    from gi.repository import Atk  # type: ignore[import-not-found]

    return Atk.Role.ALERT


def answer(said: dict[str, Any]) -> None:
    print(json.dumps(said), flush=True)


def run(make: Callable[[Any, Any, dict[str, Any]], Window]) -> int:
    """Shows the window that is described on standard input, until it is closed or that input ends."""
    try:
        import gi  # type: ignore[import-not-found]

        gi.require_version("Gdk", "3.0")
        gi.require_version("Gtk", "3.0")
        from gi.repository import Gdk, GLib, Gtk
    except (ImportError, ValueError):
        return NO_TOOLKIT
    if not Gtk.init_check()[0]:
        return NO_TOOLKIT
    Gtk.Settings.get_default().set_property("gtk-label-select-on-focus", False)
    style = Gtk.CssProvider()
    style.load_from_data(_STYLE)
    Gtk.StyleContext.add_provider_for_screen(Gdk.Screen.get_default(), style, 600)
    shown = make(Gtk, GLib, json.loads(sys.stdin.readline())["form"])

    def listen() -> None:
        for line in sys.stdin:
            GLib.idle_add(shown.hear, json.loads(line))
        GLib.idle_add(shown.window.destroy)

    threading.Thread(target=listen, daemon=True).start()
    Gtk.main()
    return 0

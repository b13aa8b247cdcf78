"""The window itself, for the system's own Python with GTK 3: everything it shows comes on standard input.

A program of its own (``python3 -I gtk_form.py``): it imports nothing of the agent and opens no file. Every
control has a name for a screen reader and is reached by the keyboard; Esc leaves at once.
"""

from __future__ import annotations

import json
import sys
import threading
from typing import Any

NO_TOOLKIT = 3
LOOK_SECONDS = 5
_MARGIN = 12
_STYLE = b"""
.help { background: #fff; color: #0b0c0c; border: 4px solid #b10e1e; padding: 10px; }
.help label { font-size: 1.35em; font-weight: bold; }
.words { border: 2px solid #0b0c0c; }
.problem label, label.problem { color: #b10e1e; font-weight: bold; }
window, scrolledwindow, viewport, box, frame { background: #fff; color: #0b0c0c; }
frame > label { font-weight: bold; }
"""


class Form:
    """One window. ``said`` holds the words; what is pressed goes to standard output."""

    def __init__(self, gtk: Any, glib: Any, said: dict[str, Any]) -> None:
        self.gtk, self.glib, self.said = gtk, glib, said
        self.to: dict[str, Any] = {}
        self.about: dict[str, Any] = {}
        self.window = gtk.Window(title=said["title"])
        self.window.set_default_size(680, 760)
        self.window.connect("destroy", gtk.main_quit)
        self.window.connect("key-press-event", self._key)
        outer = self._box()
        outer.pack_start(self._help(), False, False, 0)
        self.body = gtk.Box(orientation=gtk.Orientation.VERTICAL, spacing=_MARGIN)
        scrolled = gtk.ScrolledWindow(hscrollbar_policy=gtk.PolicyType.NEVER)
        scrolled.add(self.body)
        outer.pack_start(scrolled, True, True, 0)
        self.buttons = gtk.Box(spacing=_MARGIN)
        outer.pack_start(self.buttons, False, False, 0)
        self.window.add(outer)
        self._form() if "to" in said else self._only_help()
        self.window.show_all()
        self.problem.set_visible(bool(said["problem"]))

    # ---- parts ------------------------------------------------------------------------------------------

    def _help(self) -> Any:
        """First, and always in sight. Focusable, so that a screen reader comes by it."""
        box = self._box(0)
        box.get_style_context().add_class("help")
        for line in self.said["help"]:
            label = self._label(line)
            label.set_selectable(True)
            box.pack_start(label, False, False, 0)
        return box

    def _only_help(self) -> None:
        self._problem()
        self._put(self.problem)
        self._leave(self.said["close"])

    def _form(self) -> None:
        said = self.said
        for line in (*said["introduction"], said["keep"], said["contacts"]):
            if line:
                self._put(self._label(line))
        self._put(self._radios(said["who_reads"], said["to"], self.to, said["about_them"]))
        self._put(self._radios(said["what_about"], said["about"], self.about, ""))
        self._put(self._text())
        self._put(self._who())
        self.urgent = self.gtk.CheckButton(label=said["urgent"])
        self._put(self.urgent)
        self.quiet = self.gtk.CheckButton(label=said["quiet"])
        self.quiet.set_no_show_all(not said["quiet"])
        self._put(self.quiet)
        self._put(self._label(said["monitored"]))
        self._problem()
        self._put(self.problem)
        self.send = self.gtk.Button(label=said["send"])
        self.send.connect("clicked", self._sent)
        self.buttons.pack_start(self.send, False, False, _MARGIN)
        self._leave(said["leave"])

    def _radios(self, legend: str, choices: list[list[str]], into: dict[str, Any], hint: str) -> Any:
        frame = self.gtk.Frame(label=legend)
        box = self._box(4)
        if hint:
            box.pack_start(self._label(hint), False, False, 0)
        nothing = self.gtk.RadioButton()  # never shown: nothing is chosen for anybody
        for value, text in choices:
            button = self.gtk.RadioButton.new_with_label_from_widget(nothing, text)
            button.get_child().set_line_wrap(True)
            button.get_accessible().set_description(legend)
            into[value] = button
            box.pack_start(button, False, False, 0)
        frame.add(box)
        return frame

    def _text(self) -> Any:
        said = self.said
        box = self._box(4)
        label = self._label(said["words"])
        hint = self._label(said["words_hint"])
        self.text = self.gtk.TextView(wrap_mode=self.gtk.WrapMode.WORD_CHAR, accepts_tab=False)
        self.text.set_size_request(-1, 130)
        self.text.get_style_context().add_class("words")
        self.text.get_accessible().set_name(said["words"])
        self.text.get_accessible().set_description(said["words_hint"])
        label.set_mnemonic_widget(self.text)
        self.text.get_buffer().connect("insert-text", self._bounded)
        for part in (label, hint, self.text):
            box.pack_start(part, False, False, 0)
        return box

    def _who(self) -> Any:
        said = self.said
        box = self._box(4)
        label = self._label(said["who"])
        self.who = self.gtk.Entry(max_length=said["most_who"])
        self.who.get_accessible().set_name(said["who"])
        self.who.get_accessible().set_description(said["who_hint"])
        label.set_mnemonic_widget(self.who)
        for part in (label, self._label(said["who_hint"]), self.who):
            box.pack_start(part, False, False, 0)
        return box

    def _problem(self) -> None:
        self.problem = self._label(self.said["problem"])
        self.problem.get_style_context().add_class("problem")
        self.problem.set_selectable(True)

    def _leave(self, text: str) -> None:
        leave = self.gtk.Button(label=text)
        leave.connect("clicked", lambda _: self.window.destroy())
        self.buttons.pack_end(leave, False, False, _MARGIN)

    def _box(self, spacing: int = _MARGIN) -> Any:
        return self.gtk.Box(orientation=self.gtk.Orientation.VERTICAL, spacing=spacing, margin=_MARGIN)

    def _label(self, text: str) -> Any:
        label = self.gtk.Label(label=text, xalign=0, wrap=True)
        label.set_max_width_chars(70)
        return label

    def _put(self, part: Any) -> None:
        self.body.pack_start(part, False, False, 0)

    # ---- what happens -----------------------------------------------------------------------------------

    def _key(self, _window: Any, event: Any) -> bool:
        if event.keyval == 0xFF1B:  # Escape
            self.window.destroy()
            return True
        return False

    def _bounded(self, buffer: Any, _place: Any, text: str, _length: int) -> None:
        if buffer.get_char_count() + len(text) > self.said["most"]:
            buffer.stop_emission_by_name("insert-text")
            self._show_problem(self.said["words_hint"])

    def _written(self) -> str:
        buffer = self.text.get_buffer()
        return str(buffer.get_text(*buffer.get_bounds(), False))

    def _sent(self, _button: Any) -> None:
        words = self._written()
        chosen = {}
        for name, held, legend in (
            ("to", self.to, self.said["who_reads"]),
            ("about", self.about, self.said["what_about"]),
        ):
            chosen[name] = next((value for value, button in held.items() if button.get_active()), "")
            if not chosen[name]:
                self._show_problem(legend)
                return
        if not words.strip():
            self._show_problem(self.said["empty"])
            return
        self.send.set_sensitive(False)
        sent = {"words": words, "who": self.who.get_text(), "urgent": self.urgent.get_active()}
        answer({"send": sent | chosen | {"quiet": bool(self.said["quiet"]) and self.quiet.get_active()}})

    def hear(self, heard: dict[str, Any]) -> None:
        """What the service said, from the main loop."""
        if "refused" in heard:
            self.send.set_sensitive(True)
            self._show_problem(heard["refused"])
            return
        self._told(heard["told"])
        if not heard["last"]:
            self.glib.timeout_add_seconds(LOOK_SECONDS, self._look)

    def _look(self) -> bool:
        answer({"look": True})
        return False

    def _told(self, lines: list[str]) -> None:
        """What was written leaves the window; the state takes its place and is read out."""
        for child in self.body.get_children():
            self.body.remove(child)
        for child in self.buttons.get_children():
            self.buttons.remove(child)
        state = self._label("\n\n".join(lines))
        state.set_selectable(True)
        state.get_accessible().set_role(_alert())
        self._put(state)
        self._leave(self.said["close"])
        self.window.show_all()
        state.grab_focus()
        state.select_region(0, 0)

    def _show_problem(self, text: str) -> None:
        self.problem.set_text(text)
        self.problem.show()
        self.problem.grab_focus()


def _alert() -> Any:
    from gi.repository import Atk  # type: ignore[import-not-found]

    return Atk.Role.ALERT


def answer(said: dict[str, Any]) -> None:
    print(json.dumps(said), flush=True)


def main() -> int:
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
    form = Form(Gtk, GLib, json.loads(sys.stdin.readline())["form"])

    def listen() -> None:
        for line in sys.stdin:
            GLib.idle_add(form.hear, json.loads(line))
        GLib.idle_add(form.window.destroy)

    threading.Thread(target=listen, daemon=True).start()
    Gtk.main()
    return 0


if __name__ == "__main__":
    sys.exit(main())

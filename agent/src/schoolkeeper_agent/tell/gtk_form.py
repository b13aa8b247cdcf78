"""The form itself, for the system's own Python with GTK 3: everything it shows comes on standard input.

A program of its own (``python3 -I gtk_form.py``): of the agent it loads ``gtk_window.py`` and opens no file. Every
control has a name for a screen reader and is reached by the keyboard; Esc leaves at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))

from schoolkeeper_agent.gtk_window import MARGIN, Window, alert_role, answer, run

LOOK_SECONDS = 5


class Form(Window):
    """One form. ``said`` holds the words; what is pressed goes to standard output."""

    def __init__(self, gtk: Any, glib: Any, said: dict[str, Any]) -> None:
        super().__init__(gtk, glib, said)
        self.to: dict[str, Any] = {}
        self.about: dict[str, Any] = {}
        self.body = gtk.Box(orientation=gtk.Orientation.VERTICAL, spacing=MARGIN)
        scrolled = gtk.ScrolledWindow(hscrollbar_policy=gtk.PolicyType.NEVER)
        scrolled.add(self.body)
        self.outer.pack_start(scrolled, True, True, 0)
        self.buttons = gtk.Box(spacing=MARGIN)
        self.outer.pack_start(self.buttons, False, False, 0)
        self._form() if "to" in said else self._only_help()
        self.window.show_all()
        self.problem.set_visible(bool(said["problem"]))

    # ---- parts ------------------------------------------------------------------------------------------

    def _only_help(self) -> None:
        self._problem()
        self._put(self.problem)
        self._leave(self.said["close"])

    def _form(self) -> None:
        said = self.said
        for line in (*said["introduction"], said["keep"], said["contacts"]):
            if line:
                self._put(self.label(line))
        self._put(self._radios(said["who_reads"], said["to"], self.to, said["about_them"]))
        self._put(self._radios(said["what_about"], said["about"], self.about, ""))
        self._put(self._text())
        self._put(self._who())
        self.urgent = self.gtk.CheckButton(label=said["urgent"])
        self._put(self.urgent)
        self.quiet = self.gtk.CheckButton(label=said["quiet"])
        self.quiet.set_no_show_all(not said["quiet"])
        self._put(self.quiet)
        self._put(self.label(said["monitored"]))
        self._problem()
        self._put(self.problem)
        self.send = self.gtk.Button(label=said["send"])
        self.send.connect("clicked", self._sent)
        self.buttons.pack_start(self.send, False, False, MARGIN)
        self._leave(said["leave"])

    def _radios(self, legend: str, choices: list[list[str]], into: dict[str, Any], hint: str) -> Any:
        frame = self.gtk.Frame(label=legend)
        box = self.box(4)
        if hint:
            box.pack_start(self.label(hint), False, False, 0)
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
        box = self.box(4)
        label = self.label(said["words"])
        hint = self.label(said["words_hint"])
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
        box = self.box(4)
        label = self.label(said["who"])
        self.who = self.gtk.Entry(max_length=said["most_who"])
        self.who.get_accessible().set_name(said["who"])
        self.who.get_accessible().set_description(said["who_hint"])
        label.set_mnemonic_widget(self.who)
        for part in (label, self.label(said["who_hint"]), self.who):
            box.pack_start(part, False, False, 0)
        return box

    def _problem(self) -> None:
        self.problem = self.label(self.said["problem"])
        self.problem.get_style_context().add_class("problem")
        self.problem.set_selectable(True)

    def _leave(self, text: str) -> None:
        leave = self.gtk.Button(label=text)
        leave.connect("clicked", lambda _: self.window.destroy())
        self.buttons.pack_end(leave, False, False, MARGIN)

    def _put(self, part: Any) -> None:
        self.body.pack_start(part, False, False, 0)

    # ---- what happens -----------------------------------------------------------------------------------

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
        state = self.label("\n\n".join(lines))
        state.set_selectable(True)
        state.get_accessible().set_role(alert_role())
        self._put(state)
        self._leave(self.said["close"])
        self.window.show_all()
        state.grab_focus()
        state.select_region(0, 0)

    def _show_problem(self, text: str) -> None:
        self.problem.set_text(text)
        self.problem.show()
        self.problem.grab_focus()


if __name__ == "__main__":
    sys.exit(run(Form))

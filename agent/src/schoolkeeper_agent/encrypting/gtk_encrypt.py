"""The window that encrypts a stick, for the system's own Python with GTK 3: what it shows comes on standard input.

A program of its own (``python3 -I gtk_encrypt.py``): of the agent it loads ``gtk_window.py`` alone. Every control has a
name for a screen reader and is reached by the keyboard. Esc leaves; while the stick is overwritten it asks once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))

from schoolkeeper_agent.gtk_window import MARGIN, Window, alert_role, answer, run


class Form(Window):
    """Warning and passphrase, then progress, then the recovery key or what went wrong."""

    def __init__(self, gtk: Any, glib: Any, said: dict[str, Any]) -> None:
        super().__init__(gtk, glib, said)
        self.working = self.asked = False
        self.body = self.box()
        self.outer.pack_start(self.body, True, True, 0)
        self.buttons = gtk.Box(spacing=MARGIN)
        self.outer.pack_start(self.buttons, False, False, 0)
        self.window.connect("delete-event", lambda *_: self._stays())
        self.problem = self._told(said["problem"], "problem")
        if "warning" in said:
            self._form()
        else:
            self._put(self.problem)
            self._button(said["close"], self.leave, last=True)
        self.window.show_all()
        self.problem.set_visible(bool(said["problem"]))

    def leave(self) -> None:
        if not self._stays():
            self.window.destroy()

    def hear(self, heard: dict[str, Any]) -> None:
        if "share" in heard:
            self.working = True  # the stick is being changed: leaving is asked about once
            self.bar.set_fraction(heard["share"])
            self.bar.set_text(heard["doing"])
            self.bar.get_accessible().set_name(heard["doing"])
        elif "again" in heard:
            self.start.set_sensitive(True)
            self._show(heard["again"])
        elif "failed" in heard or "finished" in heard:
            self.working = False
            self._end(str(heard.get("finished") or heard["failed"]))

    # ---- parts ------------------------------------------------------------------------------------------

    def _form(self) -> None:
        said = self.said
        if said["why"]:
            self._put(self.label(said["why"]))
        self._put(self._told(said["warning"], "problem"))
        self.agree = self.gtk.CheckButton(label=said["agree"])
        self._put(self.agree)
        self.first, self.second = self._secret(said["first"]), self._secret(said["second"])
        self.bar = self.gtk.ProgressBar(show_text=True, no_show_all=True)
        self._put(self.bar)
        self._put(self.problem)
        self.start = self._button(said["start"], self._start)
        self._button(said["leave"], self.leave, last=True)

    def _secret(self, name: str) -> Any:
        label = self.label(name)
        entry = self.gtk.Entry(visibility=False, max_length=512, input_purpose=self.gtk.InputPurpose.PASSWORD)
        entry.get_accessible().set_name(name)
        label.set_mnemonic_widget(entry)
        self._put(label)
        self._put(entry)
        return entry

    def _told(self, text: str, style: str = "") -> Any:
        label = self.label(text)
        label.set_selectable(True)
        if style:
            label.get_style_context().add_class(style)
        return label

    def _button(self, text: str, pressed: Any, *, last: bool = False) -> Any:
        button = self.gtk.Button(label=text)
        button.connect("clicked", lambda _: pressed())
        (self.buttons.pack_end if last else self.buttons.pack_start)(button, False, False, MARGIN)
        return button

    def _put(self, part: Any) -> None:
        self.body.pack_start(part, False, False, 0)

    # ---- what happens -----------------------------------------------------------------------------------

    def _start(self) -> None:
        if not self.agree.get_active():
            self._show(self.said["not_agreed"])
        elif self.first.get_text() != self.second.get_text():
            self._show(self.said["different"])
        else:
            self.start.set_sensitive(False)
            self.problem.hide()
            answer({"passphrase": self.first.get_text()})
            self.glib.idle_add(self._works)

    def _works(self) -> bool:
        self.bar.show()
        return False

    def _stays(self) -> bool:
        """Whether the window stays: whoever stops in the middle is told once what that means."""
        if self.working and not self.asked:
            self.asked = True
            self._show(self.said["sure"])
            return True
        return False

    def _end(self, text: str) -> None:
        for child in (*self.body.get_children(), *self.buttons.get_children()):
            child.destroy()
        told = self._told(text)
        told.get_accessible().set_role(alert_role())
        self._put(told)
        self._button(self.said["close"], self.leave, last=True)
        self.window.show_all()
        told.grab_focus()
        told.select_region(0, 0)

    def _show(self, text: str) -> None:
        self.problem.set_text(text)
        self.problem.show()
        self.problem.grab_focus()


if __name__ == "__main__":
    sys.exit(run(Form))

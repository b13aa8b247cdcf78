"""The agreement's window, for the system's own Python with GTK 3: everything it shows comes on standard input.

A program of its own (``python3 -I gtk_agreement.py``): of the agent it loads ``gtk_window.py`` alone. The text is one
part that is read line by line with the arrow keys; Tab leads on to the buttons, and Esc is 'not now'. It is an
ordinary window: it takes no key from others, stands above none, and goes behind one that asks for help.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

sys.path.append(str(Path(__file__).parents[2]))

from schoolkeeper_agent.gtk_window import MARGIN, Window, alert_role, answer, run

_LARGE = 1.5
_LOOKS: dict[str, dict[str, Any]] = {
    "title": {"weight": 700, "scale": 1.5, "pixels_below_lines": 10},
    "plain": {"pixels_below_lines": 10},
    "heading": {"weight": 700, "scale": 1.2, "pixels_above_lines": 16, "pixels_below_lines": 6},
    "item": {"left_margin": 24, "pixels_above_lines": 4},
    "below": {"left_margin": 48},
    "source": {"pixels_above_lines": 16, "scale": 0.9},
}
"""How each kind of line looks; weights as in Pango, 700 is bold."""


class Agreement(Window):
    """``said``: ``lines``, ``notes``, who may ``agree``, and the words on the buttons."""

    def __init__(self, gtk: Any, glib: Any, said: dict[str, Any]) -> None:
        super().__init__(gtk, glib, said)
        self.filled = self.box(0)
        self.outer.pack_start(self.filled, True, True, 0)
        self.answered = False
        self._fill()
        self.window.connect("map-event", self._mapped)
        self.window.connect("delete-event", self._closing)
        self.window.show_all()
        self.problem.hide()

    def hear(self, heard: dict[str, Any]) -> None:
        if "form" in heard:
            self.said = heard["form"]
            self.window.set_title(self.said["title"])
            self._again_filled()
            answer({"shown": self.said["language"]})
        elif "problem" in heard:
            self._say(heard["problem"])
            self.buttons.set_sensitive(True)
        elif "told" in heard:
            self.said |= {"agree": [], "later": "", "notes": [heard["told"]]}
            self._again_filled()
            self._say(heard["told"])
        elif "behind" in heard:
            self._behind(heard["behind"])
        elif "close" in heard:
            self.answered = True
            self.window.destroy()

    def leave(self) -> None:
        """Esc, and the window's own way to close: put off, while there is something to answer."""
        if self.answered or not self.said["later"]:
            self.window.destroy()
            return
        self.answered = True  # a second Esc closes it, whatever becomes of this
        answer({"later": True})

    # ---- parts ------------------------------------------------------------------------------------------

    def _again_filled(self) -> None:
        for child in self.filled.get_children():
            self.filled.remove(child)
        self._fill()
        self.filled.show_all()
        self.problem.hide()
        self.text.grab_focus()

    def _fill(self) -> None:
        said = self.said
        scrolled = self.gtk.ScrolledWindow(hscrollbar_policy=self.gtk.PolicyType.NEVER)
        scrolled.add(self._text())
        self.filled.pack_start(scrolled, True, True, 0)
        below = self.box(4)
        for line in said["notes"]:
            below.pack_start(self.label(line), False, False, 0)
        self.problem = self.label("")
        self.problem.get_style_context().add_class("problem")
        self.problem.set_selectable(True)
        self.problem.get_accessible().set_role(alert_role())
        below.pack_start(self.problem, False, False, 0)
        self.filled.pack_start(below, False, False, 0)
        self.buttons = self.box(6)
        for by, label in said["agree"]:
            self._button(self.buttons, label, lambda chosen=by: self._agree(chosen))
        row = self.gtk.Box(spacing=MARGIN)
        self._button(row, said["later"] or said["close"], self.leave)
        self._button(row, said["again"], self._read_again)
        self._button(row, said["other_language"], lambda: answer({"language": True}))
        self._button(row, said["tell"], lambda: answer({"tell": True}))
        self.buttons.pack_start(row, False, False, 0)
        self.filled.pack_start(self.buttons, False, False, 0)

    def _text(self) -> Any:
        """Read only, with a cursor: a screen reader reads it line by line."""
        said = self.said
        view = self.text = self.gtk.TextView(
            wrap_mode=self.gtk.WrapMode.WORD_CHAR, editable=False, accepts_tab=False, cursor_visible=True,
            left_margin=MARGIN, right_margin=MARGIN, top_margin=MARGIN, bottom_margin=MARGIN,
        )  # fmt: skip
        view.get_style_context().add_class("words")
        view.get_accessible().set_name(said["lines"][0][1])
        buffer = view.get_buffer()
        bigger = _LARGE if said["large"] else 1.0
        tags = {
            kind: buffer.create_tag(kind, **{**look, "scale": look.get("scale", 1.0) * bigger})
            for kind, look in _LOOKS.items()
        }
        for kind, line in said["lines"]:
            marked = f"\N{BULLET} {line}" if kind == "item" else line
            buffer.insert_with_tags(buffer.get_end_iter(), f"{marked}\n", tags[kind])
        buffer.place_cursor(buffer.get_start_iter())
        return view

    def _button(self, into: Any, label: str, pressed: Any) -> None:
        button = self.gtk.Button(label=label)
        button.get_child().set_line_wrap(True)
        button.connect("clicked", lambda _: pressed())
        into.pack_start(button, False, False, 0)

    # ---- what happens -----------------------------------------------------------------------------------

    def _mapped(self, *_: Any) -> bool:
        """It is on the screen: from now on it counts as shown."""
        self.window.disconnect_by_func(self._mapped)
        self.text.grab_focus()
        answer({"shown": self.said["language"]})
        return False

    def _closing(self, *_: Any) -> bool:
        self.leave()
        return True

    def _agree(self, by: str) -> None:
        self.buttons.set_sensitive(False)
        answer({"agree": by})

    def _read_again(self) -> None:
        buffer = self.text.get_buffer()
        buffer.place_cursor(buffer.get_start_iter())
        self.text.scroll_to_iter(buffer.get_start_iter(), 0.0, True, 0.0, 0.0)
        self.text.grab_focus()

    def _say(self, text: str) -> None:
        self.problem.set_text(text)
        self.problem.show()
        self.problem.grab_focus()
        self.problem.select_region(0, 0)

    def _behind(self, behind: bool) -> None:
        """Below every other window while somebody asks for help, and small where the desktop allows it."""
        self.window.set_keep_below(behind)
        if behind:
            self.window.iconify()
            self.window.get_window().lower()
        else:
            self.window.deiconify()


if __name__ == "__main__":
    sys.exit(run(Agreement))

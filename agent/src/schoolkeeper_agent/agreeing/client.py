"""The way from the window to the running agent, and to the text that lies there for everybody to read."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from schoolkeeper_agent.agreeing.texts import Text, read_text
from schoolkeeper_agent.notice_child import FOLDER
from schoolkeeper_agent.session.agreeing_lines import (
    Answer,
    By,
    Request,
    Said,
    Standing,
    read_answer,
    write_request,
)
from schoolkeeper_agent.session.calling import call


@dataclass(slots=True, kw_only=True)
class Asking:
    """What is asked of this account, and in which language it is read. Its methods raise ``NotReached``."""

    run_dir: Path
    language: str
    answer: Answer

    def text(self) -> Text:
        """In the chosen language. Raises ``NoText``."""
        return read_text(self.run_dir / FOLDER, self.answer.band, self.language, self.answer.version)

    def say(self, what: Said, by: By = By.SELF) -> Answer:
        """Of the version that was read, even if another one holds by now."""
        request = Request(what=what, version=self.answer.version, language=self.language, by=by)
        return call(self.run_dir, write_request(request), read_answer)

    @property
    def asked(self) -> bool:
        return self.answer.standing in (Standing.OPEN, Standing.AGREED)


def look(run_dir: Path, language: str) -> Asking:
    """``language``: empty for the school's. Raises ``NotReached``."""
    answer = call(run_dir, write_request(Request(what=Said.LOOK)), read_answer, takes=False)
    return Asking(
        run_dir=run_dir, language="cy" if (language or answer.language) == "cy" else "en", answer=answer
    )

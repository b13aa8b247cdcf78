"""The notice says what the policy collects and what really runs, and nothing runs that it does not name (T-41)."""

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest

from schoolkeeper_agent import notice
from schoolkeeper_agent.collection import NEED_NO_NOTICE, lacks_notice
from schoolkeeper_agent.context import Context
from schoolkeeper_agent.notice import Running
from schoolkeeper_agent.sensors import load
from schoolkeeper_proto import model, policy
from schoolkeeper_proto.bundle import build, open_bundle
from schoolkeeper_proto.notices.facts import Audience
from schoolkeeper_proto.notices.reach import ACTED_ON, NEVER_MADE
from schoolkeeper_proto.notices.render import EDITIONS, edition_name
from schoolkeeper_proto.notices.words import Language, Level


def bundle(*kinds: policy.CollectedKind):  # type: ignore[no-untyped-def]
    sections = (
        policy.CollectionSection(kinds=kinds),
        policy.NoticeSection(
            introduction="We keep <children> safe.", not_watched=("your private phone",), contacts=("Ms Lee",),
            sign_in_notice="Monitored by the school.", language="en",
        ),
        policy.ScreenSection(text=policy.RuleText(rule_id="lock"), idle_lock_seconds=300),
    )  # fmt: skip
    data = build(school_id="s", group="g", version=3, compiled_at_unix_ms=1, sections=sections)
    return open_bundle(data, school_id="s", group="g", capabilities=frozenset())


STARTS = policy.CollectedKind(
    kind="application.started",
    notice="Which programs start.",
    purpose="to find games",
    retention_days=30,
    readers=("DSL",),
    off_site=False,
)


@pytest.mark.requirement("T-41", "W-62")
def test_the_page_names_what_is_collected_why_by_whom_and_how_long() -> None:
    page = notice.monitored_page(bundle(STARTS))
    named = (
        "Which programs start.",
        "to find games",
        "Who can look: DSL",
        "30 days",
        "Only on the school's own",
        "your private phone",
        "what you type",
        "locks after 5 min",
        "Ms Lee",
        "Policy version 3",
    )
    for words in named:
        assert words in page


def test_what_does_not_run_is_said_so() -> None:
    stopped = Running(name="processes", kinds=("application.started",), problem="needs root")
    page = notice.monitored_page(bundle(STARTS), [stopped])
    assert "Not collected at the moment: needs root" in page
    runs = Running(name="processes", kinds=("application.started",))
    assert "Not collected" not in notice.monitored_page(bundle(STARTS), [runs])
    assert "Nothing about what you do is collected." in notice.monitored_page(bundle())


@pytest.mark.requirement("T-41")
def test_kinds_told_in_the_same_words_are_one_line_and_stop_only_together() -> None:
    words = "Sticks that are plugged in."
    told = [policy.CollectedKind(kind=kind, notice=words) for kind in ("media.attached", "media.refused")]
    half = Running(name="media", kinds=("media.attached",), problem="needs root")
    other = Running(name="guard", kinds=("media.refused",))
    page = notice.monitored_page(bundle(*told), [half, other])
    assert page.count(words) == 1
    assert "Not collected" not in page
    assert "Not collected at the moment: needs root" in notice.monitored_page(bundle(*told), [half])


@pytest.mark.requirement("T-41")
def test_no_page_promises_what_no_part_of_the_agent_does() -> None:
    imported = policy.CollectedKind(kind=model.ImportedAlert.KIND, notice="What a filter saw.")
    assert "What a filter saw" not in notice.monitored_page(bundle(imported, STARTS))
    report = policy.CollectedKind(kind="person.report", notice="What you tell through 'Tell someone'.")
    assert "Tell someone" in notice.monitored_page(bundle(report, STARTS))
    sources = Path(notice.__file__).parent
    code = "\n".join(
        path.read_text()
        for path in sources.rglob("*.py")
        if path.name not in ("collection.py", "decisions.py")
    )
    for cls in model.BODY_CLASSES:
        made = f"model.{cls.__name__}(" in code or f"model.{cls.__name__}.KIND" in code
        if cls.KIND in NEVER_MADE:
            assert not made, f"{cls.KIND} is made now: take it off NEVER_MADE"


class _Page(HTMLParser):
    VOID = frozenset({"meta", "!doctype"})

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.headings: list[int] = []
        self.language = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "img", "link", "iframe")
        assert not [name for name, _ in attrs if name in ("src", "href", "onload", "style")]
        if tag == "html":
            self.language = str(dict(attrs)["lang"])
        if re.fullmatch("h[1-6]", tag):
            self.headings.append(int(tag[1]))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_for_browsers_stands_alone_and_is_well_formed() -> None:
    text = notice.monitored_page_html(bundle(STARTS))
    page = _Page()
    page.feed(text)
    assert page.open == []
    assert page.language == "en"
    assert page.headings[0] == 1
    assert set(page.headings[1:]) == {2}
    assert "&lt;children&gt;" in text
    assert "<title>" in text


def test_the_editions_say_what_does_not_run_and_are_what_the_service_wrote(tmp_path: Path) -> None:
    stopped = Running(name="processes", kinds=("application.started",), problem="needs root")
    notice.write_notices(tmp_path, bundle(STARTS), [stopped])
    name = (Audience.PUPIL, Level.JUNIOR, Language.WELSH)
    page = notice.written_page(tmp_path, page=False, name=name)
    assert page == notice.edition(bundle(STARTS), [stopped], name, page=False)
    assert "needs root" in page
    assert "needs root" in (tmp_path / "notice" / "parent.plain.en.html").read_text()


def test_the_editions_call_restricted_what_an_enforcer_acts_on() -> None:
    """What the agent enforces is what its enforcers are named after."""
    from schoolkeeper_agent import enforcers

    here = Context(bundle=bundle(), run_dir=Path("/nonexistent"))
    by_grant = {"isolation", "sign-in"}  # no rule of a policy asks for these
    of_others = {"bluetooth", "desktop"}  # of the rules on peripherals and on the screen, too
    assert {
        part.name for part in enforcers.load("linux", here, lambda _: None)
    } - by_grant - of_others == ACTED_ON


def test_the_files_are_readable_by_everybody(tmp_path: Path) -> None:
    folder = notice.write_notices(tmp_path, bundle(STARTS))
    names = {path.name: path for path in folder.iterdir()}
    editions = {edition_name(*name) + ending for name in EDITIONS for ending in (".txt", ".html")}
    assert set(names) == {"monitored.txt", "monitored.html", "sign-in.txt", "agreements.json"} | editions
    assert all(path.stat().st_mode & 0o004 for path in names.values())
    assert notice.written_page(tmp_path, page=False) == names["monitored.txt"].read_text()
    assert notice.written_page(tmp_path, page=True) == names["monitored.html"].read_text()
    assert notice.written_page(tmp_path / "nothing", page=False) is None
    at_sign_in = names["sign-in.txt"].read_text()
    assert at_sign_in.startswith("Monitored by the school.")
    assert "In danger now? Call 999.\nChildline: 0800 1111." in at_sign_in
    assert "Tell someone: schoolkeeper-agent tell\n" in at_sign_in


@pytest.mark.requirement("T-41", "W-62")
def test_a_sensor_of_which_nobody_was_told_does_not_start(tmp_path: Path) -> None:
    def names(opened) -> set[str]:  # type: ignore[no-untyped-def]
        context = Context(bundle=opened, run_dir=tmp_path)
        return {sensor.name for sensor in load("linux", context) if not lacks_notice(sensor, opened)}

    every = [policy.CollectedKind(kind=cls.KIND, notice="x") for cls in model.BODY_CLASSES]
    silent = [policy.CollectedKind(kind=cls.KIND, notice=" ") for cls in model.BODY_CLASSES]
    everything = names(bundle(*every))
    assert {"sessions", "processes", "media", "network", "posture"} <= everything
    about_people = everything - {"clock"}
    assert names(bundle()).isdisjoint(about_people)
    assert names(bundle(*silent)).isdisjoint(about_people)
    (media,) = (
        s for s in load("linux", Context(bundle=bundle(STARTS), run_dir=tmp_path)) if s.name == "media"
    )
    assert "media.attached" in lacks_notice(media, bundle(STARTS))
    assert "application.started" not in NEED_NO_NOTICE

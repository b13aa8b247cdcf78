"""Times as people say them, and a catalogue that misses no sentence."""

import re
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest
from babel.messages.extract import extract_from_dir
from babel.messages.pofile import read_po

from schoolkeeper_collector.console import words
from support.console import Bench, new_bench, new_store, post

LONDON = ZoneInfo("Europe/London")
NOW = 1_795_428_000_000  # Monday 23 November 2026, 10:00 in London
CONSOLE = Path(words.__file__).parent


@pytest.mark.parametrize(
    ("ago_minutes", "text"),
    [
        (0, "today at 10:00"),
        (1, "today at 09:59"),
        (60, "today at 09:00"),
        (11 * 60, "yesterday at 23:00"),
        (60 * 24 * 4, "Thursday 19 November at 10:00"),
        (60 * 24 * 250, "18 March 2026 at 10:00"),
        (-60, "today at 11:00"),
    ],
)
def test_times_as_a_person_says_them(ago_minutes: int, text: str) -> None:
    assert words.said(NOW - ago_minutes * 60_000, NOW, LONDON, words.english()) == text


def test_exact_times_have_seconds_and_a_zone() -> None:
    assert words.exact(NOW, LONDON, words.english()) == "Monday 23 November 2026, 10:00:00 GMT"
    assert words.machine_time(NOW, LONDON) == "2026-11-23T10:00:00+00:00"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(1, "1 second"), (59, "59 seconds"), (60, "1 minute"), (7200, "2 hours"), (200_000, "2 days")],
)
def test_lengths_of_time(seconds: int, text: str) -> None:
    assert words.lasting(seconds, words.english()) == text


def extracted() -> set[str]:
    found = extract_from_dir(
        CONSOLE,
        method_map=[("**.py", "python"), ("templates/**.html", "jinja2")],
        options_map={"templates/**.html": {"trimmed": "true"}},
        keywords={"_": None, "gettext": None, "ngettext": (1, 2), "say": None, "lasting": None},
    )
    return {message if isinstance(message, str) else message[0] for _, _, message, _, _ in found}


def test_the_welsh_catalogue_has_every_sentence_of_the_pages() -> None:
    with (CONSOLE / "locale/cy/LC_MESSAGES/console.po").open("rb") as file:
        catalogue = read_po(file, locale="cy")
    known = {
        message.id if isinstance(message.id, str) else message.id[0] for message in catalogue if message.id
    }
    missing = extracted() - known
    assert not missing, "run pybabel extract and update, as the console's README says"


def test_translations_keep_their_placeholders() -> None:
    with (CONSOLE / "locale/cy/LC_MESSAGES/console.po").open("rb") as file:
        catalogue = read_po(file, locale="cy")
    for message in catalogue:
        if message.id and message.string:
            assert not list(message.check(catalogue)), message.id


def placeholders(text: str) -> set[str]:
    return set(re.findall(r"%\(\w+\)[sd]", text))


def test_every_welsh_sentence_is_there_with_the_placeholders_of_the_english_one() -> None:
    """A form for one single number (0, 1, 2, 3 or 6) may say it in words; the form for all others may not."""
    with (CONSOLE / "locale/cy/LC_MESSAGES/console.po").open("rb") as file:
        catalogue = read_po(file, locale="cy")
    empty, wrong = [], []
    for message in catalogue:
        if not message.id:
            continue
        forms = [message.string] if isinstance(message.string, str) else list(message.string or [""])
        english_one = message.id if isinstance(message.id, str) else message.id[-1]
        wanted = placeholders(english_one)
        if not all(form.strip() for form in forms) or message.fuzzy:
            empty.append(message.id)
        elif placeholders(forms[-1]) != wanted or any(
            (placeholders(form) ^ wanted) - {"%(num)s", "%(num)d"} for form in forms
        ):
            wrong.append(message.id)
    assert not empty, "without Welsh: a Welsh reader would meet English in the middle of a page"
    assert not wrong


def test_a_finished_language_is_offered_without_a_remark(bench: Bench) -> None:
    client = bench.client()
    assert words.load_languages()["cy"].share == 1
    answer = post(client, "/language", language="cy", next="/sign-in")
    assert answer.headers["location"] == "/sign-in"
    page = client.get("/sign-in").text
    assert '<html lang="cy"' in page
    assert "Mewngofnodi" in page
    assert "Nid yw’r iaith hon wedi’i gorffen" not in page
    assert "Mewngofnodi" in bench.client().get("/sign-in", headers={"accept-language": "cy-GB,en;q=0.5"}).text
    assert "Sign in" in bench.client().get("/sign-in", headers={"accept-language": "fr"}).text
    assert "set-cookie" not in post(client, "/language", language="xx").headers


def test_an_unfinished_language_says_so_and_falls_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = (CONSOLE / "locale/cy/LC_MESSAGES/console.po").read_text(encoding="utf-8")
    part = whole.replace('msgstr "Eich cyfrinair"', 'msgstr ""')
    assert part != whole
    (tmp_path / "cy/LC_MESSAGES").mkdir(parents=True)
    (tmp_path / "cy/LC_MESSAGES/console.po").write_text(part, encoding="utf-8")
    monkeypatch.setattr(words, "LOCALE", tmp_path)
    monkeypatch.setattr("support.console.languages", words.load_languages)
    assert 0 < words.load_languages()["cy"].share < 1
    assert words.load_languages()["cy"].gettext("Your password") == "Your password"
    client = new_bench(new_store(tmp_path)).client()
    page = client.get("/sign-in", headers={"accept-language": "cy"}).text
    assert "Mewngofnodi" in page
    assert "Nid yw’r iaith hon wedi’i gorffen" in page


@pytest.mark.parametrize(("minutes", "text"), [(1, "1 munud"), (2, "2 funud"), (10, "10 munud")])
def test_welsh_plurals(minutes: int, text: str) -> None:
    assert words.lasting(minutes * 60, words.load_languages()["cy"]) == text

"""The console as the process that `schoolkeeper-collector run` starts, and the commands that feed it."""

import contextlib
import os
import re
import signal
import ssl
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest
from sqlalchemy import select
from typer.testing import CliRunner

from schoolkeeper_collector.cli import make_app
from schoolkeeper_collector.console import secrets
from schoolkeeper_collector.store import tables
from support.console import OWN_PAGE
from support.ports import free_port
from support.school import School

pytestmark = pytest.mark.timeout(300)


@pytest.fixture(scope="module")
def school(tmp_path_factory: pytest.TempPathFactory) -> Iterator[School]:
    made = School(folder=tmp_path_factory.mktemp("school"))
    yield made
    made.store.close()


def environment(school: School, listen: str) -> dict[str, str]:
    return {"SCHOOLKEEPER_STATE_DIR": str(school.folder), "SCHOOLKEEPER_CONSOLE_LISTEN": listen}


def command(school: School, *arguments: str) -> tuple[int, str]:
    answer = CliRunner().invoke(make_app(), list(arguments), env=environment(school, "127.0.0.1:1"))
    return answer.exit_code, answer.output


@contextlib.contextmanager
def console(school: School, listen: str, address: str) -> Iterator[subprocess.Popen[str]]:
    process = subprocess.Popen(
        [sys.executable, "-m", "schoolkeeper_collector.console"],
        env={**os.environ, **environment(school, listen)},
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        deadline = time.monotonic() + 90
        while True:
            with contextlib.suppress(httpx2.TransportError):
                if httpx2.get(f"{address}/healthz", verify=False).status_code == 200:
                    break
            assert process.poll() is None, process.stderr.read() if process.stderr else ""
            assert time.monotonic() < deadline, "the console did not answer within 30 seconds"
            time.sleep(0.1)
        yield process
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
        process.wait(60)


def test_from_the_command_line_to_the_first_page(school: School) -> None:
    status, said = command(school, "account", "create", "deputy", "--role", "dsl", "--name", "Deputy")
    assert status == 0, said
    found = re.search(r"First password: (\S+)", said)
    assert found
    port = free_port()
    address = f"http://127.0.0.1:{port}"
    with console(school, f"127.0.0.1:{port}", address) as process, httpx2.Client(base_url=address) as client:
        client.headers.update(OWN_PAGE)
        client.post("/sign-in", data={"login": "deputy", "password": found[1]})
        page = client.get("/sign-in/set-up").text
        key = re.search(r'sk-key">([A-Z2-7 ]+)<', page)
        assert key
        code = secrets.code_at(key[1].replace(" ", ""))
        assert client.post("/sign-in/set-up", data={"code": code}).headers["location"] == "/password"
        words = "three random words"
        fields = {"old": found[1], "new": words, "again": words}
        assert client.post("/password", data=fields).headers["location"] == "/"
        assert "Needs you now" in client.get("/").text
        process.send_signal(signal.SIGTERM)
        assert process.wait(60) == 0
        log = process.stderr.read() if process.stderr else ""
    assert "deputy" not in log, "no line of the log names who signed in"
    assert "/sign-in" not in log
    assert "in use" in command(school, "account", "list")[1]
    assert command(school, "account", "disable", "deputy")[0] == 0
    assert "disabled" in command(school, "account", "list")[1]
    status, said = command(school, "account", "reset", "nobody")
    assert status == 1
    assert "account list" in said


def test_elsewhere_than_on_loopback_it_speaks_tls_with_the_schools_certificate(school: School) -> None:
    port = free_port()
    address = f"https://127.0.0.1:{port}"
    trusted = ssl.create_default_context(cafile=str(school.folder / "keys/ca.pem"))
    with console(school, f"0.0.0.0:{port}", address):
        answer = httpx2.get(f"{address}/sign-in", verify=trusted)
        assert answer.headers["strict-transport-security"]
        with pytest.raises(httpx2.TransportError):
            httpx2.get(f"http://127.0.0.1:{port}/sign-in")


def test_an_address_that_is_none_is_named(school: School) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "schoolkeeper_collector.console"],
        env={**os.environ, **environment(school, "8443")},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "console_listen = '8443'" in run.stderr
    assert "for example 127.0.0.1:8443" in run.stderr
    assert "Traceback" not in run.stderr


def test_a_school_that_is_not_there_is_named(tmp_path: Path) -> None:
    run = subprocess.run(
        [sys.executable, "-m", "schoolkeeper_collector.console"],
        env={**os.environ, "SCHOOLKEEPER_STATE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.returncode == 1
    assert "init" in run.stderr
    assert "Traceback" not in run.stderr


def test_registers_from_the_command_line_are_all_or_nothing(school: School, tmp_path: Path) -> None:
    people = tmp_path / "people.csv"
    people.write_text("account_name,kind,display_name\nrowan,pupil,Rowan P.\nada,staff,Ada Lee\n")
    assert command(school, "people", "import", str(people))[0] == 0
    people.write_text("account_name,kind,display_name\nkit,child,Kit\nlee,pupil,\n")
    status, said = command(school, "people", "import", str(people))
    assert status == 1
    assert "people.csv:2" in said
    assert "people.csv:3" in said
    assert "Nothing was changed" in said
    assets = tmp_path / "assets.csv"
    assets.write_text("asset_tag,serial\nW1,SN1\n")
    assert "1 added" in command(school, "asset", "import", str(assets))[1]
    assert command(school, "asset", "import", str(tmp_path / "missing.csv"))[0] == 1
    status, said = command(
        school, "account", "create", "ada", "--role", "dsl", "--name", "Ada", "--person", "ada"
    )
    assert status == 0, said
    with school.store.read() as connection:
        rows = {row.account_name: row for row in connection.execute(select(tables.people))}
        assert set(rows) == {"rowan", "ada"}
        assert rows["ada"].account_id
        assert connection.execute(select(tables.assets.c.serial)).scalars().all() == ["SN1"]

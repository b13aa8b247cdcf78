"""The PostgreSQL server of the tests: real, separate per test, and gone afterwards."""

import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
import sqlalchemy as sa

from support.postgres import Postgres

pytestmark = pytest.mark.postgres
TESTS = Path(__file__).resolve().parents[2]
START_AND_DIE = """
import os, signal, sys
from pathlib import Path
from support.postgres import running_postgres
with running_postgres(Path(sys.argv[1])) as server:
    print((server.folder / "data" / "postmaster.pid").read_text().split()[0], flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""


def test_each_database_is_empty_and_its_own(postgres: Postgres, postgres_url: str) -> None:
    first, second = sa.create_engine(postgres_url), sa.create_engine(postgres.new_database())
    with first.begin() as connection:
        connection.execute(sa.text("CREATE TABLE things (name text)"))
        assert connection.execute(sa.text("SHOW fsync")).scalar_one() == "on"
    assert sa.inspect(first).get_table_names() == ["things"]
    assert sa.inspect(second).get_table_names() == []
    first.dispose()
    second.dispose()


def test_the_server_ends_with_the_process_that_started_it(postgres: Postgres) -> None:
    with tempfile.TemporaryDirectory() as folder:  # what a killed process leaves behind
        Path(folder).chmod(0o755)
        done = subprocess.run(
            [sys.executable, "-c", START_AND_DIE, folder],
            cwd=TESTS,
            stdout=subprocess.PIPE,
            check=False,
        )
        server = Path("/proc") / str(int(done.stdout))
        for _ in range(200):
            if not server.exists():
                break
            time.sleep(0.05)
        assert not server.exists()

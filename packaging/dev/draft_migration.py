"""Drafts a migration from what tables.py says and the migrations do not yet.

python packaging/dev/draft_migration.py first --again     # before the first release: write 0001 anew
python packaging/dev/draft_migration.py "what changes"    # later: one more
"""

import subprocess
import sys
import tempfile

from alembic import command

from schoolkeeper_collector.store import migrate as store_migrate
from schoolkeeper_collector.store.database import open_engine


def draft(message: str, *, again: bool) -> None:
    for name in ("main", "keystore"):
        config = store_migrate.config_for(name)
        versions = store_migrate.MIGRATIONS / name / "versions"
        existing = sorted(versions.glob("[0-9]*.py"))
        if again:
            for path in existing:
                path.unlink()
            existing = []
        with tempfile.TemporaryDirectory() as folder:
            url = f"sqlite:///{folder}/draft.db"
            store_migrate.upgrade(url, name)
            engine = open_engine(url)
            with engine.connect() as connection:
                config.attributes["connection"] = connection
                number = f"{len(existing) + 1:04}"
                script = command.revision(config, message, autogenerate=True, rev_id=number)
            engine.dispose()
        if script is None or isinstance(script, list):
            raise SystemExit(f"nothing drafted for {name}")
        subprocess.run([sys.executable, "-m", "ruff", "check", "--fix", "--quiet", script.path], check=False)
        subprocess.run([sys.executable, "-m", "ruff", "format", "--quiet", script.path], check=True)
        print(script.path)


if __name__ == "__main__":
    draft(sys.argv[1], again="--again" in sys.argv)

"""``schoolkeeper-collector policy plan``: what a policy would change here, tried against what happened."""

from __future__ import annotations

import json
import time
from contextlib import closing
from typing import Annotated

import typer
from sqlalchemy import select
from sqlalchemy.exc import OperationalError

from schoolkeeper_collector.config import ConfigError, load_settings
from schoolkeeper_collector.rehearsal.kept import keep
from schoolkeeper_collector.rehearsal.planning import NothingToPlan, pairs_of, rehearse
from schoolkeeper_collector.school.repository import NotPublished, RepositoryError
from schoolkeeper_collector.store.database import StoreUrlError, open_store
from schoolkeeper_collector.store.migrate import SchemaError, check_schema
from schoolkeeper_collector.store.tables import schools
from schoolkeeper_policies.officer.record import RecordError
from schoolkeeper_policies.officer.staged import StagedError
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_policies.trying.report import plan_json, plan_text
from schoolkeeper_proto.matching import TableMistake
from schoolkeeper_proto.trust import TrustRefused

DAY_MS = 86_400_000
_FAULTS = (
    ConfigError,
    NothingToPlan,
    NotPublished,
    PolicyError,
    RecordError,
    RepositoryError,
    SchemaError,
    StagedError,
    StoreUrlError,
    TableMistake,
    TrustRefused,
    OperationalError,
    OSError,
)
policy_app = typer.Typer(help="A policy before it is published.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(policy_app, name="policy")


@policy_app.callback()
def _group() -> None:
    """Keeps ``plan`` a command of its own."""


@policy_app.command()
def plan(
    pack: Annotated[
        str, typer.Option(help="A pack's folder or name; without it, the change that waits for signatures.")
    ] = "",
    days: Annotated[int, typer.Option(help="How many days of stored events.", min=1, max=400)] = 7,
    as_json: Annotated[bool, typer.Option("--json", help="For programs: one JSON object.")] = False,
) -> None:
    """Say what would change against what is in force, rule by rule, with devices, tried against stored events.

    The result is kept for the console's page. Exit status: 0 planned, 1 it could not be.
    """
    try:
        settings = load_settings()
        now_ms = time.time_ns() // 1_000_000
        pairs = pairs_of(settings.state_dir, pack, now_ms)
        with closing(open_store(settings.store_url, settings.keys_url)) as store:
            check_schema(store)
            with store.read() as connection:
                school = connection.execute(select(schools.c.school_id, schools.c.time_zone)).one()
            found, unreadable = rehearse(
                store,
                school.school_id,
                school.time_zone,
                pairs,
                since_ms=now_ms - days * DAY_MS,
                until_ms=now_ms,
            )
        of = pack or "the change that waits"
        keep(settings.state_dir, found, pairs, of=of, days=days, unreadable=unreadable, now_ms=now_ms)
    except _FAULTS as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error
    typer.echo(json.dumps(plan_json(found), indent=2) if as_json else plan_text(found))
    if unreadable and not as_json:
        typer.echo(f"{unreadable} stored events were erased or do not open: they are not counted")

"""``schoolkeeper-collector rules``: which detection rules there are, which are disabled and why."""

from __future__ import annotations

import time
from typing import Annotated

import typer
from sqlalchemy import select

from schoolkeeper_collector.config import ConfigError, load_settings
from schoolkeeper_collector.detection.cursors import disabled_rules, enable_rule
from schoolkeeper_collector.school.pack_in_force import PackInForceError, pack_in_force, rules_of
from schoolkeeper_collector.store.database import Store, open_store
from schoolkeeper_collector.store.migrate import SchemaError, check_schema
from schoolkeeper_collector.store.tables import schools
from schoolkeeper_policies.detection.ruleset import RuleSet
from schoolkeeper_policies.problems import PolicyError

app = typer.Typer(help="The detection rules and their state.", no_args_is_help=True)
Pack = Annotated[
    str, typer.Option(help="The policy pack whose rules are meant; the one in force if left out.")
]


def register(root: typer.Typer) -> None:
    root.add_typer(app, name="rules")


@app.command(name="list")
def list_(pack: Pack = "") -> None:
    """List every rule with level, audience and state."""
    rules = _rules(pack)
    store, school_id = _store()
    with store.read() as connection:
        disabled = disabled_rules(connection, school_id)
    for rule_id, rule in sorted(rules.rules.items()):
        off = (rule_id, rule.version) in disabled
        state = "DISABLED" if off else "feeds others" if rule.meta.silent else "on"
        typer.echo(f"{rule_id:32} {rule.level.value:14} {rule.meta.audience.value:13} {state}")


@app.command()
def disabled() -> None:
    """Show the rules that were disabled after an error; exit 1 if there are any."""
    store, school_id = _store()
    with store.read() as connection:
        found = disabled_rules(connection, school_id)
    for (rule_id, version), because in sorted(found.items()):
        typer.echo(f"{rule_id} ({version}): {because}")
    if found:
        typer.echo(
            "mend the rule, or give it another chance: schoolkeeper-collector rules enable RULE", err=True
        )
        raise typer.Exit(1)
    typer.echo("no rule is disabled")


@app.command()
def enable(rule_id: Annotated[str, typer.Argument(help="The rule's name.")]) -> None:
    """Give a disabled rule another chance; it looks at what comes from now on."""
    store, school_id = _store()
    with store.write() as connection:
        done = enable_rule(connection, school_id, rule_id)
    if not done:
        typer.echo(
            f"the rule {rule_id!r} is not disabled; see: schoolkeeper-collector rules disabled", err=True
        )
        raise typer.Exit(1)
    typer.echo(f"{rule_id}: enabled at {time.strftime('%H:%M:%S')}")


def _rules(pack: str) -> RuleSet:
    try:
        return rules_of(pack or pack_in_force(load_settings().state_dir))
    except (ConfigError, PackInForceError, PolicyError) as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from error


def _store() -> tuple[Store, str]:
    """The store and its one school; a clear message where there is none."""
    try:
        settings = load_settings()
        store = open_store(settings.store_url, settings.keys_url)
        check_schema(store)
    except (ConfigError, SchemaError, ValueError) as error:
        typer.echo(f"{error}", err=True)
        raise typer.Exit(1) from error
    with store.read() as connection:
        school_id = connection.execute(select(schools.c.school_id)).scalar()
    if school_id is None:
        typer.echo("there is no school yet: run schoolkeeper-collector init", err=True)
        raise typer.Exit(1)
    return store, school_id

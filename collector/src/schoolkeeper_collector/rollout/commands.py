"""``rollout``: how far a new policy is, ring by ring, and what a technician does about it from the command line."""

from __future__ import annotations

import getpass
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from typing import Annotated, TypeVar

import typer
from sqlalchemy.exc import OperationalError

from schoolkeeper_collector.command_line import now_ms
from schoolkeeper_collector.config import ConfigError, load_settings
from schoolkeeper_collector.rollout import gate, state
from schoolkeeper_collector.rollout.gate import Standing
from schoolkeeper_collector.rollout.running import Rollouts, View, by_hand
from schoolkeeper_collector.school.keys import KeysError, load_keys
from schoolkeeper_collector.school.pack_in_force import PackInForceError
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_collector.store.database import Store, StoreUrlError, open_store
from schoolkeeper_collector.store.migrate import SchemaError, check_schema
from schoolkeeper_policies.problems import PolicyError
from schoolkeeper_proto import trust

T = TypeVar("T")
_FAULTS = (
    ConfigError,
    KeysError,
    NotPublished,
    PackInForceError,
    PolicyError,
    RepositoryError,
    SchemaError,
    StoreUrlError,
    PermissionError,
    OperationalError,
    state.RolloutError,
    trust.TrustRefused,
)
_Group = Annotated[str, typer.Argument(help="The group of devices.")]
_Reason = Annotated[str, typer.Option(help="Why; it stands in the rollout's log.")]

rollout_app = typer.Typer(help="A new policy on its way to devices, ring by ring.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(rollout_app, name="rollout")


@rollout_app.command("show")
def show() -> None:
    """Show every rollout: its rings, who has the new policy, what was measured, and what happens next."""

    def work(store: Store, rollouts: Rollouts) -> list[str]:
        now = now_ms()
        rollouts.step(now)
        with store.read() as connection:
            found = [
                line
                for view in rollouts.views(connection, now)
                for line in (
                    *_lines(view),
                    *_log(state.log_of(connection, rollouts.school_id, view.plan.rollout_id)),
                )
            ]
        return found or ["No rollout: every device takes its group's newest policy at once."]

    for line in _work(work):
        typer.echo(line)


@rollout_app.command("pause")
def pause(group: _Group, reason: _Reason) -> None:
    """Stop for now: devices that do not have the new policy yet keep the old one."""
    _act("pause", group, reason)


@rollout_app.command("halt")
def halt(group: _Group, reason: _Reason) -> None:
    """Stop because something is wrong. Devices that have the new policy keep it: see `stage --previous-content`."""
    _act("halt", group, reason)
    typer.echo(f"To go back: schoolkeeper-collector stage --group {group} --previous-content --why ...")


@rollout_app.command("resume")
def resume(group: _Group, reason: _Reason) -> None:
    """Go on after a pause or a halt; what was measured before is not held against it any more."""
    _act("resume", group, reason)


@rollout_app.command("open")
def open_ring(group: _Group, reason: _Reason) -> None:
    """Open the next ring now, whatever the gate and the timetable say."""
    _act("open", group, reason)


def _act(action: str, group: str, reason: str) -> None:
    if not reason.strip():
        typer.echo("error: --reason is empty: say why, others will ask", err=True)
        raise typer.Exit(1)

    def work(store: Store, rollouts: Rollouts) -> state.Standing:
        return by_hand(
            store, rollouts, group, action, actor=getpass.getuser(), reason=reason.strip(), now_ms=now_ms()
        )

    done = _work(work)
    typer.echo(f"{group}: {done.state}, {done.open_rings} rings open")


def _lines(view: View) -> Iterator[str]:
    plan, one = view.plan, view.standing
    yield f"{plan.group}: version {plan.from_version} -> {plan.to_version}, {one.state}"
    if one.reason:
        yield f"  {one.reason}"
    for ring in view.rings:
        opened = "open  " if ring.number < one.open_rings else "closed"
        counts = ", ".join(f"{ring.count(s)} {s}" for s in Standing if ring.count(s)) or "no devices"
        yield f"  {opened} {ring.name:12} {len(ring.standings):5} devices: {counts}"
        for measure in ring.measures:
            mark = "TOO MANY" if measure.exceeded else ""
            yield (
                f"           {gate.WORDS[measure.sign]}: {measure.observed} of at most {measure.limit} {mark}"
            ).rstrip()
    yield f"  next: {view.next.because}"


def _log(entries: tuple[state.LogEntry, ...]) -> Iterator[str]:
    for entry in entries:
        when = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(entry.at_ms // 1000))
        yield f"  {when}  {entry.actor}: {entry.action}, {entry.open_rings} rings open: {entry.reason}"


def _work(work: Callable[[Store, Rollouts], T]) -> T:
    try:
        settings = load_settings()
        keys = load_keys(settings.state_dir)
        with closing(open_store(settings.store_url, settings.keys_url)) as store:
            check_schema(store)
            return work(
                store,
                Rollouts(
                    store, Repository(settings.state_dir), keys.school_id, keys.online, settings.state_dir
                ),
            )
    except _FAULTS as error:
        typer.echo(f"error: {error}", err=True)
        raise typer.Exit(1) from error

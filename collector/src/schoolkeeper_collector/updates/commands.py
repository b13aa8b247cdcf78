"""``agent-update``: a newer agent for devices, from the command line."""

from __future__ import annotations

import getpass
import os
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from schoolkeeper_collector.command_line import guarded, now_ms, opened_school
from schoolkeeper_collector.config import ConfigError, load_settings
from schoolkeeper_collector.school import staging
from schoolkeeper_collector.school.keys import KeysError, load_keys
from schoolkeeper_collector.school.repository import NotPublished, Repository, RepositoryError
from schoolkeeper_collector.store.database import StoreUrlError
from schoolkeeper_collector.store.migrate import SchemaError
from schoolkeeper_collector.updates.deb import DebError, read_agent_package
from schoolkeeper_collector.updates.gate import Standing, read_standing
from schoolkeeper_collector.updates.packages import Packages
from schoolkeeper_policies.officer.record import RecordError
from schoolkeeper_policies.officer.staged import StagedError
from schoolkeeper_proto import policy, release, trust
from schoolkeeper_proto.codec import decode, encode
from schoolkeeper_proto.rollout import EVERYBODY

T = TypeVar("T")
_FAULTS = (
    ConfigError,
    DebError,
    KeysError,
    NotPublished,
    RecordError,
    RepositoryError,
    SchemaError,
    StagedError,
    StoreUrlError,
    OSError,
    trust.TrustRefused,
)
_Reason = Annotated[str, typer.Option("--reason", help="Why; it is shown to whoever asks.")]

update_app = typer.Typer(help="A newer agent on its way to devices.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    app.add_typer(update_app, name="agent-update")


@update_app.command("stage")
def stage(
    package: Annotated[Path, typer.Argument(help="The agent's Debian package.")],
    share: Annotated[
        int,
        typer.Option(
            min=0, max=100, help="Percent of the devices that take it; wider later, by staging again."
        ),
    ] = 100,
    why: Annotated[str, typer.Option(help="The reason, for the change log.")] = "",
) -> None:
    """Prepare a newer agent for the officers to sign: one technical and one safeguarding signature, as for a policy.

    Begin with a small share. The same package staged again with a larger one takes in more devices; 0 stops it.
    """

    def work() -> tuple[Path, policy.AgentRelease]:
        settings = load_settings()
        keys = load_keys(settings.state_dir)
        found = read_agent_package(package)
        held = releases(settings.state_dir).get(release.release_target("linux", found.architecture))
        same = held is not None and held.package_sha256 == found.sha256
        made = policy.AgentRelease(
            school_id=keys.school_id,
            version=found.version,
            platform="linux",
            architecture=found.architecture,
            package_sha256=found.sha256,
            package_length=found.length,
            files_sha256=found.files_sha256,
            # The same devices are in front of the same package's wider share.
            salt=held.salt if held is not None and same else os.urandom(16),
            per_mille=share * EVERYBODY // 100,
        )
        name = release.release_target("linux", found.architecture)
        release.check_release(made, keys.school_id, name)
        Packages(settings.state_dir).keep(package, found.sha256)
        reasons = staging.Reasons(why=why, staged_by=getpass.getuser())
        folder = staging.stage(settings.state_dir, keys, {name: encode(made)}, now_ms(), reasons=reasons)
        return folder, made

    folder, made = _guarded(work)
    typer.echo(
        f"Staged in {folder}: the agent {made.version} for {share} % of the linux-{made.architecture} devices.\n"
        "One technical and one safeguarding officer run:\n\n"
        f"  schoolkeeper-officer sign {folder} --key THEIR-KEY-FILE\n\nthen: schoolkeeper-collector publish"
    )


@update_app.command("show")
def show() -> None:
    """Show every agent that is published: its share, whether it is handed out, and what devices said of it."""

    def work() -> list[str]:
        with opened_school() as at, at.store.read() as connection:
            packages = Packages(at.settings.state_dir)
            lines = []
            for name, found in sorted(releases(at.settings.state_dir).items()):
                said = read_standing(connection, at.store, at.keys.school_id, found.package_sha256)
                why = packages.halted(found.package_sha256)
                lines += [
                    f"{name.removeprefix(release.PREFIX)}  {found.version}  for {found.per_mille / 10:g} % of devices",
                    f"  {'HALTED: ' + why if why else 'handed out'}",
                    _said(said),
                ]
            return lines or ["no agent is published: `agent-update stage PACKAGE` prepares one"]

    typer.echo("\n".join(_guarded(work)))


@update_app.command("halt")
def halt(reason: _Reason) -> None:
    """Hand out no more of the published packages. Devices that fetched one already install it."""
    _for_each(lambda packages, found: packages.halt(found.package_sha256, reason))
    typer.echo("Halted. `agent-update resume` hands out again.")


@update_app.command("resume")
def resume(reason: _Reason) -> None:
    """Hand out again what was halted, by hand or because devices went back."""
    _for_each(lambda packages, found: packages.resume(found.package_sha256))
    typer.echo(f"Handed out again, because: {reason}")


def releases(state_dir: Path) -> dict[str, policy.AgentRelease]:
    """Target -> what is published there. Raises ``NotPublished``."""
    repository = Repository(state_dir)
    version = repository.current().targets_version
    view = trust.unchecked_targets(repository.read_file(f"metadata/{version}.targets.json"))
    return {
        name: decode(
            policy.AgentRelease, repository.read_file(f"targets/{trust.target_file_name(name, entry.sha256)}")
        )
        for name, entry in view.targets.items()
        if name.startswith(release.PREFIX)
    }


def _said(said: Standing) -> str:
    under_way = said.installed + said.started
    return (
        f"  succeeded {said.succeeded}, under way {under_way}, refused {said.refused}, went back {said.bad}"
    )


def _for_each(change: Callable[[Packages, policy.AgentRelease], None]) -> None:
    def work() -> None:
        state_dir = load_settings().state_dir
        found = releases(state_dir)
        if not found:
            raise RepositoryError("no agent is published: there is nothing to halt or resume")
        for one in found.values():
            change(Packages(state_dir), one)

    _guarded(work)


def _guarded(work: Callable[[], T]) -> T:
    return guarded(work, _FAULTS)

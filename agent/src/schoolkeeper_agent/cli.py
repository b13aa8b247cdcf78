"""``schoolkeeper-agent``: run, status, doctor, enrol, ask, tell, uninstall, ... What is not needed is not loaded."""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from schoolkeeper_agent.config import Settings
    from schoolkeeper_agent.waiting import Waiting
    from schoolkeeper_proto.bundle import OpenBundle


def main(arguments: list[str] | None = None) -> int:
    """The exit code: 0 good, 1 a fault that the message names, 2 wrong usage."""
    parser = _parser()
    args = parser.parse_args(arguments)
    from schoolkeeper_agent.config import CONFIG_PATH, ConfigError, Settings, load_settings
    from schoolkeeper_agent.system import here

    try:
        settings = load_settings(args.config)
    except ConfigError as error:
        if args.command not in ("ask", "agreement", "encrypt", "tell") or args.config != CONFIG_PATH:
            print(f"error: {error}", file=sys.stderr)
            return 1
        settings = (
            Settings()
        )  # who may not read the settings may ask and tell: the agent is where it always is
    if args.state_dir is None:
        args.state_dir = settings.state_dir
    elif args.command in ("run", "status", "policy", "notice", "uninstall"):
        from dataclasses import replace

        settings = replace(settings, state_dir=args.state_dir)
    if args.command in here.LEFT_OUT:
        print(f"error: {here.LEFT_OUT[args.command]}", file=sys.stderr)
        return 1
    try:
        return int(_COMMANDS[args.command](args, settings))
    except BrokenPipeError:
        return 0
    except PermissionError as error:
        print(f"error: {error}: run this as {here.ADMINISTRATOR}", file=sys.stderr)
        return 1


class _Parser(argparse.ArgumentParser):
    """Knows how wide the terminal is: to ask, argparse would load shutil and three packers into the service."""

    def __init__(self, **options: Any) -> None:
        super().__init__(formatter_class=partial(argparse.HelpFormatter, width=_columns() - 2), **options)


def _columns() -> int:
    """As `shutil.get_terminal_size` has it: what COLUMNS says, else the terminal, else 80."""
    said = os.environ.get("COLUMNS", "")
    if said.isdecimal() and int(said):
        return int(said)
    try:
        return os.get_terminal_size(sys.__stdout__.fileno() if sys.__stdout__ else 1).columns or 80
    except (OSError, ValueError):
        return 80


def _parser() -> argparse.ArgumentParser:
    from schoolkeeper_agent.config import CONFIG_PATH
    from schoolkeeper_proto.installed import VersionAction

    parser = _Parser(prog="schoolkeeper-agent", description="The school's agent on this device.")
    parser.add_argument(
        "--config", type=Path, default=CONFIG_PATH, help=f"settings of this machine ({CONFIG_PATH})"
    )
    parser.add_argument("--state-dir", type=Path, default=None, help="instead of the one in the settings")
    parser.add_argument("--version", action=VersionAction, const="schoolkeeper-agent")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("run", help="run the agent (the service does this)")
    status = commands.add_parser("status", help="what is seen, enforced, waiting and wrong")
    status.add_argument("--json", action="store_true", help="for programs")
    doctor = commands.add_parser(
        "doctor", help="check everything that stands between this device and its collector"
    )
    doctor.add_argument("--proxy", default="", help="http://[USER:PASSWORD@]HOST:PORT")
    _enrol_arguments(commands.add_parser("enrol", help="make this device one of the school's"))
    commands.add_parser("policy", help="the rules in force, in plain words")
    notice = commands.add_parser("notice", help="what is monitored on this device")
    notice.add_argument("--html", action="store_true", help="as a page, which prints as a poster")
    notice.add_argument(
        "--for", dest="audience", choices=("pupil", "staff", "guest", "parent"), help="for whom"
    )
    notice.add_argument(
        "--level", choices=("early", "junior", "plain"), help="reading level (plain); pupils only"
    )
    notice.add_argument("--language", choices=("en", "cy"), help="English (en) or Welsh (cy); English")
    ask = commands.add_parser(
        "ask", help="ask for an exception from a rule that refused you; alone: what was refused to you lately"
    )
    ask.add_argument("rule", nargs="?", metavar="RULE", help="the rule, as the notice named it")
    ask.add_argument(
        "--because",
        choices=("lesson", "homework", "work", "accessibility", "mistake", "other"),
        help="why (other); mistake: you think that the rule is wrong here",
    )
    ask.add_argument("--words", help="in your own words, at most 300 characters")
    encrypt = commands.add_parser(
        "encrypt", help="encrypt your stick that the school refuses; what is on it is lost"
    )
    encrypt.add_argument("device", nargs="?", default="", metavar="DEVICE", help="which one, as sda")
    encrypt.add_argument(
        "--passphrase-fd", type=int, default=-1, metavar="N", help="read the passphrase from this descriptor"
    )
    encrypt.add_argument(
        "--lose-everything", action="store_true", help="do not ask whether the data may be lost"
    )
    tell = commands.add_parser("tell", help="tell someone at school; 999 and Childline come first")
    tell.add_argument("--window", action="store_true", help="in a window, where the desktop can show one")
    tell.add_argument("--number", default="", help="what became of the message with this number")
    tell.add_argument("--language", choices=("en", "cy"), default="", help="English (en) or Welsh (cy)")
    agreement = commands.add_parser(
        "agreement", help="the rules for using this device: read them, and agree or put it off"
    )
    agreement.add_argument(
        "--window", action="store_true", help="in a window, where the desktop can show one"
    )
    agreement.add_argument("--language", choices=("en", "cy"), default="", help="English (en) or Welsh (cy)")
    _uninstall_arguments(
        commands.add_parser(
            "uninstall",
            help="remove the agent from this device, with a reason that the school hears",
            description="Tells the school why, waits a while until it has it, and then removes the agent's package."
            " Identity and undelivered events stay on the disk until `apt purge schoolkeeper-agent`.",
        )
    )
    commands.add_parser("settings", help="every setting with its default, as a file to edit")
    return parser


def _uninstall_arguments(parser: argparse.ArgumentParser) -> None:
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument(
        "--reason", metavar="TEXT", help="why, in one line; 3 to 300 characters; it is recorded"
    )
    given.add_argument("--seen-by-package-manager", action="store_true", help=argparse.SUPPRESS)  # its prerm
    parser.add_argument(
        "--wait",
        type=int,
        default=30,
        metavar="SECONDS",
        help="how long to wait until the school has the reason (30; 0 to 600); it is removed in any case",
    )
    parser.add_argument(
        "--even-unrecorded",
        action="store_true",
        help="remove it although the agent does not run and the reason cannot be recorded",
    )


def _enrol_arguments(parser: argparse.ArgumentParser) -> None:
    """Declared here and not where they are used: that module loads the network library."""
    parser.add_argument("address", metavar="HOST:PORT", help="the collector's enrolment port (7443)")
    given = parser.add_mutually_exclusive_group(required=True)
    given.add_argument("--token", help="the line that `schoolkeeper-collector token create` printed")
    given.add_argument(
        "--token-file", type=Path, help="a file that holds it, so that no one reads it over a shoulder"
    )
    parser.add_argument("--proxy", default="", help="http://[USER:PASSWORD@]HOST:PORT")
    parser.add_argument("--again", action="store_true", help="this device is enrolled; make it a new device")
    parser.add_argument(
        "--accept-clock", action="store_true", help="enrol although this machine's clock is wrong"
    )


def _run(args: argparse.Namespace, settings: Settings) -> int:
    del args
    from schoolkeeper_agent.light import forget_first_classes, without_openssl, without_unused

    with without_openssl(), without_unused():
        # In steps, so that the next step takes the room that one leaves.
        import schoolkeeper_proto.model
        import schoolkeeper_proto.wire

        forget_first_classes()
        import schoolkeeper_proto.codec  # noqa: F401

        forget_first_classes()
        from schoolkeeper_agent.bootstrap import StartRefused, run

        forget_first_classes()

    try:
        return run(settings)
    except StartRefused as error:
        print(f"error: {error}", file=sys.stderr)
        return 1


def _ask(args: argparse.Namespace, settings: Settings) -> int:
    """For everybody who uses this device; no rights are needed. 0: it was taken (or listed), 1: it was not."""
    from schoolkeeper_agent.asking import NotAsked, ask
    from schoolkeeper_agent.session.lines import Ask, AskLately, Because, Outcome

    if args.rule is None and (args.because or args.words):
        print(
            "error: name the rule; `schoolkeeper-agent ask` alone lists what was refused to you",
            file=sys.stderr,
        )
        return 2
    request = AskLately() if args.rule is None else Ask(
        rule_id=args.rule, because=Because(args.because or "other"), words=args.words or ""
    )  # fmt: skip
    try:
        reply = ask(settings.run_dir, request)
    except NotAsked as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    if reply.outcome is Outcome.REFUSED:
        print(f"error: {reply.text}", file=sys.stderr)
        return 1
    print(reply.text)
    return 0


def _tell(args: argparse.Namespace, settings: Settings) -> int:
    from schoolkeeper_agent.tell.command import tell_main

    return tell_main(settings.run_dir, language=args.language, number=args.number, window=args.window)


def _agreement(args: argparse.Namespace, settings: Settings) -> int:
    """For everybody who uses this device; no rights are needed. 0: it is agreed to, or nothing is asked."""
    from schoolkeeper_agent.agreeing.command import agreement_main

    return agreement_main(settings.run_dir, language=args.language, window=args.window)


def _encrypt(args: argparse.Namespace, settings: Settings) -> int:
    """For whoever plugged the stick in; no rights are needed. 0: it is encrypted."""
    del settings
    from schoolkeeper_agent.encrypting.command import main as encrypt_main

    return encrypt_main(args.device, passphrase_fd=args.passphrase_fd, sure=args.lose_everything)


def _uninstall(args: argparse.Namespace, settings: Settings) -> int:
    """Root only. 0: it is removed."""
    from schoolkeeper_agent.removing import command

    if args.seen_by_package_manager:
        return command.seen_by_package_manager(settings.run_dir)
    return command.uninstall_main(
        settings.run_dir,
        settings.state_dir,
        reason=args.reason,
        wait=args.wait,
        even_unrecorded=args.even_unrecorded,
    )


def _status(args: argparse.Namespace, settings: Settings) -> int:
    """0 when it runs and nothing is wrong, 1 otherwise."""
    from schoolkeeper_agent import status
    from schoolkeeper_agent.status_socket import NotAllowed, NotRunning, ask

    try:
        report = ask(settings.run_dir)
    except NotAllowed as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except NotRunning:
        from schoolkeeper_agent.reporting import report_from_files
        from schoolkeeper_agent.waiting import read_waiting

        waiting = read_waiting(settings.run_dir)
        if waiting is not None:
            return _waiting(args, settings, waiting)
        if settings.state_dir.exists() and not _may_read(settings.state_dir):
            print(f"error: the agent does not answer, and {settings.state_dir} may not be read: run this as root",
                  file=sys.stderr)  # fmt: skip
            return 1
        report = report_from_files(settings.state_dir, settings.room_bytes, time.time_ns() // 1_000_000)
    print(status.to_json(report) if args.json else status.render(report), end="\n" if args.json else "")
    wrong = report.problems or report.proof_failure or report.policy_problem or report.spool.failing_because
    return 0 if report.running and not wrong else 1


def _waiting(args: argparse.Namespace, settings: Settings, waiting: Waiting) -> int:
    """The service is up and sees nothing yet. As JSON: what the files say, and ``waiting`` beside it."""
    from schoolkeeper_agent import status
    from schoolkeeper_agent.reporting import report_from_files
    from schoolkeeper_agent.waiting import words

    if not args.json:
        print(words(waiting), end="")
        return 1
    report = report_from_files(settings.state_dir, settings.room_bytes, time.time_ns() // 1_000_000)
    print(json.dumps(json.loads(status.to_json(report)) | {"waiting": asdict(waiting)}))
    return 1


def _may_read(path: Path) -> bool:
    import os

    return os.access(path, os.R_OK | os.X_OK)


def _doctor(args: argparse.Namespace, settings: Settings) -> int:
    from schoolkeeper_agent.doctor import doctor_main

    args.proxy = args.proxy or settings.proxy
    return doctor_main(args)


def _enrol(args: argparse.Namespace, settings: Settings) -> int:
    from schoolkeeper_agent.enrol_command import enrol_main

    args.proxy = args.proxy or settings.proxy
    return enrol_main(args)


def _policy(args: argparse.Namespace, settings: Settings) -> int:
    del args
    from schoolkeeper_agent.policy_words import describe

    opened = _bundle(settings)
    if opened is None:
        return 1
    print(describe(opened), end="")
    return 0


def _notice(args: argparse.Namespace, settings: Settings) -> int:
    """The page that the running agent keeps for everybody to read; without it, one made from the policy on the disk."""
    from schoolkeeper_agent import notice
    from schoolkeeper_proto.notices.facts import Audience
    from schoolkeeper_proto.notices.words import Language, Level

    name = None
    if args.audience or args.level or args.language:
        audience, level = Audience(args.audience or "pupil"), Level(args.level or "plain")
        if audience is not Audience.PUPIL and level is not Level.PLAIN:
            print(
                f"error: only pupils have a notice at the level {level}: leave --level out", file=sys.stderr
            )
            return 2
        name = (audience, level, Language(args.language or "en"))
    page = notice.written_page(settings.run_dir, page=args.html, name=name)
    if page is None:
        opened = _bundle(settings)
        if opened is None:
            return 1
        if name is not None:
            page = notice.edition(opened, None, name, page=args.html)
        else:
            page = notice.monitored_page_html(opened) if args.html else notice.monitored_page(opened)
    print(page)
    return 0


def _bundle(settings: Settings) -> OpenBundle | None:
    from schoolkeeper_agent.policy_file import policy_at_start
    from schoolkeeper_agent.trust import TrustDamaged, load_trust

    try:
        trust = load_trust(settings.state_dir)
    except TrustDamaged as error:
        print(f"error: {error}", file=sys.stderr)
        return None
    if trust is None:
        print("No policy yet: this device is not enrolled. Run `schoolkeeper-agent enrol`.", file=sys.stderr)
        return None
    found = policy_at_start(trust, settings.state_dir)
    if found.problem:
        print(f"warning: {found.problem}", file=sys.stderr)
    return found.bundle


def _settings(args: argparse.Namespace, settings: Settings) -> int:
    del args, settings
    from schoolkeeper_agent.config import help_text

    print(help_text(), end="")
    return 0


_COMMANDS = {
    "run": _run,
    "status": _status,
    "doctor": _doctor,
    "enrol": _enrol,
    "policy": _policy,
    "notice": _notice,
    "ask": _ask,
    "encrypt": _encrypt,
    "tell": _tell,
    "agreement": _agreement,
    "uninstall": _uninstall,
    "settings": _settings,
}

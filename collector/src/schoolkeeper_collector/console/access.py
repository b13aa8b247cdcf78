"""Who may open what, as one table: every route of the console stands here, and a route that does not is not served.

``gate.py`` enforces the table; a test walks every route with every role and without one. The object column is kept by
the case file: an item that waits for another role, or is about the viewer, is as absent as one that does not exist
(T-07, W-19, W-89).
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from schoolkeeper_collector.incidents.model import Audience


class Role(StrEnum):
    """What an account is; one account has one role."""

    DSL = "dsl"
    HEAD = "head"
    CHAIR = "chair"
    """Of the governors: items about the only head, and nothing else."""
    TECHNICIAN = "technician"
    STAFF = "staff"
    """A teacher: opens lessons, reports to the DSL, and sees nothing of any case. No item waits for this role."""


AUDIENCE = {
    Role.DSL: Audience.DSL,
    Role.HEAD: Audience.HEAD,
    Role.CHAIR: Audience.CHAIR,
    Role.TECHNICIAN: Audience.TECHNICIAN,
}


class Stage(StrEnum):
    """How far a visitor has signed in. Each page is for one stage, so that none is half open."""

    ANONYMOUS = "anonymous"
    CODE = "code"
    """Password accepted, the second factor still missing."""
    PASSWORD = "password"  # noqa: S105 - a stage, not a password
    """Both factors accepted; a password that somebody else chose must be changed first."""
    SIGNED_IN = "signed-in"


class Sees(StrEnum):
    """What a route can show at most."""

    NOTHING = "no data of the school"
    OWN_ACCOUNT = "the visitor's own account"
    OWN_ITEMS = "alerts and incidents that wait for the viewer's role, and none about the viewer"
    WRITES_ONLY = "takes an entry and shows nothing of any case"
    COUNTS = "how many devices would have reached somebody today, and nothing of any"
    REQUESTS = "requests for an exception: device, rule and reason, and nobody's name"
    OWN_REPORTS = "takes an entry; of the viewer's own: number, when, and whether anybody read it"
    LESSONS = "which lesson is open for which group until when, and who opened it"
    FLEET = "devices and the collector's health, and nothing from a case"
    AGREEMENTS = "who agreed to which version of the rules; names for DSL and head, counts for the technician"
    POLICY = "changes of policy, who signed them and why, and nothing from a case"


@dataclass(frozen=True, slots=True, kw_only=True)
class Right:
    """One row: at this stage, these roles may use these methods on this path."""

    name: str
    path: str
    methods: tuple[str, ...] = ("GET",)
    stages: frozenset[Stage]
    roles: frozenset[Role] = frozenset()
    sees: Sees
    takes_file: bool = False
    """Its form may carry one text file, which arrives as the field of its name."""
    largest_form: int = 64 * 1024
    """In bytes; for a larger file, bytes that are no UTF-8 arrive as surrogates, for the handler to name."""
    live: bool = False
    """Asked for by the page and not by the person: does not keep a session alive."""


_ANYONE = frozenset(Stage)
_NOBODY_YET = frozenset({Stage.ANONYMOUS})
_CODE = frozenset({Stage.CODE})
_IN = frozenset({Stage.SIGNED_IN})
_EVERYBODY = frozenset(Role)
_ALL = frozenset({Role.DSL, Role.HEAD, Role.TECHNICIAN})
_READERS = frozenset({Role.DSL, Role.HEAD, Role.CHAIR, Role.TECHNICIAN})
_SAFEGUARDING = frozenset({Role.DSL, Role.HEAD, Role.CHAIR})
_TEACHING = frozenset({Role.STAFF, Role.DSL, Role.HEAD})
_STAFF = frozenset({Role.STAFF})
_TECHNICAL = frozenset({Role.TECHNICIAN})
_BOTH = ("GET", "POST")
_POST = ("POST",)

RIGHTS: tuple[Right, ...] = (
    Right(name="alive", path="/healthz", stages=_ANYONE, sees=Sees.NOTHING, live=True),
    Right(name="static", path="/static/{path:path}", stages=_ANYONE, sees=Sees.NOTHING, live=True),
    Right(name="language", path="/language", methods=_POST, stages=_ANYONE, sees=Sees.NOTHING),
    Right(name="sign-in", path="/sign-in", methods=_BOTH, stages=_NOBODY_YET, sees=Sees.NOTHING),
    Right(name="code", path="/sign-in/code", methods=_BOTH, stages=_CODE, sees=Sees.OWN_ACCOUNT),
    Right(name="enrol", path="/sign-in/set-up", methods=_BOTH, stages=_CODE, sees=Sees.OWN_ACCOUNT),
    Right(name="enrol-qr", path="/sign-in/set-up/key.svg", stages=_CODE, sees=Sees.OWN_ACCOUNT),
    Right(
        name="password",
        path="/password",
        methods=_BOTH,
        stages=frozenset({Stage.PASSWORD, Stage.SIGNED_IN}),
        roles=_EVERYBODY,
        sees=Sees.OWN_ACCOUNT,
    ),
    Right(
        name="sign-out",
        path="/sign-out",
        methods=_POST,
        stages=frozenset({Stage.CODE, Stage.PASSWORD, Stage.SIGNED_IN}),
        roles=_EVERYBODY,
        sees=Sees.OWN_ACCOUNT,
    ),
    # The front page: the queue of the viewer's own items; the technician's has the devices beside it.
    Right(name="front", path="/", stages=_IN, roles=_EVERYBODY, sees=Sees.OWN_ITEMS),
    Right(name="queue", path="/queue", stages=_IN, roles=_READERS, sees=Sees.OWN_ITEMS, live=True),
    Right(name="reach", path="/reach", stages=_IN, roles=_SAFEGUARDING, sees=Sees.COUNTS, live=True),
    Right(name="live", path="/live", stages=_IN, roles=_READERS, sees=Sees.NOTHING, live=True),
    Right(name="alert", path="/alerts/{item}", stages=_IN, roles=_READERS, sees=Sees.OWN_ITEMS),
    Right(
        name="verdict",
        path="/alerts/{item}/verdict",
        methods=_POST,
        stages=_IN,
        roles=_READERS,
        sees=Sees.OWN_ITEMS,
    ),
    Right(
        name="undo",
        path="/alerts/{item}/undo",
        methods=_POST,
        stages=_IN,
        roles=_READERS,
        sees=Sees.OWN_ITEMS,
    ),
    Right(
        name="alert-note",
        path="/alerts/{item}/notes",
        methods=_POST,
        stages=_IN,
        roles=_READERS,
        sees=Sees.OWN_ITEMS,
    ),
    # It holds the whole event, and so more than a technician's page tells.
    Right(
        name="proof",
        path="/alerts/{item}/proofs/{event}",
        stages=_IN,
        roles=_SAFEGUARDING,
        sees=Sees.OWN_ITEMS,
    ),
    Right(name="incidents", path="/incidents", stages=_IN, roles=_SAFEGUARDING, sees=Sees.OWN_ITEMS),
    # The technician writes to the log and reads none of it (W-19).
    Right(
        name="raise", path="/incidents/new", methods=_BOTH, stages=_IN, roles=_READERS, sees=Sees.WRITES_ONLY
    ),
    Right(
        name="seen", path="/incidents/seen", methods=_BOTH, stages=_IN, roles=_READERS, sees=Sees.WRITES_ONLY
    ),
    Right(name="raised", path="/incidents/recorded", stages=_IN, roles=_READERS, sees=Sees.WRITES_ONLY),
    Right(name="incident", path="/incidents/{item}", stages=_IN, roles=_SAFEGUARDING, sees=Sees.OWN_ITEMS),
    Right(
        name="incident-note",
        path="/incidents/{item}/notes",
        methods=_POST,
        stages=_IN,
        roles=_SAFEGUARDING,
        sees=Sees.OWN_ITEMS,
    ),
    Right(
        name="incident-close",
        path="/incidents/{item}/close",
        methods=_POST,
        stages=_IN,
        roles=_SAFEGUARDING,
        sees=Sees.OWN_ITEMS,
    ),
    Right(
        name="incident-reopen",
        path="/incidents/{item}/reopen",
        methods=_POST,
        stages=_IN,
        roles=_SAFEGUARDING,
        sees=Sees.OWN_ITEMS,
    ),
    Right(name="devices", path="/devices", stages=_IN, roles=_TECHNICAL, sees=Sees.FLEET),
    Right(name="device", path="/devices/{item}", stages=_IN, roles=_TECHNICAL, sees=Sees.FLEET),
    # Quiet isolations are shown to whoever holds their ground, and to nobody else.
    Right(name="held", path="/held", stages=_IN, roles=_READERS, sees=Sees.FLEET),
    Right(name="held-sheet", path="/held/{item}", stages=_IN, roles=_READERS, sees=Sees.FLEET),
    Right(name="changes", path="/changes", stages=_IN, roles=_ALL, sees=Sees.POLICY),
    Right(name="rehearsal", path="/changes/rehearsal", stages=_IN, roles=_ALL, sees=Sees.POLICY),
    Right(name="change-file", path="/changes/file", stages=_IN, roles=_ALL, sees=Sees.POLICY),
    Right(name="school-file", path="/changes/school", stages=_IN, roles=_ALL, sees=Sees.POLICY),
    Right(
        name="change-signatures",
        path="/changes/signatures",
        methods=_POST,
        stages=_IN,
        roles=_ALL,
        sees=Sees.POLICY,
        takes_file=True,
    ),
    Right(name="rollouts", path="/rollouts", stages=_IN, roles=_TECHNICAL, sees=Sees.FLEET),
    Right(
        name="rollout-act",
        path="/rollouts/{item}",
        methods=_POST,
        stages=_IN,
        roles=_TECHNICAL,
        sees=Sees.FLEET,
    ),
    Right(name="lessons", path="/lessons", methods=_BOTH, stages=_IN, roles=_TEACHING, sees=Sees.LESSONS),
    Right(
        name="lesson-end",
        path="/lessons/{item}/end",
        methods=_POST,
        stages=_IN,
        roles=_TEACHING,
        sees=Sees.LESSONS,
    ),
    # Whoever writes one reads nothing of it afterwards.
    Right(name="report", path="/report", methods=_BOTH, stages=_IN, roles=_STAFF, sees=Sees.OWN_REPORTS),
    Right(name="requests", path="/requests", stages=_IN, roles=_ALL, sees=Sees.REQUESTS),
    Right(
        name="request-decide",
        path="/requests/{item}",
        methods=_POST,
        stages=_IN,
        roles=_ALL,
        sees=Sees.REQUESTS,
    ),
    # The policy in force for devices without our agent, and what other systems tell of those.
    Right(name="platforms", path="/platforms", stages=_IN, roles=_TECHNICAL, sees=Sees.POLICY),
    Right(name="platform-files", path="/platforms/{item}", stages=_IN, roles=_TECHNICAL, sees=Sees.POLICY),
    Right(name="notices", path="/notices", stages=_IN, roles=_EVERYBODY, sees=Sees.POLICY),
    Right(name="notice", path="/notices/{item}", stages=_IN, roles=_EVERYBODY, sees=Sees.POLICY),
    Right(name="agreements", path="/agreements", stages=_IN, roles=_ALL, sees=Sees.AGREEMENTS),
    Right(
        name="inventory",
        path="/inventory",
        methods=_BOTH,
        stages=_IN,
        roles=_TECHNICAL,
        sees=Sees.FLEET,
        takes_file=True,
        largest_form=8 << 20,
    ),
    # Of applications, and nobody's name.
    Right(name="applications", path="/applications", stages=_IN, roles=_ALL, sees=Sees.FLEET),
    Right(name="accounts", path="/accounts", stages=_IN, roles=_TECHNICAL, sees=Sees.FLEET),
    # The technical audit: of devices, and nobody's name.
    Right(name="snapshots", path="/snapshots", stages=_IN, roles=_TECHNICAL, sees=Sees.FLEET),
    Right(name="snapshot", path="/snapshots/{item}", stages=_IN, roles=_TECHNICAL, sees=Sees.FLEET),
    Right(name="health", path="/collector", stages=_IN, roles=_TECHNICAL, sees=Sees.FLEET),
)


def right_of(name: str) -> Right:
    """Return the row of a route; KeyError for a route without one."""
    for right in RIGHTS:
        if right.name == name:
            return right
    raise KeyError(name)

"""Every table of a collector. The school is the partition key throughout; times are Unix milliseconds (``*_ms``).

Events lie in encrypted blobs, split by retention class, with one narrow row per event beside them. Ledger tables
only ever grow. ``SCHEMA`` is the relational store; ``KEYSTORE`` is a second database of its own with a short-lived
backup: losing a blob key is how an erasure reaches old backups.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    UniqueConstraint,
)

_NAMES = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "pk": "pk_%(table_name)s",
}
SCHEMA = MetaData(naming_convention=_NAMES)
KEYSTORE = MetaData(naming_convention=_NAMES)

# SQLite gives a rowid only to INTEGER keys; PostgreSQL wants 64 bits.
BigKey = BigInteger().with_variant(Integer(), "sqlite")


def _school() -> Column[str]:
    return Column("school_id", String(64), nullable=False)


schools = Table(
    "schools",
    SCHEMA,
    Column("school_id", String(64), primary_key=True),
    Column("name", Text, nullable=False),
    Column("generation", Integer, nullable=False),
    Column("time_zone", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
)

# ---- devices ------------------------------------------------------------------------------------------

devices = Table(
    "devices",
    SCHEMA,
    # A small number stands for the device in narrow rows.
    Column("device_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("device_id", LargeBinary(16), nullable=False),
    Column("device_group", String(64), nullable=False),
    # "active", "revoked", "joined" (into another device), "retired".
    Column("status", String(16), nullable=False),
    Column("joined_into", LargeBinary(16)),
    # Another device of the same serial is enrolled: a technician decides whether to join the two.
    Column("same_serial_as", LargeBinary(16)),
    Column("simulated", Boolean, nullable=False),
    Column("hostname", Text, nullable=False),
    Column("serial", Text, nullable=False),
    Column("vendor", Text, nullable=False),
    Column("model", Text, nullable=False),
    Column("operating_system", Text, nullable=False),
    Column("platform", String(32), nullable=False),
    Column("agent_version", String(64), nullable=False),
    Column("machine_hash", LargeBinary, nullable=False),
    Column("key_storage", String(16), nullable=False),
    Column("token_id", String(64), nullable=False),
    Column("enrolled_ms", BigInteger, nullable=False),
    # Absent until the first contact: unknown is not fine.
    Column("last_contact_ms", BigInteger),
    Column("last_address", Text, nullable=False, default=""),
    Column("bundle_hash", LargeBinary, nullable=False, default=b""),
    Column("bundle_version", BigInteger, nullable=False, default=0),
    Column("bundle_since_ms", BigInteger),
    Column("epoch", LargeBinary(16), nullable=False, default=b""),
    Column("spool_pending_events", BigInteger),
    Column("spool_oldest_seconds", BigInteger),
    Column("evicted_events", BigInteger, nullable=False, default=0),
    Column("set_aside_events", BigInteger, nullable=False, default=0),
    Column("skew_ms", BigInteger),
    # Why the device cannot verify our proofs; empty when it can.
    Column("proof_failure", Text, nullable=False, default=""),
    UniqueConstraint("school_id", "device_id"),
    Index("ix_devices_school_id_serial", "school_id", "serial"),
)

certificates = Table(
    "certificates",
    SCHEMA,
    _school(),
    Column("certificate_hash", LargeBinary(32), nullable=False),
    Column("device_id", LargeBinary(16), nullable=False),
    Column("serial_number", String(64), nullable=False),
    Column("der", LargeBinary, nullable=False),
    Column("not_before_ms", BigInteger, nullable=False),
    Column("not_after_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    Column("revoked_because", Text, nullable=False, default=""),
    PrimaryKeyConstraint("school_id", "certificate_hash"),
    Index("ix_certificates_school_id_device_id", "school_id", "device_id"),
)

tokens = Table(
    "tokens",
    SCHEMA,
    _school(),
    Column("token_id", String(64), nullable=False),
    Column("secret_hash", LargeBinary(32), nullable=False),
    Column("device_group", String(64), nullable=False),
    Column("uses_allowed", Integer, nullable=False),
    Column("uses", Integer, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("revoked_ms", BigInteger),
    PrimaryKeyConstraint("school_id", "token_id"),
)

enrolments = Table(
    "enrolments",
    SCHEMA,
    _school(),
    # Asking twice with the same nonce and key gives the same device.
    Column("request_nonce", LargeBinary, nullable=False),
    Column("public_key_hash", LargeBinary(32), nullable=False),
    Column("token_id", String(64), nullable=False),
    Column("device_id", LargeBinary(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "request_nonce", "public_key_hash"),
)

clone_sightings = Table(
    "clone_sightings",
    SCHEMA,
    Column("sighting_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("device_id", LargeBinary(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("what", Text, nullable=False),
)

# The technician's asset register: the denominator of every count of devices.
assets = Table(
    "assets",
    SCHEMA,
    _school(),
    Column("asset_tag", String(128), nullable=False),
    Column("serial", Text, nullable=False),
    Column("description", Text, nullable=False),
    Column("platform", String(32), nullable=False),
    Column("assigned_to", Text, nullable=False),
    Column("imported_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "asset_tag"),
)

posture = Table(
    "posture",
    SCHEMA,
    _school(),
    Column("device_no", BigInteger, nullable=False),
    Column("check_name", String(64), nullable=False),
    Column("result", String(16), nullable=False),
    Column("since_ms", BigInteger, nullable=False),
    Column("evaluated_ms", BigInteger, nullable=False),
    Column("evidence", Text, nullable=False),
    Column("unknown_because", Text, nullable=False),
    PrimaryKeyConstraint("school_id", "device_no", "check_name"),
)

# Which account was seen on which device: held against the register of people.
accounts_seen = Table(
    "accounts_seen",
    SCHEMA,
    _school(),
    Column("pseudonym", LargeBinary(16), nullable=False),
    Column("device_no", BigInteger, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "pseudonym", "device_no"),
)

# Which applications ran, by what stays over updates; of nobody and of no device. Held against the school's assessments.
applications_seen = Table(
    "applications_seen",
    SCHEMA,
    _school(),
    Column("identity", String(200), nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "identity"),
)

# Who was shown which version of the rules, put it off, agreed to it.
agreements_seen = Table(
    "agreements_seen",
    SCHEMA,
    _school(),
    Column("pseudonym", LargeBinary(16), nullable=False),
    Column("document", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    # An account that several people use: never one child's answer.
    Column("shared", Boolean, nullable=False),
    Column("band", String(16), nullable=False),
    Column("shown_ms", BigInteger),
    Column("put_off", Integer, nullable=False),
    # More often than is thought to be in order.
    Column("often", Boolean, nullable=False),
    Column("put_off_ms", BigInteger),
    Column("agreed_ms", BigInteger),
    # "self", "staff", "parent": as was said at the device.
    Column("agreed_by", String(16), nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "pseudonym", "document", "version"),
)

commands = Table(
    "commands",
    SCHEMA,
    _school(),
    Column("command_id", LargeBinary(16), nullable=False),
    Column("device_id", LargeBinary(16), nullable=False),
    Column("command", LargeBinary, nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("created_by", String(64), nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    Column("sent_ms", BigInteger),
    Column("answered_ms", BigInteger),
    Column("succeeded", Boolean),
    Column("detail", Text, nullable=False, default=""),
    PrimaryKeyConstraint("school_id", "command_id"),
    Index("ix_commands_school_id_device_id", "school_id", "device_id"),
)

grants = Table(
    "grants",
    SCHEMA,
    _school(),
    Column("grant_id", LargeBinary(16), nullable=False),
    Column("grant_bytes", LargeBinary, nullable=False),
    Column("kind", String(32), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "grant_id"),
)

# What each device last said of a grant.
grant_states = Table(
    "grant_states",
    SCHEMA,
    _school(),
    Column("grant_id", LargeBinary(16), nullable=False),
    Column("device_no", BigInteger, nullable=False),
    # "applied", "ended" or "refused"; of an isolation or a lost device also the states of IsolationChanged.
    Column("state", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "grant_id", "device_no"),
)

# ---- what devices reported ----------------------------------------------------------------------------

intervals = Table(
    "intervals",
    SCHEMA,
    _school(),
    Column("device_no", BigInteger, nullable=False),
    Column("epoch", LargeBinary(16), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    # Excluded.
    Column("end_sequence", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "device_no", "epoch", "lane", "first_sequence"),
)

gaps = Table(
    "gaps",
    SCHEMA,
    Column("gap_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("device_no", BigInteger, nullable=False),
    Column("epoch", LargeBinary(16), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("end_sequence", BigInteger, nullable=False),
    Column("opened_ms", BigInteger, nullable=False),
    Column("closed_ms", BigInteger),
    # "filled", "evicted", "set-aside".
    Column("closed_by", String(16), nullable=False, default=""),
    Index("ix_gaps_school_id_device_no", "school_id", "device_no"),
)

frames = Table(
    "frames",
    SCHEMA,
    _school(),
    Column("device_no", BigInteger, nullable=False),
    Column("epoch", LargeBinary(16), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    # The lane's chain before and after this frame.
    Column("previous", LargeBinary(32), nullable=False),
    Column("chain", LargeBinary(32), nullable=False),
    Column("leaf_index", BigInteger, nullable=False),
    # Commitments of its events, 32 bytes each, where they lie in blobs of several retention classes: when one
    # class expires, the others can still be proved.
    Column("leaves", LargeBinary),
    PrimaryKeyConstraint("school_id", "device_no", "epoch", "lane", "first_sequence"),
)

blobs = Table(
    "blobs",
    SCHEMA,
    Column("blob_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("device_no", BigInteger, nullable=False),
    Column("leaf_index", BigInteger, nullable=False),
    # Decides for how long; one batch may fill several.
    Column("retention", String(32), nullable=False),
    Column("key_id", LargeBinary(16), nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    # AES-GCM of zstd of the records: salt, event bytes, lane, sequence.
    Column("data", LargeBinary, nullable=False),
    Index("ix_blobs_school_id_leaf_index", "school_id", "leaf_index"),
    # Whose time is over.
    Index("ix_blobs_retention", "school_id", "retention", "received_ms"),
)

# What was deleted because its time was over, in all: every event that a frame names is stored or counted here.
expiries = Table(
    "expiries",
    SCHEMA,
    _school(),
    Column("retention", String(32), nullable=False),
    # Of this class everything received before this time went, unless it was held.
    Column("until_ms", BigInteger, nullable=False),
    Column("blobs", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "retention"),
)

# How far a class was searched for kinds that go before the rest of their class does.
trims = Table(
    "trims",
    SCHEMA,
    _school(),
    Column("retention", String(32), nullable=False),
    # Hash over the kinds and their period: another promise begins anew.
    Column("kinds", LargeBinary(32), nullable=False),
    # Of these kinds everything received before this time went, unless it was held.
    Column("until_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "retention", "kinds"),
)

# Which tombstones of the ledger say what went of a leaf.
erased = Table(
    "erased",
    SCHEMA,
    _school(),
    Column("leaf_index", BigInteger, nullable=False),
    Column("tombstone_index", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "leaf_index", "tombstone_index"),
)

events = Table(
    "events",
    SCHEMA,
    Column("event_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("device_no", BigInteger, nullable=False),
    Column("blob_no", BigInteger, nullable=False),
    Column("position", Integer, nullable=False),
    # The number of the kind on the wire.
    Column("kind", Integer, nullable=False),
    # When it happened, corrected by the device's own estimate of its skew.
    Column("event_ms", BigInteger, nullable=False),
    Column("severity", Integer, nullable=False),
    Index("ix_events_school_id_device_no_event_ms", "school_id", "device_no", "event_ms"),
)

evictions = Table(
    "evictions",
    SCHEMA,
    _school(),
    Column("device_no", BigInteger, nullable=False),
    Column("epoch", LargeBinary(16), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("frames", BigInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("evicted_ms", BigInteger, nullable=False),
    # The lane's chain before and after what was evicted; empty where a part of it was stored after all.
    Column("chain_before", LargeBinary(32), nullable=False),
    Column("chain_after", LargeBinary(32), nullable=False),
    Column("leaf_index", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "device_no", "epoch", "lane", "first_sequence"),
)

# Frames refused for good: their commitment and why, never their bytes.
set_aside = Table(
    "set_aside",
    SCHEMA,
    Column("set_aside_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("device_no", BigInteger, nullable=False),
    Column("epoch", LargeBinary(16), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("events", BigInteger, nullable=False),
    Column("root", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("leaf_index", BigInteger),
    UniqueConstraint("school_id", "device_no", "epoch", "lane", "first_sequence", "root"),
)

conflicts = Table(
    "conflicts",
    SCHEMA,
    Column("conflict_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("device_no", BigInteger, nullable=False),
    Column("epoch", LargeBinary(16), nullable=False),
    Column("lane", String(16), nullable=False),
    Column("first_sequence", BigInteger, nullable=False),
    Column("count", Integer, nullable=False),
    Column("held_root", LargeBinary, nullable=False),
    Column("claimed_root", LargeBinary, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    UniqueConstraint("school_id", "device_no", "epoch", "lane", "first_sequence", "claimed_root"),
)

# Facts that only the collector can see (a conflict, a broken chain, a silence): the detection's second input.
collector_facts = Table(
    "collector_facts",
    SCHEMA,
    Column("fact_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("device_no", BigInteger),
    # "gap.opened", "gap.closed", "chain.broken", "conflict", "clone.seen", "frame.refused", "device.silent", ...
    Column("kind", String(64), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    # JSON object of plain fields that rules may use.
    Column("fields", Text, nullable=False),
)

# ---- the ledger -----------------------------------------------------------------------------------------

ledger_entries = Table(
    "ledger_entries",
    SCHEMA,
    _school(),
    Column("leaf_index", BigInteger, nullable=False),
    Column("type", String(16), nullable=False),
    Column("leaf_hash", LargeBinary(32), nullable=False),
    # The serialised LedgerEntry: the leaf's data.
    Column("entry", LargeBinary, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "leaf_index"),
    Index("ix_ledger_entries_school_id_leaf_hash", "school_id", "leaf_hash"),
)

ledger_nodes = Table(
    "ledger_nodes",
    SCHEMA,
    _school(),
    # Complete inner nodes; level 0 is ledger_entries.leaf_hash.
    Column("level", Integer, nullable=False),
    Column("node_index", BigInteger, nullable=False),
    Column("hash", LargeBinary(32), nullable=False),
    PrimaryKeyConstraint("school_id", "level", "node_index"),
)

checkpoints = Table(
    "checkpoints",
    SCHEMA,
    _school(),
    Column("generation", Integer, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("root", LargeBinary(32), nullable=False),
    Column("note", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "generation", "size"),
)

# Whoever is not the sequencer submits here, in the same transaction as the change that it states.
ledger_queue = Table(
    "ledger_queue",
    SCHEMA,
    Column("queue_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("type", String(16), nullable=False),
    # The serialised LedgerEntry.
    Column("entry", LargeBinary, nullable=False),
    Column("submitted_ms", BigInteger, nullable=False),
    Column("leaf_index", BigInteger),
)

sequencer_terms = Table(
    "sequencer_terms",
    SCHEMA,
    Column("school_id", String(64), primary_key=True),
    # The fencing term: a sequencer that finds a higher one stops.
    Column("term", BigInteger, nullable=False),
    Column("holder", Text, nullable=False),
    Column("since_ms", BigInteger, nullable=False),
)

# ---- detection and incidents ------------------------------------------------------------------------------

detection_cursors = Table(
    "detection_cursors",
    SCHEMA,
    _school(),
    Column("source", String(32), nullable=False),
    Column("position", BigInteger, nullable=False),
    # Serialised window state, so that a restart continues where it stood.
    Column("state", LargeBinary, nullable=False, default=b""),
    PrimaryKeyConstraint("school_id", "source"),
)

rule_states = Table(
    "rule_states",
    SCHEMA,
    _school(),
    Column("rule_id", String(64), nullable=False),
    Column("version", String(64), nullable=False),
    Column("disabled_ms", BigInteger),
    Column("disabled_because", Text, nullable=False, default=""),
    PrimaryKeyConstraint("school_id", "rule_id"),
)

findings = Table(
    "findings",
    SCHEMA,
    _school(),
    # hash(rule, version, group, sorted events): the same finding twice is one row.
    Column("finding_id", LargeBinary(32), nullable=False),
    Column("rule_id", String(64), nullable=False),
    Column("rule_version", String(64), nullable=False),
    Column("subject", String(128), nullable=False),
    Column("device_no", BigInteger),
    Column("severity", Integer, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    # The events came in long after they happened.
    Column("late", Boolean, nullable=False),
    Column("alert_id", LargeBinary(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    # JSON: event numbers and fact numbers it rests on.
    Column("evidence", Text, nullable=False),
    PrimaryKeyConstraint("school_id", "finding_id"),
    Index("ix_findings_school_id_alert_id", "school_id", "alert_id"),
)

# The events that an alert rests on, as its findings name them: while it is open, or its incident is kept, they stay.
evidence = Table(
    "evidence",
    SCHEMA,
    _school(),
    Column("event_no", BigInteger, nullable=False),
    Column("alert_id", LargeBinary(16), nullable=False),
    PrimaryKeyConstraint("school_id", "event_no", "alert_id"),
    Index("ix_evidence_school_id_alert_id", "school_id", "alert_id"),
)

# Legal holds: what they name is not deleted until a person releases them.
holds = Table(
    "holds",
    SCHEMA,
    _school(),
    Column("number", Integer, nullable=False),
    # "incident" or "device".
    Column("object_type", String(16), nullable=False),
    Column("object_id", LargeBinary(16), nullable=False),
    Column("reason", Text, nullable=False),
    # With it the reasons can be held against the ledger's commitments.
    Column("salt", LargeBinary(16), nullable=False),
    Column("placed_by", String(64), nullable=False),
    Column("placed_ms", BigInteger, nullable=False),
    Column("released_ms", BigInteger),
    Column("released_by", String(64), nullable=False, default=""),
    Column("released_because", Text, nullable=False, default=""),
    PrimaryKeyConstraint("school_id", "number"),
    Index("ix_holds_school_id_object_id", "school_id", "object_id"),
)

alerts = Table(
    "alerts",
    SCHEMA,
    _school(),
    Column("alert_id", LargeBinary(16), nullable=False),
    Column("rule_id", String(64), nullable=False),
    # "device:<hex>", "user:<hex>" or "school": what the alert is about.
    Column("subject", String(128), nullable=False),
    Column("subject_kind", String(16), nullable=False),
    # Who it waits for: "dsl", "head", "technician". Staff items wait for the head and not the DSL.
    Column("audience", String(16), nullable=False),
    Column("severity", Integer, nullable=False),
    # "open", "closed".
    Column("state", String(16), nullable=False),
    Column("title", Text, nullable=False),
    Column("first_ms", BigInteger, nullable=False),
    Column("last_ms", BigInteger, nullable=False),
    Column("findings", Integer, nullable=False),
    Column("late", Boolean, nullable=False),
    Column("device_no", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Column("updated_ms", BigInteger, nullable=False),
    # The first person who looked or acted; from then on it never closes by itself.
    Column("touched_ms", BigInteger),
    Column("touched_by", String(64), nullable=False, default=""),
    # "", "false-positive", "no-concern", "watch", "raised", "recovered".
    Column("verdict", String(32), nullable=False, default=""),
    Column("verdict_by", String(64), nullable=False, default=""),
    Column("verdict_ms", BigInteger),
    Column("incident_id", LargeBinary(16)),
    PrimaryKeyConstraint("school_id", "alert_id"),
    # At most one open alert per rule and subject.
    Index(
        "uq_alerts_open",
        "school_id",
        "rule_id",
        "subject",
        unique=True,
        sqlite_where=Column("state") == "open",
        postgresql_where=Column("state") == "open",
    ),
    # In the order of the queue, so that its first page costs the same whatever lies behind it.
    Index("ix_alerts_queue", "school_id", "audience", "state", "severity", "last_ms"),
    # The console asks four times a second for the newest change of one audience.
    Index("ix_alerts_school_id_audience_updated_ms", "school_id", "audience", "updated_ms"),
)

incidents = Table(
    "incidents",
    SCHEMA,
    _school(),
    Column("incident_id", LargeBinary(16), nullable=False),
    Column("number", Integer, nullable=False),
    Column("category", String(64), nullable=False),
    Column("severity", Integer, nullable=False),
    Column("subject", String(128), nullable=False),
    Column("subject_kind", String(16), nullable=False),
    Column("audience", String(16), nullable=False),
    Column("state", String(16), nullable=False),
    Column("title", Text, nullable=False),
    # "rule", "alert", "person".
    Column("raised_by", String(64), nullable=False),
    Column("raised_ms", BigInteger, nullable=False),
    Column("alert_id", LargeBinary(16)),
    # The case's own key in the keystore: its text is encrypted at rest.
    Column("key_id", LargeBinary(16), nullable=False),
    # From then on its own period runs; until then what it rests on is held.
    Column("closed_ms", BigInteger),
    # "false-positive", "no-concern", "watch", "internal", "outside", "police"; "" while open, or withdrawn.
    Column("outcome", String(32), nullable=False, default="", server_default=""),
    Column("closed_by", String(64), nullable=False, default="", server_default=""),
    # When a person last closed or opened it.
    Column("changed_ms", BigInteger),
    PrimaryKeyConstraint("school_id", "incident_id"),
    UniqueConstraint("school_id", "number"),
    Index("ix_incidents_subject", "school_id", "subject"),
)

# Append-only: notes and changes of an alert or incident. An edit is a new entry.
case_entries = Table(
    "case_entries",
    SCHEMA,
    Column("entry_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    # "alert" or "incident".
    Column("object_type", String(16), nullable=False),
    Column("object_id", LargeBinary(16), nullable=False),
    Column("number", Integer, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("actor", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("key_id", LargeBinary(16), nullable=False),
    # AES-GCM of salt and text; the ledger holds the commitment.
    Column("ciphertext", LargeBinary, nullable=False),
    Column("commitment", LargeBinary(32), nullable=False),
    Column("queue_no", BigInteger),
    UniqueConstraint("school_id", "object_type", "object_id", "number"),
)

notices = Table(
    "notices",
    SCHEMA,
    Column("notice_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("account_id", String(64), nullable=False),
    Column("channel", String(16), nullable=False),
    Column("object_type", String(16), nullable=False),
    Column("object_id", LargeBinary(16), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("sent_ms", BigInteger),
    Column("attempts", Integer, nullable=False, default=0),
    Column("next_attempt_ms", BigInteger, nullable=False),
    Column("last_error", Text, nullable=False, default=""),
    UniqueConstraint("school_id", "account_id", "channel", "object_type", "object_id"),
)

# ---- rollouts and exceptions ------------------------------------------------------------------------------

# How far a new policy is, per plan that the officers signed. Who has it is measured, and not kept here.
rollouts = Table(
    "rollouts",
    SCHEMA,
    _school(),
    Column("rollout_id", LargeBinary(16), nullable=False),
    Column("device_group", String(64), nullable=False),
    # "running", "paused" (by a person), "halted" (by the gate or a person), "done", "replaced".
    Column("state", String(16), nullable=False),
    Column("open_rings", Integer, nullable=False),
    # When the last ring was opened.
    Column("opened_ms", BigInteger),
    Column("created_ms", BigInteger, nullable=False),
    Column("changed_ms", BigInteger, nullable=False),
    # What came before is not held against it any more: somebody looked at it and resumed.
    Column("measured_from_ms", BigInteger, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    PrimaryKeyConstraint("school_id", "rollout_id"),
)

# Append-only: what was done to a rollout, by whom and why.
rollout_log = Table(
    "rollout_log",
    SCHEMA,
    Column("entry_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("rollout_id", LargeBinary(16), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    # A person's account, or "gate".
    Column("actor", String(64), nullable=False),
    # "opened", "halted", "paused", "resumed", "done", "replaced".
    Column("action", String(16), nullable=False),
    # How many rings were open then.
    Column("open_rings", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Index("ix_rollout_log_school_id_rollout_id", "school_id", "rollout_id"),
)

# Who asked for an exception; what they wrote stays in the event itself.
exception_requests = Table(
    "exception_requests",
    SCHEMA,
    _school(),
    # The event's id.
    Column("request_id", LargeBinary(16), nullable=False),
    Column("device_no", BigInteger, nullable=False),
    Column("asked_ms", BigInteger, nullable=False),
    Column("received_ms", BigInteger, nullable=False),
    Column("rule_id", String(128), nullable=False),
    Column("reason", String(32), nullable=False),
    Column("wanted", Text, nullable=False),
    Column("reference", String(64), nullable=False),
    # Pseudonym of who asked; empty when no person was signed in.
    Column("asked_by", LargeBinary, nullable=False),
    # "waiting", "approved", "declined".
    Column("state", String(16), nullable=False),
    Column("decided_ms", BigInteger),
    Column("decided_by", String(64), nullable=False, default=""),
    Column("decided_because", Text, nullable=False, default=""),
    PrimaryKeyConstraint("school_id", "request_id"),
    Index("ix_exception_requests_school_id_state", "school_id", "state", "asked_ms"),
)

# ---- people and the console -----------------------------------------------------------------------------

people = Table(
    "people",
    SCHEMA,
    _school(),
    Column("pseudonym", LargeBinary(16), nullable=False),
    # "pupil", "staff", "guest", "shared".
    Column("kind", String(16), nullable=False),
    Column("display_name", Text, nullable=False),
    Column("account_name", Text, nullable=False),
    # The console account of the same person, so that nobody reviews an item about themselves.
    Column("account_id", String(64)),
    Column("left_ms", BigInteger),
    PrimaryKeyConstraint("school_id", "pseudonym"),
)

accounts = Table(
    "accounts",
    SCHEMA,
    Column("account_id", String(64), primary_key=True),
    _school(),
    Column("login", String(255), nullable=False),
    Column("display_name", Text, nullable=False),
    # "dsl", "head", "technician".
    Column("role", String(32), nullable=False),
    Column("email", Text, nullable=False, default=""),
    Column("password_hash", Text, nullable=False),
    # Encrypted under the console key.
    Column("totp_secret", LargeBinary, nullable=False),
    Column("totp_confirmed_ms", BigInteger),
    # The last used 30-second step: a code works once.
    Column("totp_last_step", BigInteger, nullable=False, default=0),
    Column("must_change_password", Boolean, nullable=False, default=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("disabled_ms", BigInteger),
    UniqueConstraint("school_id", "login"),
)

sessions = Table(
    "sessions",
    SCHEMA,
    Column("token_hash", LargeBinary(32), primary_key=True),
    Column("account_id", String(64), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("last_seen_ms", BigInteger, nullable=False),
    Column("expires_ms", BigInteger, nullable=False),
    # Password accepted, second factor still missing.
    Column("pending", Boolean, nullable=False),
    Column("address", Text, nullable=False),
    Index("ix_sessions_account_id", "account_id"),
)

sign_in_attempts = Table(
    "sign_in_attempts",
    SCHEMA,
    Column("attempt_no", BigKey, primary_key=True, autoincrement=True),
    # Hash of the login or of the address.
    Column("bucket", LargeBinary(32), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("succeeded", Boolean, nullable=False),
    Index("ix_sign_in_attempts_bucket_at_ms", "bucket", "at_ms"),
)

# Every read of safeguarding data; each row is also an audit statement in the ledger.
access_log = Table(
    "access_log",
    SCHEMA,
    Column("access_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("at_ms", BigInteger, nullable=False),
    Column("account_id", String(64), nullable=False),
    Column("action", String(64), nullable=False),
    Column("object_type", String(16), nullable=False),
    Column("object_id", LargeBinary, nullable=False),
    Column("reason", Text, nullable=False, default=""),
    Column("queue_no", BigInteger),
    # Each item says who opened it.
    Index("ix_access_log_school_id_object_id", "school_id", "object_id"),
)

# ---- the keystore (a database of its own) -------------------------------------------------------------------

blob_keys = Table(
    "blob_keys",
    KEYSTORE,
    Column("key_id", LargeBinary(16), primary_key=True),
    _school(),
    # A retention class, "held" for one blob that outlives its class, or "case" for one incident's own.
    Column("purpose", String(32), nullable=False),
    Column("key", LargeBinary(32), nullable=False),
    Column("created_ms", BigInteger, nullable=False),
    Column("delete_after_ms", BigInteger),
)

# Replayed after a restore: what was erased stays erased.
erasures = Table(
    "erasures",
    KEYSTORE,
    Column("erasure_no", BigKey, primary_key=True, autoincrement=True),
    _school(),
    Column("leaf_index", BigInteger, nullable=False),
    Column("positions", Text, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
)

inventory_sources = Table(
    "inventory_sources",
    SCHEMA,
    _school(),
    # What the import calls it: "Intune".
    Column("source", String(64), nullable=False),
    Column("told_ms", BigInteger, nullable=False),
    Column("imported_ms", BigInteger, nullable=False),
    Column("imported_by", String(64), nullable=False),
    Column("devices", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "source"),
)

# As told by the source: never checked by us, never shown as fine.
inventory_devices = Table(
    "inventory_devices",
    SCHEMA,
    _school(),
    Column("source", String(64), nullable=False),
    # The source's own id of the device, else the serial number.
    Column("device_key", Text, nullable=False),
    Column("serial", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("operating_system", Text, nullable=False),
    # Absent: never, or the source does not say.
    Column("last_sync_ms", BigInteger),
    Column("encryption", String(16), nullable=False),
    Column("compliance", Text, nullable=False),
    PrimaryKeyConstraint("school_id", "source", "device_key"),
)

# The technical audit, made as of one moment: kept as its bytes, since posture is held as the latest result only.
posture_snapshots = Table(
    "posture_snapshots",
    SCHEMA,
    _school(),
    Column("at_ms", BigInteger, nullable=False),
    # Of the body; the audit statement in the ledger names it.
    Column("sha256", LargeBinary(32), nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("devices", Integer, nullable=False),
    # An account, "shell:NAME", or "schedule".
    Column("made_by", String(64), nullable=False),
    Column("queue_no", BigInteger, nullable=False),
    PrimaryKeyConstraint("school_id", "at_ms"),
)

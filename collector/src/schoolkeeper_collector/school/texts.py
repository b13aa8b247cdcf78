# ruff: noqa: E501 - texts for people, one paragraph a line
"""The two texts that `init` writes for people: how to keep the offline keys, and the data-protection sheet."""

from __future__ import annotations

from typing import Protocol


class _Options(Protocol):
    @property
    def school_name(self) -> str: ...
    @property
    def school_id(self) -> str: ...


def offline_readme(options: _Options, *, protected: bool) -> bytes:
    """What lies in ``offline/`` and where each part goes."""
    state = (
        "Every key file is protected by the passphrase that was given at `init`. Each officer replaces it by their own:\n"
        "`schoolkeeper-officer keys passphrase OLD --to NEW`, and destroys the old file."
        if protected
        else "**THESE FILES ARE NOT PROTECTED. They belong to a demonstration.** Whoever copies them can make policy for\n"
        "every device of this school. Never enrol a real device into it."
    )
    return f"""# The offline part of {options.school_name} ({options.school_id})

{state}

Move this folder off the collector today, in parts, and then delete it here. The collector works without it.

| folder | what it is | where it goes |
|---|---|---|
| `root-1`, `root-2`, `root-3` | the keys that name all other keys; any two of the three are enough | three sealed \
envelopes in three places: the school's safe, the local authority or trust, the chair of governors |
| `technician`, `second-technician` | sign policy, for the *technical* duty | each person's own stick |
| `dsl`, `head` | sign policy, for the *safeguarding* duty; open evidence | each person's own stick |
| `escrow` | the key that opens devices' reports, sealed so that any two officers together open it | with the \
collector's backup |
| `root.json` | public: the pin that every enrolment token carries | keep a copy; compare it once a year |

Two copies of each stick, kept apart. One person never keeps two of these folders: a policy needs one technical *and* one
safeguarding signature, and that means two people.

## What each signs

* Officers sign a **bundle for each group** of devices, and the key statement (the collector's keys and addresses).
* The collector itself, by its online key, only says **which device is in which group**: one map for every device, each
  version of it an entry of the ledger. It cannot make a policy. What it can do is move a device between groups that
  officers signed for: compare `schoolkeeper-collector device list` with what you expect.
* The collector also signs that this is the newest state, every few days. If it stops, devices keep their policy and
  say that it is stale.

## When a person leaves

The new officer makes a key file (`schoolkeeper-officer keys new`) and hands in its public part (`keys public`). The
technician stages the change (`schoolkeeper-collector stage --replace-officer OLD --by FILE`). Two root keys, then one
technical and one safeguarding officer of the *new* root, sign it (`schoolkeeper-officer sign`), and it is published. From then
on the old key signs nothing. Devices that were switched off follow the chain of roots when they come back.

What to do when a key is lost or stolen, an officer is ill, or a key is due: policies/docs/key-procedures.md. Write the root
hash on paper and keep it with the head: a new officer pins it with `schoolkeeper-officer pin`.
""".encode()


def data_protection(school_name: str, time_zone: str) -> str:
    """A sheet to fill in; what software can know is filled in already."""
    return f"""# Data protection sheet: {school_name}

To be filled in by the school (a DPIA under Article 35 UK GDPR) **before** the first pupil's device is enrolled. What
Schoolkeeper itself knows stands here already; every `…` is the school's to answer. Review it at least once a year.

| Question | Answer |
|---|---|
| Controller, and who answers for this sheet | … |
| Data protection officer, and the date they were asked | … |
| Purpose | to keep children safe and school devices working: safeguarding and security, nothing else |
| Lawful basis (Articles 6 and 9) | … (commonly public task; safeguarding condition of DPA 2018, schedule 1) |
| Whose data | pupils …, staff …, guests … |
| What is collected | the kinds listed on the page *what is monitored on this device*, generated from the policy in force |
| What is never collected | keystrokes, pictures of the screen, the text of pages, messages or documents |
| Where it lies | the school's own collector; no other party receives it |
| How long | per kind, in the policy: events 30 days unless the school says otherwise here: … |
| Who reads it | DSL: alerts about pupils; head: items about staff; technician: device state and no safeguarding data |
| Every read is recorded | yes, in the ledger, with reason; who samples it and when: … |
| Off site | collected off site: … (less is asked for at home) |
| How people are told | AUP version …, sign-in notice, standing page on each device, parents' page: … |
| Who reports a breach, within 72 hours | … |
| Subject access: who answers, within one month | … |
| What is *not* protected | see the threat model in SECURITY.md, read on: … by: … |
| Times are shown in | {time_zone} |
| Agreed by head, DSL, DPO, governor (names, dates) | … |
| Next review | … |
"""

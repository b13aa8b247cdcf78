"""Packs that differ by one safeguarding rule, and a change of one of them on its way to the officers."""

from __future__ import annotations

import shutil
from importlib.resources import files
from pathlib import Path

from schoolkeeper_collector.school import staging
from schoolkeeper_collector.school.bundles import compile_bundle
from schoolkeeper_collector.school.repository import Published
from schoolkeeper_policies.officer import signing
from schoolkeeper_policies.officer.record import Assessment
from schoolkeeper_proto import trust
from support.school import GROUP, School, wall_ms

RULE = """
  - id: tests.minefield
    description: Minefield does not start in lessons.
    why: It is chat in disguise.
    resolution: Ask your teacher if you need it.
    severity: high
    safeguarding: true
    mode: {mode}
    decision: block
    match: [{{file-name: minefield}}]
"""
TECHNICAL = "The rule has caught nothing in a term; the filter still refuses the site that the program needs."
EDUCATIONAL = (
    "Year 6 uses it for one project; the class teacher sits beside them and we look again at half term."
)


def pack_with(folder: Path, mode: str) -> Path:
    """The default pack and one safeguarding rule in this mode."""
    pack = folder / f"pack-{mode}"
    shutil.copytree(str(files("schoolkeeper_policies") / "packs" / "default"), pack)
    rules = pack / "applications.yaml"
    text = rules.read_text()
    assert text.startswith("applications:\n")
    rules.write_text(text.replace("applications:\n", "applications:" + RULE.format(mode=mode), 1))
    return pack


def reasons(**changed: object) -> staging.Reasons:
    """Everything that a weakening change needs."""
    given: dict[str, object] = {
        "why": "A project of year 6.",
        "staged_by": "it",
        "technical": Assessment(by="technician", text=TECHNICAL),
        "educational": Assessment(by="dsl", text=EDUCATIONAL),
        "consent": Assessment(by="head", text="The school's leadership consents."),
    }
    return staging.Reasons(**(given | changed))  # type: ignore[arg-type]


def stage_pack(
    school: School, pack: Path, said: staging.Reasons | None = None, *, group: str = GROUP
) -> Path:
    version = school.repository.current().bundles[group][1] + 1
    bundle = compile_bundle(pack, school.keys, group=group, version=version, now_ms=wall_ms())
    return staging.stage(
        school.folder, school.keys, {trust.bundle_target(group): bundle}, wall_ms(), pack=pack, reasons=said
    )


def publish(school: School, folder: Path, *officers: str) -> Published:
    for name in officers:
        signing.sign_staged(folder, school.officer(name))
    return staging.publish_staged(school.folder, school.keys, wall_ms())

"""What follows ingest in the writer's thread: the detection, with the school's rules and calendar."""

from __future__ import annotations

from sqlalchemy import select

from schoolkeeper_collector.detection.calendar import Calendar
from schoolkeeper_collector.detection.engine import Detection
from schoolkeeper_collector.ingest.writer import Follower
from schoolkeeper_collector.school.keys import ServiceKeys
from schoolkeeper_collector.store.database import Store
from schoolkeeper_collector.store.tables import schools
from schoolkeeper_policies.detection.load import load_rules
from schoolkeeper_policies.parse import load_pack


def follower_of(store: Store, keys: ServiceKeys) -> Follower | None:
    with store.read() as connection:
        where = schools.c.school_id == keys.school_id
        time_zone = connection.execute(select(schools.c.time_zone).where(where)).scalar_one()
    return Detection(
        store,
        load_rules("default"),
        school_id=keys.school_id,
        calendar=Calendar(load_pack("default").school, time_zone),
    )

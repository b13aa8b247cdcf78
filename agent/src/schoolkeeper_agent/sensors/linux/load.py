"""The sensors of Linux."""

from __future__ import annotations

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.seams import Sensor
from schoolkeeper_agent.sensors.linux.bypass import BypassSensor
from schoolkeeper_agent.sensors.linux.clock import ClockSensor
from schoolkeeper_agent.sensors.linux.media import MediaSensor
from schoolkeeper_agent.sensors.linux.media_writes import MediaWritesSensor
from schoolkeeper_agent.sensors.linux.network import NetworkSensor
from schoolkeeper_agent.sensors.linux.posture import PostureSensor
from schoolkeeper_agent.sensors.linux.processes import ProcessSensor
from schoolkeeper_agent.sensors.linux.sessions import SessionSensor


def sensors(context: Context) -> list[Sensor]:
    """All of them; the media sensor asks the session sensor who sits at the screen."""
    sessions = SessionSensor(context)
    return [
        sessions,
        ProcessSensor(context),
        MediaSensor(context, person=sessions.person),
        MediaWritesSensor(context),
        ClockSensor(),
        NetworkSensor(context),
        BypassSensor(context),
        PostureSensor(context),
    ]

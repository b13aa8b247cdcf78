"""The enforcers of Linux."""

from __future__ import annotations

from schoolkeeper_agent.context import Context
from schoolkeeper_agent.enforcers.linux.applications import ApplicationEnforcer
from schoolkeeper_agent.enforcers.linux.bluetooth import BluetoothEnforcer
from schoolkeeper_agent.enforcers.linux.browsers import BrowserEnforcer
from schoolkeeper_agent.enforcers.linux.desktop import DesktopEnforcer
from schoolkeeper_agent.enforcers.linux.isolation import IsolationEnforcer
from schoolkeeper_agent.enforcers.linux.media import MediaEnforcer
from schoolkeeper_agent.enforcers.linux.peripherals import PeripheralEnforcer
from schoolkeeper_agent.enforcers.linux.screen import ScreenEnforcer
from schoolkeeper_agent.enforcers.linux.sign_in import SignInEnforcer
from schoolkeeper_agent.seams import Emit, Enforcer


def enforcers(context: Context, emit: Emit) -> list[Enforcer]:
    return [
        ApplicationEnforcer(context, emit),
        BrowserEnforcer(context, emit),
        MediaEnforcer(context),
        PeripheralEnforcer(context),
        BluetoothEnforcer(context, emit),
        ScreenEnforcer(context),
        DesktopEnforcer(context, emit),
        IsolationEnforcer(context, emit),
        SignInEnforcer(context),
    ]

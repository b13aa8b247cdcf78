"""What the uplink asks of the rest of the agent, and the collector's commands carried out."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, assert_never

from schoolkeeper_agent import addresses
from schoolkeeper_agent.desk import AskingDesk
from schoolkeeper_agent.grants.keeper import GrantKeeper
from schoolkeeper_agent.light import forget_first_classes, without_unused
from schoolkeeper_agent.observations import Noted
from schoolkeeper_agent.parts import Parts
from schoolkeeper_agent.telling_door import TellingDoor
from schoolkeeper_agent.upkeep import PolicyKeeper, Renewals
from schoolkeeper_agent.uplink import messages
from schoolkeeper_agent.uplink.machine import answer
from schoolkeeper_agent.watching import Watching
from schoolkeeper_proto import model, wire

if TYPE_CHECKING:
    import grpc.aio


@dataclass(slots=True)
class Contact:
    """Opens the way to the collector and does what comes back along it."""

    parts: Parts
    watching: Watching
    policy: PolicyKeeper
    renewals: Renewals
    grants: GrantKeeper
    desk: AskingDesk
    telling: TellingDoor

    async def run(self) -> None:
        """The gRPC library is loaded only here, after everything that protects is in place."""
        forget_first_classes()  # of the sensors' and enforcers' modules
        with without_unused():
            import grpc.aio  # noqa: F401 - whoever imports it later finds it
        from schoolkeeper_agent.transport import Doors, Transport

        parts = self.parts
        doors = Doors(
            open_channel=self._open_channel, now=parts.clock.now, perform=self.ask, explain=self._explain
        )
        parts.transport = Transport(parts.uplink, parts.writer, doors)
        await parts.transport.run()

    def _open_channel(self, attempt: int) -> grpc.aio.Channel:
        from schoolkeeper_agent.net import AddressError, open_channel, parse_proxy

        known = self.parts.addresses().uplink
        if not known:
            raise AddressError("no uplink address is known: set uplink_addresses, or enrol again")
        identity = self.parts.identity
        proxy = parse_proxy(self.parts.settings.proxy)
        return open_channel(known[attempt % len(known)], identity.ca_pem, identity, proxy)

    async def _explain(self, error: grpc.aio.AioRpcError) -> str:
        return f"{error.code().name.lower()}: {error.details() or 'no reason given'}"[:300]

    def ask(
        self, effect: messages.Report | messages.PolicyOffered | messages.Obey | messages.TakeGrant
    ) -> None:
        match effect:
            case messages.Report(body=body, severity=severity):
                self.parts.heart.emit(Noted(body=body, severity=severity))
            case messages.PolicyOffered(available=available):
                self.policy.offered(available)
            case messages.Obey(command_id=command_id, order=order):
                self.parts.spawn(self._obey(command_id, order))
            case messages.TakeGrant(grant=grant):
                self.grants.take(grant)
                self.parts.spawn(self.policy.thaw())
            case _:
                assert_never(effect)

    async def _obey(self, command_id: bytes, order: wire.Order) -> None:
        try:
            detail = await self._carry_out(order)
            succeeded = True
        except Exception as error:  # noqa: BLE001 - the collector is told, whatever it was
            detail, succeeded = f"{type(error).__name__}: {error}"[:300], False
        if command_id:
            result = model.CommandResult(command_id=command_id, succeeded=succeeded, detail=detail)
            self.parts.heart.emit(Noted(body=result))
            self.parts.transport.send(answer(command_id, succeeded=succeeded, detail=detail))

    async def _carry_out(self, order: wire.Order) -> str:
        parts = self.parts
        match order:
            case wire.RefreshPolicy():
                await self.policy.refresh()
                return parts.policy_problem or f"version {parts.trust.bundle_version} is in force"
            case wire.RenewCertificate():
                await self.renewals.renew()
                return "renewed"
            case wire.SendCanary():
                parts.heart.emit(Noted(body=model.Canary(canary_id=os.urandom(16))))
                return "sent"
            case wire.ReportPosture():
                await self.watching.restart()
                return "the sensors begin anew and report"
            case wire.MoveCollector():
                addresses.keep_move(parts.settings.state_dir, order, parts.trust)
                parts.spawn(parts.transport.reconnect("the collector has moved"))
                return "moved"
            case wire.RequestDeclined():
                return await self.desk.declined(order)
            case wire.ReportRead():
                return await self.telling.read(order)
            case wire.NewEpoch():
                return "done"  # the uplink does this one itself
            case _:
                assert_never(order)

"""Protected links on a real network: who comes in, with what, and what is said to who does not."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from pathlib import Path

from lbnet.core.controller import Controller
from lbnet.net.controller_server import ControllerServer
from lbnet.net.gate import Gate, utc_now
from lbnet.net.greeting import connect, hello
from lbnet.net.link import Link
from lbnet.net.member import Member
from lbnet.protocol.messages import SAID_BY, Message, Welcome
from lbnet.security.place import Place
from lbnet.strategies import registry
from lbnet.types import Address


@contextlib.asynccontextmanager
async def protected(directory: Path) -> AsyncIterator[tuple[ControllerServer, Place]]:
    place = Place(directory, utc_now())
    core = Controller(registry.load, strategy="sb", placement="spread")
    server = ControllerServer(core, gate=Gate(place))
    await server.start("127.0.0.1", 0)
    try:
        yield server, place
    finally:
        await server.stop()


class Caller:
    """A client that says HELLO, and remembers what it hears."""

    def __init__(self) -> None:
        self.heard: list[Message] = []
        self.link: Link | None = None
        self.closed = ""

    def _on_welcome(self, link: Link, welcome: Welcome) -> None:
        self.link = link
        self.heard.append(welcome)

    async def calls(self, address: Address, member: Member | None, role: str = "client") -> None:
        await connect(
            address,
            lambda _: hello(role, name="me", slots=1, port=1),
            may_say=SAID_BY["controller-to-client" if role == "client" else "controller-to-worker"],
            on_welcome=self._on_welcome,
            on_message=lambda _, message: self.heard.append(message),
            on_closed=lambda _, reason: setattr(self, "closed", reason),
            timeout_s=10.0,
            member=member,
        )


async def test_a_client_with_a_token_is_let_in(tmp_path: Path) -> None:
    async with protected(tmp_path / "state") as (server, place):
        caller = Caller()
        await caller.calls(server.address, Member("client", place.account_token("client", utc_now())))
        assert [type(each) for each in caller.heard] == [Welcome]
        assert caller.link is not None
        assert caller.link.identity is not None
        assert caller.link.identity.role == "controller"
        caller.link.close("enough")
        await caller.link.closed.wait()

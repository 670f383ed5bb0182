"""Who is told of links whose bytes move, although no message is whole."""

from __future__ import annotations

from lbnet.core.events import Event, Heard
from lbnet.net.bystander import Bystander
from lbnet.types import PeerId
from tests.net.cluster import until


class Shows:
    """A link that stirs when the test says so."""

    def __init__(self) -> None:
        self.stirred = False

    def stirs(self) -> bool:
        stirred, self.stirred = self.stirred, False
        return stirred


async def test_a_bystander_tells_of_those_that_stir_until_it_is_stopped() -> None:
    told: list[Event] = []
    links = {Shows(): PeerId(1), Shows(): PeerId(2)}
    bystander = Bystander(links, told.append)  # type: ignore[arg-type]
    bystander.start(0.0)
    assert bystander._timer is None
    bystander.start(0.004)
    one = next(iter(links))
    one.stirred = True
    await until(lambda: bool(told))
    one.stirred = True
    await until(lambda: len(told) > 1)
    assert set(told) == {Heard(PeerId(1))}
    bystander.stop()
    assert bystander._timer is None

"""Functions that come over links: each is what its digest says, or the link is closed.

Batches name their function by that digest. So nobody, whatever he says to whom, can have the tasks of a job run another
function than the one that its client handed in with it.
"""

from __future__ import annotations

from lbnet.errors import RemoteProtocolError
from lbnet.protocol.digest import digest_of
from lbnet.protocol.messages import Function


def check_function(message: Function) -> None:
    """See whether a function is the one that it is said to be.

    Raises:
        RemoteProtocolError: it is another one.
    """
    if digest_of(message.data) != message.digest:
        raise RemoteProtocolError(f"a function of {len(message.data):,} bytes came that is not what its digest says")

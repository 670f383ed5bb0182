"""Shapes that are no vocabulary's; what the messages make of them is looked at beside their codec."""

from __future__ import annotations

import dataclasses
import subprocess
import sys

import pytest

from lbnet.errors import RemoteProtocolError
from lbnet.protocol.shapes import Codec
from lbnet.types import Payload, Span


def test_kinds_are_numbered_in_their_order() -> None:
    codec = Codec((Span, Payload))
    payload = Payload(1, 2, b"f", b"data")
    assert codec.decode(codec.encode(payload)) == payload
    assert type(Codec((Payload, Span)).decode(codec.encode(Span(1, 0, 2, 3)).replace(b"\x00", b"\x01", 1))) is Span
    with pytest.raises(RemoteProtocolError, match="kind 2 is unknown"):
        codec.decode(b"\x91\x02")


def test_a_class_with_a_field_that_has_no_wire_form_is_found_at_import() -> None:
    @dataclasses.dataclass
    class Wrong:
        value: complex

    with pytest.raises(KeyError):
        Codec((Payload, Wrong))


def test_a_slot_does_not_load_what_the_cluster_says() -> None:
    code = "import sys, lbnet.pool.child; sys.exit('lbnet.protocol.messages' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0

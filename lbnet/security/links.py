"""TLS 1.3 between peers of one cluster: each shows a certificate of its authority, or nobody is let in.

Hosts are not checked: peers move, and what counts is who somebody is. It must not know sockets.
"""

from __future__ import annotations

import os
import ssl
import tempfile
from pathlib import Path

from lbnet.errors import UsageError
from lbnet.security.authority import Credential, Identity, identity_of


def context_of(credential: Credential, *, server: bool, strangers: bool = False) -> ssl.SSLContext:
    """How one end of a link protects it.

    Args:
        credential: who this end is.
        server: it accepts; else it connects.
        strangers: a server lets in who shows no certificate, too: somebody who wants to join has none yet.

    Raises:
        UsageError: the credential is damaged.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER if server else ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_OPTIONAL if server and strangers else ssl.CERT_REQUIRED
    context.verify_flags |= ssl.VERIFY_X509_STRICT
    context.options |= ssl.OP_NO_COMPRESSION
    if server:
        context.num_tickets = 0  # a session that is resumed would outlive what it was opened with
    try:
        context.load_verify_locations(cadata=credential.authority.decode("ascii"))
        _load(context, credential)
    except (ssl.SSLError, ValueError) as error:
        raise UsageError(f"this peer's certificate cannot be used ({error}): join again, with a token") from None
    return context


def stranger_context() -> ssl.SSLContext:
    """How somebody connects who has no certificate, and does not know yet whose it will be shown."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.minimum_version = ssl.TLSVersion.TLSv1_3
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


def _load(context: ssl.SSLContext, credential: Credential) -> None:
    """The library takes keys from files only: one in memory, or of mode 0600 for as long as that takes."""
    content = credential.certificate + credential.key
    if hasattr(os, "memfd_create"):
        with os.fdopen(os.memfd_create("lbnet", os.MFD_CLOEXEC), "wb") as memory:
            memory.write(content)
            memory.flush()
            context.load_cert_chain(f"/proc/self/fd/{memory.fileno()}")
        return
    handle, name = tempfile.mkstemp(prefix="lbnet-")
    path = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        context.load_cert_chain(path)
    finally:
        path.unlink(missing_ok=True)


def peer_of(link: ssl.SSLObject | ssl.SSLSocket) -> Identity | None:
    """Who the other end has shown to be, None if it has shown nothing.

    Raises:
        UsageError: its certificate is none of lbnet's.
    """
    certificate = link.getpeercert(binary_form=True)
    return None if certificate is None else identity_of(certificate)

"""A cluster's certificate authority: it says who is the controller, a worker or a client, and until when.

Identities stand in a certificate as the URI ``lbnet://<cluster>/<role>/<name>``; hosts do not matter, as workers and
controllers move between addresses. It must not know what a role may do.
"""

from __future__ import annotations

import datetime as dt
import warnings
from dataclasses import dataclass
from typing import Final

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.utils import CryptographyDeprecationWarning
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from lbnet.errors import UsageError
from lbnet.security.token import digest_of

ROLES: Final = ("controller", "worker", "client")

AUTHORITY_DAYS = 3_650
"""A cluster is made anew before that; its authority is not renewed."""

EARLY = dt.timedelta(hours=1)
"""Certificates begin so much before they are made: clocks of other machines are behind."""

_SCHEME = "lbnet"

_UNREADABLE: Final = (
    ValueError,
    TypeError,
    OverflowError,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    UnsupportedAlgorithm,
    CryptographyDeprecationWarning,
)
"""What the library raises for certificates that are none, or none of ours."""

_CURVE = ec.SECP256R1


def utc_now() -> dt.datetime:
    """The time that certificates and tokens are about."""
    return dt.datetime.now(dt.UTC)


@dataclass(frozen=True, slots=True)
class Identity:
    """Whose certificate it is. ``serial`` names this one, where one is revoked."""

    cluster: str
    role: str
    name: str
    serial: int
    not_before: dt.datetime
    not_after: dt.datetime

    @property
    def token(self) -> str:
        """The id of the token that a member came in with: its name begins with that."""
        return self.name.partition("-")[0]


@dataclass(frozen=True, slots=True)
class Credential:
    """A certificate with its private key, and the authority that it is of. All are PEM."""

    certificate: bytes
    key: bytes
    authority: bytes

    def __repr__(self) -> str:
        return "Credential(...)"


class Authority:
    """The authority of one cluster.

    Args:
        certificate: its own, PEM.
        key: its private key, PEM.

    Raises:
        UsageError: these are none, or do not belong together.
    """

    def __init__(self, certificate: bytes, key: bytes) -> None:
        try:
            self._certificate = x509.load_pem_x509_certificate(certificate)
            loaded = serialization.load_pem_private_key(key, password=None)
        except ValueError as error:
            raise UsageError(f"the cluster's authority cannot be read ({error}): its files are damaged") from None
        if not isinstance(loaded, ec.EllipticCurvePrivateKey) or _raw(loaded.public_key()) != _raw(
            self._certificate.public_key()  # type: ignore[arg-type]  # of another kind, it has other bytes
        ):
            raise UsageError("the cluster's authority and its key do not belong together: its files are damaged")
        if not _signs(self._certificate):
            raise UsageError("the certificate of the cluster's authority is for no signing: its files are damaged")
        self._key = loaded
        self.cluster = identity_of(self.certificate).cluster

    @classmethod
    def create(cls, cluster: str, now: dt.datetime) -> Authority:
        """A new one, for a cluster of this name."""
        key = ec.generate_private_key(_CURVE())
        name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"lbnet cluster {cluster}")])
        certificate = (
            x509.CertificateBuilder()
            .subject_name(name)
            .issuer_name(name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - EARLY)
            .not_valid_after(now + dt.timedelta(days=AUTHORITY_DAYS))
            .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
            .add_extension(_usage(signs_certificates=True), critical=True)
            .add_extension(_uri(cluster, "authority", ""), critical=False)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .sign(key, hashes.SHA256())
        )
        return cls(_pem(certificate), _key_pem(key))

    @property
    def certificate(self) -> bytes:
        """PEM; no secret."""
        return _pem(self._certificate)

    @property
    def der(self) -> bytes:
        """The certificate, DER."""
        return self._certificate.public_bytes(serialization.Encoding.DER)

    @property
    def key(self) -> bytes:
        """PEM; the secret of the cluster."""
        return _key_pem(self._key)

    @property
    def digest(self) -> bytes:
        """What tokens say of it."""
        return digest_of(self.der)

    def issue(self, public_key: bytes, role: str, name: str, lifetime: dt.timedelta, now: dt.datetime) -> bytes:
        """A certificate for somebody's public key.

        Args:
            public_key: DER.
            role: one of :data:`ROLES`.
            name: whose, unique in its role.
            lifetime: from now on.
            now: the time.

        Returns:
            PEM.

        Raises:
            UsageError: that is no such key, or no such role.
        """
        if role not in ROLES or not name or "/" in name:
            raise UsageError(f"there is no role {role!r} with the name {name!r}")
        try:
            key = serialization.load_der_public_key(public_key)
        except ValueError as error:
            raise UsageError(f"the public key cannot be read: {error}") from None
        if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, _CURVE):
            raise UsageError("the public key is of another kind")
        end = min(now + lifetime, self._certificate.not_valid_after_utc)
        certificate = (
            x509.CertificateBuilder()
            .subject_name(x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, f"{role} {name}"[:64])]))
            .issuer_name(self._certificate.subject)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - EARLY)
            .not_valid_after(end)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(_usage(signs_certificates=False), critical=True)
            .add_extension(
                # Workers accept and connect; what a role may do is not the business of TLS.
                x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH, ExtendedKeyUsageOID.CLIENT_AUTH]),
                critical=False,
            )
            .add_extension(_uri(self.cluster, role, name), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return _pem(certificate)


class KeyPair:
    """A private key that never leaves its process but into a file of this account."""

    def __init__(self) -> None:
        self._key = ec.generate_private_key(_CURVE())

    @property
    def public(self) -> bytes:
        """DER: what a certificate is issued for."""
        return _raw(self._key.public_key())

    @property
    def private(self) -> bytes:
        """PEM."""
        return _key_pem(self._key)


def identity_of(certificate: bytes) -> Identity:
    """Who it is that has this certificate, if it is good; whether it is, is for others to say.

    Args:
        certificate: PEM or DER.

    Raises:
        UsageError: it is none of lbnet's.
    """
    found = _load(certificate)
    try:
        names = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        identity = found.serial_number, found.not_valid_before_utc, found.not_valid_after_utc
    except x509.ExtensionNotFound:
        uris = []
    except _UNREADABLE as error:
        raise UsageError(f"the certificate cannot be read: {error}") from None
    parts = uris[0].split("/") if len(uris) == 1 else []
    if len(parts) != 5 or parts[0] != f"{_SCHEME}:":
        raise UsageError("the certificate is none of lbnet's")
    return Identity(parts[2], parts[3], parts[4], *identity)


def is_issued_by(certificate: bytes, authority: bytes) -> bool:
    """Whether an authority has signed this certificate. Both are PEM or DER; times are not looked at."""
    try:
        if not _signs(_load(authority)):
            return False
        _load(certificate).verify_directly_issued_by(_load(authority))
    except (*_UNREADABLE, InvalidSignature, UsageError):
        return False
    return True


def _signs(certificate: x509.Certificate) -> bool:
    try:
        return certificate.extensions.get_extension_for_class(x509.BasicConstraints).value.ca
    except (x509.ExtensionNotFound, *_UNREADABLE):
        return False


def _load(certificate: bytes) -> x509.Certificate:
    try:
        with warnings.catch_warnings(category=CryptographyDeprecationWarning):
            warnings.simplefilter("error", CryptographyDeprecationWarning)  # what will be refused is refused now
            load = (
                x509.load_pem_x509_certificate if certificate.startswith(b"-----") else x509.load_der_x509_certificate
            )
            found = load(certificate)
            if found.serial_number <= 0:
                raise ValueError("its number is not positive")
            return found
    except _UNREADABLE as error:
        raise UsageError(f"the certificate cannot be read: {error}") from None


def _uri(cluster: str, role: str, name: str) -> x509.SubjectAlternativeName:
    return x509.SubjectAlternativeName([x509.UniformResourceIdentifier(f"{_SCHEME}://{cluster}/{role}/{name}")])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)


def _key_pem(key: ec.EllipticCurvePrivateKey) -> bytes:
    return key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def _raw(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

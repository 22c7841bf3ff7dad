"""What a pasted text is, for telling people that they pasted the wrong one."""

from enum import StrEnum

from qiao.crypto.certificates import Certificate
from qiao.crypto.rsa import load_private_key, load_public_key
from qiao.domain.errors import InvalidSettings


class Material(StrEnum):
    """Kinds of key material. PKCS#1, PKCS#8 and X.509 all count, in PEM or as bare base64."""

    PRIVATE_KEY = "private_key"
    PUBLIC_KEY = "public_key"
    CERTIFICATE = "certificate"
    ENCRYPTED_KEY = "encrypted_key"
    EMPTY = "empty"
    UNREADABLE = "unreadable"
    """Cut off, altered in copying, or not of RSA."""


def material_of(text: str) -> Material:
    """The kind of the first key or certificate in ``text``."""
    if not text.strip():
        return Material.EMPTY
    if "ENCRYPTED PRIVATE KEY" in text or "Proc-Type: 4,ENCRYPTED" in text:
        return Material.ENCRYPTED_KEY
    for kind, load in (
        (Material.CERTIFICATE, Certificate.from_pem),
        (Material.PRIVATE_KEY, load_private_key),
        (Material.PUBLIC_KEY, load_public_key),
    ):
        try:
            load(text)
        except InvalidSettings:
            continue
        return kind
    return Material.UNREADABLE

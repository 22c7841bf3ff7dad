"""TLS contexts: whom a request trusts, and a client certificate where a channel wants one."""

import ssl
import tempfile
from functools import lru_cache
from pathlib import Path

from qiao.channels.wire import ClientCertificate


@lru_cache(maxsize=256)
def tls_context(
    client_certificate: ClientCertificate | None, trusted_ca: str | None
) -> ssl.SSLContext:
    """A verifying context, made once for each pair (loading trust takes milliseconds).

    It trusts ``trusted_ca`` (PEM) and nobody else, or the system's CAs where there is none; the
    host's name is checked either way. Raises ssl.SSLError when certificate and key do not belong
    together, or the CA is no certificate.
    """
    context = ssl.create_default_context(cadata=trusted_ca)
    if client_certificate is not None:
        # ssl reads a chain only from a file; this one is ours alone (0600) and gone at once.
        with tempfile.TemporaryDirectory(prefix="qiao-") as folder:
            path = Path(folder) / "client.pem"
            path.touch(mode=0o600)
            path.write_text(
                f"{client_certificate.certificate}\n{client_certificate.private_key}\n", "ascii"
            )
            context.load_cert_chain(path)
    return context

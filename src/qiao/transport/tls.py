"""TLS contexts: the system's trust, and a client certificate where a channel wants one."""

import ssl
import tempfile
from functools import lru_cache
from pathlib import Path

from qiao.channels.wire import ClientCertificate


@lru_cache(maxsize=256)
def tls_context(client_certificate: ClientCertificate | None) -> ssl.SSLContext:
    """A verifying context, made once for each certificate (loading trust takes milliseconds).

    Raises ssl.SSLError when the certificate and the key do not belong together.
    """
    context = ssl.create_default_context()
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

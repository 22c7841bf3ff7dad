"""The listener's TLS: its own certificate, and the merchants' on request."""

import ssl
import tempfile
from pathlib import Path

from qiao.simulators.wechat.credentials import Credentials


def server_context(credentials: Credentials) -> ssl.SSLContext:
    """A client may show a certificate of the simulator's CA; one of any other ends the handshake.

    Which addresses insist on it is theirs to say, as at the real gateway.
    """
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH, cadata=credentials.ca)
    context.verify_mode = ssl.CERT_OPTIONAL
    # ssl reads a chain only from a file; this one is ours alone (0600) and gone at once.
    with tempfile.TemporaryDirectory(prefix="qiao-") as folder:
        path = Path(folder) / "server.pem"
        path.touch(mode=0o600)
        path.write_text(f"{credentials.server_certificate}{credentials.server_key}", "ascii")
        context.load_cert_chain(path)
    return context

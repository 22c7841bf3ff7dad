"""WeChat Pay's platform certificates (平台证书), for accounts that are not in public-key mode.

Source: https://pay.weixin.qq.com/doc/v3/merchant/4012551764.
"""

from cryptography import x509

from qiao.channels.requests import Context
from qiao.channels.wechat.gateway import Gateway, object_of, read_object, text_of
from qiao.channels.wire import Operation
from qiao.crypto.aes import DecryptionFailed, decrypt_gcm
from qiao.domain.errors import AnswerUnreadable


def download_certificates(gateway: Gateway, context: Context) -> Operation[dict[str, str]]:
    """The certificates of today in PEM by their serials, as ``platform_keys`` takes them.

    They come encrypted with the APIv3 key, which nobody else has: that proves the first ones,
    whose own signature no key that is known yet can prove. Refresh them every 12 hours.
    """
    response = yield gateway.request("GET", "/v3/certificates", context)
    if response.status != 200:
        raise AnswerUnreadable(f"it answered with HTTP status {response.status}")
    data = read_object(response.body).get("data")
    if not isinstance(data, list) or not data:
        raise AnswerUnreadable("there are no certificates")
    found = {}
    for entry in data:
        if not isinstance(entry, dict):
            raise AnswerUnreadable("a certificate is no object")
        sealed = object_of(entry, "encrypt_certificate")
        try:
            pem = decrypt_gcm(
                gateway.account.api_v3_key,
                text_of(sealed, "ciphertext"),
                nonce=text_of(sealed, "nonce").encode(),
                associated_data=str(sealed.get("associated_data") or "").encode(),
            )
            serial = f"{x509.load_pem_x509_certificate(pem).serial_number:X}"
        except (DecryptionFailed, ValueError):
            raise AnswerUnreadable("a certificate does not decrypt: is api_v3_key right?") from None
        if serial != text_of(entry, "serial_no").upper().lstrip("0"):
            raise AnswerUnreadable("a certificate has another serial than it is said to have")
        found[serial] = pem.decode("ascii")
    return found

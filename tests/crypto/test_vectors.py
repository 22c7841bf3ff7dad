"""Known answers for every primitive, from the documents that define them."""

import base64

import pytest
from hypothesis import given
from hypothesis import strategies as st

from qiao.crypto import aes
from qiao.crypto.keyed_digest import KeyedDigest, keyed_digest, same_digest


def unhex(text: str) -> bytes:
    return bytes.fromhex(text)


def test_gcm_case_16_of_the_gcm_specification() -> None:
    """McGrew and Viega, The Galois/Counter Mode of Operation, test case 16."""
    key = unhex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
    plaintext = unhex(
        "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a72"
        "1c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39"
    )
    nonce = unhex("cafebabefacedbaddecaf888")
    associated = unhex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    expected = unhex(
        "522dc1f099567d07f47f37a32a84427d643a8cdcbfe5c0c97598a2bd2555d1aa"
        "8cb08e48590dbb3da7b08b1056828838c5f61e6393ba7a0abcc9f66276fc6ece0f4e1768cddf8853bb2d551b"
    )
    ciphertext = aes.encrypt_gcm(key, plaintext, nonce=nonce, associated_data=associated)
    assert base64.b64decode(ciphertext) == expected
    back = aes.decrypt_gcm(key, ciphertext, nonce=nonce, associated_data=associated)
    assert back == plaintext


def test_ecb_first_block_of_nist_sp_800_38a() -> None:
    """NIST SP 800-38A, F.1.5: ECB-AES256, block 1 (the padding block follows it)."""
    key = unhex("603deb1015ca71be2b73aef0857d77811f352c073b6108d72d9810a30914dff4")
    ciphertext = base64.b64decode(aes.encrypt_ecb(key, unhex("6bc1bee22e409f96e93d7e117393172a")))
    assert ciphertext[:16].hex() == "f3eed1bdb5d2a03c064b5a7e3db181f8"


def test_cbc_under_a_zero_iv_begins_like_ecb() -> None:
    key = unhex("2b7e151628aed2a6abf7158809cf4f3c")
    block = unhex("6bc1bee22e409f96e93d7e117393172a")
    ciphertext = base64.b64decode(aes.encrypt_cbc(key, block))
    # NIST SP 800-38A, F.1.1: ECB-AES128, block 1; chaining with zeros changes nothing in it.
    assert ciphertext[:16].hex() == "3ad77bb40d7a3660a89ecaf32466ef97"


WECHAT_EXAMPLE = (
    "appid=wxd930ea5d5a258f4f&body=test&device_info=1000&mch_id=10000100"
    "&nonce_str=ibuaiVcKdpRxkhJA&key=192006250b4c09247ec02edce69f6a2d"
)


@pytest.mark.parametrize(
    ("algorithm", "digest"),
    [
        (KeyedDigest.MD5, "9A0A8659F005D6984697E2CA0A9CF3B7"),
        (
            KeyedDigest.HMAC_SHA256,
            "6A9AE1657590FD6257D693A078E1C3E4BB6BA4DC30B23E0EE2496E54170DACD6",
        ),
    ],
)
def test_the_example_of_wechat_pay_v2(algorithm: KeyedDigest, digest: str) -> None:
    """WeChat Pay API v2, chapter 4.3 (security)."""
    key = WECHAT_EXAMPLE.rpartition("=")[2]
    assert same_digest(digest, keyed_digest(algorithm, key, WECHAT_EXAMPLE))
    assert not same_digest(digest, keyed_digest(algorithm, key, WECHAT_EXAMPLE + "0"))


@given(st.binary(max_size=200))
def test_every_mode_goes_both_ways(plaintext: bytes) -> None:
    key = bytes(range(32))
    assert aes.decrypt_cbc(key, aes.encrypt_cbc(key, plaintext)) == plaintext
    sealed = aes.encrypt_ecb(key, plaintext)
    assert aes.decrypt_ecb(key, sealed) == plaintext
    assert aes.decrypt_ecb(key, sealed.rstrip("=")) == plaintext


@given(st.text(), st.binary(max_size=20), st.binary(max_size=10))
def test_rubbish_is_an_error_and_never_a_crash(text: str, nonce: bytes, data: bytes) -> None:
    key = bytes(32)
    with pytest.raises(aes.DecryptionFailed):
        aes.decrypt_gcm(key, text, nonce=nonce, associated_data=data)
    for decrypt in (aes.decrypt_cbc, aes.decrypt_ecb):
        try:
            decrypt(key, text)
        except aes.DecryptionFailed as error:
            assert str(error)

"""Signatures, ciphers and certificates under their standard names."""

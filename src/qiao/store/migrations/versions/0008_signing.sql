-- API keys whose requests must be signed, as RFC 9421 says.

ALTER TABLE api_key
  ADD COLUMN signing_algorithm text
    CHECK (signing_algorithm IN ('hmac-sha256', 'rsa-v1_5-sha256')),
  ADD COLUMN sealed_signing_key bytea;
COMMENT ON COLUMN api_key.signing_algorithm IS 'null: requests need no signature';
COMMENT ON COLUMN api_key.sealed_signing_key IS
  'the shared secret of hmac-sha256, the public key (PEM) of rsa-v1_5-sha256';

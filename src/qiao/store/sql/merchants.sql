-- Merchants, API keys, channel accounts.

-- name: add_merchant
INSERT INTO merchant (merchant_id, name) VALUES ($1, $2) ON CONFLICT DO NOTHING;

-- name: add_api_key
INSERT INTO api_key (merchant_id, api_key_id, live, digest, hint) VALUES ($1, $2, $3, $4, $5)
ON CONFLICT (digest) DO NOTHING;

-- name: api_key_of_digest
SELECT merchant_id, live, api_key_id FROM api_key WHERE digest = $1 AND revoked_at IS NULL;

-- name: revoke_api_key
UPDATE api_key SET revoked_at = now() WHERE merchant_id = $1 AND api_key_id = $2;

-- name: put_account
-- No row comes back when the name is that of another channel's account.
INSERT INTO channel_account (merchant_id, account_id, live, channel, name, sealed_settings, priority)
VALUES ($1, $2, $3, $4, $5, $6, $7)
ON CONFLICT (merchant_id, live, name) DO UPDATE
SET sealed_settings = excluded.sealed_settings, priority = excluded.priority, updated_at = now()
WHERE channel_account.channel = excluded.channel
RETURNING account_id;

-- name: accounts
SELECT * FROM channel_account WHERE merchant_id = $1 AND live = $2 AND enabled
ORDER BY priority, account_id;

-- name: account_of_id
SELECT * FROM channel_account WHERE merchant_id = $1 AND account_id = $2;

-- name: accounts_named
-- For who runs the server: of one merchant, or of all.
SELECT * FROM channel_account
WHERE ($1::text IS NULL OR merchant_id = $1) AND channel = $2 AND (name = $3 OR account_id = $3)
ORDER BY merchant_id, account_id;

-- name: merchant_name
SELECT name FROM merchant WHERE merchant_id = $1;

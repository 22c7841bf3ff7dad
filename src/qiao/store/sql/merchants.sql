-- Merchants, API keys, channel accounts. Organisations and apps are in organisations.sql.

-- name: add_merchant
INSERT INTO merchant (merchant_id, name, organisation_id) VALUES ($1, $2, $3) ON CONFLICT DO NOTHING
RETURNING merchant_id;

-- name: add_api_key
INSERT INTO api_key (merchant_id, api_key_id, live, digest, hint, app_id, scopes, expires_at,
                     allowed_addresses, signing_algorithm, sealed_signing_key)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)
ON CONFLICT (digest) DO NOTHING
RETURNING api_key_id;

-- name: api_key_of_digest
SELECT merchant_id, live, api_key_id, app_id, scopes, expires_at, allowed_addresses,
       signing_algorithm, sealed_signing_key
FROM api_key WHERE digest = $1 AND revoked_at IS NULL;

-- name: lock_api_key
SELECT * FROM api_key WHERE merchant_id = $1 AND api_key_id = $2 FOR UPDATE;

-- name: replace_api_key
-- $4 is when the old one ends; it never ends later than it would have.
UPDATE api_key SET replaced_by = $3, expires_at = least(expires_at, $4)
WHERE merchant_id = $1 AND api_key_id = $2;

-- name: revoke_api_key
UPDATE api_key SET revoked_at = coalesce(revoked_at, now())
WHERE merchant_id = $1 AND api_key_id = $2
RETURNING live, revoked_at = now() AS revoked_now;

-- name: api_keys
SELECT * FROM api_key WHERE merchant_id = $1 ORDER BY api_key_id;

-- name: note_key_use
UPDATE api_key SET last_used_at = $3, last_used_from = $4
WHERE merchant_id = $1 AND api_key_id = $2 AND (last_used_at IS NULL OR last_used_at < $3);

-- name: lock_account
SELECT account_id, sealed_settings, priority, app_id FROM channel_account
WHERE merchant_id = $1 AND live = $2 AND name = $3
FOR UPDATE;

-- name: put_account
-- No row comes back when the name is that of another channel's account.
INSERT INTO channel_account (merchant_id, account_id, live, channel, name, sealed_settings,
                             priority, app_id)
VALUES ($1, $2, $3, $4, $5, $6, $7, $8)
ON CONFLICT (merchant_id, live, name) DO UPDATE
SET sealed_settings = excluded.sealed_settings, priority = excluded.priority,
    app_id = excluded.app_id, updated_at = now()
WHERE channel_account.channel = excluded.channel
RETURNING account_id;

-- name: accounts
SELECT * FROM channel_account WHERE merchant_id = $1 AND live = $2 AND enabled
ORDER BY priority, account_id;

-- name: all_accounts
SELECT * FROM channel_account WHERE merchant_id = $1 ORDER BY live, priority, account_id;

-- name: enable_account
-- updated_at too: it is the version that an attempt compares.
WITH before AS (
  SELECT * FROM channel_account WHERE merchant_id = $1 AND account_id = $2 FOR UPDATE
)
UPDATE channel_account a
SET enabled = $3, updated_at = CASE WHEN a.enabled = $3 THEN a.updated_at ELSE now() END
FROM before WHERE a.merchant_id = before.merchant_id AND a.account_id = before.account_id
RETURNING a.*, before.enabled <> a.enabled AS changed;

-- name: account_of_id
SELECT * FROM channel_account WHERE merchant_id = $1 AND account_id = $2;

-- name: accounts_named
-- For who runs the server: of one merchant, or of all.
SELECT * FROM channel_account
WHERE ($1::text IS NULL OR merchant_id = $1) AND channel = $2 AND (name = $3 OR account_id = $3)
ORDER BY merchant_id, account_id;

-- name: merchant_name
SELECT name FROM merchant WHERE merchant_id = $1;

-- Fees: what a channel keeps of a payment, and what the platform's operator charges for it.

CREATE TABLE price_version (
  merchant_id text NOT NULL,
  live boolean NOT NULL,
  version integer NOT NULL CHECK (version > 0),
  prices jsonb NOT NULL,
  note text NOT NULL DEFAULT '',
  created_at timestamptz NOT NULL DEFAULT now(),
  PRIMARY KEY (merchant_id, live, version)
);
COMMENT ON TABLE price_version IS
  'every price list that was ever saved; the last one counts. The merchant platform is no merchant: its prices are those of merchants without their own';
CREATE TRIGGER prices_are_append_only BEFORE UPDATE OR DELETE ON price_version
  FOR EACH ROW EXECUTE FUNCTION refuse_change();
CREATE TRIGGER prices_are_not_emptied BEFORE TRUNCATE ON price_version
  FOR EACH STATEMENT EXECUTE FUNCTION refuse_change();

-- What is taken of an amount, as qiao.domain.fees.Fee says it: half a minor unit is rounded up.
CREATE FUNCTION fee_of(fee jsonb, amount_minor bigint) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN fee IS NULL THEN 0 ELSE least(
    greatest(
      div(amount_minor::numeric * (fee ->> 'basis_points')::bigint + 5000, 10000)::bigint
        + (fee ->> 'fixed')::bigint,
      (fee ->> 'min')::bigint),
    (fee ->> 'max')::bigint) END
$$;
COMMENT ON FUNCTION fee_of IS 'least() passes over a max that is null';

-- How much of it goes back for a refund: its share of all that has been refunded, less what has
-- gone back before, so that a whole refund in parts gives back the whole fee.
CREATE FUNCTION fee_returned(
  fee jsonb, fee_minor bigint, captured_minor bigint, refunded_before bigint, refund_minor bigint
) RETURNS bigint
LANGUAGE sql IMMUTABLE PARALLEL SAFE AS $$
  SELECT CASE WHEN fee_minor > 0 AND (fee ->> 'returned')::boolean THEN (
    div(2 * fee_minor::numeric * (refunded_before + refund_minor) + captured_minor,
        2 * captured_minor)
    - div(2 * fee_minor::numeric * refunded_before + captured_minor, 2 * captured_minor)
  )::bigint ELSE 0 END
$$;

ALTER TABLE attempt
  ADD COLUMN price jsonb,
  ADD COLUMN cost jsonb,
  ADD COLUMN fee_minor bigint NOT NULL DEFAULT 0,
  ADD COLUMN channel_fee_minor bigint NOT NULL DEFAULT 0;
COMMENT ON COLUMN attempt.price IS 'what the operator charges, as it was when the attempt started';
COMMENT ON COLUMN attempt.cost IS 'what the channel keeps, as it was when the attempt started';
COMMENT ON COLUMN attempt.fee_minor IS 'by price, of what was captured';
COMMENT ON COLUMN attempt.channel_fee_minor IS 'by cost, of what was captured';
ALTER TABLE refund
  ADD COLUMN fee_returned_minor bigint NOT NULL DEFAULT 0,
  ADD COLUMN channel_fee_returned_minor bigint NOT NULL DEFAULT 0;

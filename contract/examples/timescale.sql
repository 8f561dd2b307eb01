-- Tables for PostgreSQL; with the extension TimescaleDB they become hypertables. Run it as often as you like:
--
--   psql -v ON_ERROR_STOP=1 -f timescale.sql
--
-- Whatever reads the topics calls take_batch or take_event with each message and acknowledges it after the commit. What came
-- before is left alone: the primary keys hold the identity (node, ep, seq), and time because TimescaleDB wants it there.

CREATE TABLE IF NOT EXISTS reading (
    time   timestamptz NOT NULL,
    tenant text NOT NULL,
    node   text NOT NULL,
    dev    text NOT NULL,
    ep     text NOT NULL,
    seq    bigint NOT NULL,
    point  text NOT NULL,
    value  double precision,          -- a number
    truth  boolean,                   -- or a truth value
    words  text,                      -- or a text; none of the three: the quality says why
    quality smallint NOT NULL DEFAULT 192,
    clk    text NOT NULL,
    PRIMARY KEY (node, ep, seq, point, time)
);

CREATE TABLE IF NOT EXISTS event (
    time   timestamptz NOT NULL,
    tenant text NOT NULL,
    node   text NOT NULL,
    dev    text NOT NULL,
    ep     text NOT NULL,
    seq    bigint NOT NULL,
    type   text NOT NULL,
    clk    text NOT NULL,
    data   jsonb NOT NULL,
    PRIMARY KEY (node, ep, seq, time)
);

DO $$
BEGIN
    IF EXISTS (SELECT FROM pg_extension WHERE extname = 'timescaledb') THEN
        PERFORM create_hypertable('reading', 'time', if_not_exists => true);
        PERFORM create_hypertable('event', 'time', if_not_exists => true);
    END IF;
END
$$;

CREATE INDEX IF NOT EXISTS reading_point ON reading (node, dev, point, time DESC);
CREATE INDEX IF NOT EXISTS event_type ON event (type, time DESC);

-- A message on tele or hist. Returns how many readings are new.
CREATE OR REPLACE FUNCTION take_batch(tenant text, m jsonb) RETURNS bigint LANGUAGE sql AS $$
    WITH sample AS (
        SELECT s FROM jsonb_array_elements(m->'samples') AS s
    ), point AS (
        SELECT s, key, s->'v'->key AS v, s->'q'->key AS q
        FROM sample, LATERAL (SELECT jsonb_object_keys((s->'v') || coalesce(s->'q', '{}')) AS key) AS k
    ), fresh AS (
        INSERT INTO reading
        SELECT to_timestamp((s->>'ts')::double precision / 1000), tenant, m->>'node', m->>'dev', m->>'ep', (s->>'seq')::bigint, key,
               CASE jsonb_typeof(v) WHEN 'number' THEN v::double precision END,
               CASE jsonb_typeof(v) WHEN 'boolean' THEN v::boolean END,
               CASE jsonb_typeof(v) WHEN 'string' THEN v #>> '{}' END,
               coalesce(q::smallint, 192), m->>'clk'
        FROM point
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*) FROM fresh
$$;

-- A message on event or res. Returns 1 when it is new.
CREATE OR REPLACE FUNCTION take_event(m jsonb) RETURNS bigint LANGUAGE sql AS $$
    WITH fresh AS (
        INSERT INTO event
        SELECT (m->>'time')::timestamptz, split_part(m->>'source', '/', 2), split_part(m->>'source', '/', 3), split_part(m->>'source', '/', 4),
               split_part(m->>'id', '-', 1), split_part(m->>'id', '-', 2)::bigint, m->>'type', m->>'clk', m->'data'
        ON CONFLICT DO NOTHING
        RETURNING 1
    )
    SELECT count(*) FROM fresh
$$;

-- Quarter hours: of several revisions the highest.
CREATE OR REPLACE VIEW quarter AS
SELECT DISTINCT ON (node, dev, data->>'point', data->>'start')
       to_timestamp((data->>'start')::double precision / 1000) AS start, tenant, node, dev, data->>'point' AS point,
       (data->>'kwh')::double precision AS kwh, (data->>'coverage')::double precision AS coverage, data->>'method' AS method,
       data->>'pod' AS pod, data->>'role' AS role, (data->>'rev')::int AS rev
FROM event
WHERE type = 'bordo.energy.interval.v1'
ORDER BY node, dev, data->>'point', data->>'start', (data->>'rev')::int DESC;

-- What nodes say will not come.
CREATE OR REPLACE VIEW gap AS
SELECT time AS told, tenant, node, data->>'ep' AS ep, data->>'class' AS class, (data->>'from')::bigint AS first,
       (data->>'to')::bigint AS last, (data->>'n')::bigint AS n, data->>'why' AS why
FROM event
WHERE type = 'bordo.store.gap.v1';

-- For tools that can only append (Telegraf writes with COPY, and one duplicate would spoil its whole batch): a table without a key,
-- with the columns that telegraf.conf leads to, and a view that shows each sample once.
CREATE TABLE IF NOT EXISTS tele (
    time   timestamptz NOT NULL,
    tenant text,
    node   text,
    dev    text,
    fields jsonb                      -- ep, seq, hist, v_ac_power, q_flow, ...
);
CREATE INDEX IF NOT EXISTS tele_identity ON tele (node, (fields->>'ep'), ((fields->>'seq')::bigint));

CREATE OR REPLACE VIEW tele_once AS
SELECT DISTINCT ON (node, fields->>'ep', (fields->>'seq')::bigint) *
FROM tele
ORDER BY node, fields->>'ep', (fields->>'seq')::bigint, (fields->>'hist')::boolean;

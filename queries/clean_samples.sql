-- One row a series and instant: finite values only, of several copies the largest. Beyond 1e18
-- stands no measurement, and DCGM writes blanks as numbers from 0x7ffffff0 on.
-- reads: samples, series
-- needs: nothing
-- returns: key, time_ms, value, copies, is_conflict
WITH known AS (
    SELECT DISTINCT
        key,
        scope
    FROM series
)

SELECT
    samples.key,
    samples.time_ms,
    max(samples.value) AS value,
    count(*) - 1 AS copies,
    max(samples.value) <> min(samples.value) AS is_conflict
FROM samples
INNER JOIN known ON samples.key = known.key
WHERE
    isfinite(samples.value)
    AND abs(samples.value) < 1e18
    AND NOT (known.scope = 'gpu' AND samples.value >= 2147483632)
GROUP BY samples.key, samples.time_ms

-- One row a series and instant: finite values only, of several copies the largest.
-- reads: samples, series
-- needs: nothing
-- returns: key, time_ms, value, copies, is_conflict
SELECT
    samples.key,
    samples.time_ms,
    max(samples.value) AS value,
    count(*) - 1 AS copies,
    max(samples.value) <> min(samples.value) AS is_conflict
FROM samples
SEMI JOIN series ON samples.key = series.key
WHERE isfinite(samples.value)
GROUP BY samples.key, samples.time_ms

-- How often each series was sampled: the median interval, in milliseconds.
-- reads: steps
-- needs: nothing
-- returns: key, cadence_ms
SELECT
    key,
    median(interval_ms) AS cadence_ms
FROM steps
GROUP BY key

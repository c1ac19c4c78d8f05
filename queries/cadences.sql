-- How often the series that hold means per second were sampled: the median interval, in
-- milliseconds. The increase such a mean stands for is not known before.
-- reads: samples, places
-- needs: nothing
-- returns: place, cadence_ms
WITH instants AS (
    SELECT DISTINCT
        places.place,
        samples.time_ms
    FROM samples
    INNER JOIN places ON samples.key = places.key
    WHERE places.is_rate AND isfinite(samples.value) AND abs(samples.value) < 1e18
),

steps AS (
    SELECT
        place,
        time_ms - lag(time_ms) OVER (PARTITION BY place ORDER BY time_ms) AS interval_ms
    FROM instants
)

SELECT
    place,
    median(interval_ms) AS cadence_ms
FROM steps
GROUP BY place

-- Samples of the series that a study uses in some days, day by day, in the order of their places.
-- reads: samples, places
-- needs: $first_ms, $end_ms
-- returns: place, time_ms, value
SELECT
    places.place,
    samples.time_ms,
    samples.value
FROM samples
INNER JOIN places ON samples.key = places.key
WHERE samples.time_ms >= $first_ms AND samples.time_ms < $end_ms
ORDER BY
    places.service_number,
    CAST(floor(samples.time_ms / 86400000.0) AS INTEGER),
    places.place,
    samples.time_ms

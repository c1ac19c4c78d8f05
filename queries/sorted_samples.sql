-- All samples of the series that a study uses, day by day, in the order of the series' places.
-- reads: samples, places
-- needs: nothing
-- returns: place, time_ms, value
SELECT
    places.place,
    samples.time_ms,
    samples.value
FROM samples
INNER JOIN places ON samples.key = places.key
ORDER BY
    places.service_number,
    CAST(floor(samples.time_ms / 86400000.0) AS INTEGER),
    places.place,
    samples.time_ms

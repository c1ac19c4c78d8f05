-- How many samples each day has, in days since 1970.
-- reads: samples
-- needs: nothing
-- returns: day, samples
SELECT
    CAST(floor(time_ms / 86400000.0) AS INTEGER) AS day,
    count(*) AS samples
FROM samples
GROUP BY day
ORDER BY day

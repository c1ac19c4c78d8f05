-- Increments of all histogram buckets of one service, in no order.
-- reads: parts, series
-- needs: $service, $role
-- returns: key, time_ms, value
SELECT
    parts.key,
    parts.time_ms,
    parts.value
FROM parts
INNER JOIN series ON parts.key = series.key
WHERE
    series.form = 'bucket'
    AND series.service = $service
    AND series.role = $role

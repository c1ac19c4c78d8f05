-- All samples of one service but histogram buckets, series by series in time.
-- reads: parts, series
-- needs: $service, $role
-- returns: key, time_ms, value, interval_ms
SELECT
    parts.key,
    parts.time_ms,
    parts.value,
    parts.interval_ms
FROM parts
INNER JOIN series ON parts.key = series.key
WHERE
    series.form <> 'bucket'
    AND series.service = $service
    AND series.role = $role
ORDER BY parts.key, parts.time_ms

-- Histogram increments of one service, summed over replicas, by pool, quantity, edge and step.
-- An increment belongs to the step in which its interval ends, so that counts stay whole numbers.
-- reads: parts, series
-- needs: $service, $role, $start_ms, $step_ms
-- returns: pool, scope, quantity, le, step, value, longest_interval_ms
SELECT
    series.pool,
    series.scope,
    series.quantity,
    series.le,
    CAST(ceil((parts.time_ms - $start_ms) / CAST($step_ms AS DOUBLE)) AS BIGINT) AS step,
    sum(parts.value) AS value,
    max(parts.interval_ms) AS longest_interval_ms
FROM parts
INNER JOIN series ON parts.key = series.key
WHERE
    series.form = 'bucket'
    AND series.service = $service
    AND series.role = $role
GROUP BY ALL
ORDER BY 1, 2, 3, 4, 5

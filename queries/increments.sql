-- Base units, interval by interval: gauges as they are, rates times their interval, counters as
-- increases. After a reset the whole value is the increase, as in Prometheus. A rate speaks of one
-- cadence at most: what happened in a gap is not known. A counter's first sample says nothing.
-- reads: steps, series, cadences, resets
-- needs: nothing
-- returns: key, time_ms, value, interval_ms
SELECT
    steps.key,
    steps.time_ms,
    series.factor * CASE
        WHEN series.form = 'gauge' THEN steps.value
        WHEN series.form = 'rate'
            THEN
                steps.value / 1000.0
                * least(
                    coalesce(steps.interval_ms, cadences.cadence_ms, 1000.0),
                    coalesce(2.5 * cadences.cadence_ms, 1000.0)
                )
        WHEN resets.group_key IS NOT NULL THEN steps.value
        ELSE steps.value - steps.previous_value
    END AS value,
    CAST(
        CASE
            WHEN series.form = 'gauge' THEN 0
            ELSE coalesce(steps.interval_ms, cadences.cadence_ms, 1000.0)
        END AS BIGINT
    ) AS interval_ms
FROM steps
INNER JOIN series ON steps.key = series.key
INNER JOIN cadences ON steps.key = cadences.key
LEFT JOIN resets
    ON series.group_key = resets.group_key AND steps.time_ms = resets.time_ms
WHERE series.form IN ('gauge', 'rate') OR steps.previous_value IS NOT NULL

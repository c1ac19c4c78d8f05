-- Counter resets: any decrease. A histogram resets as a whole, so the group is what resets.
-- reads: steps, series
-- needs: nothing
-- returns: group_key, time_ms
SELECT DISTINCT
    series.group_key,
    steps.time_ms
FROM steps
INNER JOIN series ON steps.key = series.key
WHERE
    series.form IN ('count', 'bucket')
    AND steps.value < steps.previous_value

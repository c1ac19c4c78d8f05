-- What was wrong with each series' samples.
-- reads: clean, steps, cadences, series, resets
-- needs: nothing
-- returns: key, copies, conflicts, gaps, resets, first_ms, last_ms, cadence_ms, repeats, changes
WITH twins AS (
    SELECT
        key,
        sum(copies) AS copies,
        count(*) FILTER (WHERE is_conflict) AS conflicts
    FROM clean
    GROUP BY key
)

SELECT
    steps.key,
    any_value(twins.copies) AS copies,
    any_value(twins.conflicts) AS conflicts,
    count(*) FILTER (WHERE steps.interval_ms > 2.5 * cadences.cadence_ms) AS gaps,
    count(resets.group_key) AS resets,
    min(steps.time_ms) AS first_ms,
    max(steps.time_ms) AS last_ms,
    any_value(cadences.cadence_ms) AS cadence_ms,
    count(*) FILTER (WHERE steps.value = steps.previous_value) AS repeats,
    count(*) FILTER (WHERE steps.value <> steps.previous_value) AS changes
FROM steps
INNER JOIN twins ON steps.key = twins.key
INNER JOIN cadences ON steps.key = cadences.key
INNER JOIN series ON steps.key = series.key
LEFT JOIN resets
    ON series.group_key = resets.group_key AND steps.time_ms = resets.time_ms
GROUP BY steps.key

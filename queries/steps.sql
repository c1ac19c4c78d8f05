-- Every sample with the one before it in its series.
-- reads: clean
-- needs: nothing
-- returns: key, time_ms, value, previous_value, interval_ms
SELECT
    key,
    time_ms,
    value,
    lag(value) OVER in_time AS previous_value,
    time_ms - lag(time_ms) OVER in_time AS interval_ms
FROM clean
WINDOW in_time AS (PARTITION BY key ORDER BY time_ms)

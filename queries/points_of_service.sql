-- The operating points of one service, by concurrency.
-- reads: points
-- needs: $service
-- returns: concurrency_requests, ttft_seconds, tbt_seconds, prompt_tokens, output_tokens, gpus_per_replica
SELECT
    concurrency_requests,
    ttft_seconds,
    tbt_seconds,
    prompt_tokens,
    output_tokens,
    gpus_per_replica
FROM points
WHERE service = $service
ORDER BY concurrency_requests

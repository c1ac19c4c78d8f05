-- The request log of one service, by arrival.
-- reads: request_parts
-- needs: $service, $role
-- returns: arrived_ms, requests, prompt_tokens, output_tokens, cached_prompt_tokens, ttft_seconds, tbt_seconds, e2e_seconds, queue_wait_seconds
SELECT
    arrived_ms,
    requests,
    prompt_tokens,
    output_tokens,
    cached_prompt_tokens,
    ttft_seconds,
    tbt_seconds,
    e2e_seconds,
    queue_wait_seconds
FROM request_parts
WHERE service = $service AND role = $role
ORDER BY arrived_ms

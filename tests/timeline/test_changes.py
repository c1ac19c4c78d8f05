"""What labels tell of deploys, versions and hardware."""

from tests.telemetry.written import START, sample, timeline_of

HOUR = 3600.0


def gauge(begin, end, metric="vllm:num_requests_running", **labels):
    """Give a gauge every minute from `begin` to `end`, in hours."""
    times = range(int(begin * 60), int(end * 60) + 1)
    return [sample(metric, 60.0 * minute, 4.0, **labels) for minute in times]


def changes(folder, rows):
    kinds = ("deploy", "version", "hardware")
    timeline = timeline_of(folder, rows)
    return [
        (e.kind, (e.at_seconds - START) / HOUR, e.note) for e in timeline.events if e.kind in kinds
    ]


def test_a_version_that_gives_way_to_another_is_an_event(tmp_path):
    rows = gauge(0, 10, version="v0.9") + gauge(10, 20, version="v0.10")
    assert changes(tmp_path, rows) == [("version", 10.0, "version v0.9 gave way to v0.10")]


def test_a_rollout_replica_by_replica_is_one_event(tmp_path):
    rows = []
    for number in range(4):
        turn = 10 + number / 6
        rows += gauge(0, turn, replica=f"old-{number}") + gauge(turn, 20, replica=f"new-{number}")
    assert changes(tmp_path, rows) == [("deploy", 10.0, "4 of 4 replicas gave way to 4 others")]


def test_other_gpus_are_an_event(tmp_path):
    rows = gauge(0, 20)
    rows += gauge(0, 20, "DCGM_FI_DEV_GPU_UTIL", modelName="H100", replica="a")
    rows += gauge(8, 20, "DCGM_FI_DEV_GPU_UTIL", modelName="H200", replica="b")
    assert changes(tmp_path, rows) == [("hardware", 8.0, "hardware H200 was added")]


def test_an_autoscaler_that_adds_and_removes_replicas_deploys_nothing(tmp_path):
    rows = gauge(0, 20, replica="a") + gauge(0, 20, replica="b")
    rows += gauge(5, 9, replica="c") + gauge(6, 8, replica="d") + gauge(12, 14, replica="e")
    assert changes(tmp_path, rows) == []


def test_labels_that_never_change_are_no_event(tmp_path):
    assert changes(tmp_path, gauge(0, 20, version="1", model_name="llama")) == []

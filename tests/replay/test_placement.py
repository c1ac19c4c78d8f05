from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from signalstudy.replay.inventory import HIGH, LOW, MEDIUM, Inventory, Minipod, read_inventory
from signalstudy.replay.placement import Fleet, settle, site_of
from signalstudy.replay.recorded import replay_policy
from signalstudy.vocabulary.errors import ConfigurationError
from tests.replay import planted

PAIR = {"prefill": 2, "decode": 2}
BEARS = {"prefill": 4000.0, "decode": 2000.0}


def fleet(*minipods, most=None, affinity="s2", start=None, gpus=None, **more):
    """Give a fleet on minipods (switch, {type: gpus}, priority)."""
    pods = tuple(
        Minipod(f"pod{at}", switch, kinds, priority)
        for at, (switch, kinds, priority) in enumerate(minipods)
    )
    switches = max(pod.switch for pod in pods) + 1
    inventory = Inventory(pods, tuple(most or [None] * switches), affinity, **more)
    site = site_of(inventory, gpus or PAIR, BEARS)
    return settle(site, start or dict.fromkeys(site.gpus, 0))


def where(one: Fleet, pool: str) -> list[int]:
    return sorted(replica.minipod for replica in one.replicas[pool])


def free(one: Fleet) -> int:
    return sum(sum(place.values()) for place in one.free)


def test_mixed_hardware_is_used_last_and_freed_first():
    one = fleet((0, {"A": 8, "B": 4}, HIGH), (1, {"A": 4}, MEDIUM), (2, {"A": 8}, LOW))
    assert one.move({"prefill": 2, "decode": 2}, 0)
    assert where(one, "prefill") + where(one, "decode") == [2, 2, 2, 2]
    assert one.move({"prefill": 3, "decode": 3}, 0)
    assert where(one, "prefill") == [1, 2, 2]
    assert one.move({"prefill": 5, "decode": 5}, 0)
    assert Counter(where(one, "decode")) == {0: 2, 1: 1, 2: 2}
    assert one.move({"prefill": 3, "decode": 3}, 0)
    assert where(one, "prefill") == where(one, "decode") == [1, 2, 2]


def test_prefill_and_decode_of_a_group_are_placed_together_or_not_at_all():
    one = fleet((0, {"A": 4}, LOW), (1, {"A": 4}, LOW), start={"prefill": 1, "decode": 1})
    # Switch 0 is full. A lone prefill replica would find GPUs behind switch 1, and no decode there.
    assert not one.move({"prefill": 2, "decode": 1}, 0)
    assert where(one, "prefill") == [0]
    assert one.move({"prefill": 2, "decode": 2}, 0)
    assert where(one, "prefill") == where(one, "decode") == [0, 1]


def test_of_a_decision_all_is_done_or_nothing():
    one = fleet((0, {"A": 10}, LOW), start={"prefill": 1, "decode": 1})
    assert not one.move({"prefill": 3, "decode": 3}, 0)
    assert free(one) == 6
    assert one.move({"prefill": 3, "decode": 2}, 0)
    assert free(one) == 0


def test_some_are_kept_back_where_a_new_group_needs_one_of_each():
    # Two more fit beside the first group; greed would put both prefill there and leave decode out.
    one = fleet((0, {"A": 8}, LOW), (1, {"A": 8}, LOW), start={"prefill": 1, "decode": 1})
    assert one.move({"prefill": 3, "decode": 4}, 0)
    for domain in (0, 1):
        assert domain in where(one, "prefill")
        assert domain in where(one, "decode")


def test_a_scale_in_leaves_no_half_group_and_closes_whole_ones():
    one = fleet((0, {"A": 4}, LOW), (1, {"A": 4}, LOW), start={"prefill": 2, "decode": 2})
    assert not one.move({"prefill": 1, "decode": 2}, 0)
    assert len(one.replicas["prefill"]) == 2
    assert one.move({"prefill": 1, "decode": 1}, 0)
    assert where(one, "prefill") == where(one, "decode")


def test_what_is_freed_is_not_used_in_the_same_cycle():
    one = fleet((0, {"A": 8}, LOW), start={"prefill": 3, "decode": 1})
    assert not one.move({"prefill": 1, "decode": 3}, 0)
    assert one.move({"prefill": 1, "decode": 1}, 0)
    assert one.move({"prefill": 1, "decode": 3}, 0)


def test_affinity_says_what_a_group_shares():
    places = ((0, {"A": 2}, LOW), (0, {"A": 2}, LOW))
    wanted = {"prefill": 1, "decode": 1}
    assert fleet(*places, affinity="s2").move(wanted, 0)
    assert not fleet(*places, affinity="s1").move(wanted, 0)
    apart = ((0, {"A": 2}, LOW), (1, {"A": 2}, LOW))
    assert not fleet(*apart, affinity="s2").move(wanted, 0)
    assert fleet(*apart, affinity="none").move(wanted, 0)


def test_a_switch_takes_no_more_than_its_limit():
    one = fleet((0, {"A": 100}, LOW), (1, {"A": 100}, LOW), most=[4, None])
    assert one.move({"prefill": 3, "decode": 3}, 0)
    assert Counter(where(one, "prefill") + where(one, "decode")) == {0: 4, 1: 2}


def test_a_type_is_used_by_its_pools_and_counts_as_what_it_bears():
    one = fleet(
        (0, {"A": 2, "B": 4}, HIGH),
        allowed={"B": frozenset({"prefill"})}, capacity={("prefill", "B"): 1000.0},
    )  # fmt: skip
    assert not one.move({"prefill": 1, "decode": 2}, 0)
    assert one.move({"prefill": 2, "decode": 1}, 0)
    # Prefill left the type that decode needs.
    assert [replica.hardware for replica in one.replicas["decode"]] == ["A"]
    assert [replica.hardware for replica in one.replicas["prefill"]] == ["B", "B"]
    assert one.strength("prefill", np.zeros(1, dtype=np.int64))[0] == 0.5


def test_replicas_serve_from_their_step_on():
    one = fleet((0, {"A": 8}, LOW), start={"prefill": 1, "decode": 1})
    one.move({"prefill": 2, "decode": 1}, 7)
    assert one.count("prefill", np.array([0, 6, 7, 9])).tolist() == [1.0, 1.0, 2.0, 2.0]


def test_fragmentation_is_what_no_group_could_use():
    # Seven and one free: one group of four fits, three and one are left over.
    one = fleet((0, {"A": 7}, LOW), (1, {"A": 1}, LOW))
    assert one.fragmentation() == pytest.approx(4 / 8)
    whole = fleet((0, {"A": 8}, LOW))
    assert whole.fragmentation() == 0.0
    assert whole.replicas == {"prefill": [], "decode": []}  # asking changes nothing


places = st.lists(
    st.tuples(
        st.integers(0, 2), st.dictionaries(st.sampled_from("AB"), st.integers(0, 9), min_size=1),
        st.sampled_from([LOW, MEDIUM, HIGH]),
    ), min_size=1, max_size=5,
)  # fmt: skip
asks = st.lists(st.tuples(st.integers(1, 8), st.integers(1, 8)), max_size=12)


@settings(deadline=None, max_examples=150)
@given(places, asks, st.sampled_from(["s1", "s2", "none"]), st.one_of(st.none(), st.integers(1, 9)))
def test_whatever_is_asked_gpus_are_kept_and_groups_are_whole(minipods, wanted, affinity, limit):
    try:
        one = fleet(*minipods, affinity=affinity, most=[limit] * 3)
    except ConfigurationError:
        return  # no minipod holds a replica
    total = sum(sum(kinds.values()) for _, kinds, _ in minipods)
    domain = one.site.inventory.domain
    for prefill, decode in wanted:
        before = {pool: len(found) for pool, found in one.replicas.items()}
        is_done = one.move({"prefill": prefill, "decode": decode}, 0)
        after = {pool: len(found) for pool, found in one.replicas.items()}
        asked = {"prefill": prefill, "decode": decode}
        assert is_done == (after == asked)
        grows = {pool for pool in asked if asked[pool] > before[pool]}
        if not is_done and grows:
            assert after == before or all(after[pool] == asked[pool] for pool in grows)
        assert all(count >= 0 for place in one.free for count in place.values())
        assert free(one) + 2 * sum(after.values()) == total
        groups = [
            {domain(replica.minipod) for replica in one.replicas[pool]} for pool in sorted(PAIR)
        ]
        assert groups[0] == groups[1]
        if limit is not None:
            behind = Counter(
                one.site.inventory.minipods[replica.minipod].switch
                for found in one.replicas.values() for replica in found
            )  # fmt: skip
            assert max(behind.values(), default=0) <= limit
        assert 0.0 <= one.fragmentation() <= 1.0


INVENTORY = """
apiVersion: signalstudy.dev/v1alpha1
kind: Inventory
affinity: s2
hardware:
  L20: {pools: [prefill], capacityPerReplica: {prefill: 2000}}
switches:
  - name: s2-a
    maxReplicas: 60
    minipods:
      - {name: a1, gpus: {H20: 20}}
      - {name: a2, gpus: {H20: 8}}
  - name: s2-b
    minipods:
      - {name: b1, gpus: {H20: 8, L20: 4}}
      - {name: b2, gpus: {H20: 8}}
"""


@pytest.fixture
def inventory(tmp_path):
    path = tmp_path / "inventory.yaml"
    path.write_text(INVENTORY)
    return path


def test_priorities_come_from_what_stands_behind_a_switch(inventory):
    found = read_inventory(inventory)
    assert [pod.priority for pod in found.minipods] == [LOW, LOW, HIGH, MEDIUM]
    assert found.most == (60, None)
    assert found.may_run("prefill", "L20")
    assert not found.may_run("decode", "L20")
    assert found.may_run("decode", "H20")


def split(level=16000.0):
    return planted.disaggregated(planted.day(level, hours=6.0), 8.0)


def test_where_there_is_room_for_all_an_inventory_changes_nothing(inventory, tmp_path):
    roomy = tmp_path / "roomy.yaml"
    roomy.write_text(INVENTORY.replace("H20: 20", "H20: 500").replace("maxReplicas: 60", ""))
    free_run, placed = (
        replay_policy(planted.split_policy(), split(), inventory=path, draws=3).runs[1]
        for path in (None, roomy)
    )
    assert placed.gpu_hours == free_run.gpu_hours
    assert placed.slo_attainment_ratio == free_run.slo_attainment_ratio
    assert placed.scale_events == free_run.scale_events
    assert free_run.placement is None
    assert placed.placement.unplaced_replica_hours.value == 0.0
    assert placed.placement.refused_decisions.value == 0.0


def test_a_decision_that_finds_no_place_is_not_applied_and_is_told(inventory):
    # One GPU a replica: 48 GPUs, four of them for prefill alone; the peak wants 37 of one.
    replay = replay_policy(planted.split_policy(), split(32000.0), inventory=inventory, draws=0)
    run = replay.runs[1]
    asked = run.pools["prefill"].asked_replicas + run.pools["decode"].asked_replicas
    assert asked.max() <= 48
    assert run.placement.unplaced_replica_hours.value > 1.0
    assert run.placement.refused_decisions.value >= 1.0
    assert 0.0 <= run.placement.fragmentation_ratio.value <= 1.0
    assert any(flag.startswith("No place: for ") for flag in run.flags)
    assert run.slo_attainment_ratio.value < 0.95
    assert any("plans made in hindsight are not bound by it" in note for note in replay.notes)
    document = replay.as_dict()["runs"][1]["placement"]
    assert set(document) == {"unplaced_replica_hours", "fragmentation_ratio", "refused_decisions"}
    assert replay.rows()[1]["unplaced_hours"] == run.placement.unplaced_replica_hours.value


def test_with_an_inventory_nothing_is_put_back_and_that_is_told(inventory):
    said = []
    for seconds in (0, 120):
        rule = planted.rule()
        rule["scaleIn"]["observationSeconds"] = seconds
        policy = planted.split_policy(pools={"decode": rule, "prefill": rule})
        replay = replay_policy(policy, split(), inventory=inventory, draws=0)
        said.append([note for note in replay.notes if "nothing is put back" in note])
    assert [len(notes) for notes in said] == [0, 1]


def test_replicas_on_weaker_gpus_bear_less(tmp_path):
    weak = tmp_path / "weak.yaml"
    weak.write_text(
        "apiVersion: signalstudy.dev/v1alpha1\nkind: Inventory\n"
        "hardware: {W: {capacityPerReplica: {unified: 500}}}\n"
        "switches: [{name: s, minipods: [{name: m, gpus: {W: 100}}]}]\n"
    )
    service = planted.unified(planted.steps(2000.0, 2000.0), 4.0)
    fixed = planted.policy(pools={"unified": planted.rule(4, 4)})
    kept = [
        replay_policy(fixed, planted.unified(planted.steps(level, level), 4.0), inventory=weak,
                      draws=0).runs[1].slo_attainment_ratio.value
        for level in (1900.0, 2600.0)
    ]  # fmt: skip
    assert kept[0] == pytest.approx(1.0)
    assert kept[1] < 0.1
    # What it sees is per replica as well: half the capacity, half the target, twice the replicas.
    half = planted.policy(target=350.0)
    run = replay_policy(half, service, inventory=weak, draws=0).runs[1]
    assert run.pools["unified"].asked_replicas[-1] == 6.0
    assert run.slo_attainment_ratio.value > 0.99


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (("kind: Inventory", "kind: Other"), "inventory.yaml, kind: 'Inventory' was expected"),
        (("affinity: s2", "affinity: s3"), "inventory.yaml, affinity: 's3' is not one of"),
        (("name: b1", "name: a1"), "the name 'a1' stands twice"),
        (("L20: {pools", "L40: {pools"), "no minipod has 'L40'. There are: H20, L20"),
        (("H20: 20", "H20: -1"), "minipods.0.gpus.H20: -1 is less than the minimum of 0"),
        (("switches:", "racks:"), "'racks' was unexpected"),
        (("affinity: s2", "affinity: [s2"), "inventory.yaml"),
    ],
)  # fmt: skip
def test_a_wrong_inventory_is_one_clear_error(change, sentence, tmp_path):
    path = tmp_path / "inventory.yaml"
    path.write_text(INVENTORY.replace(*change))
    with pytest.raises(ConfigurationError, match=sentence.replace("[", r"\[")) as raised:
        read_inventory(path)
    assert "\n" not in str(raised.value)


def test_an_inventory_too_small_says_for_what(inventory):
    big = {"prefill": 64, "decode": 2}
    with pytest.raises(ConfigurationError, match="a replica of prefill needs 64 GPUs of one minip"):
        replay_policy(planted.split_policy(), split(), inventory=inventory, gpus_per_replica=big)
    with pytest.raises(ConfigurationError, match="no place for the replicas that the replay begin"):
        replay_policy(
            planted.split_policy(), planted.disaggregated(planted.steps(16000.0), 40.0),
            inventory=inventory,
        )  # fmt: skip


def test_an_inventory_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigurationError, match=r"nowhere\.yaml: cannot be read"):
        read_inventory(tmp_path / "nowhere.yaml")

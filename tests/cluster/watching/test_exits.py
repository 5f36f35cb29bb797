"""Whatever stands in the files of ends and of records, a diagnosis and a status are made of the rest."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from pangu_alpha.cluster.watching.diagnosis import describe, diagnose
from pangu_alpha.cluster.watching.status import describe as describe_status
from pangu_alpha.cluster.watching.status import read_status
from pangu_alpha.errors import ClusterError

if TYPE_CHECKING:
    from tests.cluster.conftest import RecordedRun

ODD = [
    10**17,
    -1,
    True,
    1e18,
    float("nan"),
    float("inf"),
    "rank 5",
    "rank x",
    "\ud800",
    "\x1b[31m",
    "\0",
    "SIGKILL",
    "failed",
]
ANYTHING = st.recursive(
    st.none() | st.integers(-(10**17), 10**17) | st.floats() | st.text(max_size=8) | st.sampled_from(ODD),
    lambda inner: st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2),
    max_leaves=4,
)
ENDS: list[dict[str, Any]] = [
    {"rank": 0, "time": 1_799_999_999.5, "exit_code": 1},
    {"rank": 1, "time": 1_799_999_999.0, "signal": "SIGKILL"},
    {"name": "scheduler", "time": 1_799_999_999.0, "exit_code": 137},
]
NAMES = [
    "rank",
    "name",
    "time",
    "exit_code",
    "signal",
    "since",
    "step",
    "num_ranks",
    "host",
    "phase",
    "settings",
    "error",
]


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
@given(data=st.data())
def test_whatever_stands_in_a_file_the_others_are_read(data: st.DataObject, recorded_run: RecordedRun) -> None:
    for rank in range(3):
        recorded_run.say(rank, "training", 57)
    ends = [dict(end) for end in ENDS]
    values = data.draw(st.dictionaries(st.sampled_from(NAMES), ANYTHING, min_size=1, max_size=3))
    if data.draw(st.booleans()):
        ends[data.draw(st.integers(0, 2))] |= values
    else:
        path = recorded_run.output / "heartbeats" / "rank_0.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | values))
    recorded_run.write("logs/exits.json", json.dumps(ends))
    recorded_run.write("logs/rank_0.log", "step 57/100\n[ERROR] foo failed\n")
    try:
        diagnosis = diagnose(recorded_run.output)
        assert not diagnosis.failures or describe(diagnosis)
        describe_status(recorded_run.output, read_status(recorded_run.output, recorded_run.now))
    except ClusterError:  # a record can say that the settings are elsewhere
        pass

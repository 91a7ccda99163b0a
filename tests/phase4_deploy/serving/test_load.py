"""What load, soak and the walk's step make of outcomes: hand-computed, and what may not pass."""

import pytest

from phase4_deploy.serving.load import Outcome, Summary, summary
from phase4_deploy.serving.soak import SoakConfig, seen
from phase4_deploy.serving.trial import Trial
from phase4_deploy.train_serve import ServeConfig, rows_of

FLAT = [(minute / 2, 1000.0) for minute in range(61)]


def outcomes(*statuses: int) -> list[Outcome]:
    """Answers that took 10, 20, 30, ... ms, with five tokens each."""
    return [Outcome("completions", s, 0.01 * i, 0.002, 5) for i, s in enumerate(statuses, 1)]


def test_a_summary_is_of_answers_and_counts_failures_beside():
    found = summary(outcomes(200, 200, 200, -1, 0, 500), seconds=2.0)
    assert found.requests_per_second == 1.5 and found.tokens_per_second == 7.5
    assert found.p50_ms == pytest.approx(20) and found.p95_ms == pytest.approx(29)
    assert found.failed == 2, "who left on purpose did not fail, who got no answer did"
    assert found.n == 6


@pytest.mark.parametrize(
    ("statuses", "memory", "left", "good"),
    [
        ((200, 200, -1), FLAT, 0.0, True),
        ((200, 200, 503), FLAT, 0.0, False),
        ((200, 200, 0), FLAT, 0.0, False),
        ((200, 200), FLAT, 1.0, False),
        ((200, 200), [(m, mb + 4 * m) for m, mb in FLAT], 0.0, False),
        ((200, 200), [(m, mb - 500 * (m < 5)) for m, mb in FLAT], 0.0, True),
    ],
    ids=["good", "refused", "unanswered", "a row is busy", "memory grows", "only while warming up"],
)
def test_a_soak_passes_only_what_is_sound(statuses, memory, left, good):
    assert seen(SoakConfig(), outcomes(*statuses), memory, left)["good"] is good


def test_the_steps_rows_stand_beside_one_request_at_a_time():
    ours, plain = (Summary(8.0, speed, 1.0, 90.0, 200.0, 250.0, 0, 60) for speed in (2.0, 1.0))
    mixed = Summary(5.0, 1.0, 1.0, 9.0, 20.0, 25.0, 3, 40)
    trial = Trial(6.4, {"ours": ours, "one at a time": plain}, mixed, {}, 11.0, [], [])
    about = {"step": "serve", "artifact": "phase4/serve@tiny-0", "preset": "tiny"}
    rows = {row.metric: row for row in rows_of(trial, ServeConfig(), about)}
    assert rows["tokens_per_second"].value == 2.0
    assert rows["tokens_per_second"].baselines == {"one_at_a_time": 1.0}
    assert rows["failed_requests"].value == 3 and rows["failed_requests"].n == 40
    assert rows["cold_start_seconds"].value == 6.4 and rows["first_token_ms"].value == 11.0

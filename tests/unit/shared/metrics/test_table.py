"""The table of metrics follows Prometheus' rules for names, and bounds the number of series."""

import re

import pytest

from reckoner.shared.metrics.table import BUCKETS_S, COUNTED, METRICS, MOST_SERIES, OTHER, TASK_RUN, Metric

# A label with such a name could have any number of values, or tell who somebody is.
FORBIDDEN = {"worker", "host", "user", "item", "pid", "generation", "model", "path"}


@pytest.mark.parametrize("metric", METRICS, ids=lambda metric: metric.name)
def test_a_name_has_the_unit_and_the_suffix_of_its_kind(metric: Metric) -> None:
    """Base units; `_total` for counters only. The help is one sentence."""
    assert re.fullmatch(r"reckoner_[a-z_]+", metric.name)
    assert metric.name.endswith("_total") == (metric.kind == "counter")
    if metric.kind == "histogram":
        assert metric.name.endswith("_seconds")
    assert not re.search(r"_(ms|us|minutes|hours|mb|kb|percent)(_|$)", metric.name)
    assert metric.what.endswith(".")
    assert "\n" not in metric.what


def test_labels_have_closed_sets_of_values_and_name_nobody() -> None:
    """At most a fixed number of series, whatever the fleet does."""
    labels = {name for metric in METRICS for name in metric.labels}
    assert labels == {"lane", "kind", "outcome", "source"}
    assert not labels & FORBIDDEN
    assert MOST_SERIES < 1_500
    assert len({metric.name for metric in METRICS}) == len(METRICS)
    assert list(BUCKETS_S) == sorted(set(BUCKETS_S))


def test_an_unknown_label_counts_as_other() -> None:
    """A planted name of a function makes no series. A metric without `other` has only values of ours."""
    assert TASK_RUN.allowed(("click", "chunk")) == ("click", "chunk")
    assert TASK_RUN.allowed(("click", "a stranger's")) == ("click", OTHER)
    assert TASK_RUN.most_series == 2 * 6 * (len(BUCKETS_S) + 3)
    assert all(metric.kind in ("counter", "histogram") for metric in COUNTED)

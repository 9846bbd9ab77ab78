"""The night's benchmark: what its figures are computed from."""

import os
import xml.etree.ElementTree as ElementTree

import pytest

from tests.benchmarks import bench_night
from tests.benchmarks.bench_night import GROUPS
from tests.benchmarks.night_chart import Scaling, draw
from tests.benchmarks.night_peers import in_format_1
from tests.benchmarks.night_site import without_server

KEY = b"reckoner:rec:7384d216e1d4efda:user:1"
FORMAT_1 = (
    '{"format":1,"generation":"7384d216e1d4efda","items":[{"item":"55820","score":0.21356502,"because":"48516"},'
    '{"item":"ein: Artikel\\n","score":1e-7,"because":"ユーザー"}]}'
).encode()


def point(workers: int, speed: float | None) -> Scaling:
    """A number of workers and a speed."""
    return Scaling(
        workers=workers, users_per_second=speed, workers_us=None, server_us=None, server_share=None, fit_s=None
    )


def test_format_1_repeats_the_generation_and_names_each_part() -> None:
    """A list of format 1 stays as it is, and one of places gets its bytes back."""
    places = '{"format":2,"items":[["55820",0.21356502,"48516"],["ein: Artikel\\n",1e-7,"ユーザー"]]}'
    assert in_format_1(KEY, FORMAT_1) == FORMAT_1
    assert in_format_1(KEY, places.encode()) == FORMAT_1


def test_the_server_is_taken_off_only_where_it_has_no_core_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two workers on two cores give it half a second each of its second; one worker leaves it a core."""
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1}, raising=False)
    assert without_server(10.0, 1.0, workers=1) == 10.0
    assert without_server(10.0, 1.0, workers=2) == 9.5
    assert without_server(10.0, 1.0, workers=8) == 9.5


def test_the_chart_has_a_point_for_each_speed_that_was_measured() -> None:
    """It is well-formed, and a failed measurement leaves a gap."""
    drawn = draw([point(1, 9_000.0), point(2, None), point(15, 90_000.0)], "a <machine>")
    root = ElementTree.fromstring(drawn)
    circles = root.findall("{http://www.w3.org/2000/svg}circle")
    words = ["".join(text.itertext()) for text in root.findall("{http://www.w3.org/2000/svg}text")]
    assert len(circles) == 2
    assert float(circles[0].attrib["cy"]) > float(circles[1].attrib["cy"])
    assert {"1", "15", "a <machine>", "100,000"} <= set(words)


def test_a_chart_without_a_speed_is_refused() -> None:
    """There is nothing to draw."""
    with pytest.raises(ValueError, match="no speed was measured"):
        draw([point(1, None)], "a machine")


def test_an_unknown_group_is_named_and_nothing_is_measured(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The sentence lists the groups."""
    monkeypatch.setattr("sys.argv", ["bench_night", "--only", "kills,cilck"])
    with pytest.raises(SystemExit):
        bench_night.main()
    said = capsys.readouterr().err
    assert "unknown group cilck" in said
    assert all(group in said for group in GROUPS)

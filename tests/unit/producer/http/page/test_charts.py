"""Pictures are drawn to scale, say their figures in words, and escape names."""

import re

from reckoner.producer.http.page.charts import HEIGHT, MARGIN, WIDTH, interval, spark_line


def points(picture: str) -> list[tuple[float, float]]:
    """The points of the line."""
    [line] = re.findall(r'points="([^"]*)"', picture)
    return [(float(x), float(y)) for x, _, y in (point.partition(",") for point in line.split())]


def test_a_line_spans_the_picture_from_zero_to_its_highest_value() -> None:
    """Time runs to the right with room for what is unknown; the label has the ends."""
    picture = spark_line([10.0, None, 5.0, 20.0], "users <per> second", lambda value: f"{value:.0f}")
    assert points(picture) == [
        (MARGIN, HEIGHT / 2),
        (132.0, 28.0),
        (WIDTH - MARGIN, MARGIN),
    ]
    assert "users &lt;per&gt; second: 3 values from 5 to 20, the first 10, the last 20" in picture


def test_equal_values_are_a_line_too_and_one_value_is_none() -> None:
    """Zeros lie on the ground; a single value has no course."""
    assert [y for _, y in points(spark_line([0.0, 0.0], "x", str))] == [HEIGHT - MARGIN] * 2
    assert [y for _, y in points(spark_line([3.0, 3.0], "x", str))] == [MARGIN] * 2
    assert spark_line([None, 1.0], "x", str) == spark_line([], "x", str) == ""


def test_values_below_zero_have_their_place() -> None:
    """The ground line stands at zero."""
    picture = spark_line([-1.0, 1.0], "x", str)
    assert [y for _, y in points(picture)] == [HEIGHT - MARGIN, MARGIN]
    assert f'y1="{HEIGHT / 2:.1f}"' in picture


def test_an_interval_lies_on_its_scale() -> None:
    """From the low end to the high one, with the mean as a dot."""
    picture = interval(0.5, 0.25, 0.75, (0.0, 1.0), "a & b")
    assert f'x1="{MARGIN + (WIDTH - 2 * MARGIN) / 4:.1f}"' in picture
    assert f'cx="{WIDTH / 2:.1f}"' in picture
    assert "a &amp; b" in picture

"""The reduce checks partials before kernels read them."""

from typing import Any

import numpy as np
import pytest

from reckoner.shared.errors import WireError
from reckoner.shared.wire.shapes import Best
from reckoner.workers.tasks.reduce import check_best


def best(
    counts: Any = (2, 0), items: Any = (1, 3), scores: Any = (0.5, 0.25), reasons: Any = (0, 2), cut: int = 0
) -> Best:
    return Best(
        np.array(counts, np.uint32).tobytes(),
        np.array(items, np.uint32).tobytes()[: -cut or None],
        np.array(scores, np.float32).tobytes(),
        np.array(reasons, np.uint32).tobytes(),
    )


def test_a_valid_partial_passes() -> None:
    """With an empty list, and with none at all."""
    check_best(best(), 2, 4)
    check_best(best((0, 0), (), (), ()), 2, 4)
    check_best(best((), (), (), ()), 0, 0)


@pytest.mark.parametrize(
    "invalid",
    [
        best(counts=(2,)),
        best(counts=(1, 0)),
        best(counts=(2**32 - 1, 3)),
        best(items=(1,)),
        best(reasons=(1, 2, 3)),
        best(items=(1, 4)),
        best(reasons=(0, 2**32 - 1)),
        best(scores=(0.5, 0.0)),
        best(scores=(0.5, -1.0)),
        best(scores=(0.5, float("nan"))),
        best(scores=(float("inf"), 0.5)),
        best(cut=1),
        best((1, 0), (0,), (0.5,), (4,)),
    ],
)
def test_a_partial_that_would_mislead_a_kernel_is_refused(invalid: Best) -> None:
    """A wrong number of users or places, an index out of range, a score that is not above zero, a cut array."""
    with pytest.raises(WireError):
        check_best(invalid, 2, 4)

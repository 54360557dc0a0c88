"""Seeds of different versions: a parameter that there was not when a seed ran had its default."""

import pytest

from nbkit.cli.study import seed_stats
from nbkit.cli.study.seeds import Study

STUDY = Study("tiny", (0, 1), ("01_make", "02_use"), fresh=True)


def manifests(*params):
    return {seed: {"params": {"seed": seed, **own}} for seed, own in enumerate(params)}


def test_a_parameter_that_came_later_has_its_default(project):
    seed_stats._alike(STUDY, "02_use", manifests({}, {"factor": 2}))
    seed_stats._alike(STUDY, "02_use", manifests({"factor": 2}, {}))


def test_another_value_than_the_default_is_refused(project):
    with pytest.raises(ValueError, match="factor is 2 in seed 0, 5 in seed 1"):
        seed_stats._alike(STUDY, "02_use", manifests({}, {"factor": 5}))


def test_a_parameter_that_is_gone_is_compared_too(project):
    with pytest.raises(ValueError, match="old is 1 in seed 0, None in seed 1"):
        seed_stats._alike(STUDY, "02_use", manifests({"old": 1}, {}))

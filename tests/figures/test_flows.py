"""What the captions of the figures about flows of probability say is what compute() finds."""

import re

import numpy as np
import pytest

from figures import _targets, carried_density
from figures import learnt_densities, numbers, same_marginals, trace_estimates
from . import computed, listed, says

SHARE = 0.02                  # four standard errors of a share of 0.9 among 4,000
CLAIMED = {"flow": (0.04, 0.05, 0.05), "kernel": (0.81, 0.39, 0.53), "best kernel": (0.03, 0.05, 0.06)}
TRAINED = 0.02                # nats: hundreds of steps of Adam make much of the last bit of an exponential
CELL = 2e-3                   # a density summed over the cells of the grid


@pytest.mark.eq("26.1", "26.2", "26.9")
def test_the_particles_are_where_the_density_says_and_the_density_is_what_the_particle_carries():
    data = computed("carried_density")
    assert np.abs(np.array(data["inside"]) - carried_density.SHARE).max() <= SHARE
    path = data["log p"][:, data["marked"]]
    assert says("carried_density", "about 90 per cent") and says("carried_density", "log p grows by about 2.")
    assert abs(path[-1] - path[0] - 2) <= 0.5
    shares = [100 * share for share in data["crowded"]]
    assert shares == sorted(shares)
    first, last = re.search(r"While (\d+) per cent of the particles are in the blue at t = 0, "
                            r"(\d+) per cent", numbers(carried_density)).groups()
    assert abs(shares[0] - int(first)) <= 100 * SHARE and abs(shares[-1] - int(last)) <= 100 * SHARE
    is_blue = np.array([rate > 0 for _, rate in data["fields"]])
    assert says("carried_density", "more than three quarters of the square drawn keep")
    assert (is_blue == is_blue[0]).mean(axis=(1, 2)).min() > 0.75
    _, area = learnt_densities.cells()
    assert all(abs(p.sum() * area - 1) <= CELL for p in data["densities"])


@pytest.mark.eq("26.1", "26.9")
def test_the_flows_come_near_the_targets_and_beat_the_kernel_estimate():
    data = computed("learnt_densities")
    rows = list(data.values())
    for row in rows:
        assert row["own"] < row["flow"] < row["kernel"]
        assert abs(row["coarse"] - row["flow"]) <= 0.01 and abs(row["mass"] - 1) <= 1e-3
    for kind, claimed in CLAIMED.items():
        assert np.abs([row[kind] - row["own"] for row in rows] - np.array(claimed)).max() <= TRAINED
    flow, kernel, best = (listed(claimed, lambda x: f"{x:.2f}") for claimed in CLAIMED.values())
    assert says("learnt_densities", f"The flow is {flow} nats above what is possible, the kernel estimate {kernel}, "
                                    f"and {best} with the bandwidth")
    assert max(CLAIMED["flow"]) + TRAINED < 0.1                       # "to within a tenth of a nat"
    assert says("learnt_densities", "within 0.01 of the fine solve") and says("learnt_densities", "within 0.001 on")


def test_the_targets_are_densities_and_their_points_are_drawn_from_them():
    grid, area = learnt_densities.cells()
    for target in _targets.TARGETS.values():
        p = np.exp(target.log_density(grid)) * area
        assert abs(p.sum() - 1) <= CELL
        points = target.draw(4000, np.random.default_rng(7))
        for g in (lambda y: y[..., 0] + y[..., 1], lambda y: np.cos(4 * y[..., 0]) * y[..., 1] ** 2,
                  lambda y: np.abs(y[..., 0] * y[..., 1])):
            mean, square = np.sum(p * g(grid)), np.sum(p * g(grid) ** 2)
            assert abs(g(points).mean() - mean) <= 5 * np.sqrt((square - mean**2) / 4000)


@pytest.mark.eq("27.1", "27.3", "27.9")
def test_shaken_and_carried_particles_have_one_density_and_different_paths():
    data = computed("same_marginals")
    assert data["p"] > 0.01 and data["kept"]
    assert data["ranks"] < 0.5 and says("same_marginals", "shaken ones lose most of it")
    assert says("same_marginals", f"differ by at most {data['apart']:.3f} at any")
    times = ", ".join(f"{t:g}" for t in same_marginals.T[same_marginals.TESTED][:-1])
    assert says("same_marginals", f"five times {times} and 2")
    assert says("same_marginals", f"gives p = {np.floor(100 * data['p']) / 100:.2f} or more)")
    assert says("same_marginals", f"from the exact one by {data['from exact']:.3f}")
    assert says("same_marginals", f"of first and last rank is {data['ranks']:.2f}")


@pytest.mark.eq("26.3", "26.4", "26.6", "26.7", "26.8")
def test_random_signs_miss_by_what_the_formula_says_and_less_than_a_batch_does():
    data = computed("trace_estimates")
    first = [data[d][0, 0] for d in trace_estimates.DIMENSIONS]
    assert says("trace_estimates", "leaves {:.2f} nats for d = 2, {:.2f} for d = 8 and {:.2f} for d = 32".format(*first))
    off = max(np.abs(data[d][:, 0] / data[d][:, 1] - 1).max() for d in trace_estimates.DIMENSIONS)
    assert says("trace_estimates", f"within {np.ceil(100 * off):.0f} per cent of the lines")
    assert says("trace_estimates", f"an error of {data['by noise'][0]:.2f} to the gradient with one product, "
                                   f"against {data['by choice']:.2f} from the choice")
    assert data["by noise"].max() < data["by choice"] and says("trace_estimates", "no more noise than the choice")
    for d in trace_estimates.DIMENSIONS:                                  # the lines fall with the slope −1/2
        predicted = data[d][:, 1]
        assert np.allclose(predicted * np.sqrt(trace_estimates.PROBES[:len(predicted)]), predicted[0])

"""Statistics of trainings that differ in the loss and the seed."""

from typing import Dict, NamedTuple, Optional, Tuple

import numpy as np
from scipy import stats

DRAWS = 1000
LEVEL = 0.95


class Difference(NamedTuple):
    """A mean difference of two trainings by seed, and its interval."""

    mean: float
    low: float
    high: float
    by_seed: Dict[int, float]


def mean_and_spread(values: np.ndarray) -> Tuple[float, float]:
    """Mean and sample standard deviation, which is NaN of less than two.

    Args:
        values (np.ndarray): Numbers, of which NaN are left out.

    Returns:
        tuple[float, float]: Both, NaN without any number.
    """
    values = np.asarray(values, dtype=float)
    values = values[~np.isnan(values)]
    mean = float(np.mean(values)) if len(values) else np.nan
    spread = float(np.std(values, ddof=1)) if len(values) > 1 else np.nan
    return mean, spread


def epochs_to_reach(curve: Dict[int, float], target: float) -> Optional[int]:
    """The first epoch with a score of at least the target.

    Args:
        curve (dict[int, float]): Score by epoch.
        target (float): The score to reach.

    Returns:
        int: The epoch, ``None`` if it is not reached.
    """
    reached = [epoch for epoch, score in curve.items() if score >= target]
    return min(reached, default=None)


def widening(n: int) -> float:
    """How much too small the bootstrap of a mean of n numbers makes its error.

    It divides by n instead of n - 1, and takes the normal for Student's
    distribution: with three numbers, an interval of 95 % would hold the mean
    in three of four cases. Hesterberg, "What Teachers Should Know about the
    Bootstrap", 2014, https://arxiv.org/abs/1411.5279, on the expanded
    percentile interval. (Its cure, other percentiles, cannot help where so
    few different resamples exist.)

    Args:
        n (int): At least 2.

    Returns:
        float: The factor, about 2.7 for 3 and 1.04 for 50.
    """
    tail = (1 + LEVEL) / 2
    student = stats.t.ppf(tail, n - 1) / stats.norm.ppf(tail)
    return student * np.sqrt(n / (n - 1))


def paired_difference(
    ours: Dict[int, float],
    theirs: Dict[int, float],
    resampled: Optional[np.ndarray] = None,
) -> Optional[Difference]:
    """Mean difference of two losses over seeds, with a bootstrap interval.

    A draw is the mean of the differences by seed, on people drawn with
    replacement (the same for all trainings), plus the mean of n deviations of
    the n seeds' differences from their mean, drawn with replacement and
    widened, see :func:`widening`. The interval goes from the 2.5th to the
    97.5th percentile of the draws. Without people only seeds are drawn, with
    a single seed only people.

    Args:
        ours (dict[int, float]): Score by seed.
        theirs (dict[int, float]): Score by seed; only common seeds count.
        resampled (np.ndarray, optional): Differences on drawn people, of
            shape (seeds, draws), in the order of the common seeds.
            Defaults to ``None``.

    Returns:
        Difference: With NaN for an interval that nothing is known of, and
        ``None`` without a common seed.
    """
    by_seed = {s: ours[s] - theirs[s] for s in sorted({*ours} & {*theirs})}
    if not by_seed:
        return None
    each = np.array(list(by_seed.values()))
    mean, n = float(each.mean()), len(each)
    if resampled is None and n < 2:
        return Difference(mean, np.nan, np.nan, by_seed)
    draws = np.full(DRAWS, mean)
    if resampled is not None:
        draws = resampled.mean(axis=0)
    if n > 1:
        chosen = np.random.default_rng(0).integers(n, size=(len(draws), n))
        deviations = (each - mean) * widening(n)
        draws = draws + deviations[chosen].mean(axis=1)
    low, high = np.nanquantile(draws, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return Difference(mean, float(low), float(high), by_seed)


def draw_people(n: int) -> np.ndarray:
    """How often each of n people is drawn, the same at each call.

    Args:
        n (int): Number of people.

    Returns:
        np.ndarray: Integers of shape (draws, n) that sum to n.
    """
    rng = np.random.default_rng(1)
    return rng.multinomial(n, np.full(n, 1 / n), size=DRAWS)


class OtherPeople(NamedTuple):
    """Scores on test people that are drawn with replacement.

    Attributes:
        scores (np.ndarray): That on the people as they are, then one for each
            of :func:`draw_people`.
        number (int): How many there are.
        unit (str): Of what, 'people' or 'images'.
    """

    scores: np.ndarray
    number: int
    unit: str


class Detections(NamedTuple):
    """How COCO's evaluation matched D detections at T thresholds.

    Attributes:
        found (np.ndarray): True positives, shape (T, D).
        ignored (np.ndarray): Neither true nor false, shape (T, D).
        scores (np.ndarray): Shape (D,).
        image (np.ndarray): Index of its image, shape (D,).
        people (np.ndarray): Number of people to find by image.
    """

    found: np.ndarray
    ignored: np.ndarray
    scores: np.ndarray
    image: np.ndarray
    people: np.ndarray


def average_precision(
    detections: Detections, times: Optional[np.ndarray] = None
) -> float:
    """COCO's AP, mean over thresholds and 101 recalls.

    Args:
        detections (Detections): In the order of their images.
        times (np.ndarray, optional): How often each image counts. Once if
            ``None``. Defaults to ``None``.

    Returns:
        float: The AP, NaN without people.
    """
    found, ignored, scores, image, people = detections
    if times is None:
        times = np.ones(len(people))
    total = (times * people).sum()
    if not total:
        return np.nan
    order = np.argsort(-scores, kind='stable')
    weights = times[image[order]]
    found = found[:, order]
    false = ~found & ~ignored[:, order]
    true = np.cumsum(weights * found, axis=1)
    all_ = true + np.cumsum(weights * false, axis=1)
    precision = true / (all_ + np.spacing(1))
    # At a recall counts the best precision of this or a higher one.
    best = np.maximum.accumulate(precision[:, ::-1], axis=1)[:, ::-1]
    recalls = np.linspace(0, 1, 101)
    result = np.zeros((len(found), len(recalls)))
    for t, (recall, values) in enumerate(zip(true / total, best)):
        at = np.searchsorted(recall, recalls, side='left')
        inside = at < len(values)
        result[t, inside] = values[at[inside]]
    return float(result.mean())

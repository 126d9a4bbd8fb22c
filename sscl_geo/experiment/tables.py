"""What an experiment found, as tables: means and spreads, and systems compared seed by seed."""

from collections.abc import Callable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from scipy.stats import t as student

from sscl_geo.experiment.matrix import Experiment
from sscl_geo.experiment.spec import LabelCount, Metric, TableSpec
from sscl_geo.ops.assessment import Assessment
from sscl_geo.ops.resolution import Detail

CONFIDENCE = 0.9

Key = tuple[str, str, int]
"""System, number of labels as text, seed."""

OVER_ALL: Metric = "mIoU over all classes"
"""Shown only beside published numbers, of which some are such a mean."""

COMPARED: tuple[Metric, ...] = ("mIoU", "OA", "AA", "NLL", "ECE")
"""Metrics of which pairs of systems are told."""

METRICS: dict[Metric, Callable[[Assessment], float | None]] = {
    "mIoU": lambda a: 100 * a.scores.miou,
    OVER_ALL: lambda a: 100 * a.scores.miou_all,
    "OA": lambda a: 100 * a.scores.oa,
    "AA": lambda a: 100 * a.scores.aa,
    "NLL": lambda a: a.nll,
    "ECE": lambda a: 100 * a.ece,
    "boundary F1": lambda a: None if a.boundary_f1 is None else 100 * a.boundary_f1,
}


class Difference(NamedTuple):
    """Ours minus another's, over paired seeds.

    Attributes:
        mean: Mean difference.
        low: Lower end of its 90 % interval (Student's t).
        high: Upper end.
        pairs: Number of seeds.
    """

    mean: float
    low: float
    high: float
    pairs: int


def difference(ours: Sequence[float], other: Sequence[float]) -> Difference:
    """Return the mean difference of paired values with its 90 % interval."""
    gaps = np.subtract(ours, other)
    mean, count = float(gaps.mean()), len(gaps)
    if count == 1:
        return Difference(mean, -np.inf, np.inf, 1)
    reach = float(student.ppf(0.5 + CONFIDENCE / 2, count - 1) * gaps.std(ddof=1) / count**0.5)
    return Difference(mean, mean - reach, mean + reach, count)


def markdown(
    experiment: Experiment, found: dict[Key, Assessment], details: dict[str, list[Detail]]
) -> str:
    """Return all tables of an experiment as Markdown; `details` are of pretrained systems."""
    parts = [f"# {experiment.title}\n"]
    told = [metric for metric in METRICS if metric != OVER_ALL or experiment.tables]
    parts += [f"## {metric}\n\n{_means(experiment, found, metric)}\n" for metric in told]
    if experiment.pairs:
        rows = _pairs(experiment, found, experiment.pairs)
        parts += [
            f"## Paired differences, 90 % intervals\n\nOf NLL and ECE, less is better.\n\n{rows}\n"
        ]
    if experiment.savings:
        rows = _pairs(experiment, found, experiment.savings, is_saving=True)
        parts += [f"## Against most labels, paired differences, 90 % intervals\n\n{rows}\n"]
    parts += [
        f"## {table.title}\n\n{_again(experiment, found, table)}" for table in experiment.tables
    ]
    rows = _by_class(experiment, found, [*experiment.systems], "iou")
    parts.append(f"## IoU of each class, with most labels\n\n{rows}\n")
    if details:
        parts += [f"## Detail of feature maps, the image's is 1\n\n{_detail_rows(details)}\n"]
    about = [f"- `{name}`: {s.about}" for name, s in experiment.systems.items() if s.about]
    if about:
        parts.append("## Systems\n\n" + "\n".join(about) + "\n")
    return "\n".join(parts)


def _means(experiment: Experiment, found: dict[Key, Assessment], metric: Metric) -> str:
    header = ["labelled chips", *(str(count) for count in experiment.labels)]
    rows = [
        [name, *(_cell(found, experiment, name, count, metric) for count in experiment.labels)]
        for name in experiment.systems
        if experiment.labels_of(name)
    ]
    return _table(header, rows)


def _cell(
    found: dict[Key, Assessment],
    experiment: Experiment,
    name: str,
    count: LabelCount,
    metric: Metric,
) -> str:
    told = list(values(found, experiment, name, count, metric).values())
    if not told:
        return ""
    spread = f" ± {np.std(told, ddof=1):.2f}" if len(told) > 1 else ""
    return f"{np.mean(told):.2f}{spread}"


def values(
    found: dict[Key, Assessment],
    experiment: Experiment,
    name: str,
    count: LabelCount,
    metric: Metric,
) -> dict[int, float]:
    """Return what a system reached with some labels, by seed."""
    keys = [(name, str(count), seed) for seed in range(experiment.seeds_of(name))]
    told = {key[2]: METRICS[metric](found[key]) for key in keys if key in found}
    return {seed: value for seed, value in told.items() if value is not None}


def _pairs(
    experiment: Experiment,
    found: dict[Key, Assessment],
    pairs: Sequence[tuple[str, str]],
    *,
    is_saving: bool = False,
) -> str:
    """Compare systems at equal numbers of labels, or ours with the other's with most of its own."""
    rows = []
    for ours, other in pairs:
        most = experiment.labels_of(other)[-1] if is_saving else None
        for metric in COMPARED:
            row = [f"{ours} - {other}" + (f", {most}" if most else ""), metric]
            for count in experiment.labels:
                mine = values(found, experiment, ours, count, metric)
                theirs = values(found, experiment, other, most or count, metric)
                row.append(_gap(mine, theirs))
            rows.append(row)
    return _table(["systems", "metric", *(str(count) for count in experiment.labels)], rows)


def _gap(mine: dict[int, float], theirs: dict[int, float]) -> str:
    seeds = sorted(mine.keys() & theirs.keys())
    if not seeds:
        return ""
    gap = difference([mine[seed] for seed in seeds], [theirs[seed] for seed in seeds])
    return f"{gap.mean:+.2f} [{gap.low:+.2f}, {gap.high:+.2f}]"


def _detail_rows(details: dict[str, list[Detail]]) -> str:
    rows = [
        [name, *(f"{value:.3f}" for value in np.mean(found, axis=0))]
        for name, found in details.items()
    ]
    return _table(["pretrained system", "gradient energy", "median frequency"], rows)


def _again(experiment: Experiment, found: dict[Key, Assessment], table: TableSpec) -> str:
    """Return a published table: each system's numbers with most labels, and what others report."""
    header = ["system", *(f"{m}, {who}" for m in table.metrics for who in ("ours", "published"))]
    rows = []
    for name in table.systems:
        row, told = [name], experiment.systems[name].published
        for metric in table.metrics:
            counts = experiment.labels_of(name)[-1:]
            row += [_cell(found, experiment, name, count, metric) for count in counts] or [""]
            row.append(_reported(told.get(metric)))
        rows.append(row)
    parts = [_table(header, rows)]
    if table.by_class:
        parts.append(_by_class(experiment, found, table.systems, "recall"))
    return "\n\n".join(parts) + "\n"


def _reported(told: float | tuple[float, float] | None) -> str:
    if told is None:
        return ""
    return f"{told[0]:.1f} ± {told[1]:.1f}" if isinstance(told, tuple) else f"{told:.1f}"


def _by_class(
    experiment: Experiment,
    found: dict[Key, Assessment],
    systems: Sequence[str],
    score: Literal["iou", "recall"],
) -> str:
    """Return the mean over seeds of a score of each class in percent, with most labels."""
    header, rows = ["system", "labelled chips"], []
    for name in systems:
        counts = experiment.labels_of(name)[-1:]
        keys = [(name, str(c), seed) for c in counts for seed in range(experiment.seeds_of(name))]
        told = [found[key].scores for key in keys if key in found]
        if told:
            header[2:] = [item.name for item in told[0].legend.classes]
            classes = zip(*(getattr(scores, score) for scores in told), strict=True)
            known = [[one for one in seeds if one is not None] for seeds in classes]
            means = [f"{100 * np.mean(one):.1f}" if one else "" for one in known]
            rows.append([name, keys[0][1], *means])
    return _table(header, rows)


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)

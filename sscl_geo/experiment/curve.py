"""The label-scarcity curve: what each system reaches with how many labels."""

import io
from collections.abc import Sequence
from typing import NamedTuple

import matplotlib as mpl
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sscl_geo.experiment.matrix import Experiment
from sscl_geo.experiment.spec import Metric
from sscl_geo.experiment.tables import Key, values
from sscl_geo.ops.assessment import Assessment

SHOWN: tuple[Metric, ...] = ("mIoU", "AA")
FEW = 10
"""Systems up to which ten colours tell them apart; above there are twenty."""

APART = 0.04
"""Share of the axis over which the points of one number of labels lie apart, so that their spreads
do not hide each other."""

MARKERS = "osD^vP"
GREY = "#d9d6cd"


class Line(NamedTuple):
    """What a system reached, in percent.

    Attributes:
        system: Its name.
        labels: Numbers of labelled chips, ascending.
        mean: Mean over seeds at each of them.
        spread: Sample standard deviation over seeds; 0 of one seed.
    """

    system: str
    labels: tuple[int, ...]
    mean: tuple[float, ...]
    spread: tuple[float, ...]


def lines(
    experiment: Experiment, found: dict[Key, Assessment], metric: Metric, train: int
) -> list[Line]:
    """Return the lines of the systems that have any cell, in the experiment's order.

    Args:
        experiment: The matrix.
        found: What its cells found.
        metric: A key of the tables' metrics.
        train: How many labelled chips `all` are.
    """
    drawn = []
    for name in experiment.systems:
        counts = {count: train if count == "all" else count for count in experiment.labels}
        cells = {
            number: list(values(found, experiment, name, count, metric).values())
            for count, number in sorted(counts.items(), key=lambda pair: pair[1])
        }
        known = {number: told for number, told in cells.items() if told}
        if known:
            drawn.append(
                Line(
                    system=name,
                    labels=(*known,),
                    mean=tuple(float(np.mean(told)) for told in known.values()),
                    spread=tuple(
                        float(np.std(told, ddof=1)) if len(told) > 1 else 0.0
                        for told in known.values()
                    ),
                )
            )
    return drawn


def curve_picture(experiment: Experiment, found: dict[Key, Assessment], train: int) -> bytes:
    """Return the curves of two metrics as a PNG; bars are one standard deviation over seeds.

    Systems of classical classifiers are dashed.
    """
    height = max(4.6, 0.2 * len(experiment.systems))
    figure = Figure(figsize=(11, height), layout="constrained")
    figure.suptitle(experiment.title, fontsize=11, x=0.01, ha="left")
    for number, metric in enumerate(SHOWN, 1):
        axes = figure.add_subplot(1, len(SHOWN), number)
        _draw(axes, lines(experiment, found, metric, train), experiment)
        axes.set_title(f"{metric}, %", fontsize=10, loc="left")
        _label_axis(axes, experiment, train)
    figure.legend(
        *axes.get_legend_handles_labels(), loc="outside right upper", fontsize=8, frameon=False
    )
    return png_of(figure)


def png_of(figure: Figure) -> bytes:
    """Return a figure as a PNG."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=160)
    return buffer.getvalue()


def _draw(axes: Axes, drawn: Sequence[Line], experiment: Experiment) -> None:
    colors = mpl.colormaps["tab10" if len(experiment.systems) <= FEW else "tab20"].colors  # type: ignore[attr-defined]
    known = [number for line in drawn for number in line.labels]
    axis = max(np.log(max(known) / min(known)), 1.0)
    for line in drawn:
        system, index = experiment.systems[line.system], [*experiment.systems].index(line.system)
        aside = np.exp(APART * axis * ((index + 0.5) / len(experiment.systems) - 0.5))
        is_classical = system.forest is not None or system.head is not None
        axes.errorbar(
            np.multiply(line.labels, aside),
            line.mean,
            yerr=line.spread,
            label=line.system,
            color=colors[index % len(colors)],
            marker=MARKERS[index % len(MARKERS)],
            markersize=4,
            linewidth=1.3,
            elinewidth=0.8,
            linestyle="--" if is_classical else "-",
        )


def _label_axis(axes: Axes, experiment: Experiment, train: int) -> None:
    ticks = {train if count == "all" else count: count for count in experiment.labels}
    told = [f"all ({number})" if count == "all" else str(count) for number, count in ticks.items()]
    axes.set_xscale("log")
    axes.set_xticks([*ticks], told)
    axes.set_xticks([], minor=True)
    axes.set_xlim(min(ticks) * 0.85, max(ticks) / 0.85)
    axes.set_xlabel("labelled chips", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(axis="y", color=GREY, linewidth=0.6)

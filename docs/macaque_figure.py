"""Draw the README's figure from the measured table in benchmarks/RESULTS.md: `python docs/macaque_figure.py`.

The responses are 33 neurons of macaque V4, session 190923 of Cowley et al. (github.com/cowleygroup/V4_compact_models).
`benchmarks/macaque_v4.py` measured the table with this project's own commands.
"""

import re
from pathlib import Path

from matplotlib.figure import Figure

HERE = Path(__file__).resolve().parent
RESULTS = HERE.parent / "benchmarks" / "RESULTS.md"
PICTURE = HERE / "pictures" / "macaque_v4.png"
BLUE, ORANGE, GREY = "#0072B2", "#D55E00", "0.45"
ROW = re.compile(r"^\| (\d+) \| ([\d.]+) \| ([\d.]+) ± ([\d.]+) \| ([\d.]+) \| ([+-][\d.]+) \|$", re.MULTILINE)


def measured() -> dict[str, list[float]]:
    """Read the columns of the table "Real neurons: macaque V4", by name, a value for each block."""
    section = RESULTS.read_text().split("## Real neurons: macaque V4")[1].split("\n## ")[0]
    rows = [[float(value) for value in row] for row in ROW.findall(section)]
    names = ("block", "r", "mean of six splits", "SD of six splits", "reference", "shuffled")
    return dict(zip(names, map(list, zip(*rows, strict=True)), strict=True))


def draw(path: Path = PICTURE) -> None:
    """Draw median held-out r against block: this project, the plain reference, shuffled images."""
    table = measured()
    blocks = table["block"]
    figure = Figure(figsize=(7, 3.6), layout="constrained")
    axes = figure.subplots()
    axes.plot(blocks, table["reference"], "s--", color=ORANGE, fillstyle="none", label="scikit-learn's RidgeCV")
    axes.errorbar(
        blocks,
        table["mean of six splits"],
        table["SD of six splits"],
        fmt="none",
        ecolor=BLUE,
        capsize=3,
        label="six more splits, mean ± SD",
    )
    axes.plot(blocks, table["r"], "o-", color=BLUE, label="this project")
    axes.plot(blocks, table["shuffled"], "x:", color=GREY, label="images shuffled")
    axes.axhline(0, color="0.8", linewidth=0.8, zorder=0)
    axes.set(
        title="Macaque V4: 33 neurons, 1200 photographs",
        xlabel="block of EfficientNet-Lite0 (ImageNet weights)",
        ylabel="median r on held-out images",
        xticks=blocks,
        ylim=(-0.05, 0.65),
    )
    axes.legend(frameon=False, loc="center right", bbox_to_anchor=(1, 0.4))
    figure.savefig(path, dpi=130)


if __name__ == "__main__":
    draw()

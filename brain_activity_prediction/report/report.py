"""Make tables, figures and a page about all scores in a BASE_DIR.

Writes to BASE_DIR/report/: scores.csv and scores.parquet, with a row for each model, prompt, stream, layer, subject and
region; report.html, one file that any browser opens without network; and its figures as PNG and SVG. With flags that
select scores, the report is written to a subfolder.
"""

from __future__ import annotations

import argparse
from collections import deque
from concurrent.futures import ThreadPoolExecutor

from brain_activity_prediction.datasets.find import dataset_if_any
from brain_activity_prediction.report.flags import output_and_selection, parser
from brain_activity_prediction.runtime.background import Background
from brain_activity_prediction.runtime.messages import log
from brain_activity_prediction.runtime.running import run_script
from brain_activity_prediction.storage.files import remove_left_behind
from brain_activity_prediction.storage.folders import part_of, reported_files
from brain_activity_prediction.storage.made_from import state_of, write_note


def flags() -> argparse.ArgumentParser:
    flags = parser(__doc__)
    flags.add_argument(
        "--roi",
        nargs="+",
        metavar="NAME",
        help="include only these regions, such as V1v or HCP_MMP1:V1; required for atlases on the page",
    )
    flags.add_argument("--table-only", action="store_true", help="print and write the table without figures or page")
    return flags


def main() -> None:
    arguments = flags().parse_args()
    output, selection = output_and_selection(arguments)
    from brain_activity_prediction.report.tables.collecting import Tables, find_scored
    from brain_activity_prediction.report.tables.writing import as_text, shown_tables, write_tables

    folder = part_of(output, "report") / selection.name
    remove_left_behind(folder)
    made_from = state_of(output.folder, reported_files(output))
    tables = Tables(find_scored(output))
    tables.check(selection)
    if arguments.table_only:
        print(as_text(next(iter(shown_tables(write_tables(tables, selection, folder), selection).values()))))
    else:
        from brain_activity_prediction.report.contents import gather
        from brain_activity_prediction.report.cortex.surface_page import write_surface_page
        from brain_activity_prediction.report.page import write_page
        from brain_activity_prediction.report.plots.drawing import FigureFolder
        from brain_activity_prediction.report.source import Source

        source = Source(output, dataset_if_any(arguments.base_dir, arguments.dataset))

        with ThreadPoolExecutor(1) as writer:  # Arrow releases Python's lock, so that rows are written in parallel
            written = writer.submit(deque, write_tables(tables, selection, folder), 0)  # writes without keeping rows
            shown = shown_tables(tables.selected(selection), selection)
            with Background() as background:
                contents = gather(source, tables, shown, selection, FigureFolder(folder / "figures", run=background))
            page = write_page(contents, folder)
            write_surface_page(contents.on_cortex, contents.simulated, folder)
            written.result()
        write_note(folder, made_from)  # written last, so that it marks a complete report
        print(page)
    log.info(f"{folder / 'scores.csv'} and .parquet hold the scores of all layers")


if __name__ == "__main__":
    run_script(main)

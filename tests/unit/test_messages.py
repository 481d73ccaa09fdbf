"""Messages go to stderr, as many as -v and -q ask for."""

import pytest

from brain_activity_prediction.align_image_embeddings import align_model
from brain_activity_prediction.demo.__main__ import flags as demo_flags
from brain_activity_prediction.report import report
from brain_activity_prediction.runtime.messages import log, show_messages
from brain_activity_prediction.storage.files import written_whole
from brain_activity_prediction.sweep import sweep


@pytest.fixture(autouse=True)
def _as_before():
    show_messages()
    yield
    show_messages()


@pytest.mark.parametrize(
    ("given", "shown"),
    [([], "told\nwarned\n"), (["-q"], "warned\n"), (["--quiet"], "warned\n"), (["-v"], "detail\ntold\nwarned\n")],
)
@pytest.mark.parametrize(
    ("flags", "needed"),
    [
        (align_model.flags, ["-d", ".", "-m", "org/model"]),
        (report.flags, ["-d", "."]),
        (sweep.flags, ["plan", "-d", "."]),
        (demo_flags, []),
    ],
)
def test_quiet_leaves_warnings_and_verbose_adds_details(flags, needed, given, shown, capsys):
    arguments = flags().parse_args([*needed, *given])
    log.debug("detail")
    log.info("told")
    log.warning("warned")
    assert capsys.readouterr().err == shown
    assert not {"verbose", "quiet"} & set(vars(arguments))


def test_verbose_names_every_file_that_is_written(tmp_path, capsys):
    show_messages(verbose=True)
    with written_whole(tmp_path / "scores.csv") as path:
        path.touch()
    assert capsys.readouterr().err == f"{tmp_path / 'scores.csv'} is written\n"

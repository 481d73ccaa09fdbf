"""The report's tables and page over a small BASE_DIR of made-up scores, by the command line."""

import re
import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import nibabel
import numpy as np
import pandas as pd
import pytest
from scipy.io import loadmat, savemat
from scipy.stats import false_discovery_control
from scripts import PACKAGE, run_here

from brain_activity_prediction.embedding_store import EmbeddingStore
from brain_activity_prediction.report.averages import best_by_training, layer_scores, region_scores
from brain_activity_prediction.report.beside import beside
from brain_activity_prediction.report.collecting import Tables, find_scored
from brain_activity_prediction.report.further import further_tables
from brain_activity_prediction.report.missing import gaps
from brain_activity_prediction.report.selection import Selection
from brain_activity_prediction.report.voxel_maps import best_prompt
from brain_activity_prediction.report.writing import write_tables
from brain_activity_prediction.settings_file import fingerprint, record_settings, recorded_settings

ROOT = PACKAGE.parent
LLAVA, VIT = "llava-hf/llava-1.5-13b-hf", "google/vit-huge-patch14-224-in21k"
KEY = ["model_id", "prompt", "stream", "layer_choice", "layer", "subject", "roi"]


def report(base_dir, *flags):
    """Runs the script and returns what it said."""
    return run_here(PACKAGE / "report" / "report.py", "-d", base_dir, *flags)


@pytest.fixture(autouse=True)
def coarse(monkeypatch):
    """Pictures of few pixels, which nobody looks at."""
    monkeypatch.setattr("brain_activity_prediction.report.drawing.PNG_DPI", 10)


@pytest.fixture(scope="module")
def base_dir(tmp_path_factory):
    """Two models, two prompts, two subjects; read only."""
    synthetic = SimpleNamespace(**runpy.run_path(str(ROOT / "benchmarks" / "synthetic_scores.py")))
    folder = tmp_path_factory.mktemp("report")
    synthetic.write_base_dir(folder, synthetic.SMALL)
    return folder


@pytest.fixture
def own(base_dir, tmp_path):
    """A copy for tests that change it."""
    return shutil.copytree(base_dir, tmp_path / "base", ignore=shutil.ignore_patterns("report"))


@pytest.fixture(scope="module")
def parts(base_dir):
    """All tables of the alignments, one below the other."""
    return pd.concat(map(pd.read_parquet, sorted(base_dir.glob("alignment/*/*/*/scores.parquet"))))


@pytest.fixture(scope="module")
def collected(base_dir):
    done = report(base_dir, "--table-only")
    assert done.returncode == 0, done.stderr
    return pd.read_parquet(base_dir / "report" / "scores.parquet"), done.stdout


def test_every_row_of_every_table_is_in_the_collected_one_as_it_was(collected, parts):
    table, _ = collected
    assert len(table) == len(parts)
    assert table[["prompt", "layer", "subject"]].dtypes.eq("Int64").all()
    ordered, expected = (part.sort_values(KEY).reset_index(drop=True) for part in (table, parts))
    pd.testing.assert_frame_equal(ordered.drop(columns="q"), expected.drop(columns="q"), check_dtype=False)


def test_regions_of_atlases_are_in_the_files_and_shown_only_where_they_are_asked_for(base_dir, tmp_path):
    tables = Tables(find_scored(base_dir))
    shown = write_tables(tables, Selection(), tmp_path)["standard"]
    assert not shown["roi"].str.contains(":").any()
    atlas = pd.read_parquet(tmp_path / "scores.parquet")["roi"].loc[lambda roi: roi.str.contains(":")]
    assert len(atlas) > 0
    asked = write_tables(tables, Selection(roi=(atlas.iloc[0],)), tmp_path)["standard"]
    assert set(asked["roi"]) == {atlas.iloc[0]}


def test_csv_and_parquet_hold_the_same(base_dir, collected):
    from_csv = pd.read_csv(base_dir / "report" / "scores.csv")
    pd.testing.assert_frame_equal(from_csv, collected[0], check_dtype=False)


def test_q_is_adjusted_over_the_whole_base_dir_a_kind_of_row_at_a_time(base_dir, collected, parts):
    table, _ = collected
    for choice, rows in table.groupby("layer_choice"):
        tested = rows.dropna(subset="p")
        assert Tables(find_scored(base_dir)).family_sizes.get(("standard", choice), 0) == len(tested)
        np.testing.assert_allclose(tested["q"], false_discovery_control(tested["p"]), err_msg=choice)
    assert not np.allclose(table["q"].dropna(), parts["q"].dropna())  # what each run adjusted by itself


def test_a_region_keeps_its_q_when_it_is_asked_for_alone(base_dir, collected):
    done = report(base_dir, "--table-only", "--roi", "V1v", "-s", "2", "-m", LLAVA, "-p", "2", "--stream", "language")
    assert done.returncode == 0, done.stderr
    folder = base_dir / "report" / "subject-2_model-llava-hf_llava-1.5-13b-hf_prompt-2_stream-language_roi-V1v"
    alone, table = pd.read_parquet(folder / "scores.parquet"), collected[0]
    of = (table["roi"] == "V1v") & (table["subject"] == 2) & (table["model_id"] == LLAVA)
    expected = table[of & (table["prompt"] == 2) & (table["stream"] == "language")].reset_index(drop=True)
    pd.testing.assert_frame_equal(alone, expected, check_dtype=False)
    assert len(re.findall(rf"^V1v +{LLAVA} +language +2 +2 ", done.stdout, re.MULTILINE)) == 1


def test_what_is_in_no_table_is_named_with_what_there_is(base_dir):
    for flag, value, said in (
        *(
            ("--roi", "V9", "no scores of roi V9: there are"),
            ("--model-id", "gpt", "no scores of model gpt: there are"),
        ),
        *(("-s", "7", "no scores of subject 7: there are 1, 2"), ("-p", "3", "no scores of prompt 3: there are 1, 2")),
    ):
        done = report(base_dir, flag, value)
        assert (done.returncode, done.stderr.count("\n")) == (2, 1)
        assert said in done.stderr


def test_nothing_scored_is_one_line(tmp_path):
    done = report(tmp_path)
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert "run align_model.py first" in done.stderr


@pytest.mark.parametrize(("column", "said"), [(None, ""), ("layer_choice", "no column layer_choice")])
def test_a_broken_table_is_named(own, column, said):
    broken = next(own.glob("alignment/*/*/*/scores.parquet"))
    if column:
        pd.read_parquet(broken).drop(columns=column).to_parquet(broken)
    else:
        broken.write_bytes(broken.read_bytes()[:100])
    done = report(own, "--table-only")
    assert (done.returncode, done.stderr.count("\n")) == (2, 1)
    assert str(broken) in done.stderr
    assert said in done.stderr


def test_tables_of_an_older_version_are_joined_with_what_they_lack_missing(own):
    older = next(own.glob("alignment/subj01/prompt_1/*/scores.parquet"))
    table = pd.read_parquet(older).drop(columns=["r_se", "settings"])
    table.to_parquet(older)
    tables = Tables(find_scored(own))
    ((_, rows),) = list(tables.selected(Selection(subject=(1,), prompt=(1,), stream=("language",))))
    assert rows["r_se"].null_count == rows.num_rows
    assert set(rows["settings"].to_pylist()) == {fingerprint(tables.scored[1].settings)}


def test_the_layer_is_chosen_by_the_training_score_though_another_does_better_on_test_images():
    rows = pd.DataFrame({"roi": ["V1v"] * 3, "layer": [0, 1, 2], "cv_score": [0.1, 0.3, 0.2], "r": [0.5, 0.2, 0.9]})
    assert best_by_training(rows, ["roi"])["layer"].tolist() == [1]


def test_bars_are_means_over_subjects_with_the_standard_error_of_the_mean(parts):
    scores = region_scores(parts).set_index(["model_id", "roi"])
    chosen = parts[(parts["layer_choice"] == "best_per_region") & (parts["roi"] == "hV4") & (parts["model_id"] == VIT)]
    assert len(chosen) == 2
    bar = scores.loc[(VIT, "hV4")]
    assert bar["r"] == pytest.approx(chosen["r"].mean())
    assert bar["r_se"] == pytest.approx(abs(chosen["r"].iloc[0] - chosen["r"].iloc[1]) / 2)
    assert bar["n_subjects"] == 2


def test_curves_average_prompts_before_subjects_and_mark_one_layer(parts):
    scores = layer_scores(parts)
    of = (scores["model_id"] == LLAVA) & (scores["stream"] == "language") & (scores["roi"] == "V1v")
    assert scores.loc[of, "chosen"].sum() == 1
    each = parts[(parts["layer_choice"] == "each") & (parts["stream"] == "language") & (parts["roi"] == "V1v")]
    expected = each[(each["model_id"] == LLAVA) & (each["layer"] == 2)]["r"].mean()  # as many prompts for both
    assert scores.loc[of & (scores["layer"] == 2), "r"].item() == pytest.approx(expected)


def test_the_best_prompt_of_a_voxel_has_the_highest_training_score():
    first, second = np.array([0.1, 0.5, np.nan, np.nan]), np.array([0.2, 0.4, 0.1, np.nan])
    np.testing.assert_array_equal(best_prompt([3, 8], [first, second]), [8, 3, 8, np.nan])


def missing_in(folder):
    table = pd.concat(map(pd.read_parquet, folder.glob("alignment/*/*/*/scores.parquet")))
    return {f"{gap.model_id}, {gap.where}: {gap.what}" for gap in gaps(folder, find_scored(folder), table, Selection())}


def test_nothing_is_missing_from_what_is_whole(base_dir):
    assert missing_in(base_dir) == set()


def test_what_was_not_extracted_not_aligned_or_half_aligned_is_told_apart(own):
    folder = "llava-hf_llava-1.5-13b-hf"
    for subject in (1, 2):
        shutil.rmtree(own / f"alignment/subj0{subject}/prompt_2" / folder)
    assert missing_in(own) == {f"{LLAVA}, subject {n}, prompt 2: extracted, not aligned" for n in (1, 2)}
    batch = next((own / "image_embeddings/prompt_2" / folder).glob("batch_00001*"))
    n_images = len(EmbeddingStore(batch.parent).read_answers(range(1, 13)))
    batch.unlink()
    lost = n_images - len(EmbeddingStore(batch.parent).read_answers())
    some = {f"{LLAVA}, subject {n}, prompt 2: {lost} of {n_images} images not extracted" for n in (1, 2)}
    assert missing_in(own) == some
    shutil.rmtree(batch.parent)
    shutil.copytree(own / "alignment/subj01/prompt_1" / folder, own / "alignment/subj01/prompt_3" / folder)
    scores = own / "alignment/subj01/prompt_3" / folder / "scores.parquet"
    table = pd.read_parquet(scores)
    table.assign(prompt=3)[table["layer"] < 2].to_parquet(scores)
    for layer in (2, 3):
        (scores.parent / "voxels" / f"language_layer_0{layer}.h5").unlink()
    assert f"{LLAVA}, subject 1, prompt 3: language: 2 of 4 layers aligned" in missing_in(own)
    assert f"{LLAVA}, subject 2, prompt 3: not extracted" in missing_in(own)


def test_layers_that_a_table_does_not_know_are_said_to_be_newer_than_it(own):
    scores = own / "alignment/subj01/no_prompt/google_vit-huge-patch14-224-in21k/scores.parquet"
    table = pd.read_parquet(scores)
    table[table["layer"] != 3].to_parquet(scores)
    (gap,) = missing_in(own)
    assert gap == f"{VIT}, subject 1, no prompt: vision: 4 layers are scored, the table has 3: align again"


def test_what_was_aligned_with_another_criterion_is_named_and_in_no_figure(own):
    """Its training scores, of another kind, would be the highest everywhere."""
    folder = own / "alignment/subj01/prompt_2/llava-hf_llava-1.5-13b-hf"
    for path in own.glob("alignment/*/*/*/settings.json"):
        known = recorded_settings(path.parent, "") | {"criterion": "neg_mean_squared_error"}
        record_settings(path.parent, known | ({"criterion": "r2"} if path.parent == folder else {}))
    table = pd.read_parquet(folder / "scores.parquet")
    table.assign(cv_score=table["cv_score"] + 2, r=0.987).to_parquet(folder / "scores.parquet")
    done = report(own, "--roi", "V1v", "-s", 1)
    assert done.returncode == 0, done.stderr
    html = Path(done.stdout.strip()).read_text()
    missing = html.split('id="missing"')[1]
    assert "subject 1, prompt 2: <strong>left out, criterion is &#34;r2&#34;" in missing
    assert "0.98" not in html
    assert (pd.read_parquet(own / "report/subject-1_roi-V1v/scores.parquet")["r"] == 0.987).any()
    assert "best_prompt_llava-hf_llava-1_5-13b-hf_subj01" not in html


@pytest.mark.parametrize(("setting", "value"), [("ncsnr", "nsd"), ("min_noise_ceiling", 0.3)])
def test_scores_divided_by_other_ceilings_are_in_no_mean_and_said_to_be_left_out(own, setting, value):
    """In subject 2 made otherwise than in subject 1, for both models."""
    for path in own.glob("alignment/subj02/*/*/scores.parquet"):
        pd.read_parquet(path).assign(**{setting: value}, r_normalised=9.0).to_parquet(path)
    text = page_text(report(own, "--roi", "V1v"))
    assert f"where --{setting.replace('_', '-')} was {value} (4 of 8 tables): most have" in text
    assert "9.000" not in text
    of_one = re.findall(rf"V1v {LLAVA} [\d.]+ [\d.]+ ([\d.]+ \(n = 1\))? ?[\d.]+( \(n = 1\))? ", text)
    assert [bool(part) for part in of_one[0]] == [True, setting == "ncsnr"]  # the ceiling of r is of all voxels
    assert "voxels with a ceiling above 0: below" in text


def test_at_a_glance_the_r_of_a_model_that_lacks_subjects_is_not_bold(own):
    shutil.rmtree(own / "alignment/subj02/no_prompt/google_vit-huge-patch14-224-in21k")
    done = report(own, "--roi", "nsdgeneral")
    assert done.returncode == 0, done.stderr
    glance = Path(done.stdout.strip()).read_text().split('id="glance"')[1].split("</section>")[0]
    first, last = glance.split("<tbody>")[1].split("</tr>")[:2]
    assert (LLAVA in first, "<strong>" in first) == (True, True)
    assert (VIT in last, "1 of 2" in last, "<strong>" in last) == (True, True, False)


def test_the_page_of_a_region_has_only_that_region_and_needs_no_nsd(own):
    for folder in own.glob("nsd*"):
        shutil.rmtree(folder)
    done = report(own, "--roi", "V1v", "--model-id", LLAVA, "-p", "1")
    assert done.returncode == 0, done.stderr
    page = Path(done.stdout.strip())
    assert page == own / "report" / "model-llava-hf_llava-1.5-13b-hf_prompt-1_roi-V1v" / "report.html"
    html = page.read_text()
    assert "1 model, 2 subjects" in html
    sizes = Tables(find_scored(own)).family_sizes
    assert f"over the\n  {sizes['standard', 'best_per_region']:,} rows of this" in html
    for (_, choice), n in sizes.items():
        assert f"{n:,} of <code>standard</code>, <code>{choice}</code>" in html
    assert VIT not in re.sub(r"<svg.*?</svg>|data:[^\"]*", "", html, flags=re.DOTALL)
    assert "NSD image 1" in html


def test_maps_of_best_prompts_are_written_where_the_subject_s_voxels_are(base_dir):
    assert report(base_dir, "--roi", "V1v").returncode == 0
    (written,) = (base_dir / "report/roi-V1v/maps").glob("language_best_prompt_llava*_subj02.nii.gz")
    there = nibabel.load(
        base_dir / "alignment/subj02/prompt_1/llava-hf_llava-1.5-13b-hf/maps/language_best_layer.nii.gz"
    )
    best = nibabel.load(written)
    np.testing.assert_array_equal(best.affine, there.affine)
    np.testing.assert_array_equal(np.isnan(best.get_fdata()), np.isnan(there.get_fdata()))
    assert set(np.unique(best.get_fdata()[~np.isnan(best.get_fdata())])) == {1, 2}


def test_without_a_noise_ceiling_the_page_is_made_and_says_so(own):
    """As of sessions in which no image is repeated."""
    for path in own.glob("alignment/*/*/*/maps/noise_ceiling.nii.gz"):
        image = nibabel.load(path)
        nibabel.save(nibabel.Nifti1Image(np.full(image.shape, np.nan, np.float32), image.affine), path)
    lacking = ["noise_ceiling", "r_normalised", "r2_normalised"]
    for path in own.glob("alignment/*/*/*/scores.parquet"):
        pd.read_parquet(path).assign(**dict.fromkeys(lacking, np.nan)).to_parquet(path)
    done = report(own, "-m", VIT)
    assert done.returncode == 0, done.stderr
    html = Path(done.stdout.strip()).read_text()
    assert "no image was seen twice" in html
    assert "Noise ceiling, subject 1" not in html


def test_the_studys_own_protocol_is_in_the_table_beside_ours_and_not_mixed_into_the_page(own):
    before = report(own, "--table-only", "--roi", "V1v").stdout
    folder = "subj01/no_prompt/google_vit-huge-patch14-224-in21k"
    shutil.copytree(own / "alignment" / folder, own / "alignment_paper" / folder)
    scores = own / "alignment_paper" / folder / "scores.parquet"
    pd.read_parquet(scores).assign(protocol="paper", r=0.9).to_parquet(scores)
    done = report(own, "--table-only", "--roi", "V1v")
    table = pd.read_parquet(own / "report/roi-V1v/scores.parquet")
    assert set(table["protocol"]) == {"standard", "paper"}
    assert (table.loc[table["protocol"] == "paper", "r"] == 0.9).all()
    assert done.stdout == before


def page_text(done):
    """What a page says, in one line, without its figures."""
    assert done.returncode == 0, done.stderr
    html = Path(done.stdout.strip()).read_text()
    return " ".join(re.sub(r"<svg.*?</svg>|<[^>]*>", " ", html, flags=re.DOTALL).split())


def test_a_page_of_the_studys_own_protocol_shows_its_average_of_layers_and_says_so(own):
    (own / "alignment").rename(own / "alignment_paper")
    for path in own.glob("alignment_paper/*/*/*/scores.parquet"):
        table = pd.read_parquet(path).assign(protocol="paper")
        table.loc[table["layer_choice"] == "average", "r"] = 0.123
        table.to_parquet(path)
    text = page_text(report(own, "--roi", "V1v"))
    assert "Streams and prompts are chosen on training photographs alone; the scores of a stream's layers" in text
    assert "(protocol paper , layer_choice average )" in text
    assert f"V1v {LLAVA} 0.123 0.000" in text
    assert "so that no layer is the best" in text
    maps = {path.name.split("_subj")[0] for path in (own / "report/roi-V1v/figures").glob("*_subj*.png")}
    of = [f"{kind}_{LLAVA.replace('/', '_').replace('.', '_')}" for kind in ("average_r", "best_prompt")]
    assert maps == {*of, "average_r_google_vit-huge-patch14-224-in21k", "noise_ceiling"}
    assert re.search(rf"^V1v +{LLAVA} +language .* - +\d+ +0.123 ", report(own, "--table-only").stdout, re.MULTILINE)


def beside_in(base_dir, folder):
    """Both protocols in V1v."""
    tables = Tables(find_scored(base_dir))
    return beside(tables.scored, write_tables(tables, Selection(roi=("V1v",)), folder))


def test_old_and_new_scores_of_the_same_conditions_stand_side_by_side(own, tmp_path):
    """Of the streams, prompts and subjects that both have, each at the choice of its own protocol."""
    folders = [path for path in own.glob("alignment/*/*/llava*") if path.parent.name != "prompt_2"]
    for folder in folders:
        copy = own / "alignment_paper" / folder.relative_to(own / "alignment")
        shutil.copytree(folder, copy)
        table = pd.read_parquet(copy / "scores.parquet").assign(protocol="paper")
        chosen = (table["layer_choice"] == "average") & (table["stream"] == "language")
        table.loc[chosen, ["r", "cv_score"]] = 0.2, 9
        table.to_parquet(copy / "scores.parquet")
    parts = pd.concat(pd.read_parquet(folder / "scores.parquet") for folder in folders)
    rows = parts[(parts["layer_choice"] == "best_per_region") & (parts["roi"] == "V1v")]
    r = best_by_training(rows, ["subject"])["r"]
    (row,) = beside_in(own, tmp_path).to_dict("records")
    assert (row["model_id"], row["n_subjects"], row["paper"]) == (LLAVA, 2, pytest.approx(0.2))
    assert row["standard"] == pytest.approx(r.mean())
    assert row["difference"] == pytest.approx(0.2 - r.mean())
    assert row["se"] == pytest.approx(abs(r.iloc[0] - r.iloc[1]) / 2)
    text = page_text(report(own, "--roi", "V1v"))
    assert "(protocol standard , layer_choice best_per_region ). Scores of the other protocol, 4 tables" in text
    assert f"V1v {LLAVA} 2 {r.mean():.3f} 0.200" in text
    record_settings(folders[0], {"sessions": [1]})
    other = own / "alignment_paper" / folders[0].relative_to(own / "alignment")
    record_settings(other, {"sessions": [1, 2]})
    left = beside_in(own, tmp_path)
    assert left["standard"].item() != pytest.approx(row["standard"])


def test_the_page_says_how_many_photographs_were_held_out_in_the_sessions_that_were_scored(own):
    path = own / "nsddata/experiments/nsd/nsd_expdesign.mat"
    design = {name: values for name, values in loadmat(path).items() if not name.startswith("__")}
    design["masterordering"][0, :12] = np.arange(12) // 2 + 1  # the first session shows half of the images, twice
    savemat(path, design)
    for subject, sessions in ((1, [1]), (2, [1, 3])):
        for path in own.glob(f"alignment/subj0{subject}/*/*/settings.json"):
            record_settings(path.parent, {"sessions": sessions})
    assert "held-out photographs (subject 1: 6, subject 2: 12) 6 to 12" in page_text(report(own, "--roi", "V1v"))
    assert "held-out photographs 6" in page_text(report(own, "--roi", "V1v", "-s", 1))


def test_two_comparisons_of_one_pair_say_which_analysis_and_choice_of_layers_they_are(tmp_path):
    for protocol, difference in (("alignment", 0.1), ("alignment_paper", 0.7)):
        folder = tmp_path / protocol / "subj01" / "comparisons"
        folder.mkdir(parents=True)
        for name, choice in (("a", "best_per_region"), ("b", "average")):
            rows = {"subject": [1], "roi": "V1v", "layer_choice": choice, "difference": difference, "q": 0.5}
            pd.DataFrame(rows).to_parquet(folder / f"{name}.parquet")
    table = further_tables(tmp_path, Selection())[2]
    assert [heading for heading, _ in table.columns[:2]] == ["analysis", "layers"]
    assert [row[:2] for row in table.rows] == [("a", "best_per_region"), ("b", "average")]
    assert "one analysis in one subject" in table.kind.note
    assert {row[-2] for row in further_tables(tmp_path, Selection(), "paper")[2].rows} == {0.7}


def test_analyses_beyond_scores_are_shown_the_surest_first_or_named_as_missing(own):
    comparisons = own / "alignment/subj01/comparisons"
    comparisons.mkdir()
    rows = {"subject": 1, "roi": ["V1v", "hV4", "HCP_MMP1:V1"], "difference": [0.1, 0.2, 0.3], "q": [0.5, 0.01, 0.001]}
    pd.DataFrame(rows).to_parquet(comparisons / "models.parquet")
    shown = {table.kind.title: table for table in further_tables(own, Selection())}
    headings = [("analysis", False), ("subject", True), ("region", False), ("difference", True), ("q", True)]
    assert shown["Differences within subjects"].columns == headings
    rows = [("models", 1, "hV4", 0.2, 0.01), ("models", 1, "V1v", 0.1, 0.5)]
    assert shown["Differences within subjects"].rows == rows
    assert shown["Across subjects"].rows == []
    assert further_tables(own, Selection(subject=(2,)))[2].rows == []
    html = Path(report(own, "--roi", "V1v", "--model-id", VIT).stdout.strip()).read_text()
    assert "<code>across_subjects.py</code> was not run" in html
    assert "<td>V1v</td>" in html.split('id="further"')[1].split("</section>")[0]

import csv
import dataclasses
import json
import math
from pathlib import Path

import pytest

from meisho.descriptors import Provenance
from meisho.errors import InputError
from meisho.evaluate.report import Figure, QueryScore, Report, load_report
from meisho.evaluate.report_table import short_name


@pytest.fixture
def report():
    return Report(
        dataset="名所",
        protocol="revisitop",
        provenance=Provenance.from_options("timm_gem", {"p": 3.0, "scales": [1, 0.7]}, "cd" * 32),
        ground_truth_sha256="ba7967754bd2d7d2" * 4,
        queries_cropped=True,
        num_database=4993,
        num_queries=3,
        figures=(
            Figure("revisitop_map", "easy", 0.1 + 0.2, 1 / 3, 2 / 3, 2),
            Figure("revisitop_map", "medium", 0.43661501, 0.4012, 0.4721, 3),
            Figure("revisitop_mp_at_1", "medium", 1.0, 1.0, 1.0, 3),
            Figure("revisitop_map", "hard", float("nan"), float("nan"), float("nan"), 0),
        ),
        query_scores=(
            QueryScore('a "quoted", name', "easy", 5e-324, 1),
            QueryScore("odd\udcff bytes", "easy", 1 / 3, 2),
            QueryScore("鳥居", "hard", float("nan"), 0),
        ),
        warnings=("a score is at chance level",),
    )


def test_a_saved_report_comes_back_exactly(report, tmp_path):
    file = report.save(tmp_path / "new" / "run")
    assert load_report(file) == report
    assert load_report(file.parent) == report
    assert load_report(file).to_json() == report.to_json()


def test_the_file_is_plain_json_without_nan(report, tmp_path):
    text = report.save(tmp_path).read_text(encoding="utf-8")
    record = json.loads(text, parse_constant=lambda name: pytest.fail(f"{name} is not JSON"))
    assert record["figures"][3]["value"] is None


def test_query_scores_are_a_table_for_other_programs(report, tmp_path):
    report.save(tmp_path)
    with (tmp_path / "per_query.csv").open(encoding="utf-8", errors="surrogateescape", newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["query_id"] for row in rows] == [q.query_id for q in report.query_scores]
    assert [float(row["average_precision"] or "nan") for row in rows][:2] == [5e-324, 1 / 3]
    assert rows[2]["average_precision"] == ""
    assert [int(row["num_positives"]) for row in rows] == [1, 2, 0]


def test_saving_again_replaces_and_leaves_nothing_behind(report, tmp_path):
    report.save(tmp_path)
    changed = dataclasses.replace(report, num_database=7)
    changed.save(tmp_path)
    assert load_report(tmp_path).num_database == 7
    assert sorted(p.name for p in tmp_path.iterdir()) == ["per_query.csv", "report.json"]


def test_a_write_that_is_cut_short_keeps_the_old_report(report, tmp_path, monkeypatch):
    report.save(tmp_path)

    def fail(self, target):
        raise OSError("the power goes")

    monkeypatch.setattr(Path, "replace", fail)
    with pytest.raises(OSError, match="the power goes"):
        dataclasses.replace(report, num_database=7).save(tmp_path)
    assert load_report(tmp_path) == report


def test_the_headline_is_medium_else_private_else_the_first(report):
    assert (report.headline.metric, report.headline.setup) == ("revisitop_map", "medium")
    grouped = tuple(Figure("gldv2_map_at_100", s, 0.1, 0, 1, 9) for s in ("all", "public", "private"))
    assert dataclasses.replace(report, figures=grouped).headline.setup == "private"
    assert dataclasses.replace(report, figures=grouped[:2]).headline.setup == "all"


def test_a_sentence_says_all_that_is_needed_to_read_a_figure(report):
    assert report.sentence(report.headline) == (
        "revisitop_map medium 43.66 [40.1, 47.2], 3 queries cropped where they have a box, "
        "ground truth ba796775…"
    )
    whole = dataclasses.replace(report, queries_cropped=False)
    assert "3 queries not cropped, ground truth" in whole.sentence(whole.headline)


def test_the_n_s_score_is_not_a_per_cent():
    assert Figure("ukbench_ns", "all", 3.214, 3.1, 3.3, 50).text == "3.21 [3.10, 3.30]"


def test_a_figure_is_found_by_its_names(report):
    assert report.figure("revisitop_map", "easy").value == 0.1 + 0.2
    with pytest.raises(InputError, match="no figure revisitop_map all; it has: revisitop_map easy"):
        report.figure("revisitop_map", "all")


def test_a_report_needs_a_figure(report):
    with pytest.raises(InputError, match="at least one figure"):
        dataclasses.replace(report, figures=())


@pytest.mark.parametrize(
    "content",
    [
        "",
        "[]",
        "null",
        "{",
        "{}",
        '{"format": 1}',
        '{"format": 99}',
        '{"format": 1, "dataset": "x", "surprise": 1}',
        "\ud800",
        "[" * 200_000,
    ],
)
def test_a_broken_file_is_named(tmp_path, content):
    file = tmp_path / "report.json"
    file.write_text(content, encoding="utf-8", errors="surrogatepass")
    with pytest.raises(InputError, match=r"report\.json.*(evaluate again|UTF-8)"):
        load_report(file)


@pytest.mark.parametrize("key", ["provenance", "figures", "query_scores"])
@pytest.mark.parametrize("value", [None, 3, [3], [{"x": 1}], {"x": 1}])
def test_a_file_with_a_broken_part_is_named(report, tmp_path, key, value):
    record = json.loads(report.to_json())
    (tmp_path / "report.json").write_text(json.dumps({**record, key: value}))
    with pytest.raises(InputError, match=r"report\.json: .*evaluate again"):
        load_report(tmp_path)


def test_a_missing_report_is_named(tmp_path):
    with pytest.raises(InputError, match=r"report\.json: cannot be read"):
        load_report(tmp_path)


def test_nan_is_read_as_no_score(report, tmp_path):
    assert math.isnan(load_report(report.save(tmp_path)).query_scores[2].average_precision)


def test_it_prints_as_a_table(report):
    assert str(report) == "\n".join(
        [
            "名所: 3 queries, cropped where they have a box; 4,993 photos; protocol revisitop; "
            "ground truth ba7967754bd2",
            "model timm_gem p 3.0, scales [1, 0.7]",
            "metric             easy                medium                 hard",
            "revisitop_map      30.00 [33.3, 66.7]  43.66 [40.1, 47.2]     nan [nan, nan]",
            "revisitop_mp_at_1                      100.00 [100.0, 100.0]",
            "queries counted    2                   3                      0",
            "warning: a score is at chance level",
        ]
    )
    reranked = dataclasses.replace(report, reranking="dba:k=5", rerank_seconds=0.3)
    assert str(reranked).splitlines()[2] == "reranked: dba:k=5; 100 ms per query"


def test_its_repr_is_one_short_line(report):
    assert repr(report) == (
        "Report('名所', 3 queries, 4,993 photos, revisitop_map medium 43.66 [40.1, 47.2], 1 warning)"
    )


def test_a_notebook_shows_a_table_in_which_nothing_is_markup(report):
    nasty = dataclasses.replace(
        report,
        dataset="<script>",
        warnings=("<b>&",),
        figures=(Figure("<i>", "<u>", 0.5, 0.4, 0.6, 1), *report.figures),
    )
    page = nasty._repr_html_()
    assert "<script>" not in page
    assert "<i>" not in page
    assert "<u>" not in page
    assert "&lt;b&gt;&amp;" in page
    assert '<span title="revisitop_map: by the protocol of Revisited Oxford and Paris">mAP</span>' in page
    assert '<b>43.66</b><span class="soft"> [40.1, 47.2]</span>' in page
    assert page.count("<tr>") == 5


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("revisitop_map", "mAP"),
        ("revisitop_mp_at_5", "mP@5"),
        ("gldv2_map_at_100", "mAP@100"),
        ("gldv2_precision_at_10", "P@10"),
        ("recall_at_1", "recall@1"),
        ("ukbench_ns", "N-S score"),
        ("something_else", "something_else"),
    ],
)
def test_short_names_of_metrics(metric, name):
    assert short_name(metric) == name

"""Counted token lengths as a page draws them."""

from __future__ import annotations

from studio.ui.data.lengths import histogram, read, told


def test_lengths_are_drawn_with_the_cutoff() -> None:
    counted = {
        "bins": [{"from": n * 10, "to": n * 10 + 10, "count": 5 * n} for n in range(10)],
        "count": 225,
        "total": 14_000,
        "label_tokens": 9_000,
        "cutoff_len": 80,
        "num_cut": 85,
        "p50": 68,
        "p90": 94,
        "p99": 98,
        "max": 99,
        "refused": [{"dataset": "faq.v1", "row": 7, "reason": "roles or order"}],
        "refused_count": 1,
    }
    found = read(counted)
    html = histogram("en", found)
    assert html.count('<i class="l-cut"') == 2, "the bars at and beyond the cutoff"
    assert "cutoff 80" in html and ">p50<" in html and "80 – 89 tokens: 40 rows" in html
    assert "85 rows (38 %) are longer than 80 tokens" in told("en", found)
    assert "85 条（38 %）超过 80 个 token" in told("zh", found)
    roomy = read({**counted, "cutoff_len": 4096, "num_cut": 0})
    assert "l-hist-cut" not in histogram("en", roomy), "too far to the right to be drawn"
    assert "全部样本都不超过 4,096 个 token" in told("zh", roomy)
    assert "l-hist-plot" in histogram("en", read({})), "nothing counted is no error"

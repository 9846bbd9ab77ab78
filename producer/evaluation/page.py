"""The page of an evaluation: one HTML file with charts and example users, without scripts and outside resources."""

from collections.abc import Iterable, Sequence
from html import escape

from reckoner.producer.evaluation import metrics
from reckoner.producer.evaluation.examples import Example, Place
from reckoner.shared.serving.evaluations import Evaluation, Metric, ModelReport

NAMES = {
    metrics.NDCG: "nDCG@10",
    metrics.RECALL: "Recall@20",
    metrics.HIT: "Hit@10",
    metrics.MRR: "MRR@20",
    "coverage": "Coverage",
    "gini": "Gini of exposure",
    "popularity_rank": "Mean popularity rank",
    "novelty": "Novelty, in bits",
    "short": "Short lists",
}
STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1c2330; background: #fff; max-width: 70rem; margin: 2rem auto;
  padding: 0 1rem }
h1 { font-size: 1.6rem } h2 { font-size: 1.2rem; margin-top: 2.5rem } h3 { font-size: 1rem; margin: 2rem 0 .3rem }
table { border-collapse: collapse; width: 100%; font-size: .8rem } .wide { overflow-x: auto }
th, td { text-align: right; padding: .3rem .5rem; border-bottom: 1px solid #d8dde6; vertical-align: bottom }
td { white-space: nowrap }
th:first-child, td:first-child { text-align: left }
.bars { display: grid; grid-template-columns: minmax(8rem, max-content) 1fr max-content; gap: .35rem .8rem;
  align-items: center }
.track { position: relative; height: 1.3rem; background: #f1f3f7 }
.bar { position: absolute; top: 0; bottom: 0; left: 0; background: #5b84c4 } .live { background: #2f9e6e }
.popular { background: #a9b1bf }
.range { position: absolute; top: 50%; height: 2px; margin-top: -1px; background: #1c2330 }
.better { color: #1b7a4f } .worse { color: #b3261e } .noise { color: #5c6675 }
.lists { display: grid; grid-template-columns: repeat(auto-fit, minmax(13rem, 1fr)); gap: 1rem; font-size: .85rem }
.lists ol, .lists ul { margin: .2rem 0; padding-left: 1.4rem } .hit { background: #d5f0e3; font-weight: 600 }
p, li { overflow-wrap: anywhere } .small { font-size: .85rem; color: #5c6675 }
"""


def page_of(evaluation: Evaluation, examples: Sequence[Example]) -> str:
    """The page. It says nothing of when or where it was made: equal inputs give equal bytes."""
    counts = {name: f"{count:,}" for name, count in evaluation.counts.items()}
    body = [
        "<h1>How good are the lists?</h1>",
        f"<p>{escape(evaluation.protocol)}</p>",
        f"<p>The training part has {counts['training_interactions']} interactions of {counts['training_users']} users "
        f"and {counts['training_items']} items. Tested are {counts['users']} users with {counts['test_interactions']} "
        f"interactions.</p>",
        *(line for name in metrics.PER_USER for line in _chart(evaluation, name)),
        "<h2>All figures</h2>",
        *_table(evaluation),
        *_explained(),
        *_without_history(evaluation),
        "<h2>Ten users</h2>",
        "<p>Drawn at random from all tested users. A marked item is one that the user had in the test part.</p>",
        *(line for example in examples for line in _example(example)),
        f'<p class="small">Snapshot {escape(evaluation.snapshot)}.</p>',
    ]
    return "\n".join(
        [
            "<!doctype html>",
            '<html lang="en"><head><meta charset="utf-8"><title>How good are the lists?</title>',
            '<meta name="viewport" content="width=device-width">',
            """<meta http-equiv="Content-Security-Policy" content="default-src 'none'; style-src 'unsafe-inline'">""",
            f"<style>{STYLE}</style></head><body>",
            *body,
            "</body></html>\n",
        ]
    )


def _chart(evaluation: Evaluation, name: str) -> Iterable[str]:
    """A bar for each model, its 95 % interval as a line, and its difference to the baseline in words."""
    yield f"<h2>{NAMES[name]}</h2>"
    meaning = metrics.PER_USER[name]
    yield f'<p class="small">{meaning[0].upper()}{meaning[1:]}. The line is the 95 % interval.</p><div class="bars">'
    most = max(model.metrics[name].high for model in evaluation.models) or 1.0
    for model in evaluation.models:
        metric, kind = model.metrics[name], "live" if model.is_live else "popular" if model.config is None else ""
        low, width = 100 * metric.low / most, 100 * (metric.high - metric.low) / most
        yield (
            f'<span>{_name(model)}</span><span class="track"><span class="bar {kind}" '
            f'style="width:{100 * metric.mean / most:.2f}%"></span><span class="range" '
            f'style="left:{low:.2f}%;width:{width:.2f}%"></span></span>'
            f"<span>{metric.mean:.3f} {_verdict(metric, evaluation.baseline)}</span>"
        )
    yield "</div>"


def _verdict(metric: Metric, baseline: str) -> str:
    difference = metric.difference
    if difference is None:
        return ""
    kind = "noise" if difference.verdict == "within noise" else difference.verdict
    than = {"better": "better than", "worse": "worse than", "within noise": "within noise of"}[difference.verdict]
    return f'<span class="{kind}">{than} {escape(baseline)}, {difference.mean:+.3f}</span>'


def _table(evaluation: Evaluation) -> Iterable[str]:
    heads = "".join(f"<th>{name}</th>" for name in ("Model", *NAMES.values()))
    yield f'<div class="wide"><table><tr>{heads}</tr>'
    for model in evaluation.models:
        cells = [_name(model), *(_with_interval(model.metrics[name]) for name in metrics.PER_USER)]
        lists = model.lists
        cells += [f"{lists['coverage']:.1%}", f"{lists['gini']:.3f}", f"{lists['popularity_rank']:,.0f}"]
        cells += [f"{lists['novelty']:.1f}", f"{lists['short']:.1%}"]
        yield "<tr>" + "".join(f"<td>{cell}</td>" for cell in cells) + "</tr>"
    yield "</table></div>"


def _explained() -> Iterable[str]:
    yield '<ul class="small">'
    for name, meaning in {**metrics.PER_USER, **metrics.OF_LISTS}.items():
        yield f"<li>{NAMES[name]}: {meaning}</li>"
    yield "</ul>"


def _without_history(evaluation: Evaluation) -> Iterable[str]:
    if evaluation.without_history:
        yield (
            f"<p>{evaluation.counts['users_without_history']:,} users of the test part have no history in the training "
            f"part. Every model gives them the popular list, with nDCG@10 "
            f"{_with_interval(evaluation.without_history[metrics.NDCG])}.</p>"
        )


def _example(example: Example) -> Iterable[str]:
    yield f'<h3>{escape(example.user)}</h3><div class="lists">'
    yield _box("History", example.history, example.history_size)
    yield _box("Test part", example.test, example.test_size)
    for name, places in example.lists.items():
        yield f"<div><b>{escape(name)}</b><ol>{''.join(map(_place, places))}</ol></div>"
    yield "</div>"


def _box(head: str, items: Sequence[str], size: int) -> str:
    more = f"<li>and {size - len(items):,} more</li>" if size > len(items) else ""
    return f"<div><b>{head}</b><ul>{''.join(f'<li>{escape(item)}</li>' for item in items)}{more}</ul></div>"


def _place(place: Place) -> str:
    return f'<li class="hit">{escape(place.item)}</li>' if place.is_hit else f"<li>{escape(place.item)}</li>"


def _name(model: ModelReport) -> str:
    return escape(model.name) + (" (live)" if model.is_live else "")


def _with_interval(metric: Metric) -> str:
    return f"{metric.mean:.3f} [{metric.low:.3f} {metric.high:.3f}]"

"""A report on what a model knows and how: one page of HTML that needs nothing else, read from the file alone.

Nothing runs: edges, evidence and calibration are what probing wrote. The page holds no date but the file's own, so the
same file gives the same bytes.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from html import escape
from importlib.resources import files
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from larqldb.knowledge import report_charts as charts
from larqldb.knowledge.report_charts import signed
from larqldb.knowledge.report_data import Belief, Knowledge, Piece, Relation, evidence, read

if TYPE_CHECKING:
    import apsw

MOST = 40  # relations and examples that are drawn, those with most edges
# What HTML cannot hold (https://html.spec.whatwg.org/multipage/parsing.html#preprocessing-the-input-stream)
_NOT_TEXT = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\ufdd0-\ufdef\ufffe\uffff\U0001fffe\U0001ffff]")
MEASURES = (
    ("alignment", "Alignment", "how closely what a layer's features write points at a single token, from 0 to 1"),
    ("spread", "Spread", "different tokens that its features promote most, per feature"),
    ("gate_norm", "Gate norm", "mean length of its features' gates"),
    ("down_norm", "Down norm", "mean length of what its features write"),
    ("answers_read", "Answers told apart", "share of facts whose answer the last position tells from the others"),
    ("knockout", "Knockout", "share of the answer's margin lost without one of its blocks at the subject"),
)
Section = Callable[["apsw.Connection", Knowledge], Iterator[str]]


def report(db: apsw.Connection) -> Iterator[str]:
    """The page, in pieces."""
    known = read(db)
    title = f"What {_model_name(known)} knows"
    style = (files("larqldb") / "knowledge" / "report.css").read_text(encoding="utf-8")
    yield (
        '<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{text(title)}</title>\n<style>\n{style}</style>\n</head>\n<body>\n<header>\n<h1>{text(title)}</h1>\n"
    )
    yield f'<p class="quiet">{_origin(known)}</p>\n<nav aria-label="Sections">'
    yield "".join(f'<a href="#{anchor}">{name}</a> ' for anchor, name, _ in SECTIONS)
    yield "</nav>\n</header>\n<main>\n"
    for anchor, name, section in SECTIONS:
        yield f'<section id="{anchor}">\n<h2>{name}</h2>\n'
        yield from section(db, known)
        yield "</section>\n"
    yield "</main>\n</body>\n</html>\n"


def text(value: object) -> str:
    """A text of any origin for HTML; what HTML cannot hold is U+FFFD."""
    return escape(_NOT_TEXT.sub("\ufffd", str(value)))


def name(value: object) -> str:
    """A name of any script, kept from turning what stands around it."""
    return f"<bdi>{text(value)}</bdi>"


def percent(share: float) -> str:
    """A share, whole percents."""
    return f"{100 * share:.0f} %".replace("-", "−")


# Sections


def _model(db: apsw.Connection, known: Knowledge) -> Iterator[str]:
    model = known.model
    layers = f"{model.get('layers', 0):,} × {model.get('ffn_size', 0):,}"
    told = {"Layers × features": layers, "Parameters": f"{model.get('parameters', 0):,}"}
    told |= {what: f"{count:,}" for what, count in known.counts.items()}
    tiles = "".join(f"<div><dt>{what}</dt><dd>{count}</dd></div>" for what, count in told.items())
    yield f'<dl class="counts">{tiles}</dl>\n'
    stated = [belief for belief in known.beliefs if belief.right is not None]
    if stated:
        right = sum(belief.right is True for belief in stated)
        yield (
            f"<p>Of {len(stated):,} questions that a source answers, the model's surest answer is the source's in "
            f"<b>{percent(right / len(stated))}</b>. Confidence below is how often the model gives the same answer to "
            "a wording it was never asked: how sure it is, not how right.</p>\n"
        )
    elif not known.relations:
        yield _unprobed()


def _bands(db: apsw.Connection, known: Knowledge) -> Iterator[str]:
    method = known.model.get("bands_method")
    yield (
        "<p>Layers that work alike make a band: <i>syntax</i> reads the words, <i>knowledge</i> finds what belongs to "
        f"them, <i>output</i> chooses the next token.{f' Found by: {text(method)}.' if method else ''}</p>\n"
    )
    if not known.layers:
        yield '<p class="none">This file holds no layers.</p>\n'
        return
    layers, bands = [row["layer"] for row in known.layers], [row["band"] for row in known.layers]
    rows = []
    for band in dict.fromkeys(bands):
        own = [row for row in known.layers if row["band"] == band]
        features, labelled = sum(row["features"] for row in own), sum(row["labelled"] for row in own)
        means = [sum(row[measure] for row in own) / len(own) for measure, *_ in MEASURES[:4]]
        rows.append(
            (
                band,
                f"{own[0]['layer']}–{own[-1]['layer']}",
                f"{features:,}",
                f"{labelled:,}",
                *(f"{m:.3f}" for m in means),
            )
        )
    heads = ("band", "layers", "features", "with a relation", *(measure.lower() for _, measure, _ in MEASURES[:4]))
    yield _table("Means over each band's layers", heads, rows, words=2)
    yield '<div class="charts">\n'
    for measure, title, means_what in MEASURES:
        values = [row[measure] for row in known.layers]
        if all(value is not None for value in values):
            picture = charts.by_layer(title, layers, values, bands)
            yield f"<figure>{picture}<figcaption>{means_what}; across: layers</figcaption></figure>\n"
    yield "</div>\n"


def _places(db: apsw.Connection, known: Knowledge) -> Iterator[str]:
    drawn = [relation for relation in known.relations if relation.by_layer][:MOST]
    if not drawn:
        yield _unprobed()
        return
    layers = [row["layer"] for row in known.layers]
    yield (
        "<p>What each layer adds to the logit of the answer's first token, mean over the relation's surest answers. "
        "The upper row is attention heads, the lower one feed-forward features; the strongest cell of a relation has "
        "the full colour.</p>\n"
        '<div class="key"><span class="adds">adds to the answer</span><span class="takes">takes from it</span></div>\n'
    )
    yield _left_out(known, drawn)
    yield _row("", _band_names(known), "", kind="row axis")
    for relation in drawn:
        nets = {
            kind: [part.net if (part := relation.by_layer.get((kind, layer))) else 0.0 for layer in layers]
            for kind in ("head", "feature")
        }
        largest = max(abs(value) for values in nets.values() for value in values)
        picture = charts.heat([("attention", nets["head"]), ("features", nets["feature"])], layers, largest)
        (kind, layer), part = max(relation.by_layer.items(), key=lambda item: (item[1].net, -item[0][1]))
        where = f"most: layer {layer}, {'attention' if kind == 'head' else 'features'} {signed(part.net)}"
        yield _row(relation.name, picture, where)
    ticks = "".join(
        f'<span style="left:{charts.number(100 * (x + 0.5) / len(layers))}%">{layers[x]}</span>'
        for x in charts.tick_places(len(layers))
    )
    yield _row("", f'<div class="ticks">{ticks}</div>', "layer; values in logits", kind="row ticked")


def _attention(db: apsw.Connection, known: Knowledge) -> Iterator[str]:
    drawn = [relation for relation in known.relations if relation.by_layer][:MOST]
    if not drawn:
        yield _unprobed()
        return
    yield (
        "<p>Shares of all that moves the answer's logit, up or down: attention heads, which fetch from earlier words, "
        "and feed-forward features. Beside them the net of each, ups less downs, in logits.</p>\n"
        '<div class="key"><span class="heads">attention heads</span><span class="features">features</span></div>\n'
    )
    yield _left_out(known, drawn)
    for relation in sorted(drawn, key=_attention_share, reverse=True):
        heads, features = relation.total("head"), relation.total("feature")
        share = _attention_share(relation)
        parts = [
            ("heads", heads.gross, f"attention {percent(share)}"),
            ("features", features.gross, f"features {percent(1 - share)}"),
        ]
        value = f"attention {percent(share)}<br>net: {signed(heads.net)}, {signed(features.net)}"
        yield _row(relation.name, charts.shares(parts), value)


def _attention_share(relation: Relation) -> float:
    heads, features = relation.total("head").gross, relation.total("feature").gross
    return heads / (heads + features) if heads + features else 0.0


def _examples(db: apsw.Connection, known: Knowledge) -> Iterator[str]:
    examples = known.examples[:MOST]
    if not examples:
        yield _unprobed()
        return
    yield (
        "<p>The surest answer of each relation, with what wrote most of it. Numbers are logits that a head or feature "
        'adds to the answer\'s first token; for features, the tokens they promote most.</p>\n<div class="cards">\n'
    )
    for belief in examples:
        yield _card(belief, evidence(db, belief.edge_id))
    yield "</div>\n"


def _card(belief: Belief, pieces: Sequence[Piece]) -> str:
    verdict = "" if belief.right is None else " · right" if belief.right else f" · stated: {_stated(belief)}"
    items = "".join(f"<li><b>{signed(piece.contribution)}</b><span>{_piece(piece)}</span></li>" for piece in pieces)
    return (
        f"<article>\n<h3>{name(belief.entity)} — {name(belief.relation)} → {name(belief.target)}</h3>\n"
        f'<p class="quiet">confidence {belief.confidence:.2f} · probability {belief.probability:.2f} · '
        f"{percent(belief.agreement)} of wordings{verdict}</p>\n"
        f"<ol>{items or '<li><b></b><span>no evidence is stored</span></li>'}</ol>\n</article>\n"
    )


def _piece(piece: Piece) -> str:
    if piece.kind == "head":
        return f"layer {piece.layer} head {piece.number} ({percent(piece.share)})"
    promoted = " ".join(f"<code>{name(_readable(token))}</code>" for token in piece.tokens)
    return f"layer {piece.layer} feature {piece.number} ({percent(piece.share)}): {promoted}"


def _readable(token: str) -> str:
    """A token without the space before it; as a literal of Python where nothing, or not all of it, can be seen."""
    word = token.strip()
    return word if word and word.isprintable() else repr(token)


def _stated(belief: Belief, most: int = 4) -> str:
    more = f" and {len(belief.stated) - most} more" if len(belief.stated) > most else ""
    return ", ".join(map(name, belief.stated[:most])) + more


def _truth(db: apsw.Connection, known: Knowledge) -> Iterator[str]:
    judged = [relation for relation in known.relations if relation.right + relation.wrong][:MOST]
    if not judged:
        yield (
            '<p class="none">No facts of a source are in this file to compare with.</p>\n'
            if known.relations
            else _unprobed()
        )
        return
    right, wrong = sum(relation.right for relation in judged), sum(relation.wrong for relation in judged)
    sure = [belief for belief in known.beliefs if belief.right is not None and belief.confidence >= 0.5]
    told = (
        f" Of the {len(sure):,} with confidence 0.5 or more, {sum(one.right is True for one in sure):,} are right."
        if sure
        else ""
    )
    yield (
        f"<p>The surest answer against what sources state: {right:,} right, {wrong:,} wrong.{told} A wrong belief is "
        "kept as it is: edges say what the model believes, <code>facts</code> what a source states.</p>\n"
        '<div class="key"><span class="right">right</span><span class="wrong">wrong</span></div>\n'
    )
    for relation in sorted(judged, key=lambda one: (-one.right / (one.right + one.wrong), one.name)):
        parts = [
            ("right", relation.right, f"{relation.right:,} right"),
            ("wrong", relation.wrong, f"{relation.wrong:,} wrong"),
        ]
        yield _row(
            relation.name, charts.shares(parts), f"{relation.right:,} of {relation.right + relation.wrong:,} right"
        )
    rows = [
        (name(one.entity), name(one.relation), name(one.target), _stated(one), f"{one.confidence:.2f}")
        for one in known.errors
    ]
    heads = ("entity", "relation", "the model says", "stated", "confidence")
    yield _table("Wrong and surest of it", heads, rows, words=4, ready=True)


def _calibration(db: apsw.Connection, known: Knowledge) -> Iterator[str]:
    error = known.error
    if error is None:
        yield _unprobed()
        return
    yield (
        "<p>How often an edge's target was the answer again on a wording left out when its confidence was worked out. "
        "On the dashed line the two are equal; dots are as large as they have edges. The expected calibration error, "
        f'the mean distance from the line, is <b>{error:.3f}</b>.</p>\n<div class="charts">\n'
    )
    rows = [(f"{mean:.3f}", f"{held:.3f}", f"{count:,}") for mean, held, count in known.bins]
    yield f"{charts.calibration(known.bins)}\n"
    yield _table("The same in numbers", ("confidence", "held", "edges"), rows, words=0)
    yield "</div>\n"


def _relations(db: apsw.Connection, known: Knowledge) -> Iterator[str]:
    if not known.relations:
        yield _unprobed()
        return
    heads = (
        "relation", "strongest layers", "wordings", "entities", "edges", "mean confidence", "right", "wrong",
        "features",
    )  # fmt: skip
    rows = [
        (
            name(one.name), ", ".join(map(str, one.strongest_layers)) or "–", f"{one.wordings:,}",
            f"{len(one.beliefs):,}", f"{one.edges:,}", f"{one.confidence:.2f}", f"{one.right:,}", f"{one.wrong:,}",
            f"{one.labelled:,}",
        )
        for one in known.relations
    ]  # fmt: skip
    caption = "Features are those that serve the relation, also among others; confidence is of surest answers"
    yield _table(caption, heads, rows, words=2, ready=True)


SECTIONS: tuple[tuple[str, str, Section], ...] = (
    ("model", "The model", _model),
    ("bands", "Bands", _bands),
    ("places", "Where relations live", _places),
    ("attention", "Attention and features", _attention),
    ("examples", "Edges and their evidence", _examples),
    ("truth", "Right and wrong", _truth),
    ("calibration", "How sure it is", _calibration),
    ("relations", "Relations", _relations),
)


# Parts


def _row(relation: str, picture: str, value: str, *, kind: str = "row") -> str:
    return (
        f'<div class="{kind}"><div class="label">{name(relation)}</div><div class="picture">{picture}</div>'
        f'<div class="value">{value}</div></div>\n'
    )


def _table(
    caption: str, heads: Sequence[str], rows: Sequence[Sequence[str]], *, words: int, ready: bool = False
) -> str:
    """A table whose first ``words`` columns are words, the others numbers; cells that are ``ready`` are HTML."""

    def cells(tag: str, row: Sequence[str]) -> str:
        kinds = ["" if place < words else ' class="n"' for place in range(len(row))]
        return "".join(f"<{tag}{kind}>{cell}</{tag}>" for kind, cell in zip(kinds, row, strict=True))

    body = "\n".join(f"<tr>{cells('td', row if ready else [text(cell) for cell in row])}</tr>" for row in rows)
    return (
        f'<div class="wide"><table>\n<caption>{caption}</caption>\n<thead><tr>{cells("th", heads)}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody>\n</table></div>\n"
    )


def _band_names(known: Knowledge) -> str:
    runs: list[tuple[str, int, int]] = []
    for row in known.layers:
        if runs and runs[-1][0] == row["band"]:
            runs[-1] = (row["band"], runs[-1][1], row["layer"])
        else:
            runs.append((row["band"], row["layer"], row["layer"]))
    spans = (
        f'<span class="{band}" style="flex-grow:{last - first + 1}" title="{band}: layers {first}–{last}">{band}</span>'
        for band, first, last in runs
    )
    return f'<div class="bands">{"".join(spans)}</div>'


def _left_out(known: Knowledge, drawn: Sequence[Any]) -> str:
    left = sum(bool(relation.by_layer) for relation in known.relations) - len(drawn)
    return f'<p class="quiet">The {MOST} relations with most edges; {left:,} more are left out.</p>\n' if left else ""


def _unprobed() -> str:
    return '<p class="none">Nothing has been asked of this model yet: <code>larqldb probe FILE</code> does that.</p>\n'


def _model_name(known: Knowledge) -> str:
    """The model's file or hub name, without the folders of the machine it was extracted on."""
    source = str(known.model.get("source") or "this model")
    local = source.startswith(("/", "~", ".")) or "\\" in source or source.endswith(".gguf") or source.count("/") > 1
    return PurePath(source.replace("\\", "/")).name if local else source


def _origin(known: Knowledge) -> str:
    model = known.model
    facts = [str(model["architecture"])] if "architecture" in model else []
    if known.made_at:
        facts.append(f"taken apart on {known.made_at[:10]}")
    if "fingerprint" in model:
        facts.append(f"fingerprint {str(model['fingerprint'])[:16]}")
    return " · ".join(map(text, (*facts, "read by larqldb")))

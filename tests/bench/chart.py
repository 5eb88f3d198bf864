# SPDX-License-Identifier: MIT
"""Charts as SVG: bars in groups, and lines.  Colours follow the reader's light or dark scheme."""
import math
from xml.sax.saxutils import escape

COLOURS = (
    ("#0a63c9", "#6cb2ff"),
    ("#15803d", "#5fd38d"),
    ("#9333ea", "#d0a2ff"),
    ("#b8860b", "#e6c34a"),
    ("#be185d", "#ff8fc0"),
    ("#57534e", "#c9c3bb"),
)
DASHES = ("", "7 3", "2 3", "9 3 2 3", "4 2", "1 2")
STYLE = """<style>
:root{--back:#ffffff;--ink:#1f2328;--soft:#59636e;--grid:#d8dee4;%s}
@media (prefers-color-scheme:dark){:root{--back:#0d1117;--ink:#e6edf3;--soft:#9da7b3;--grid:#2b323b;%s}}
text{font:13px system-ui,sans-serif;fill:var(--ink)}
.soft{fill:var(--soft);font-size:11px}.head{font-size:15px;font-weight:600}
.grid{stroke:var(--grid)}.line{fill:none;stroke-width:2;stroke-linejoin:round}
</style>""" % tuple(";".join("--c%d:%s" % (i, pair[k]) for i, pair in enumerate(COLOURS)) for k in (0, 1))
LEFT, WIDTH, BAR, GAP = 280, 780, 13, 12


def text(x, y, words, more=""):
    return '<text x="%.1f" y="%.1f" %s>%s</text>' % (x, y, more, escape(str(words)))


def document(title, height, body):
    return "\n".join(
        [
            '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 %d %d" width="%d" height="%d" role="img">'
            % (WIDTH, height, WIDTH, height),
            "<title>%s</title>" % escape(title),
            STYLE,
            '<rect width="%d" height="%d" style="fill:var(--back)"/>' % (WIDTH, height),
            text(16, 24, title, 'class="head"'),
            *body,
            "</svg>\n",
        ]
    )


def round_step(span):
    """A step of 1, 2 or 5 times a power of ten that divides the span into about six."""
    power = 10 ** math.floor(math.log10(span / 6))
    return next(m * power for m in (1, 2, 5, 10) if m * power >= span / 6)


def legend(names, y):
    out, x = [], 16
    for i, name in enumerate(names):
        out.append('<rect x="%d" y="%d" width="11" height="11" style="fill:var(--c%d)"/>' % (x, y - 10, i))
        out.append(text(x + 16, y, name))
        x += 40 + 8 * len(name)
    return out


def bars(title, names, groups, note):
    """groups: [(label, {name: (dark part, light part)})], as horizontal bars; `note` says what the parts are."""
    greatest = max(sum(parts) for _, entries in groups for parts in entries.values())
    scale = (WIDTH - LEFT - 70) / greatest
    height = 76 + sum(len(entries) * BAR + GAP for _, entries in groups)
    body = legend(names, 46) + [text(WIDTH - 16, 46, note, 'class="soft" text-anchor="end"')]
    step, at = round_step(greatest), 0
    while at <= greatest:
        x = LEFT + at * scale
        body.append('<path class="grid" d="M%.1f 58V%d"/>' % (x, height - 14))
        body.append(text(x, height - 3, "%g" % at, 'class="soft" text-anchor="middle"'))
        at = round(at + step, 9)
    y = 64
    for label, entries in groups:
        body.append(text(LEFT - 8, y + len(entries) * BAR / 2 + 4, label, 'text-anchor="end"'))
        for name, parts in entries.items():
            x, colour = LEFT, names.index(name)
            for part, opacity in zip(parts, (1, 0.55)):
                body.append(
                    '<rect x="%.1f" y="%.1f" width="%.1f" height="%d" style="fill:var(--c%d);fill-opacity:%g"/>'
                    % (x, y, part * scale, BAR - 2, colour, opacity)
                )
                x += part * scale
            body.append(text(x + 4, y + BAR - 3, "%.3g" % sum(parts), 'class="soft"'))
            y += BAR
        y += GAP
    return document(title, height, body)


def lines(title, names, ticks, series, y_title):
    """series: {name: [y, ...]}, one for each tick of the horizontal axis; from 0 up."""
    left, top, height = 64, 64, 260
    greatest = max(max(ys) for ys in series.values())
    step = round_step(greatest)
    span = math.ceil(greatest / step) * step
    xs = [left + (WIDTH - left - 40) * i / max(1, len(ticks) - 1) for i in range(len(ticks))]

    def place(y):
        return top + height * (1 - y / span)

    body, at = legend(names, 46), 0
    while at <= span:
        body.append('<path class="grid" d="M%d %.1fH%d"/>' % (left, place(at), WIDTH - 40))
        body.append(text(left - 8, place(at) + 4, "%g" % at, 'class="soft" text-anchor="end"'))
        at = round(at + step, 9)
    for x, tick in zip(xs, ticks):
        body.append(text(x, top + height + 18, tick, 'class="soft" text-anchor="middle"'))
    body.append(text(WIDTH / 2, top + height + 36, y_title, 'text-anchor="middle"'))
    for name, ys in series.items():
        colour = names.index(name)
        path = "L".join("%.1f %.1f" % (x, place(y)) for x, y in zip(xs, ys))
        body.append(
            '<path class="line" stroke-dasharray="%s" style="stroke:var(--c%d)" d="M%s"/>' % (DASHES[colour], colour, path)
        )
    return document(title, top + height + 48, body)

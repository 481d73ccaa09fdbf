"""Formulas as MathML, which browsers draw by themselves: the pages need no script and no network."""

from docutils.utils.math.latex2mathml import tex2mathml
from sphinx.util.docutils import nodes


def setup(app):
    app.add_html_math_renderer("mathml", (_inline, None), (_display, None))
    return {"parallel_read_safe": True}


def _inline(translator, node):
    translator.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def _display(translator, node):
    translator.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode

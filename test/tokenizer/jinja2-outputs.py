"""Rewrites jinja2-outputs.json: every template in it, rendered by Python's jinja2 set up as transformers sets it up.

    pip install jinja2==3.1.6
    python jinja2-outputs.py CONTEXT.json        (golden/tokenizer/jinja_context.json)
"""

import json
import pathlib
import sys

import jinja2
from jinja2.ext import Extension, loopcontrols
from jinja2.nodes import CallBlock
from jinja2.sandbox import ImmutableSandboxedEnvironment


class GenerationTag(Extension):
    """{% generation %}: marks what the assistant wrote; renders its body."""

    tags = {"generation"}

    def parse(self, parser):
        lineno = next(parser.stream).lineno
        body = parser.parse_statements(["name:endgeneration"], drop_needle=True)
        return CallBlock(self.call_method("_body"), [], [], body).set_lineno(lineno)

    def _body(self, caller):
        return caller()


def tojson(value, ensure_ascii=False, indent=None, separators=None, sort_keys=False):
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def raise_exception(message):
    raise jinja2.exceptions.TemplateError(message)


def render(environment, template, context):
    try:
        return {"template": template, "rendered": environment.from_string(template).render(**context)}
    except Exception as error:  # the point is to record whatever Python raises
        return {"template": template, "error": {"kind": type(error).__name__, "message": str(error)}}


environment = ImmutableSandboxedEnvironment(
    trim_blocks=True, lstrip_blocks=True, extensions=[GenerationTag, loopcontrols]
)
environment.filters["tojson"] = tojson
environment.globals["raise_exception"] = raise_exception
context = json.loads(pathlib.Path(sys.argv[1]).read_text(encoding="utf-8"))
path = pathlib.Path(__file__).with_name("jinja2-outputs.json")
rows = [render(environment, row["template"], context) for row in json.loads(path.read_text(encoding="utf-8"))]
path.write_text("[\n" + ",\n".join(json.dumps(row, ensure_ascii=True) for row in rows) + "\n]\n", encoding="utf-8")

"""The part of Jinja that a chat template of ours may use. Knows nothing of tokens or conversations.

A template comes with a model, so it is a stranger's program. Jinja's sandbox keeps it from Python's
insides but not from running for ever, so here only a language is admitted in which it cannot: one
loop over the messages, inside it one over a message's tool calls, no assignments, no arithmetic, no
calls. What such a template does takes time linear in the conversation, but for printing a message
once for each of its tool calls, which a `Message` holds few of.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from os import PathLike
from typing import Any, NoReturn

from jinja2 import StrictUndefined, Template, TemplateError, TemplateSyntaxError, nodes
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment

from ontogeny.base.errors import InputError
from ontogeny.text.marks import GENERATION_CLOSE, GENERATION_OPEN, MARKS

LARGEST_TEMPLATE_CHARACTERS = 65_536
DEEPEST = 40  # nodes above a node; the compiler recurses

_GLOBALS = {"messages", "add_generation_prompt", "eos_token", "pad_token", "loop"}
_FILTERS = {"tojson", "trim", "length", "string", "upper", "lower", "default", "first", "last"}
_TESTS = {"defined", "undefined", "none", "string", "mapping", "sequence", "iterable"}
_TESTS |= {"true", "false", "equalto", "eq", "ne", "in"}
_NODES: tuple[type[nodes.Node], ...] = (
    nodes.Template,
    nodes.Output,
    nodes.TemplateData,
    nodes.For,
    nodes.If,
    nodes.CondExpr,
    nodes.Name,
    nodes.Const,
    nodes.List,
    nodes.Tuple,
    nodes.Getattr,
    nodes.Getitem,
    nodes.Compare,
    nodes.Operand,
    nodes.And,
    nodes.Or,
    nodes.Not,
    nodes.Concat,
    nodes.Test,
    nodes.Filter,
    nodes.Call,
)


class Generation(Extension):
    """`{% generation %}...{% endgeneration %}`: what the assistant says, as transformers has it."""

    tags = {"generation"}  # noqa: RUF012  # jinja2 declares it so

    def parse(self, parser: Parser) -> list[nodes.Node]:
        """The body between two marks."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        opened, closed = (
            nodes.Output([nodes.TemplateData(mark)], lineno=line)
            for mark in (GENERATION_OPEN, GENERATION_CLOSE)
        )
        return [opened, *body, closed]


def _environment() -> ImmutableSandboxedEnvironment:
    # trim_blocks and lstrip_blocks as transformers sets them: the same template, the same text.
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, undefined=StrictUndefined, extensions=[Generation]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = raise_exception
    return environment


def _to_json(value: Any) -> str:
    # As transformers has it; Jinja's own would write \u003c for "<".
    return json.dumps(value, ensure_ascii=False)


def raise_exception(message: str) -> NoReturn:
    """What a template calls to refuse a conversation.

    Raises:
        TemplateError: always.
    """
    raise TemplateError(message)


_ENVIRONMENT = _environment()


def compile_template(source: str, *, file: str | PathLike[str]) -> Template:
    """The template, ready to render, when it stays within the language above.

    Raises:
        InputError: naming `file` and the line of what is not admitted.
    """

    def checked() -> Template:
        tree = _ENVIRONMENT.parse(source)
        _check(tree)
        if not any(text.data == GENERATION_OPEN for text in tree.find_all(nodes.TemplateData)):
            reason = "it has no {% generation %} block, so nothing says what to train on"
            raise TemplateSyntaxError(reason, 1)
        return _ENVIRONMENT.from_string(tree)

    return compiled(source, checked, file=file)


def compiled(
    source: str, compiler: Callable[[], Template], *, file: str | PathLike[str]
) -> Template:
    """What `compiler` makes of `source`, whose size and characters are looked at first.

    Raises:
        InputError: naming `file` and the line of what is not admitted.
    """
    if len(source) > LARGEST_TEMPLATE_CHARACTERS:
        raise InputError(
            f"the chat template has {len(source)} characters, more than "
            f"{LARGEST_TEMPLATE_CHARACTERS}",
            file=file,
        )
    if any(mark in source for mark in MARKS):
        raise InputError("the chat template contains a Unicode noncharacter", file=file)
    try:
        return compiler()
    except TemplateSyntaxError as error:
        reason = f"the chat template is refused: {error.message}"
        raise InputError(reason, file=file, line=error.lineno) from None
    except RecursionError:
        raise InputError("the chat template is nested too deeply", file=file) from None
    except ValueError:  # Python reads integers of up to 4,300 digits
        raise InputError("the chat template holds a number that is too long", file=file) from None


def _check(tree: nodes.Template) -> None:
    for node, above in walk(tree):
        if len(above) > DEEPEST:
            refuse("it is nested too deeply", node)
        if not isinstance(node, _NODES):
            refuse(f"{type(node).__name__} is not part of our template language", node)
        loops = [loop for loop in above if isinstance(loop, nodes.For)]
        if isinstance(node, nodes.For):
            _check_loop(node, loops)
        elif isinstance(node, nodes.Name):
            _check_name(node, above[-1], loops)
        elif isinstance(node, nodes.Getattr | nodes.Getitem):
            _check_access(node)
        elif isinstance(node, nodes.Filter | nodes.Test):
            known = _FILTERS if isinstance(node, nodes.Filter) else _TESTS
            if node.name not in known:
                refuse(f"{node.name!r} is not part of our template language", node)
        elif isinstance(node, nodes.Call):
            callee = node.node
            if not isinstance(callee, nodes.Name) or callee.name != "raise_exception":
                refuse("a chat template may call nothing but raise_exception", node)


def walk(root: nodes.Node) -> Iterator[tuple[nodes.Node, list[nodes.Node]]]:
    """Every node with those above it, outermost first; iterative, for a tree of any depth."""
    waiting: list[tuple[nodes.Node, list[nodes.Node]]] = [(root, [])]
    while waiting:
        node, above = waiting.pop()
        yield node, above
        waiting.extend((child, [*above, node]) for child in node.iter_child_nodes())


def _check_loop(node: nodes.For, loops: list[nodes.For]) -> None:
    plain = isinstance(node.target, nodes.Name) and node.target.name not in _GLOBALS
    if node.recursive or not plain:
        refuse("a loop binds one new name and does not recurse", node)
    over = node.iter
    if not loops:
        admitted = isinstance(over, nodes.Name) and over.name == "messages"
    else:
        admitted = (
            len(loops) == 1
            and (isinstance(over, nodes.Getattr) and over.attr == "tool_calls")
            and isinstance(over.node, nodes.Name)
            and isinstance(loops[0].target, nodes.Name)
            and over.node.name == loops[0].target.name
        )
    if not admitted:
        refuse("a loop runs over messages, or inside over message.tool_calls", node)


def _check_name(node: nodes.Name, parent: nodes.Node, loops: list[nodes.For]) -> None:
    targets = {loop.target.name for loop in loops if isinstance(loop.target, nodes.Name)}
    if isinstance(parent, nodes.For) and node is parent.target:
        return
    if isinstance(parent, nodes.Call) and node.name == "raise_exception":
        return
    if node.name not in _GLOBALS | targets:
        refuse(f"unknown name {node.name!r}", node)
    # All messages at once, inside a loop over them, would be quadratic.
    indexed = isinstance(parent, nodes.Getitem) and isinstance(parent.arg, nodes.Const)
    if node.name == "messages" and not indexed and not isinstance(parent, nodes.For):
        refuse("messages may be looped over or indexed by a number", node)


def _check_access(node: nodes.Getattr | nodes.Getitem) -> None:
    if isinstance(node, nodes.Getattr):
        key: object = node.attr
    elif isinstance(node.arg, nodes.Const):
        key = node.arg.value
    else:
        refuse("an index must be a constant", node)
    if not isinstance(key, str | int) or str(key).startswith("_"):
        refuse(f"access to {key!r} is not allowed", node)


def refuse(reason: str, node: nodes.Node) -> NoReturn:
    """Stops compiling: `node` is not admitted.

    Raises:
        TemplateSyntaxError: always.
    """
    raise TemplateSyntaxError(reason, node.lineno or 1)

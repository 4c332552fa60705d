"""The part of Jinja that chat templates of open weights are written in. Knows no tokens.

Wider than our own language (`template_language`): assignments, macros, namespaces, slices, methods
of strings. It is a stranger's program all the same, so three things bound it. The tree is checked:
no recursion, no multiplication, few loops within loops, no call of anything that is not listed.
Whatever makes a value is charged by its size (`allowance`), so that memory is bounded, and every
turn of a loop and every call looks at the processor's clock, so that time is.

`strftime_now` gives one fixed date, `DATE`: the ids of a conversation follow from it alone.
"""

from __future__ import annotations

import datetime
import functools
import json
from collections.abc import Callable, Mapping
from os import PathLike
from typing import Any, Final

from jinja2 import Template, TemplateError, nodes
from jinja2.ext import LoopControlExtension
from jinja2.filters import FILTERS
from jinja2.runtime import Context
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from ontogeny.text.allowance import charge, charge_joined, charge_replaced, granted, passes
from ontogeny.text.template_language import (
    Generation,
    compiled,
    raise_exception,
    refuse,
    walk,
)

DATE: Final = datetime.datetime(2025, 1, 1)
_DEEPEST = 80
_MOST_LOOPS = 4  # one within the other
_LARGEST_NUMBER = 2**53
_LONGEST_DATE = 64
_WIDEST = 16  # spaces of an indentation
_TICK, _MEASURED, _JOINED = "ontogeny_tick", "ontogeny_measured", "ontogeny_joined"

_CALLED = {"raise_exception", "strftime_now", "namespace", "range", "dict"}
_RESERVED = _CALLED | {"self", "super", "caller", "varargs", "kwargs", "loop", _TICK}
_METHODS = {"strip", "lstrip", "rstrip", "removeprefix", "removesuffix", "replace", "join"}
_METHODS |= {"split", "rsplit", "splitlines", "partition", "rpartition", "startswith", "endswith"}
_METHODS |= {"find", "rfind", "index", "count", "upper", "lower", "title", "capitalize"}
_METHODS |= {"isdigit", "isspace", "isalpha", "isupper", "get", "items", "keys", "values"}
_PLAIN_FILTERS = {"trim", "length", "count", "string", "upper", "lower", "title", "capitalize"}
_PLAIN_FILTERS |= {"default", "d", "first", "last", "list", "items", "map", "select", "reject"}
_PLAIN_FILTERS |= {"selectattr", "rejectattr", "int", "float", "abs", "round", "reverse", "sort"}
_PLAIN_FILTERS |= {"unique", "dictsort", "safe", "min", "max"}
_FILTERS = _PLAIN_FILTERS | {"tojson", "join", "replace", "indent"}
_TESTS = {"defined", "undefined", "none", "string", "mapping", "sequence", "iterable", "number"}
_TESTS |= {"true", "false", "boolean", "integer", "float", "equalto", "eq", "==", "ne", "!=", "in"}
_TESTS |= {"gt", ">", "lt", "<", "ge", ">=", "le", "<=", "odd", "even", "divisibleby"}
_REFUSED: tuple[type[nodes.Node], ...] = (
    nodes.Mul,
    nodes.Pow,
    nodes.Include,
    nodes.Import,
    nodes.FromImport,
    nodes.Extends,
    nodes.Block,
    nodes.CallBlock,
    nodes.FilterBlock,
    nodes.With,
    nodes.ScopedEvalContextModifier,
    nodes.EvalContextModifier,
)


class _Names(Namespace):
    """What `namespace()` makes: names without an underscore in front."""

    def __setitem__(self, name: str, value: Any) -> None:
        if not isinstance(name, str) or name.startswith("_"):
            raise TemplateError("a namespace holds no name that begins with an underscore")
        Namespace.__setitem__(self, name, value)


class _Environment(ImmutableSandboxedEnvironment):
    """Jinja's sandbox, with every value that is made charged by its size."""

    intercepted_binops = frozenset(["+", "-", "/", "//", "%"])

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """`left operator right`; text may be added and nothing else."""
        numbers = isinstance(left, int | float) and isinstance(right, int | float)
        if not numbers and operator != "+":
            raise TemplateError(f"'{operator}' is for numbers")
        if not numbers:
            charge(left)
            charge(right)
        value = super().call_binop(context, operator, left, right)
        if numbers and abs(value) > _LARGEST_NUMBER:
            raise TemplateError("a number is too large")
        return value

    def call(__self, __context: Context, __obj: Any, *args: Any, **kwargs: Any) -> Any:  # noqa: N805
        """`__obj(*args, **kwargs)`, its result charged."""
        passes()
        owner, name = getattr(__obj, "__self__", None), getattr(__obj, "__name__", "")
        if isinstance(owner, str) and name == "replace":
            charge_replaced(owner, *args)
        elif isinstance(owner, str) and name == "join":
            charge_joined(owner, *args)
        value = super().call(__context, __obj, *args, **kwargs)
        return charge(value)

    def getitem(self, obj: Any, argument: Any) -> Any:
        """`obj[argument]`; a slice is a new value."""
        value = super().getitem(obj, argument)
        return charge(value) if isinstance(argument, slice) else value


def _charged(function: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(function)
    def charged(*args: Any, **kwargs: Any) -> Any:
        passes()
        value = function(*args, **kwargs)
        if hasattr(value, "__next__"):  # lazy ones are drawn at once, so that they are counted
            value = list(value)
        return charge(value)

    return charged


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: Any = None,
    sort_keys: bool = False,
) -> str:
    charge(value)
    if indent is not None and not 0 <= int(indent) <= _WIDEST:
        raise TemplateError(f"'tojson' indents by 0 to {_WIDEST}")
    return json.dumps(
        value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys
    )


def _joined(values: Any, d: Any = "", attribute: Any = None) -> str:
    if attribute is not None:
        raise TemplateError("'join' takes no attribute")
    texts = [_printed(value) for value in values]
    charge_joined(d, texts)
    return str(d).join(texts)


def _replaced(text: Any, old: Any, new: Any) -> Any:
    text = text if isinstance(text, str) else _printed(text)
    charge_replaced(text, old, new)
    return text.replace(old, new)


def _indented(text: str, width: int = 4, first: bool = False, blank: bool = False) -> str:
    if not isinstance(width, int) or not 0 <= width <= _WIDEST:
        raise TemplateError(f"'indent' takes a width of 0 to {_WIDEST}")
    pad = " " * width
    lines = text.split("\n")
    charge_joined(pad + "\n", lines)
    rest = [pad + line if line or blank else line for line in lines[1:]]
    return "\n".join([pad + lines[0] if first else lines[0], *rest])


def _printed(value: Any) -> str:
    """`value` as it prints."""
    return str(charge(value))


def _date(form: str) -> str:
    if len(form) > _LONGEST_DATE:
        raise TemplateError("a date is written in fewer characters")
    return DATE.strftime(form)


def _environment() -> _Environment:
    environment = _Environment(
        trim_blocks=True,
        lstrip_blocks=True,
        optimized=False,
        finalize=charge,
        extensions=[Generation, LoopControlExtension],
    )
    own = {"tojson": _to_json, "join": _joined, "replace": _replaced, "indent": _indented}
    filters = {name: FILTERS[name] for name in _PLAIN_FILTERS} | own
    environment.filters = {name: _charged(each) for name, each in filters.items()}
    environment.filters |= {_MEASURED: charge, _JOINED: lambda texts: "".join(map(_printed, texts))}
    environment.tests = {name: environment.tests[name] for name in _TESTS}
    given = {"raise_exception": raise_exception, "strftime_now": _date, "namespace": _Names}
    kept = {name: environment.globals[name] for name in ("range", "dict")}
    environment.globals = {**kept, **given, _TICK: passes}
    return environment


_ENVIRONMENT = _environment()


def compile_open_template(source: str, *, file: str | PathLike[str]) -> Template:
    """The template, ready to render within `allowance.granted()`.

    Raises:
        InputError: naming `file` and the line of what is not admitted.
    """

    def checked() -> Template:
        tree = _ENVIRONMENT.parse(source)
        _check(tree)
        for loop in list(tree.find_all(nodes.For)):
            _count(loop)
        _measure(tree)
        with granted(0):  # constants that are printed are computed while compiling
            return _ENVIRONMENT.from_string(tree)

    return compiled(source, checked, file=file)


def _check(tree: nodes.Template) -> None:
    macros: dict[str, int] = {}
    for place, macro in enumerate(tree.find_all(nodes.Macro)):
        if macro.name in macros or macro.name in _RESERVED:
            refuse(f"the macro {macro.name!r} is defined twice, or has a name of Jinja's", macro)
        macros[macro.name] = place
    for node, above in walk(tree):
        if len(above) > _DEEPEST:
            refuse("it is nested too deeply", node)
        if isinstance(node, _REFUSED):
            refuse(f"{type(node).__name__} is not part of the language of chat templates", node)
        if isinstance(node, nodes.For):
            if node.recursive or sum(isinstance(each, nodes.For) for each in above) >= _MOST_LOOPS:
                refuse(f"a loop does not recurse, and at most {_MOST_LOOPS} nest", node)
        elif isinstance(node, nodes.Name):
            _check_name(node, above[-1], macros)
        elif isinstance(node, nodes.Getattr | nodes.Getitem):
            _check_access(node)
        elif isinstance(node, nodes.Filter | nodes.Test):
            known = _FILTERS if isinstance(node, nodes.Filter) else _TESTS
            if node.name not in known:
                refuse(f"{node.name!r} is not part of the language of chat templates", node)
        elif isinstance(node, nodes.Call):
            _check_call(node, above, macros)


def _check_name(node: nodes.Name, parent: nodes.Node, macros: Mapping[str, int]) -> None:
    if node.name.startswith("_") and node.name != "_":
        refuse(f"{node.name!r} is no name of a chat template", node)
    kept = node.name in _RESERVED or node.name in macros
    if node.ctx != "load" and kept:
        refuse(f"{node.name!r} may not be assigned", node)
    called = isinstance(parent, nodes.Call) and parent.node is node
    asked = isinstance(parent, nodes.Test) and parent.name in ("defined", "undefined")
    if node.ctx == "load" and kept and node.name != "loop" and not called and not asked:
        refuse(f"{node.name!r} may only be called", node)


def _check_access(node: nodes.Getattr | nodes.Getitem) -> None:
    key: object = node.attr if isinstance(node, nodes.Getattr) else None
    if isinstance(node, nodes.Getitem) and isinstance(node.arg, nodes.Const):
        key = node.arg.value
    if isinstance(key, str) and key.startswith("_"):
        refuse(f"access to {key!r} is not allowed", node)


def _check_call(node: nodes.Call, above: list[nodes.Node], macros: Mapping[str, int]) -> None:
    callee = node.node
    if isinstance(callee, nodes.Getattr):
        if callee.attr not in _METHODS:
            refuse(f"the method {callee.attr!r} is not part of the language", node)
    elif isinstance(callee, nodes.Name) and callee.name in macros:
        within = [each for each in above if isinstance(each, nodes.Macro)]
        if any(macros[callee.name] >= macros[each.name] for each in within):
            refuse("a macro calls only macros that stand above it", node)
    elif not isinstance(callee, nodes.Name) or callee.name not in _CALLED:
        refuse("a chat template may not call this", node)
    if node.dyn_args is not None or node.dyn_kwargs is not None:
        refuse("a call names its arguments one by one", node)


def _count(loop: nodes.For) -> None:
    """Each turn of the loop is counted, with the text that stands in it."""
    texts = [text.data for text in loop.find_all(nodes.TemplateData)]
    texts += [text.value for text in loop.find_all(nodes.Const) if isinstance(text.value, str)]
    size = nodes.Const(1 + sum(map(len, texts)))
    tick = nodes.Call(nodes.Name(_TICK, "load"), [size], [], None, None)
    loop.body.insert(0, nodes.Output([tick], lineno=loop.lineno).set_lineno(loop.lineno))


def _measure(node: nodes.Node) -> None:
    """Lists and mappings are charged when they are made; `~` becomes a filter that charges."""
    for name in node.fields:
        value = getattr(node, name)
        if isinstance(value, list):
            setattr(node, name, [_measured(child) for child in value])
        elif isinstance(value, nodes.Node):
            setattr(node, name, _measured(value))


def _measured(child: Any) -> Any:
    if not isinstance(child, nodes.Node):
        return child
    _measure(child)
    if isinstance(child, nodes.Concat):
        texts = nodes.List(child.nodes, lineno=child.lineno)
        return nodes.Filter(texts, _JOINED, [], [], None, None, lineno=child.lineno)
    loads = getattr(child, "ctx", "load") == "load"
    if isinstance(child, nodes.List | nodes.Dict | nodes.Tuple) and loads:
        return nodes.Filter(child, _MEASURED, [], [], None, None, lineno=child.lineno)
    return child

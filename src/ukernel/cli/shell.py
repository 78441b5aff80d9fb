"""`ucore completion`: what makes a shell complete commands, boards, pipes and a board's files."""

import os

import click

from ukernel.errors import UsageError

from .options import command

__all__ = ["completion"]

SHELLS = ("bash", "zsh", "fish")


@command("completion")
@click.argument("shell", type=click.Choice(SHELLS), required=False)
def completion(shell: str | None) -> None:
    """Print what makes a SHELL complete commands, boards, pipes and a board's files.

    bash: add  eval "$(ucore completion bash)"  to ~/.bashrc. zsh: the same with zsh in ~/.zshrc. fish: ucore completion fish >
    ~/.config/fish/completions/ucore.fish
    """
    from click.shell_completion import get_completion_class

    from . import COMPLETE, ucore

    shell = shell or os.path.basename(os.environ.get("SHELL", ""))
    found = get_completion_class(shell) if shell in SHELLS else None
    if found is None:
        raise UsageError(f"Which shell is it? {', '.join(SHELLS)} can be told how to complete commands.")
    print(found(ucore, {}, "ucore", COMPLETE).source())

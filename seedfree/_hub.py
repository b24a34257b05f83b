"""Uploads to the Hugging Face hub: on request alone, and private unless somebody says otherwise."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from seedfree.errors import ConfigError, missing_extra

__all__ = ["push"]


def push(folder: Path, repo_id: str, *, kind: Literal["dataset", "model"], private: bool) -> str:
    """Uploads every file of a folder to a repository, which is made where there is none.

    Returns:
        The address.

    Raises:
        ConfigError: The hub refused, or a public repository of this name is there and `private`
            is not `False`.
    """
    try:
        from huggingface_hub import HfApi
    except ImportError as error:
        raise missing_extra("huggingface_hub", "hub") from error
    api = HfApi()
    try:
        api.create_repo(repo_id, repo_type=kind, private=private, exist_ok=True)
        # One that was there before stays as it is, whatever was asked for.
        if private and not api.repo_info(repo_id, repo_type=kind).private:
            hint = "Choose another name, or pass private=False."
            raise ConfigError(f"{repo_id} is there already and public", hint=hint)
        api.upload_folder(repo_id=repo_id, repo_type=kind, folder_path=str(folder))
    except ConfigError:
        raise
    except (OSError, ValueError) as error:
        hint = "Log in with `hf auth login`, and look at the name."
        raise ConfigError(f"The hub refused {repo_id}: {error}", hint=hint) from error
    return f"https://huggingface.co/{'datasets/' if kind == 'dataset' else ''}{repo_id}"

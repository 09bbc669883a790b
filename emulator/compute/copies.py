"""Copies of folders that a job's own code has filled, with whatever it liked."""

import shutil
from pathlib import Path


def copy_tree(source: Path, target: Path) -> None:
    """Copy a folder's files; what is in the target stays.

    Links are followed. Left out are pipes, sockets and devices, links to nowhere, and links to
    folders that lie elsewhere or lead around in a circle.
    """
    root = source.resolve()

    def left_out(folder: str, names: list[str]) -> set[str]:
        here = Path(folder)
        by_link = here.resolve() != root / here.relative_to(source)
        return {name for name in names if not _is_copied(here / name, root, by_link)}

    shutil.copytree(source, target, ignore=left_out, dirs_exist_ok=True)


def _is_copied(path: Path, root: Path, by_link: bool) -> bool:
    if not (path.is_symlink() and path.is_dir()):
        return path.is_file() or path.is_dir()
    real, here = path.resolve(), path.parent.resolve()
    return not by_link and real.is_relative_to(root) and not here.is_relative_to(real)

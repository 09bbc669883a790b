"""One virtual environment, from its conda file to its packages on the disk."""

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from emulator.environments import own_torch, resolutions
from emulator.environments.conda import CondaFile
from emulator.environments.old_names import keep_old_names
from emulator.environments.requirement import normal, parse
from emulator.environments.resolve import Resolver
from emulator.environments.too_old import with_versions_that_run
from emulator.environments.uv_process import Uv

_TOOLS = {"pip": "pip", "setuptools": "setuptools<81", "wheel": "wheel"}
"""What every conda environment has. Published code imports pkg_resources, which is no longer in
the newest setuptools."""

_CPU = ("--torch-backend", "cpu")
_ONE_LOOK = "15"
"""Seconds until an index counts as out of reach."""
_COMPANIONS = frozenset({"torchvision", "torchaudio", "torchtext"})
"""Compiled against one torch: those of PyPI want its variant for graphics cards."""


@dataclass
class Build:
    """The making of one environment in a folder of its own."""

    conda: CondaFile
    key: str
    """What the content of the environment is known by."""
    folder: Path
    write: Callable[[str], None]
    """Adds text to the build's log."""
    started: Callable[[int], None]
    """Is told the id of each process group."""
    strict: bool = False
    """Whether pins stay as they are written."""
    notes: list[str] = field(default_factory=list)
    """What a person should know of the result."""

    async def run(self) -> None:
        """Build it. Raises EnvironmentFailed with pip's message."""
        uv = Uv(self.folder, self.write, self.started)
        await uv.create(self.conda.options)
        own = own_torch.version()
        needs_torch = own is None and _names(self.conda.requirements) & {"torch", *_COMPANIONS}
        has_small_torch = not needs_torch or await self.finds_small_torch(uv)
        if needs_torch and has_small_torch:
            uv.options += _CPU
        key = hashlib.sha256(f"{self.key} {uv.options}".encode()).hexdigest()[:32]
        resolved, notes = resolutions.load(key)
        self._tell(notes)
        if not resolved:
            resolved = await self._resolve(uv, own)
            resolutions.save(key, resolved, self.notes)
        if not self.strict:
            resolved, notes = with_versions_that_run(resolved)
            self._tell(notes)
        if has_small_torch:
            resolved = self._for_processors(resolved)
        if own and "torch" in _names(resolved):
            resolved = await self._lend_torch(uv, resolved)
        await self._install(uv, resolved)
        (site,) = self.folder.glob("lib/python*/site-packages")
        self._tell(keep_old_names(site, self.conda.requirements, resolved))

    async def finds_small_torch(self, uv: Uv) -> bool:
        """Whether PyTorch's own index, which has it for processors only, can be reached."""
        arguments = ("pip", "compile", "-", "--quiet", "--no-deps", "--python", str(uv.python))
        code, _, _ = await uv.run(
            *(*arguments, *uv.options, *_CPU),
            text="torch",
            variables={"UV_HTTP_RETRIES": "0", "UV_HTTP_TIMEOUT": _ONE_LOOK},
        )
        if code != 0:
            self._tell(
                [
                    "PyTorch's index of builds for processors cannot be reached: torch comes from "
                    "pip's own indexes, with what it needs for graphics cards."
                ]
            )
        return code == 0

    async def _resolve(self, uv: Uv, own: str | None) -> list[str]:
        resolver = Resolver(uv, self._tools(), self.conda.python, self.strict, self._tell)
        if own is None:
            return await resolver.resolve(list(self.conda.requirements))
        constraint = self.folder / "torch.txt"
        constraint.write_text(f"torch=={own}\n")
        wanted = self._without_pins_of_torch(self.conda.requirements, own)
        return await resolver.resolve(wanted, ("--constraint", str(constraint)))

    def _tools(self) -> list[str]:
        named = _names(self.conda.requirements)
        return [line for tool, line in _TOOLS.items() if tool not in named]

    def _for_processors(self, resolved: Sequence[str]) -> list[str]:
        left = [line for line in resolved if own_torch.is_for_graphics(line.partition("==")[0])]
        if left:
            self._tell([f"Left out, because they are for graphics cards: {', '.join(left)}."])
        return [line for line in resolved if line not in left]

    async def _install(self, uv: Uv, resolved: Sequence[str]) -> None:
        packages = self.folder / "packages.txt"
        packages.write_text("\n".join(resolved) + "\n")
        arguments = (
            *("pip", "install", "--no-deps", "--python", str(uv.python)),
            *(*uv.options, "--requirement", str(packages)),
        )
        # Exact versions that are in uv's cache need no index, which takes seconds to ask.
        code, output, errors = await uv.run(*arguments, "--offline")
        if code == 0:
            self.write(f"{output}{errors}")
        else:
            await uv.must(*arguments)

    def _without_pins_of_torch(self, wanted: Sequence[str], own: str) -> list[str]:
        """Ask for the torch that is here, whatever version was asked for."""
        lines = []
        for line in wanted:
            found = parse(line)
            if found and normal(found.name) == "torch" and found.specifiers:
                self._tell([f"{line} is not installed: torch {own} is here, and is used."])
                line = "torch"
            lines.append(line)
        return lines

    async def _lend_torch(self, uv: Uv, resolved: Sequence[str]) -> list[str]:
        """Take torch from the emulator's own Python; gives the lines of what is left to install."""
        (site,) = self.folder.glob("lib/python*/site-packages")
        await asyncio.to_thread(own_torch.link, site, uv.python)
        self._tell(["torch is that of the local Azure ML's own Python."])
        rest = [line for line in resolved if line.partition("==")[0] != "torch"]
        companions = [line for line in rest if line.partition("==")[0] in _COMPANIONS]
        if not companions:
            return rest
        code, output, errors = await uv.run(
            *("pip", "install", "--no-deps", "--python", str(uv.python)),
            *(*uv.options, *_CPU, *companions),
            variables={"UV_HTTP_RETRIES": "0"},
        )
        self.write(f"{output}{errors}")
        if code != 0:
            self._tell([f"{', '.join(companions)} could not be had for processors only."])
            return rest
        return [line for line in rest if line not in companions]

    def _tell(self, notes: Sequence[str]) -> None:
        new = [note for note in notes if note not in self.notes]
        self.notes += new
        self.write("".join(f"{note}\n" for note in new))


def _names(lines: Sequence[str]) -> set[str]:
    return {normal(found.name) for line in lines if (found := parse(line))}

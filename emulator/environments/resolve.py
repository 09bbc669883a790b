"""From requirements to exact versions: as they are written, or as near as this Python allows."""

import asyncio
import re
import sys
from collections.abc import Callable, Sequence
from contextlib import suppress

from emulator.environments.interpreter import FAILURE, EnvironmentFailed
from emulator.environments.numpy_abi import needs_numpy_1
from emulator.environments.requirement import (
    Requirement,
    normal,
    numbers,
    parse,
    replaced,
    versions,
)
from emulator.environments.uv_process import MOST_MESSAGE_CHARACTERS, Uv

SOURCE_SECONDS = 60.0
"""How long one attempt may take to build what has no wheel, to learn what it needs."""

PIP_SECONDS = 120.0
_WHEELS = ("--only-binary", ":all:")
_LARGE = """
catboost cryptography fiona grpcio h5py lightgbm llvmlite lxml matplotlib numba numpy onnxruntime
opencv-python opencv-python-headless pandas pillow polars pyarrow pyproj pyspark rasterio
scikit-image scikit-learn scipy shap shapely spacy statsmodels tables tensorflow tokenizers torch
torchaudio torchvision xgboost
"""
_SMALL_SOURCES = tuple(word for name in _LARGE.split() for word in ("--only-binary", name))
"""Whatever else has no wheel may be built: these would be compiled for many minutes."""

_MLFLOW = "3.13.0"
_PREFERRED = tuple(f"{name}=={_MLFLOW}" for name in ("mlflow", "mlflow-skinny", "mlflow-tracing"))
"""The last that saves models of sklearn as published code does: later ones refuse many types."""


class Unresolvable(Exception):
    """No set of versions meets the requirements; the message is uv's."""


class Resolver:
    """Finds the versions of an environment's packages, among them `tools`.

    `python` is the version that the conda file asks for: packages whose version is left open are
    taken as they were for it. `strict` leaves pins as they are written. `tell` gets sentences for
    people.
    """

    def __init__(
        self,
        uv: Uv,
        tools: Sequence[str],
        python: str | None,
        strict: bool,
        tell: Callable[[Sequence[str]], None],
    ) -> None:
        self._uv = uv
        self._tools = tools
        self._python = python if python and _minor(python) < sys.version_info[:2] else None
        self._strict = strict
        self._tell = tell
        self._known = ""
        """Versions that are preferred, as uv writes them."""
        self._said: set[str] = set()
        self._hopeless: set[str] = set()
        """Requirements that no wheel meets, however they are relaxed."""

    async def resolve(self, wanted: list[str], constraints: Sequence[str] = ()) -> list[str]:
        """Lines `name==version`. Raises EnvironmentFailed with pip's message.

        `constraints` hold for this Python only.
        """
        await self._remember(wanted)
        self._prefer_mlflow(wanted)
        wheels, sources = (*constraints, *_WHEELS), (*constraints, *_SMALL_SOURCES)
        try:
            return await self._versions(wanted, wheels)
        except Unresolvable as error:
            failure = str(error)
        attempts = [(wanted, sources)]
        if not self._strict:
            near = await self._nearest(wanted, wheels)
            loose = [_relaxed(line) for line in wanted]
            self._prefer(near)
            attempts = [(near, wheels), (wanted, sources), (near, sources)]
            attempts += [(loose, wheels), (loose, sources)]
        for lines, options in attempts:
            with suppress(Unresolvable, TimeoutError):
                async with asyncio.timeout(SOURCE_SECONDS):
                    found = await self._versions(lines, options)
                self._tell(replaced(wanted, found))
                return found
        if not self._strict:
            wanted = [line if line in self._hopeless else _relaxed(line) for line in wanted]
        raise await self._failure(wanted, failure)

    async def _remember(self, wanted: Sequence[str]) -> None:
        """Prefer the versions that the conda file's own Python would get."""
        for options in (_WHEELS, _SMALL_SOURCES):
            if not self._python or self._known:
                return
            with suppress(Unresolvable, TimeoutError):
                async with asyncio.timeout(SOURCE_SECONDS):
                    options = (*options, "--python-version", self._python)
                    known, _ = await self._newest([*wanted, *self._tools], options)
                    self._known = "\n".join(known)

    def _prefer_mlflow(self, wanted: Sequence[str]) -> None:
        """Where no version of mlflow is asked for, take one that published code was written for."""
        if "mlflow" in versions(self._known.splitlines()):
            return
        self._known = "\n".join([self._known, *_PREFERRED])
        found = [parse(line) for line in wanted]
        if any(line and normal(line.name) == "mlflow" and not line.specifiers for line in found):
            self._tell([f"mlflow is that of {_MLFLOW}: later ones refuse to save some models."])

    def _prefer(self, lines: Sequence[str]) -> None:
        """Prefer exact versions among these requirements to those that were preferred before."""
        exact = [found for line in lines if (found := parse(line)) and found.exact]
        names = {normal(found.name) for found in exact}
        others = [
            line
            for line in self._known.splitlines()
            if normal(line.partition("==")[0]) not in names
        ]
        chosen = [f"{found.name}=={found.specifiers[0][1]}" for found in exact]
        self._known = "\n".join([*others, *chosen])

    async def _nearest(self, wanted: list[str], options: Sequence[str]) -> list[str]:
        """Where no wheel of a pinned version suits this Python: the first later one that does."""
        lines = []
        for line in wanted:
            found = parse(line)
            near = await self._near(line, found, options) if found else None
            lines.append(str(near) if near else line)
        return lines

    async def _near(
        self, line: str, wanted: Requirement, options: Sequence[str]
    ) -> Requirement | None:
        """Another version of a package, if the one that is asked for has no wheel."""
        with suppress(Unresolvable):
            await self._compile([line], ("--no-deps", *options))
            return None
        with suppress(Unresolvable):
            lowest = ("--no-deps", *options, "--resolution", "lowest-direct")
            (found,) = await self._compile([str(wanted.relaxed())], lowest)
            return wanted.at(found.partition("==")[2].partition(" ")[0])
        self._hopeless.add(line)
        return None

    async def _versions(self, wanted: list[str], options: Sequence[str]) -> list[str]:
        lines = [*wanted, *self._tools]
        found, options = await self._newest(lines, options)
        if old := needs_numpy_1(found):
            with suppress(Unresolvable):
                found = await self._compile([*lines, "numpy<2"], options)
                self._tell([f"numpy stays below 2, which {old} was not built for."])
        return found

    async def _newest(
        self, lines: list[str], options: Sequence[str]
    ) -> tuple[list[str], Sequence[str]]:
        """The versions by these options, or by sources where wheels give far older ones.

        Gives the options too. Raises Unresolvable.
        """
        found = await self._compile(lines, options)
        if _WHEELS[1] in options and await self._is_behind(lines, found, options):
            sources = [word for word in options if word not in _WHEELS] + list(_SMALL_SOURCES)
            with suppress(Unresolvable, TimeoutError):
                async with asyncio.timeout(SOURCE_SECONDS):
                    return await self._compile(lines, sources), sources
        return found, options

    async def _is_behind(
        self, lines: Sequence[str], found: Sequence[str], options: Sequence[str]
    ) -> bool:
        """Whether a package is far older than it could be, as for want of a wheel of another."""
        # What uv has just learnt of the same packages mostly suffices, and an index takes seconds.
        for more in (("--offline",), ()):
            with suppress(Unresolvable):
                alone = await self._compile(lines, ("--no-deps", *more, *options))
                have = versions(found)
                return any(
                    _far(have.get(name, newest), newest) for name, newest in versions(alone).items()
                )
        return False

    async def _compile(self, wanted: Sequence[str], options: Sequence[str]) -> list[str]:
        """Resolve requirements. Raises Unresolvable."""
        answer = self._uv.folder / "resolved.txt"
        # Versions that are in the file already are preferred.
        answer.write_text(self._known)
        code, _, errors = await self._uv.run(
            *("pip", "compile", "-", "--quiet", "--no-header", "--no-annotate"),
            *("--output-file", str(answer), "--python", str(self._uv.python)),
            *(*self._uv.options, *options),
            text="\n".join(wanted),
        )
        if code != 0:
            if errors not in self._said and "--offline" not in options:
                self._said.add(errors)
                self._uv.write(errors)
            raise Unresolvable(errors.strip())
        return [line for line in answer.read_text().splitlines() if line and line[0] not in "#-"]

    async def _failure(self, wanted: list[str], why: str) -> EnvironmentFailed:
        """The error of requirements that cannot be met, in the words of pip itself."""
        with suppress(TimeoutError):
            async with asyncio.timeout(PIP_SECONDS):
                arguments = ("install", "--dry-run", *_WHEELS, *wanted)
                _, _, errors = await self._uv.pip(*arguments)
            said = re.search(r"^ERROR:.*", errors, re.MULTILINE | re.DOTALL)
            why = said[0].strip() if said else why
        self._uv.write(f"{why}\n")
        return EnvironmentFailed(FAILURE, why[-MOST_MESSAGE_CHARACTERS:])


def _minor(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split(".")[:2])


def _far(version: str, newest: str) -> bool:
    """Two major releases, or ten minor ones: more than what another package's limit is."""
    (major, minor), (last_major, last_minor) = (
        (*numbers(text), 0, 0)[:2] for text in (version, newest)
    )
    return last_major - major > 1 or (last_major == major and last_minor - minor > 9)


def _relaxed(line: str) -> str:
    found = parse(line)
    return str(found.relaxed()) if found and found.pinned else line

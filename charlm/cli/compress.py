"""The commands for compressed files: where to read and where to write."""

import json
import sys
from pathlib import Path
from typing import Annotated

import typer

from charlm.cli.models import AsJson, ModelChoice, load_model
from charlm.cli.options import Invocation
from charlm.errors import InputError, PackedError, UsageError
from charlm.files import present, write_atomically
from charlm.show.terminal import result, result_bytes

SUFFIX = ".charlm"

File = Annotated[str, typer.Argument(metavar="FILE|-", help="A file, or - for stdin.", show_default=False)]
Out = Annotated[
    str | None,
    typer.Option("--out", "-o", metavar="FILE|-", show_default=False,
                 help=f"Where to write, - for stdout. Default: FILE{SUFFIX} and back; stdout where FILE is -."),
]  # fmt: skip
Force = Annotated[bool, typer.Option("--force", help="Replace a file that is there.", show_default=False)]


def compress(
    invocation: Invocation,
    file: File,
    out: Out = None,
    model: ModelChoice = None,
    force: Force = False,
    as_json: AsJson = False,
) -> None:
    """Make a file as small as a model's surprise at it."""
    from charlm.compression.compress import compress as pack
    from charlm.show import tables

    path = _output_path(file, out, file + SUFFIX, force)
    if as_json and path is None:
        raise UsageError("--json and the compressed file each fill stdout; give --out FILE")
    loaded = load_model(invocation, model)
    data = _read(file)
    with invocation.terminal.reading("compressing") as progress:
        compression = pack(loaded, data, progress=progress, **invocation.values)
    _write(path, compression.data)
    facts = compression.to_json()
    invocation.terminal.facts(tables.compression_facts(facts))
    if path is not None:
        result(json.dumps({"file": str(path), **facts}) if as_json else str(path))


def decompress(
    invocation: Invocation, file: File, out: Out = None, model: ModelChoice = None, force: Force = False
) -> None:
    """Give back what was compressed, byte for byte."""
    from charlm.compression.compress import decompress as unpack

    if out is None and file != "-" and Path(file).suffix != SUFFIX:
        raise UsageError(f"{file} does not end in {SUFFIX}, so that its other name is not known; give --out FILE")
    path = _output_path(file, out, file.removesuffix(SUFFIX), force)
    loaded = load_model(invocation, model)
    data = _read(file)
    with invocation.terminal.reading("decompressing") as progress:
        try:
            decompressed = unpack(loaded, data, progress=progress)
        except PackedError as error:
            raise PackedError(f"{file} cannot be decompressed: {error}") from None
    _write(path, decompressed)
    if path is not None:
        result(str(path))


def _output_path(file: str, out: str | None, default_path: str, force: bool) -> Path | None:
    """The file to write, None for stdout; checked before any other work."""
    if out is None:
        out = "-" if file == "-" else default_path
    if out == "-":
        if sys.stdout.isatty():
            raise UsageError("bytes do not belong on a terminal; give --out FILE, or send stdout elsewhere")
        return None
    path = Path(out)
    if file != "-" and present(path) and present(Path(file)) and path.samefile(file):
        raise UsageError(f"--out {out} is the file to be read, which is left alone; choose another name")
    if path.is_dir() or not path.name:
        raise InputError(f"{out or repr(out)} is a folder; name a file with --out")
    if present(path) and not path.is_file():
        raise InputError(f"{out} is no plain file, and would be replaced by one; give --out - and send stdout there")
    if present(path) and not force:
        raise InputError(f"{out} exists; give --force to replace it, or another name with --out")
    if not present(path.parent):
        raise InputError(f"the folder {path.parent} does not exist; make it, or choose another --out")
    return path


def _read(file: str) -> bytes:
    if file == "-" and sys.stdin is None:
        raise InputError("- is the standard input, and there is none; name a file instead")
    try:
        return sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(f"{file} cannot be read: {reason}; give a file, or - for stdin") from None


def _write(path: Path | None, data: bytes) -> None:
    if path is None:
        result_bytes(data)
    else:
        write_atomically(path, data)

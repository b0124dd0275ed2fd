"""From an exception to the one line that a user reads and the exit code of the process."""

import errno
import os

import click

from microdollar.errors import MicrodollarError, MissingExtraError

EXTRAS = {
    "numba": "counts",
    "llvmlite": "counts",
    "pooch": "counts",
    "pyppmd": "counts",
    "threadpoolctl": "counts",
    "safetensors": "counts",
    "torch": "torch",
    "jinja2": "report",
    "matplotlib": "report",
    "pyarrow": "parquet",
    "flwr": "federated",
    "cryptography": "federated",
    "httpx": "federated",
    "starlette": "ui",
    "uvicorn": "ui",
    "h11": "ui",
    "transformers": "tokens",
    "tokenizers": "tokens",
    "gguf": "tokens",
    "rouge_score": "tokens",
    "sacrebleu": "tokens",
    "sentence_transformers": "concepts",
    "faiss": "concepts",
    "model2vec": "concepts",
}
"""Optional packages, and the extra of this distribution that brings each."""

INTERRUPTED = 130
_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


def describe(error: BaseException) -> tuple[str, int]:
    """What to print after ``error:`` (empty: nothing) and the exit code.

    Examples:
        >>> describe(FileNotFoundError(2, "No such file or directory", "corpus.txt"))
        ('corpus.txt: no such file or directory', 1)
    """
    match error:
        case click.UsageError():
            command = error.ctx.command_path if error.ctx else "microdollar"
            return f"{error.format_message()} Type: {command} --help", error.exit_code
        case click.ClickException():
            return error.format_message(), error.exit_code
        case click.Abort() | KeyboardInterrupt():
            return "interrupted", INTERRUPTED
        case MicrodollarError():
            return str(error), error.exit_code
        case BrokenPipeError():
            return "", 1
        case OSError():
            return _describe_os_error(error), 1
        case MemoryError():
            return "out of memory. Give fewer bytes, for example --train-bytes 10M.", 1
        case ModuleNotFoundError(name=str(name)) if (package := name.split(".")[0]) in EXTRAS:
            missing = MissingExtraError(package, EXTRAS[package], "this command")
            return str(missing), missing.exit_code
    first = (str(error).splitlines() or [""])[0]
    return (
        f"unexpected {type(error).__name__}: {first[:200]}\n"
        "This is a fault of microdollar. To see where it is, set MICRODOLLAR_DEBUG=1 and run again."
    ), 1


def _describe_os_error(error: OSError) -> str:
    what = (error.strerror or str(error)).strip()
    where = f"{os.fsdecode(error.filename)}: " if isinstance(error.filename, str | bytes) else ""
    if error.errno in _FULL:
        return (
            f"{where}no room to write it ({what.lower()}). "
            "Free some space, or write to another folder."
        )
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"{where}{what.lower()}. Name a place that you may read or write."
    return f"{where}{what[:1].lower()}{what[1:]}"

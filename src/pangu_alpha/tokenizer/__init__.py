"""Text to token ids and back: the published PanGu-α recipe, and the lossless codec of new models."""

from pangu_alpha.tokenizer.base import Tokenizer
from pangu_alpha.tokenizer.files import load_tokenizer
from pangu_alpha.tokenizer.pieces import count_pieces
from pangu_alpha.tokenizer.train import TrainingReport, train_tokenizer

__all__ = [
    "Tokenizer",
    "TrainingReport",
    "count_pieces",
    "load_tokenizer",
    "train_tokenizer",
]

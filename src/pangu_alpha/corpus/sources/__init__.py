"""Where documents come from: files of any of the formats, cut into pieces, read one stored document at a time."""

from pangu_alpha.corpus.sources.pieces import Piece, Span, plan_pieces
from pangu_alpha.corpus.sources.stored import Stored, read_piece

__all__ = ["Piece", "Span", "Stored", "plan_pieces", "read_piece"]

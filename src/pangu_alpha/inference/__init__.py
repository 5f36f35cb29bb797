"""Using a trained network: the key/value cache, sampling, and the generator of continuations."""

from pangu_alpha.inference.generator import Continuation, Generator, Piece, Reason
from pangu_alpha.inference.sampling import SamplingOptions
from pangu_alpha.inference.trained import TrainedModel, load_trained

__all__ = ["Continuation", "Generator", "Piece", "Reason", "SamplingOptions", "TrainedModel", "load_trained"]

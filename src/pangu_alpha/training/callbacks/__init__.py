"""What is hung on the training loop, one file a callback."""

from pangu_alpha.data import HeldOut
from pangu_alpha.training.callbacks.account import WriteAccount
from pangu_alpha.training.callbacks.base import Callback
from pangu_alpha.training.callbacks.checkpoint import SaveCheckpoints
from pangu_alpha.training.callbacks.metrics_file import WriteMetrics
from pangu_alpha.training.callbacks.plot import PlotLoss
from pangu_alpha.training.callbacks.progress import ShowProgress
from pangu_alpha.training.callbacks.spikes import ReportSpikes
from pangu_alpha.training.callbacks.tensorboard import WriteTensorBoard
from pangu_alpha.training.callbacks.validation import Validate


def default_callbacks(
    validation_data: HeldOut | None = None, *others: Callback, planned_seconds: float | None = None
) -> list[Callback]:
    """Those of `pangu train`, in the order that they rely on: the checkpoint after the numbers, pictures after it, so
    that nothing is lost by them.

    Args:
        validation_data: looked at now and then.
        others: what else measures the network.
        planned_seconds: what the planner expects of a step.
    """
    return [
        WriteMetrics(planned_seconds),
        ReportSpikes(),
        *([] if validation_data is None else [Validate(validation_data)]),
        *others,
        SaveCheckpoints(),
        WriteTensorBoard(),
        PlotLoss(),
        WriteAccount(),
        ShowProgress(),
    ]


__all__ = ["Callback", "default_callbacks"]

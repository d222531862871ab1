"""CompressedModel -> .tflite with coded weights and their decoders, for TensorFlow Lite Micro."""

from bqsearch.compress import CompressedModel
from bqsearch.hardware.micro import coded_file


def export(model: CompressedModel) -> bytes:
    """The file that a board's interpreter runs: `TFLM_DECODE` before each layer whose weights are coded."""
    return coded_file(model)

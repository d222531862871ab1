"""CompressedModel -> .tflite with the weights that its streams decode to, for LiteRT and for comparison."""

from bqsearch.compress import CompressedModel
from bqsearch.graph.diet import diet
from bqsearch.graph.flatbuffer import serialize


def export(model: CompressedModel) -> bytes:
    """The network that was scored, byte for byte the same for equal plans."""
    return serialize(diet(model.decoded()))

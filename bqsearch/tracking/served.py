"""A point as MLflow serves it: LiteRT on its .tflite file, an input at a time.

MLflow keeps this file's text beside the network ("models from code") and runs it where the model is loaded, so it
imports nothing of bqsearch.
"""

from threading import Lock
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter
from mlflow.models import set_model
from mlflow.pyfunc import PythonModel


class LiteRT(PythonModel):  # type: ignore[misc]  # MLflow tells mypy nothing
    """Codes in, codes out, as in the file."""

    def load_context(self, context: Any) -> None:
        """Open the network; called once, before the first prediction."""
        self._interpreter = Interpreter(model_path=context.artifacts["model"])
        self._interpreter.allocate_tensors()
        self._lock = Lock()  # a server predicts in several threads

    def predict(self, context: Any, model_input: np.ndarray, params: Any = None) -> Any:
        """Outputs for `(n, ...)` inputs: `(n, ...)` where the network has one, else one by each output's name."""
        del context, params
        with self._lock:
            rows = [self._run(row[None]) for row in model_input]
        names = [detail["name"] for detail in self._interpreter.get_output_details()]
        outputs = [np.concatenate(values) for values in zip(*rows, strict=True)]
        return outputs[0] if len(outputs) == 1 else dict(zip(names, outputs, strict=True))

    def _run(self, row: Any) -> list[Any]:
        self._interpreter.set_tensor(self._interpreter.get_input_details()[0]["index"], row)
        self._interpreter.invoke()
        return [self._interpreter.get_tensor(d["index"]) for d in self._interpreter.get_output_details()]


set_model(LiteRT())

"""How many inputs a model gets right, one after the other in LiteRT, as simple scripts do it: see search_speed.py.

python benchmarks/one_by_one.py MODEL.tflite INPUTS.npz
"""

import sys

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def main(model: str, inputs: str) -> None:
    """Load, run, count."""
    data = np.load(inputs)
    interpreter = Interpreter(model_path=model)
    interpreter.allocate_tensors()
    given, read = interpreter.get_input_details()[0]["index"], interpreter.get_output_details()[0]["index"]
    right = 0
    for codes, label in zip(data["x"], data["y"], strict=True):
        interpreter.set_tensor(given, codes[None])
        interpreter.invoke()
        right += int(interpreter.get_tensor(read)[0].argmax() == label)
    print(right)


if __name__ == "__main__":
    main(*sys.argv[1:])

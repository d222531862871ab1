"""The recommended point as a registered model, servable by MLflow."""

import hashlib
from importlib import resources
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from bqsearch.runtime.litert import interpreter
from bqsearch.types import Array

ALIAS = "recommended"
_DIGEST = "bqsearch.sha256"
_NEEDED = ("ai-edge-litert", "mlflow", "numpy")


def register(client: Any, uri: str, run: str, name: str, network: Path, example: Array, tags: dict[str, str]) -> None:
    """Make a network the next version of a registered model, unless this run's last version is the same file.

    Args:
        client: MLflow's, of the store.
        uri: Of the store.
        run: MLflow's run that the model comes from.
        name: Of the registered model.
        network: The point's .tflite file.
        example: Input that the network takes, `(1, ...)`.
        tags: Of the version.
    """
    digest = hashlib.sha256(network.read_bytes()).hexdigest()
    known = client.search_model_versions(f"name = '{name}' and run_id = '{run}'")
    if not any(found.tags.get(_DIGEST) == digest for found in known):
        made = _log(uri, client.get_run(run).info.experiment_id, run, name, network, example)
        for key, value in {**tags, _DIGEST: digest}.items():
            client.set_model_version_tag(name, made, key, value)
        client.set_registered_model_alias(name, ALIAS, made)


def _log(uri: str, experiment: str, run: str, name: str, network: Path, example: Array) -> str:
    """MLflow's own way of logging a model knows its store only from the process's settings."""
    import mlflow
    import mlflow.pyfunc
    from mlflow.models import Model

    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    mlflow.set_experiment(experiment_id=experiment)
    with resources.as_file(resources.files("bqsearch.tracking") / "served.py") as code:
        logged = Model.log(
            artifact_path=None,
            flavor=mlflow.pyfunc,
            name="model",
            run_id=run,
            registered_model_name=name,
            await_registration_for=0,
            python_model=str(code),
            artifacts={"model": str(network)},
            signature=_signature(network),
            input_example=example,
            pip_requirements=[f"{package}=={version(package)}" for package in _NEEDED],
        )
    return str(logged.registered_model_version)


def _signature(network: Path) -> Any:
    from mlflow.models import ModelSignature
    from mlflow.types import Schema

    opened = interpreter(network.read_bytes())
    outputs = opened.get_output_details()
    named = [_tensor(detail, detail["name"] if len(outputs) > 1 else None) for detail in outputs]
    return ModelSignature(inputs=Schema([_tensor(opened.get_input_details()[0], None)]), outputs=Schema(named))


def _tensor(detail: Any, name: str | None) -> Any:
    from mlflow.types import TensorSpec

    return TensorSpec(np.dtype(detail["dtype"]), (-1, *map(int, detail["shape"][1:])), name)

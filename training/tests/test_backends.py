"""Training is plain Keras: a tiny run on JAX, and what TensorFlow makes of its network."""

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import keras
import numpy as np
import pytest

from classifier.bundles import Bundle
from training.predicting import predict_logits
from training.tests import tiny

needs_jax = pytest.mark.skipif(find_spec("jax") is None, reason="jax is not installed")


@needs_jax
def test_a_tiny_run_trains_on_jax_and_its_network_computes_on_tensorflow(tmp_path: Path) -> None:
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    output = subprocess.run(
        [sys.executable, "-m", "training.tests.tiny", str(tmp_path)],
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
        timeout=200,
    ).stdout
    assert output.endswith("step 3 3\nended on jax\n")
    with np.load(tmp_path / "checkpoint.npz") as arrays:
        assert arrays["done"] == 9
        assert all(np.isfinite(arrays[name]).all() for name in arrays.files if "network" in name)
    resumed = tiny.everything(tmp_path)
    resumed.resume()
    assert keras.config.backend() == "tensorflow"
    assert resumed.done == resumed.total_steps
    logits = predict_logits(resumed.best_network(), resumed.validation.images)
    right = (logits.argmax(1) == resumed.validation.labels).mean()
    assert max(line.validation_accuracy for line in resumed.history) == pytest.approx(right)


@needs_jax
def test_what_trains_on_jax_is_exported_by_tensorflow_and_says_so(
    pets: Path, tmp_path: Path
) -> None:
    def manage(*words: str) -> str:
        done = subprocess.run(
            [sys.executable, str(Path(__file__).parents[2] / "manage.py"), *words],
            env=environment,
            capture_output=True,
            text=True,
            timeout=200,
            check=False,
        )
        assert (done.returncode, done.stderr) == (0, "")
        return done.stdout

    environment = os.environ | {
        "KERAS_BACKEND": "jax",
        "JAX_PLATFORMS": "cpu",
        "DJANGO_SETTINGS_MODULE": "classifyme.settings",
        "SECRET_KEY": "of a test",
        "TF_CPP_MIN_LOG_LEVEL": "3",  # as train does; pytest's process has another
        "DATABASE_URL": f"sqlite:///{tmp_path / 'db.sqlite3'}",
        "RUNS_ROOT": str(tmp_path / "runs"),
    }
    manage("migrate", "-v0")
    folder = tmp_path / "run"

    said = manage(
        "train", "baseline_cnn", "--dataset", str(pets), "--smoke", "--output", str(folder)
    )

    assert "Trained on jax; TensorFlow exports and measures" in said
    assert "test accuracy" in said
    bundle = Bundle.open(folder / "bundle")
    bundle.verify()
    assert bundle.manifest.recipe["origin"]["backend"] == "jax"

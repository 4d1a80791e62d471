"""Bare FastAPI and ONNX Runtime: decode, infer, answer; stores and records nothing.

uvicorn benchmarks.peers.bare_onnx:app, with BENCH_MODEL, the path of a bundle's `model.onnx`.
"""

import io
import os
from typing import Annotated

import numpy as np
import onnxruntime
from fastapi import FastAPI, UploadFile
from PIL import Image

LABELS = os.environ["BENCH_LABELS"].split(",")
options = onnxruntime.SessionOptions()
options.intra_op_num_threads = int(os.environ.get("BENCH_THREADS", "0"))
session = onnxruntime.InferenceSession(
    os.environ["BENCH_MODEL"], options, providers=["CPUExecutionProvider"]
)
INPUT, PROBABILITIES = session.get_inputs()[0].name, session.get_outputs()[0].name
_, HEIGHT, WIDTH, _ = session.get_inputs()[0].shape
# The file also gives what explanations need: nobody asks for that here.
asked = onnxruntime.RunOptions()
asked.only_execute_path_to_fetches = True
app = FastAPI()


@app.post("/predict")
def predict(image: Annotated[UploadFile, ...]) -> dict[str, object]:
    """Decode in full, resize, ask ONNX Runtime, answer."""
    picture = Image.open(io.BytesIO(image.file.read())).convert("RGB").resize((WIDTH, HEIGHT))
    (answers,) = session.run([PROBABILITIES], {INPUT: np.asarray(picture)[None]}, asked)
    probabilities = answers[0]
    best = int(probabilities.argmax())
    return {
        "label": LABELS[best],
        "confidence": float(probabilities[best]),
        "probabilities": dict(zip(LABELS, probabilities.tolist(), strict=True)),
    }

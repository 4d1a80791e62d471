"""FastAPI calling `keras.Model.predict`, as ClassifyMe's first versions did; records nothing.

uvicorn benchmarks.peers.keras_predict:app, with BENCH_MODEL, the path of a bare `model.keras`
that gives logits.
"""

import io
import os
from typing import Annotated

import keras
import numpy as np
from fastapi import FastAPI, UploadFile
from PIL import Image

LABELS = os.environ["BENCH_LABELS"].split(",")
model = keras.saving.load_model(os.environ["BENCH_MODEL"])
app = FastAPI()


@app.post("/predict")
def predict(image: Annotated[UploadFile, ...]) -> dict[str, object]:
    """Decode in full, resize, ask Keras, answer."""
    _, height, width, _ = model.input_shape
    picture = Image.open(io.BytesIO(image.file.read())).convert("RGB").resize((width, height))
    logits = model.predict(np.asarray(picture)[None].astype("float32"), verbose=0)[0]
    exponentials = np.exp(logits - logits.max())
    probabilities = exponentials / exponentials.sum()
    best = int(probabilities.argmax())
    return {
        "label": LABELS[best],
        "confidence": float(probabilities[best]),
        "probabilities": dict(zip(LABELS, probabilities.tolist(), strict=True)),
    }

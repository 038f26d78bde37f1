"""The code that MLflow stores with a registered captioner: it needs transformers, torch, pillow and pandas, not this project.

Input: a column `image` of paths or of base64-encoded pictures. Output: a column `caption`. MLflow runs this file to get the
model ("models from code"), which is why it does something when it is imported; nothing else may import it.
"""

import base64
import io
import os
from typing import Any

import mlflow
import pandas as pd
import torch
from PIL import Image, ImageOps
from transformers import Blip2ForConditionalGeneration, Blip2Processor


class Captioner(mlflow.pyfunc.PythonModel):
    """Captions image by image under the generation settings that were saved with the model."""

    def load_context(self, context: Any) -> None:
        """Called by MLflow once."""
        folder = context.artifacts["folder"]
        self.processor = Blip2Processor.from_pretrained(folder, trust_remote_code=False)
        self.model = Blip2ForConditionalGeneration.from_pretrained(folder, trust_remote_code=False).eval()
        if torch.cuda.is_available():
            self.model.to("cuda")

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """A caption a row. Raises what PIL raises for what is no picture."""
        return pd.DataFrame({"caption": [self._caption(str(image)) for image in model_input["image"]]})

    def _caption(self, given: str) -> str:
        # os.path and not pathlib, which raises for a name as long as a picture is.
        source = given if os.path.isfile(given) else io.BytesIO(base64.b64decode(given, validate=True))  # noqa: PTH113
        with Image.open(source) as picture:
            image = ImageOps.exif_transpose(picture).convert("RGB")
        inputs = self.processor(images=image, return_tensors="pt").to(self.model.device, self.model.dtype)
        with torch.inference_mode():
            ids = self.model.generate(**inputs, generation_config=self.model.generation_config)
        return " ".join(self.processor.decode(ids[0], skip_special_tokens=True).split())


mlflow.models.set_model(Captioner())

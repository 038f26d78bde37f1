"""Code that MLflow stores with a registered captioner. It needs transformers, torch, pillow and pandas, not this project.

Input: a column `image` of paths or of base64-encoded images. Output: a column `caption`. MLflow runs this file to get the
model ("models from code"), so importing it has an effect, and nothing else may import it.
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
    """Captions image by image with the generation settings that were saved with the model."""

    def load_context(self, context: Any) -> None:
        """Loads the model. MLflow calls this once."""
        folder = context.artifacts["folder"]
        self.processor = Blip2Processor.from_pretrained(folder, trust_remote_code=False)
        self.model = Blip2ForConditionalGeneration.from_pretrained(folder, trust_remote_code=False).eval()
        if torch.cuda.is_available():
            self.model.to("cuda")

    def predict(self, context: Any, model_input: pd.DataFrame, params: dict[str, Any] | None = None) -> pd.DataFrame:
        """Returns one caption per row. Raises PIL's errors for what is no image."""
        return pd.DataFrame({"caption": [self._caption(str(image)) for image in model_input["image"]]})

    def _caption(self, path_or_bytes: str) -> str:
        # os.path and not pathlib, which raises for a name as long as an encoded image.
        is_file = os.path.isfile(path_or_bytes)  # noqa: PTH113
        source = path_or_bytes if is_file else io.BytesIO(base64.b64decode(path_or_bytes, validate=True))
        with Image.open(source) as picture:
            image = ImageOps.exif_transpose(picture).convert("RGB")
        inputs = self.processor(images=image, return_tensors="pt").to(self.model.device, self.model.dtype)
        with torch.inference_mode():
            ids = self.model.generate(**inputs, generation_config=self.model.generation_config)
        return " ".join(self.processor.decode(ids[0], skip_special_tokens=True).split())


mlflow.models.set_model(Captioner())

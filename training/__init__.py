"""The learning half of Tomodrop: the algorithm container and what feeds it by hand."""

import os

# MONAI and the sagemaker SDK import MLflow where it is installed, which makes itself an
# installation id and reports home. https://mlflow.org/docs/latest/community/usage-tracking
os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"

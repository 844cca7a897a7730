"""Image classification for CT slices behind SageMaker's container contract.

Two programs: ``python -m training.algorithm train`` learns from the channels under
``/opt/ml/input``; ``python -m training.algorithm serve`` answers HTTP from what ``train`` left.
Requests that start SageMaker's built-in image classification start this one as well.
"""

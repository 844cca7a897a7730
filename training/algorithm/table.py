"""The table of all hyperparameters: how each is read, its default, and what it means.

Names, defaults and ranges are those of SageMaker's built-in image classification. Extras of ours
change nothing about the training unless they are set.
"""

from training.algorithm.combinations import BALANCED, COSINE, CT, FLOAT16
from training.algorithm.precision import AUTO, NONE, PRECISIONS
from training.algorithm.rules import (
    Rule,
    choice,
    epoch_list,
    flag,
    image_shape,
    one_of_numbers,
    real,
    whole,
)

IMAGENET_DEPTHS = (18, 34, 50, 101, 152, 200)
SMALL_IMAGE_DEPTHS = (20, 32, 44, 56, 110)
ALL_STAGES = 5
OFF = False

RULES: dict[str, Rule] = {
    "num_classes": Rule(whole(2), None, "number of classes", required=True),
    "num_training_samples": Rule(
        whole(1), None, "number of images of one pass over train", required=True
    ),
    "num_layers": Rule(
        one_of_numbers(*IMAGENET_DEPTHS, *SMALL_IMAGE_DEPTHS),
        152,
        "depth of the ResNet; 20, 32, 44, 56 and 110 are the networks for images of 28 to 32 "
        "pixels (He et al. 2016, section 4.2)",
    ),
    "image_shape": Rule(
        image_shape,
        (3, 224, 224),
        "channels, height and width in pixels. Unlike the built-in, images of any other size are "
        "resized to it, as they are when serving, unless resize or augmentation_type is set",
    ),
    "epochs": Rule(whole(1), 30, "passes over train, the probe included"),
    "mini_batch_size": Rule(
        whole(1), 32, "images per step on one host, split over its GPUs; each host adds as many"
    ),
    "optimizer": Rule(
        choice("sgd", "adam", "rmsprop", "nag", "adamw"),
        "sgd",
        "rule of the step (adamw is an extra)",
    ),
    "learning_rate": Rule(real(0, 1), 0.1, "step length"),
    "momentum": Rule(real(0, 1), 0.9, "for sgd and nag"),
    "weight_decay": Rule(real(0, 1), 0.0001, "for sgd, nag and adamw"),
    "beta_1": Rule(real(0, 1, open_high=True), 0.9, "for adam and adamw"),
    "beta_2": Rule(real(0, 1, open_high=True), 0.999, "for adam and adamw"),
    "eps": Rule(real(0, 1), 1e-8, "for adam, adamw and rmsprop"),
    "gamma": Rule(real(0, 1), 0.9, "for rmsprop"),
    "lr_scheduler_step": Rule(
        epoch_list, (), "epochs from which learning_rate is multiplied by lr_scheduler_factor"
    ),
    "lr_scheduler_factor": Rule(real(0, 1), 0.1, "see lr_scheduler_step"),
    "early_stopping": Rule(flag, OFF, "end when validation accuracy no longer improves"),
    "early_stopping_min_epochs": Rule(whole(1), 10, "epochs before that may happen"),
    "early_stopping_patience": Rule(whole(1), 5, "epochs to wait for an improvement"),
    "early_stopping_tolerance": Rule(real(0, 1), 0.0, "smallest relative improvement that counts"),
    "use_pretrained_model": Rule(
        flag, OFF, "start from the CT weights (152 layers only), not from random ones"
    ),
    "augmentation_type": Rule(
        choice("crop", "crop_color", "crop_color_transform"),
        None,
        "crop: random crop, and a left-right flip of every other image; crop_color: also hue ±36, "
        "saturation ±50, lightness ±50; crop_color_transform: also rotation to 10°, shear to 0.1, "
        "aspect ratio to 0.25. Set, or with resize, an image smaller than image_shape fails the "
        "job, and a larger one is cropped: at random in training if this is set, else in the "
        "centre. It flips: for CT use augmentation=ct",
    ),
    "checkpoint_frequency": Rule(
        whole(1),
        None,
        "keep every nth epoch's model in the artefact as well, in epoch-<n>; unset: the best only",
    ),
    "kv_store": Rule(
        choice("dist_sync", "dist_async"),
        None,
        "how several hosts work together; both mean synchronous steps here",
    ),
    "multi_label": Rule(
        flag, OFF, "an image may have any number of classes: a probability for each, on its own"
    ),
    "precision_dtype": Rule(
        choice("float32", FLOAT16),
        "float32",
        "float16: mixed precision with loss scaling on a GPU; bfloat16 on a CPU",
    ),
    "resize": Rule(
        whole(1),
        None,
        "shortest side in pixels after resizing, before the crop (see augmentation_type); at "
        "least the sides of image_shape. Serving resizes to image_shape without a crop",
    ),
    "top_k": Rule(
        whole(2),
        None,
        "also log the share of images whose class is among the k best; no effect with multi_label",
    ),
    "use_weighted_loss": Rule(
        flag,
        OFF,
        "with multi_label: a class's positives weigh negatives / positives, counted in one more "
        "pass over train; without: no effect",
    ),
    "augmentation": Rule(
        choice("none", CT),
        "none",
        "ct: small turns, shifts, scale, window, sharpness and noise; no flips",
        ours=True,
    ),
    "label_smoothing": Rule(real(0, 0.5), 0.0, "share of each label spread evenly", ours=True),
    "mixup": Rule(
        real(0, 10),
        0.0,
        "blend pairs of images and their labels by shares drawn from Beta(mixup, mixup)",
        ours=True,
    ),
    "class_weighting": Rule(
        choice("none", BALANCED),
        "none",
        "balanced: an image of class c weighs samples / (classes · samples of c) in the loss, "
        "counted in the probe or one more pass over train",
        ours=True,
    ),
    "trainable_stages": Rule(
        whole(0, ALL_STAGES),
        ALL_STAGES,
        "how many of the network's 5 stages (4 in those for small images) learn, counted from "
        "the end; 0 = the head only",
        ours=True,
    ),
    "head_stages": Rule(
        whole(1, 3),
        1,
        "the head sees the pooled features of this many of the last stages; those further from "
        "the end are finer and less bound to what the network was trained on",
        ours=True,
    ),
    "stage_rate_factor": Rule(
        real(0, 1, open_low=True),
        1.0,
        "each stage further from the head learns at this times the rate of the one behind it",
        ours=True,
    ),
    "frozen_batch_norm": Rule(
        flag,
        None,
        "batch-norm keeps the statistics and factors it starts with; unset = as probe",
        ours=True,
    ),
    "probe": Rule(
        flag,
        None,
        "epoch 0 fits the head on frozen features (logistic regression), before anything else "
        "learns; unset = as use_pretrained_model",
        ours=True,
    ),
    "probe_c": Rule(
        real(0, 1e6, open_low=True),
        None,
        "inverse strength of the probe's penalty; unset = chosen by validation loss",
        ours=True,
    ),
    "probe_views": Rule(
        whole(1, 16), 1, "passes of the probe; those after the first are augmented", ours=True
    ),
    "lr_schedule": Rule(
        choice("step", COSINE),
        "step",
        "step: see lr_scheduler_step; cosine: from learning_rate to 0 along half a cosine, "
        "step by step",
        ours=True,
    ),
    "warmup_epochs": Rule(
        real(0, 1000), 0.0, "the rate first rises evenly, step by step, for so long", ours=True
    ),
    "ema": Rule(
        real(0, 1, open_high=True),
        0.0,
        "decay per step of a moving average of the weights, which is then what is evaluated and "
        "kept; the first n steps use at most (1 + n) / (10 + n)",
        ours=True,
    ),
    "start_share": Rule(
        real(0, 1),
        0.0,
        "share of the weights as they were before the first step (after the probe) in what is "
        "evaluated and kept, the rest being the tuned ones (Wortsman et al. 2022)",
        ours=True,
    ),
    "bf16": Rule(flag, OFF, "mixed precision in bfloat16", ours=True),
    "group_records": Rule(
        flag,
        OFF,
        "each sample of an augmented manifest carries a third record, the name of its group",
        ours=True,
    ),
    "bad_record_share": Rule(
        real(0, 1),
        0.0,
        "largest share of a pass that may hold no usable image and is left out; 0 = none",
        ours=True,
    ),
    "serving_precision": Rule(
        choice(AUTO, *PRECISIONS, NONE),
        AUTO,
        "the model is exported for serving on a CPU without PyTorch; auto: in the fastest of fp32, "
        "bf16 and int8 on the CPU found that loses no more than 0.3 points of accuracy and AUC, "
        "measured on the first slices of one more pass over train and in one over validation; "
        "none: no export",
        ours=True,
    ),
    "seed": Rule(whole(0, 2**31 - 1), 0, "of every random choice", ours=True),
}

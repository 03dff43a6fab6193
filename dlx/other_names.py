"""What other tools, books and papers call the kinds of dlx, for suggestions where a name is unknown."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from itertools import islice

from .errors import MOST_NAMES, did_you_mean

OTHER_NAMES: Mapping[str, Mapping[str, tuple[str, ...]]] = {
    "layer": {
        "affine": ("linear",),
        "attention": ("multihead_attention", "scaled_dot_product_attention"),
        "bias": ("parameter",),
        "bidirectional": ("lstm", "gru"),
        "bilstm": ("lstm",),
        "bn": ("batch_norm",),
        "branches": ("parallel",),
        "cat": ("concat",),
        "concatenate": ("concat",),
        "conv1x1": ("pointwise_conv", "conv"),
        "convolution": ("conv",),
        "crossattention": ("multihead_attention",),
        "deconv": ("conv_transpose",),
        "deconvolution": ("conv_transpose",),
        "dense": ("linear",),
        "depthwise": ("depthwise_conv",),
        "div": ("divide",),
        "dwconv": ("depthwise_conv",),
        "fc": ("linear",),
        "fullyconnected": ("linear",),
        "gap": ("global_avg_pool",),
        "gmp": ("global_max_pool",),
        "gn": ("group_norm",),
        "in": ("instance_norm",),
        "innerproduct": ("linear",),
        "interpolate": ("upsample",),
        "ln": ("layer_norm",),
        "loop": ("repeat", "for"),
        "lrn": ("local_response_norm",),
        "mha": ("multihead_attention",),
        "moe": ("mixture_of_experts",),
        "mul": ("multiply",),
        "plus": ("add",),
        "positional": ("positional_encoding", "position_embedding"),
        "resize": ("upsample",),
        "resizenearest": ("upsample",),
        "residualblock": ("residual",),
        "rope": ("rotary_embedding",),
        "route": ("concat", "identity"),
        "se": ("squeeze_excitation",),
        "seblock": ("squeeze_excitation",),
        "selfattention": ("multihead_attention",),
        "sequential": ("layers",),
        "shortcut": ("add", "residual"),
        "skip": ("residual", "add"),
        "squeeze": ("reshape", "flatten"),
        "squeezeandexcitation": ("squeeze_excitation",),
        "squeezeexcite": ("squeeze_excitation",),
        "sub": ("subtract",),
        "transposeconv": ("conv_transpose",),
        "transposedconv": ("conv_transpose",),
        "unsqueeze": ("reshape",),
        "upconv": ("conv_transpose", "upsample"),
        "upsampling": ("upsample",),
        "view": ("reshape",),
        "zeropad": ("pad",),
        "zeropadding": ("pad",),
    },
    "data set": {
        "csv": ("table",),
        "fashionmnist": ("idx",),
        "mnist": ("idx", "digits"),
        "imagenet": ("images",),
        "dataframe": ("table",),
        "folder": ("images",),
        "image": ("images",),
        "imagefolder": ("images",),
        "npy": ("arrays",),
        "npz": ("arrays",),
        "numpy": ("arrays",),
        "parquet": ("table",),
        "tabular": ("table",),
        "timeseries": ("series",),
    },
    "objective": {
        "classifier": ("classification",),
        "crossentropy": ("classification",),
        "lm": ("language",),
        "mse": ("regression",),
        "multiclass": ("classification",),
        "binary": ("binary_classification",),
        "tagging": ("sequence_labelling",),
    },
    "loss": {
        "bce": ("binary_cross_entropy",),
        "bcewithlogits": ("binary_cross_entropy",),
        "ce": ("cross_entropy",),
        "kld": ("kl_div",),
        "l1": ("absolute_error",),
        "l2": ("squared_error",),
        "mae": ("absolute_error",),
        "mse": ("squared_error",),
        "nll": ("cross_entropy",),
        "quantile": ("pinball",),
        "softmax": ("cross_entropy",),
    },
    "metric": {
        "auc": ("auroc", "auprc"),
        "dice": ("f1", "iou"),
        "ece": ("calibration_error",),
        "jaccard": ("iou",),
        "ap": ("average_precision",),
        "prauc": ("auprc",),
        "rocauc": ("auroc",),
        "rsquared": ("r2",),
        "sensitivity": ("recall",),
        "topk": ("top_k_error",),
        "topkaccuracy": ("top_k_error",),
    },
    "initialiser": {
        "gaussian": ("normal",),
        "glorot": ("glorot_uniform", "glorot_normal"),
        "he": ("he_normal", "he_uniform"),
        "kaiming": ("he_normal", "he_uniform"),
        "kaimingnormal": ("he_normal",),
        "kaiminguniform": ("he_uniform",),
        "ones": ("constant",),
        "truncatednormal": ("trunc_normal",),
        "xavier": ("glorot_uniform", "glorot_normal"),
        "xaviernormal": ("glorot_normal",),
        "xavieruniform": ("glorot_uniform",),
    },
    "optimizer": {
        "bfgs": ("lbfgs",),
        "gd": ("gradient_descent",),
        "nesterov": ("sgd", "momentum"),
        "sgdmomentum": ("momentum", "sgd"),
    },
    "schedule": {
        "annealing": ("cosine",),
        "cosineannealing": ("cosine",),
        "cosineannealingwarmrestarts": ("cosine_restarts",),
        "reduceonplateau": ("plateau",),
        "reducelronplateau": ("plateau",),
        "sgdr": ("cosine_restarts",),
    },
    "sampler": {
        "bayes": ("tpe", "gp"),
        "bayesian": ("tpe", "gp"),
        "latinhypercube": ("quasi_random",),
        "sobol": ("quasi_random",),
    },
    "scheduler": {"pbt": ("population",), "sha": ("successive_halving",)},
    "augmentation": {
        "flip": ("horizontal_flip", "vertical_flip"),
        "jitter": ("color_jitter",),
        "rotation": ("rotate",),
        "blur": ("gaussian_blur",),
        "noise": ("gaussian_noise",),
    },
}
"""By noun of the family: names without `_` and in small letters, as `_plain` has them, to kinds."""
_ENDINGS = ("layer", "loss", "optimizer", "scheduler", "initializer", "lr", "1d", "2d", "3d", "v2")
_SPELT = {"pooling": "pool", "average": "avg", "normalization": "norm", "normalisation": "norm", "colour": "color"}


def kind_meant(word: str, known: Iterable[str], noun: str) -> str:
    """Return `Did you mean ...?` for an unknown kind of a family: by what others call it, else by its spelling."""
    options = list(islice(known, MOST_NAMES))
    plain = _plain(word)
    others = [name for name in OTHER_NAMES.get(noun, {}).get(plain, ()) if name in options]
    found = others or [name for name in options if _plain(name) == plain]
    if found:
        return "Did you mean " + " or ".join(f"`{name}`" for name in found) + "?"
    near = did_you_mean(word, options)
    many = noun == "layer" and not near.startswith("Did you mean")
    return "`dlx layers` lists the layers; one of your own is a block under `blocks`." if many else near


def _plain(word: str) -> str:
    """Return a name without separators, capitals, and what other tools add to it: `nn.MaxPool2d` is `maxpool`."""
    plain = re.sub(r"[\W_]", "", word.rpartition(".")[2].lower())
    for ending in _ENDINGS:
        plain = plain.removesuffix(ending) or plain
    for other, own in _SPELT.items():
        plain = plain.replace(other, own)
    return plain.removeprefix("random") or plain

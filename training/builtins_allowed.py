"""The built-in parts of Keras that a saved network may be made of.

Everything that is not named here is refused, so a new release of Keras opens no door by itself.
"""


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


# What an image classifier is built of, can be exported, and neither runs code nor reads files. Not
# here on purpose: Lambda, TFSMLayer, JaxLayer, FlaxLayer and TorchModuleWrapper (run code), lookup
# and text layers (read vocabularies from files), Random* and MixUp-like layers (do not export).
LAYERS = _words(
    """
    InputLayer Dense Activation Identity EinsumDense
    Conv2D DepthwiseConv2D SeparableConv2D Conv2DTranspose
    MaxPooling2D AveragePooling2D GlobalMaxPooling2D GlobalAveragePooling2D
    BatchNormalization LayerNormalization GroupNormalization RMSNormalization UnitNormalization
    Normalization Rescaling
    Dropout SpatialDropout2D GaussianDropout GaussianNoise AlphaDropout ActivityRegularization
    Flatten Reshape Permute RepeatVector ZeroPadding2D Cropping2D UpSampling2D
    Add Average Concatenate Maximum Minimum Multiply Subtract Dot
    ReLU LeakyReLU PReLU ELU Softmax
    Attention MultiHeadAttention
    """
)
INITIALIZERS = _words(
    """
    Constant GlorotNormal GlorotUniform HeNormal HeUniform Identity IdentityInitializer
    LecunNormal LecunUniform Ones Orthogonal OrthogonalInitializer RandomNormal RandomUniform
    TruncatedNormal VarianceScaling Zeros
    """
)
REGULARIZERS = frozenset({"L1", "L2", "L1L2", "OrthogonalRegularizer"})
CONSTRAINTS = frozenset({"MaxNorm", "MinMaxNorm", "NonNeg", "UnitNorm"})
ACTIVATIONS = _words(
    """
    celu elu exponential gelu glu hard_shrink hard_sigmoid hard_silu hard_swish hard_tanh
    leaky_relu linear log_sigmoid log_softmax mish relu relu6 selu sigmoid silu soft_shrink
    softmax softplus softsign sparse_plus sparsemax squareplus swish tanh tanh_shrink threshold
    """
)

"""A short sample in the middle of training, which touches nothing of it."""

import numpy as np

from charlm.data.direction import BACKWARD
from charlm.model.checkpoint import Model
from charlm.model.network import Network
from charlm.model.stepper import Stepper
from charlm.sampling.filters import SamplingParams
from charlm.sampling.generate import generate, random_streams
from charlm.tokenizers.vocabulary import BOUNDARY, Vocabulary

LENGTH = 200
TEMPERATURE = 0.8


def preview(network: Network, vocabulary: Vocabulary, seed: int) -> str:
    """LENGTH symbols from the network as it is, through a copy of its weights, the text from left to right; ends of
    documents are line ends."""
    stepper = Stepper(Model(network.options, vocabulary, network.arrays()))
    drawn = generate(stepper, np.array([], dtype=np.int64), SamplingParams(TEMPERATURE), random_streams(seed, 1))
    backward = network.options.direction == BACKWARD
    printer = vocabulary.tokenizer.reversed_decoder() if backward else vocabulary.tokenizer.decoder()
    pieces = []
    for ids, _ in zip(drawn, range(LENGTH), strict=False):
        symbol = int(ids[0])
        pieces.append(printer.flush() + "\n" if symbol == BOUNDARY else printer.feed([vocabulary.code(symbol)]))
    text = "".join(pieces) + printer.flush()
    return text[::-1] if backward else text

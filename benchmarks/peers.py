"""What a user of torch would write: the same networks from torch's own modules, trained and sampled the usual way."""

import time

import torch
from torch import Tensor, nn
from torch.nn import functional as F

MODULES = {"rnn": nn.RNN, "gru": nn.GRU, "lstm": nn.LSTM}


class Model(nn.Module):
    """One-hot input, torch's recurrent module, a linear readout: the parameters of a charlm network."""

    def __init__(self, cell: str, layers: int, hidden: int, vocabulary: int) -> None:
        super().__init__()
        self.vocabulary = vocabulary
        self.recurrent = MODULES[cell](vocabulary, hidden, layers)
        self.readout = nn.Linear(hidden, vocabulary)

    def forward(self, ids: Tensor, state=None):  # type: ignore[no-untyped-def]
        """(T, B) ids and a state to (T, B, V) logits and the next state."""
        one_hot = F.one_hot(ids, self.vocabulary).float()
        h, state = self.recurrent(one_hot, state)
        return self.readout(h), state


class Training:
    """Whole windows with the state carried, clipping and Adam; characters per second."""

    imports = ("torch._dynamo",)  # which torch loads with its first optimiser

    def __init__(
        self,
        cell: str,
        layers: int,
        hidden: int,
        batch: int,
        seq_len: int,
        vocabulary: int,
        steps: int,
        device: str = "cpu",
    ) -> None:
        self.device = device
        self.model = Model(cell, layers, hidden, vocabulary).to(device)
        self.optimizer = torch.optim.Adam(self.model.parameters(), lr=2e-3)
        self.text = torch.randint(vocabulary, (batch, 100 * seq_len + 1))
        self.batch, self.seq_len, self.steps = batch, seq_len, steps
        self.state = None
        self.place = 0

    def turn(self) -> float:
        """Some steps."""
        times = []
        for _ in range(self.steps):
            began = time.perf_counter()
            self.step()
            times.append(time.perf_counter() - began)
        return self.batch * self.seq_len / sorted(times)[len(times) // 2]

    def step(self) -> None:
        """One window."""
        window = self.text[:, self.place : self.place + self.seq_len + 1].T.to(self.device)
        self.place = (self.place + self.seq_len) % (self.text.shape[1] - 1)
        logits, state = self.model(window[:-1], self.state)
        loss = F.cross_entropy(logits.flatten(0, 1), window[1:].flatten())
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self.optimizer.step()
        self.state = tuple(part.detach() for part in state) if isinstance(state, tuple) else state.detach()
        loss.item()


class Sampling:
    """The training module, one character at a time; characters per second."""

    def __init__(self, cell: str, layers: int, hidden: int, vocabulary: int, length: int) -> None:
        self.model = Model(cell, layers, hidden, vocabulary).eval()
        self.length = length

    @torch.no_grad()
    def turn(self) -> float:
        """One sample."""
        began = time.perf_counter()
        symbol, state, drawn = torch.zeros(1, 1, dtype=torch.long), None, []
        for _ in range(self.length):
            logits, state = self.model(symbol, state)
            symbol = torch.multinomial(torch.softmax(logits[0], -1), 1)
            drawn.append(symbol.item())
        return self.length / (time.perf_counter() - began)


class CellSampling:
    """`nn.LSTMCell` and its like, layer by layer and character by character; characters per second."""

    def __init__(self, cell: str, layers: int, hidden: int, vocabulary: int, length: int) -> None:
        make = {"rnn": nn.RNNCell, "gru": nn.GRUCell, "lstm": nn.LSTMCell}[cell]
        self.cells = [make(hidden if layer else vocabulary, hidden) for layer in range(layers)]
        self.readout = nn.Linear(hidden, vocabulary)
        self.gated = cell == "lstm"
        self.hidden, self.vocabulary, self.length = hidden, vocabulary, length

    @torch.no_grad()
    def turn(self) -> float:
        """One sample."""
        began = time.perf_counter()
        zeros = torch.zeros(1, self.hidden)
        states = [(zeros, zeros) if self.gated else zeros for _ in self.cells]
        symbol, drawn = torch.zeros(1, dtype=torch.long), []
        for _ in range(self.length):
            x = F.one_hot(symbol, self.vocabulary).float()
            for number, cell in enumerate(self.cells):
                states[number] = cell(x, states[number])
                x = states[number][0] if self.gated else states[number]
            symbol = torch.multinomial(torch.softmax(self.readout(x), -1), 1)[0]
            drawn.append(symbol.item())
        return self.length / (time.perf_counter() - began)


class Preparing:
    """A dictionary and a loop: the text read whole, every character looked up; megabytes per second."""

    def __init__(self, path: str) -> None:
        self.path = path

    def turn(self) -> float:
        """The whole file."""
        import numpy as np

        began = time.perf_counter()
        with open(self.path, encoding="utf-8", newline="") as file:
            text = file.read()
        number = {character: index for index, character in enumerate(sorted(set(text)))}
        ids = np.array([number[character] for character in text], dtype=np.uint16)
        ids.tofile(self.path + ".peer.bin")
        return len(text.encode()) / 1e6 / (time.perf_counter() - began)

"""The same demonstration with torchdiffeq: see with_minode.py."""

import numpy as np
import torch
from torchdiffeq import odeint

SOLVER = {"method": "dopri5", "rtol": 1e-7, "atol": 1e-9}
torch.set_num_threads(1)
torch.set_default_dtype(torch.float64)
A, t, rng = torch.tensor([[-0.1, 2.0], [-2.0, -0.1]]), torch.linspace(0.0, 25.0, 1000), np.random.default_rng(0)


class OfCubes(torch.nn.Module):
    """A network of y³ (the cube of each component)."""

    def __init__(self):
        super().__init__()
        self.net = torch.nn.Sequential(torch.nn.Linear(2, 50), torch.nn.Tanh(), torch.nn.Linear(50, 2))
        for layer in self.net[::2]:
            layer.weight.data = torch.tensor(0.1 * rng.normal(size=layer.weight.shape))
            torch.nn.init.zeros_(layer.bias)

    def forward(self, t, y):
        return self.net(y**3)


with torch.no_grad():
    data = odeint(lambda t, y: y**3 @ A, torch.tensor([2.0, 0.0]), t, **SOLVER)
f = OfCubes()
optimiser = torch.optim.RMSprop(f.parameters(), lr=1e-3)

for step in range(500):
    first = rng.choice(990, 20, replace=False)
    pieces = data[first + np.arange(10)[:, None]]
    optimiser.zero_grad()
    loss = (odeint(f, pieces[0], t[:10], **SOLVER) - pieces).abs().mean()
    loss.backward()
    optimiser.step()
    if step in (0, 499):
        print(loss.item())

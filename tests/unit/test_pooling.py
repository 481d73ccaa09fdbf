import pytest
import torch
from torch import nn

from brain_activity_prediction.models.pooling import PooledStates, choose, layer_points, pooled, stream_name

B, T, W, L = 3, 5, 4, 2


class Network(nn.Module):
    """Two layers and a final norm; like transformers' own, the second layer gives a tuple."""

    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(W, W), Pair()])
        self.norm = nn.LayerNorm(W)

    def forward(self, hidden):
        """Every hidden state, L + 1 tensors (B, T, W), and the last one after the norm."""
        first = self.layers[0](hidden)
        second, _ = self.layers[1](hidden_states=first)
        return [hidden, first, second, self.norm(second)]


class Pair(nn.Linear):
    def __init__(self):
        super().__init__(W, W)

    def forward(self, hidden_states):
        return super().forward(hidden_states), None


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Network()


@pytest.fixture
def hidden():
    return torch.randn(B, T, W, generator=torch.Generator().manual_seed(1))


def test_every_hidden_state_is_averaged_over_all_tokens(network, hidden):
    with pooled(layer_points(network.layers), {"mean": slice(None)}) as states:
        first, second, third, _ = network(hidden)
    expected = torch.stack([state.mean(dim=1) for state in (first, second, third)], dim=1)
    torch.testing.assert_close(states.streams("vision")["vision"], expected)


def test_only_the_streams_asked_for_come_back(network, hidden):
    with pooled(layer_points(network.layers), {"mean": slice(None), "last": slice(-1, None)}) as states:
        network(hidden)
    assert states.streams("vision", ["last"]).keys() == {"vision_last"}
    assert states.streams("vision").keys() == {"vision", "vision_last"}


def test_the_hidden_states_may_enter_the_first_layer_by_keyword(hidden):
    layer = Pair()
    with pooled(layer_points([layer]), {"mean": slice(None)}) as states:
        layer(hidden_states=hidden)
    torch.testing.assert_close(states.streams("vision")["vision"][:, 0], hidden.mean(dim=1))


def test_layers_on_several_devices_are_gathered_on_that_of_the_first():
    """The meta device holds no numbers and stands for another GPU."""
    sums = {"mean": [torch.ones(B, W, device="meta"), torch.ones(B, W)]}
    assert PooledStates(sums, {"mean": torch.ones(B)}).streams("language")["language"].device.type == "meta"


def test_with_a_final_norm_the_last_state_is_taken_after_it(network, hidden):
    with pooled(layer_points(network.layers, network.norm), {"last": slice(-1, None)}) as states:
        first, second, _, normed = network(hidden)
    expected = torch.stack([state[:, -1] for state in (first, second, normed)], dim=1)
    torch.testing.assert_close(states.streams("language")["language_last"], expected)


def test_a_mask_leaves_padding_out_row_by_row(network, hidden):
    mask = torch.tensor([[1, 1, 1, 0, 0], [1, 1, 1, 1, 1], [0, 0, 1, 0, 0]])
    with pooled(layer_points(network.layers), {"mean": mask}) as states:
        all_states = network(hidden)[:3]
    rows = [torch.stack([state[row, mask[row] > 0].mean(dim=0) for state in all_states]) for row in range(B)]
    torch.testing.assert_close(states.streams("text")["text"], torch.stack(rows))


def test_a_text_read_in_two_parts_gives_the_states_of_the_whole(network, hidden):
    points = layer_points(network.layers)
    with pooled(points, {"mean": slice(None), "image": slice(1, 2)}) as start:
        network(hidden[:, :2])
    with pooled(points, {"mean": slice(None), "last": slice(-1, None)}) as end:
        network(hidden[:, 2:])
    with pooled(points, {"mean": slice(None), "image": slice(1, 2), "last": slice(-1, None)}) as whole:
        network(hidden)
    in_parts = (start + end).streams("language")
    for name, expected in whole.streams("language").items():
        torch.testing.assert_close(in_parts[name], expected)


def test_rows_that_stop_earlier_are_averaged_over_their_own_tokens(network, hidden):
    points, total = layer_points(network.layers), PooledStates()
    stops = torch.tensor([1, 4, 2])
    for t in range(4):
        with pooled(points, {"response": (t < stops)[:, None]}) as step:
            network(hidden[:, t : t + 1])
        total = total + step
    expected = torch.stack([network(hidden[row : row + 1, :stop])[2].mean(dim=1)[0] for row, stop in enumerate(stops)])
    torch.testing.assert_close(total.streams("language")["response"][:, 2], expected)


def test_sums_are_taken_in_float32_whatever_the_model_computes_in():
    layer = nn.Identity()
    ones = torch.full((1, 4096, W), 1.001, dtype=torch.bfloat16)
    with pooled(layer_points([layer]), {"mean": slice(None), "last": torch.ones(1, 4096)}) as states:
        layer(ones)
    for values in states.streams("vision").values():
        assert values.dtype == torch.float32
        torch.testing.assert_close(values, torch.full((1, 2, W), ones[0, 0, 0].item()))


def test_hooks_are_gone_after_the_block_even_after_an_error(network, hidden):
    with pytest.raises(ZeroDivisionError), pooled(layer_points(network.layers), {"mean": slice(None)}):
        _ = 1 / 0
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in network.modules())


def test_only_the_poolings_asked_for_are_computed():
    assert choose(["mean", "cls"], mean=slice(None), last=slice(-1, None)) == {"mean": slice(None)}


@pytest.mark.parametrize(
    ("pooling", "name"), [("mean", "language"), ("last", "language_last"), ("response", "response")]
)
def test_streams_are_named_by_their_pooling_and_the_mean_is_the_plain_name(pooling, name):
    assert stream_name("language", pooling) == name


def test_states_of_another_number_of_layers_are_not_added():
    three, two = (PooledStates({"mean": [torch.ones(1, 2)] * n}, {"mean": 1}) for n in (3, 2))
    with pytest.raises(ValueError, match="shorter"):
        three + two

"""The six models in numbers, from their published configurations: streams, floating point operations, weights.

A transformer layer of width w multiplies a token by 4 w^2 weights of attention and 2 w m (gated: 3 w m) of its MLP, and
attends with 4 w operations a pair of tokens. Norms, embeddings and softmax are left out: under 1 %.
"""

from dataclasses import dataclass

QUESTION_TOKENS = 30  # of a prompt and what its template puts behind it; the nine prompts have about 10 to 25 words
BYTES_A_VALUE = {"gpu": 2, "cpu": 4}  # float16, and float32 where the model ran in it


@dataclass(frozen=True)
class Transformer:
    n_layers: int
    width: int
    mlp: int
    gated: bool = False

    @property
    def n_weights(self) -> int:
        return self.n_layers * (4 * self.width**2 + (3 if self.gated else 2) * self.width * self.mlp)

    def operations(self, n_tokens: int, n_before: int = 0) -> float:
        """Of reading tokens on top of `n_before` that are in the cache; attention counted as if not causal."""
        return n_tokens * (2 * self.n_weights + 4 * self.n_layers * self.width * (n_before + n_tokens))

    @property
    def states(self) -> tuple[int, int]:
        """(L, W) of its stream: what enters the first layer and what leaves each."""
        return self.n_layers + 1, self.width


@dataclass(frozen=True)
class Bridge:
    """What stands between image and text, by (L, W) of its stream, and its operations."""

    states: tuple[int, int]
    operations: float


@dataclass(frozen=True)
class Architecture:
    """A model; `n_prefix` tokens are read once an image, and QUESTION_TOKENS + `n_again` once a prompt."""

    vision: Transformer
    n_patches: int
    language: Transformer | None = None
    bridge: Bridge | None = None
    n_prefix: int = 0
    n_again: int = 0
    crossing: int = 0  # weights that a token passes in gated cross-attention
    bridge_reads_prompt: bool = False

    def image_operations(self) -> float:
        """What is computed once an image."""
        bridge = self.bridge.operations if self.bridge and not self.bridge_reads_prompt else 0
        return self.vision.operations(self.n_patches) + bridge + self._reading(self.n_prefix, 0)

    def prompt_operations(self) -> float:
        """What is computed once a prompt, on top of the image."""
        bridge = self.bridge.operations if self.bridge and self.bridge_reads_prompt else 0
        return bridge + self._reading(QUESTION_TOKENS + self.n_again, self.n_prefix)

    def _reading(self, n_tokens: int, n_before: int) -> float:
        if self.language is None:
            return 0
        return self.language.operations(n_tokens, n_before) + 2 * self.crossing * n_tokens

    def states(self, stream: str) -> tuple[int, int] | None:
        """(L, W) of a stream; what is neither of the image's tower nor of the language model is the bridge's."""
        part = {"vision": self.vision, "language": self.language, "response": self.language}.get(stream, self.bridge)
        return part.states if part else None

    def n_weights(self) -> int:
        return self.vision.n_weights + (self.language.n_weights if self.language else 0) + self.crossing


def _resampler(latents: int, n_patches: int, width: int, inner: int) -> float:
    """Operations of a perceiver's 6 layers: latents attend to patches and latents in `inner` dimensions, MLP 4 wide."""
    keys = latents + n_patches
    attention = 2 * (2 * latents * width * inner + 2 * keys * width * inner) + 4 * latents * keys * inner
    return 6 * (attention + 2 * latents * 8 * width**2)


def _q_former(n_queries: int, n_patches: int, width: int, mlp: int, read: int) -> float:
    """12 layers over queries and prompt; every other one attends to patches of width `read`."""
    own = Transformer(12, width, mlp).operations(n_queries + QUESTION_TOKENS)
    return own + 6 * (
        2 * n_queries * 2 * width**2 + 2 * n_patches * 2 * read * width + 4 * n_queries * n_patches * width
    )


CLIP_L, VIT_H = Transformer(24, 1024, 4096), Transformer(32, 1280, 5120)
LLAMA_7B, VICUNA_13B = Transformer(32, 4096, 11008, gated=True), Transformer(40, 5120, 13824, gated=True)
MPT_7B = Transformer(32, 4096, 4 * 4096)

ARCHITECTURES = {
    "vit_huge_patch14_224_in21k": Architecture(VIT_H, 257),
    "llava_1.5_13b": Architecture(CLIP_L, 577, VICUNA_13B, n_prefix=5 + 576),
    "idefics_9b_instruct": Architecture(
        VIT_H,
        257,
        LLAMA_7B,
        Bridge((6, 1280), _resampler(64, 257, 1280, 16 * 96)),
        n_prefix=8,
        crossing=8 * (2 * 4096**2 + 3 * 4096 * 11008),
    ),
    "instruct_blip_13b": Architecture(
        Transformer(39, 1408, 6144),
        257,
        VICUNA_13B,
        Bridge((13, 768), _q_former(32, 257, 768, 3072, 1408)),
        n_again=32,
        bridge_reads_prompt=True,
    ),
    "mplug_owl_llama_7b": Architecture(
        CLIP_L,
        257,
        LLAMA_7B,
        Bridge((6, 1024), _resampler(64, 257, 1024, 1024)),
        n_prefix=40 + 65,
    ),
    "openflamingo_9b": Architecture(
        CLIP_L,
        257,
        MPT_7B,
        Bridge((6, 1024), _resampler(64, 256, 1024, 8 * 64)),
        n_prefix=2,
        crossing=8 * (2 * 4096 * 8 * 64 + 2 * 4096 * 4 * 4096),
    ),
}


def shape(model: str, stream: str) -> tuple[int, int] | None:
    """(L, W) of a stream, by the name it is stored under (`language_last` is as `language`); None where unknown."""
    return ARCHITECTURES[model].states(stream.split("_")[0]) if model in ARCHITECTURES else None

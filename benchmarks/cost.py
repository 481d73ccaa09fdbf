"""What the study costs on paper: operations from the models' configurations, hours under assumptions that are stated.

    python benchmarks/cost.py [--loads-a-second 1e9] [--rate 1e14] [--ridge-rate 1e13]

Prints the tables of docs/cost.md that are on paper. Nothing is run; published_sizes.py measures.
"""

import argparse

from brain_activity_prediction.sweep.architectures import ARCHITECTURES, BYTES_A_VALUE, QUESTION_TOKENS
from brain_activity_prediction.sweep.estimate import (
    ALIGN_OPERATIONS,
    ALIGN_WIDTH,
    LOADED_BYTES_A_SECOND,
    OPERATIONS_A_SECOND,
)

N_IMAGES, N_PROMPTS, N_SUBJECTS, IMAGES_A_SUBJECT = 37_000, 9, 4, 10_000
GPUS, SHARDS_A_MODEL = (1, 8, 64), 8


def n_prompts_of(model):
    """Prompts that a model takes; the vision-only one takes none, and runs once."""
    return N_PROMPTS if ARCHITECTURES[model].language else 0


def model_operations(model):
    """Of all images: once, with the prompts on top; and in the plain loop, a pass a subject, image and prompt."""
    built = ARCHITECTURES[model]
    one_pass = built.image_operations() + n_prompts_of(model) * built.prompt_operations()
    of_a_prompt = built.image_operations() + built.prompt_operations() * bool(built.language)
    passes = max(n_prompts_of(model), 1) * N_SUBJECTS * IMAGES_A_SUBJECT
    return N_IMAGES * one_pass, passes * of_a_prompt


def streams_of(model):
    """(layers, width, prompts that it is stored under) of each stream but the response."""
    built = ARCHITECTURES[model]
    yield *built.vision.states, 1
    if built.bridge:
        yield *built.bridge.states, N_PROMPTS if built.bridge_reads_prompt else 1
    if built.language:
        yield *built.language.states, N_PROMPTS


def stored_bytes(model):
    """Of the states without answers, in float16."""
    values = sum(layers * width * times for layers, width, times in streams_of(model))
    return N_IMAGES * values * BYTES_A_VALUE["gpu"]


def ridge_layers(model):
    """(layers, layers in units of one of width ALIGN_WIDTH) that are fitted for all subjects and prompts."""
    fits = [(N_SUBJECTS * times * layers, width) for layers, width, times in streams_of(model)]
    return sum(n for n, _ in fits), sum(n * width / ALIGN_WIDTH for n, width in fits)


def models_table():
    print(
        "| model | image, TFLOP | a prompt, TFLOP | all images, 9 prompts, PFLOP | the plain loop, PFLOP | states, GB |"
    )
    print("| --- | --- | --- | --- | --- | --- |")
    totals = [0.0, 0.0, 0.0]
    for model, built in ARCHITECTURES.items():
        ours, loop = model_operations(model)
        size = stored_bytes(model)
        totals = [total + part for total, part in zip(totals, (ours, loop, size), strict=True)]
        prompt = f"{built.prompt_operations() / 1e12:.2f}" if built.language else "-"
        print(
            f"| `{model}` | {built.image_operations() / 1e12:.2f} | {prompt} | {ours / 1e15:.0f} | {loop / 1e15:.0f} "
            f"| {size / 1e9:.0f} |"
        )
    print(f"| all | | | {totals[0] / 1e15:.0f} | {totals[1] / 1e15:.0f} | {totals[2] / 1e9:.0f} |")


def hours_table(arguments):
    ours, loop = (sum(model_operations(model)[way] for model in ARCHITECTURES) for way in (0, 1))
    weights = {model: ARCHITECTURES[model].n_weights() * BYTES_A_VALUE["gpu"] for model in ARCHITECTURES}
    fits = sum(ridge_layers(model)[1] for model in ARCHITECTURES) * ALIGN_OPERATIONS
    loop_loads = sum(N_SUBJECTS * max(n_prompts_of(model), 1) * size for model, size in weights.items())
    loads = {n: sum(weights.values()) * (1 if n == 1 else max(n, SHARDS_A_MODEL)) for n in GPUS}
    print("| | GPUs | loading, h | extraction, h | alignment, h | together, h |")
    print("| --- | --- | --- | --- | --- | --- |")
    rows = [("the plain loop", 1, loop_loads, loop)] + [("sweep", n, loads[n], ours) for n in GPUS]
    for name, n, loaded, operations in rows:
        parts = [loaded / arguments.loads_a_second, operations / arguments.rate, fits / arguments.ridge_rate]
        hours = [part / n / 3600 for part in parts]
        print(f"| {name} | {n} | {' | '.join(f'{part:.1f}' for part in (*hours, sum(hours)))} |")
    n_layers = sum(ridge_layers(model)[0] for model in ARCHITECTURES)
    print(f"\n{n_layers} layers are fitted; {loop_loads / sum(weights.values()):.0f} loads of all models against 1")


def main():
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--loads-a-second", type=float, default=LOADED_BYTES_A_SECOND, help="bytes of weights")
    flags.add_argument("--rate", type=float, default=OPERATIONS_A_SECOND["gpu"]["extract"], help="FLOP/s of the models")
    flags.add_argument("--ridge-rate", type=float, default=OPERATIONS_A_SECOND["gpu"]["align"], help="FLOP/s of ridge")
    arguments = flags.parse_args()
    print(f"{N_IMAGES} images, {N_PROMPTS} prompts of {QUESTION_TOKENS} tokens, {N_SUBJECTS} subjects\n")
    models_table()
    print()
    hours_table(arguments)


if __name__ == "__main__":
    main()

"""The study's nine prompts, by their number on the command line; a model reads each prompt together with an image.

Prompts 1 to 3 ask for a caption (one sentence, in detail, subject and event), 4 is visual question answering, 5 asks
for relations, 6 for commonsense reasoning, 7 for scene understanding, 8 for counts and 9 for colours.
"""

PROMPTS = {
    1: "Write one sentence that describes this photograph.",
    2: "Describe everything you can see in this photograph, in as much detail as possible.",
    3: "Give this photograph a short caption that names its main subject and what is happening.",
    4: "What is the most important object in this photograph, and where in the picture is it?",
    5: "How are the people, animals and objects in this photograph related to each other in space and in action?",
    6: "What probably happened just before this photograph was taken, and what will probably happen next?",
    7: "What kind of place is this, and what would a person usually do there?",
    8: "How many people, animals and objects are there in this photograph? Count each kind.",
    9: "Which colours are in this photograph, and which thing has which colour?",
}
NAMES = {  # short names of the prompts in figures
    1: "one sentence",
    2: "detailed description",
    3: "subject and event",
    4: "visual question",
    5: "relations",
    6: "commonsense",
    7: "scene",
    8: "counts",
    9: "colours",
}
